//! kill -9 at random moments of the backup of a live database: the database, its writer and what lies beside it do not notice, and the next backup works.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::kill::Seeded;
use crate::world::{World, skip};

const KILLS: u32 = 30;

/// The tool of SQLite with a database open; `None` where there is no such tool.
struct Writer(Child, BufReader<std::process::ChildStdout>);

impl Writer {
    fn open(world: &World, name: &str) -> Option<Self> {
        let mut child =
            Command::new("sqlite3").arg(world.path(name)).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let output = BufReader::new(child.stdout.take().unwrap());
        Some(Self(child, output))
    }

    /// Executes statements, and returns the line that the last of them prints.
    fn ask(&mut self, sql: &str) -> String {
        writeln!(self.0.stdin.as_mut().unwrap(), "{sql};\nSELECT 'asked';").unwrap();
        let mut last = String::new();
        for line in self.1.by_ref().lines().map(Result::unwrap) {
            if line == "asked" {
                return last;
            }
            last = line;
        }
        panic!("the tool ended: {sql}");
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn names(world: &World) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = fs::read_dir(world.path("live")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn a_backup_that_was_killed_while_it_read_a_live_database_leaves_it_as_it_was() {
    let world = World::with_snapshot();
    fs::create_dir(world.path("live")).unwrap();
    for mode in ["WAL", "DELETE"] {
        let name = format!("live/{mode}.db");
        let Some(mut writer) = Writer::open(&world, &name) else { return skip("sqlite3 is missing") };
        writer.ask(&format!(
            "PRAGMA journal_mode = {mode}; CREATE TABLE t(x);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO t SELECT randomblob(900) FROM n"
        ));
        let mut seeded = Seeded(7);
        let started = Instant::now();
        world.repo(["backup", "live"]).expect(0);
        let usual = started.elapsed();
        let before = names(&world);
        for _ in 0..KILLS {
            writer.ask("UPDATE t SET x = randomblob(900) WHERE rowid = 1 + abs(random() % 20000)");
            let mut command = world.repo_command();
            let mut child =
                command.args(["backup", "live"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(seeded.below(usual.as_micros() as u64)));
            let _ = child.kill();
            child.wait().unwrap();
            assert_eq!(names(&world), before, "{mode}");
        }
        assert_eq!(writer.ask("PRAGMA integrity_check"), "ok");
        world.repo(["backup", "live"]).expect(0);
        let root = world.text("live");
        let target = format!("out-{mode}");
        world.repo(["restore", &format!("latest:{root}/{mode}.db"), &target]).expect(0);
        let mut restored = Writer::open(&world, &target).unwrap();
        assert_eq!(restored.ask("PRAGMA integrity_check"), "ok");
        let digest = "SELECT count(*) || ' ' || sum(unicode(hex(x)) * rowid) FROM t";
        assert_eq!(restored.ask(digest), writer.ask(digest));
    }
    world.repo(["check", "--read-data"]).expect(0);
}
