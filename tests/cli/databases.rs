//! Databases: probes, moments, and restoring onto one that is in use or was, with the tool of SQLite as the other process.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::world::{World, skip};

/// What the tool says to statements; `None` where there is no such tool.
fn ask(path: &Path, sql: &str) -> Option<String> {
    let Ok(output) = Command::new("sqlite3").arg(path).arg(sql).output() else {
        skip("sqlite3 is missing");
        return None;
    };
    Some(String::from_utf8([output.stdout, output.stderr].concat()).unwrap().trim_end().to_owned())
}

/// A process that has run statements on a database, and keeps it open.
fn hold(path: &Path, sql: &str) -> Child {
    let mut child = Command::new("sqlite3").arg(path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(format!("{sql};\nSELECT 'done';\n").as_bytes()).unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "done"));
    child
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Statements that make a table of so many rows.
fn table(mode: &str, rows: u32) -> String {
    format!(
        "PRAGMA journal_mode = {mode}; CREATE TABLE t(x);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) INSERT INTO t SELECT randomblob(2000) FROM n"
    )
}

const COUNT: &str = "PRAGMA integrity_check; SELECT count(*) FROM t";

#[test]
fn probes_are_asked_recorded_and_repeated() {
    let world = World::new();
    let database = world.path("src/shop: 1.db");
    if ask(&database, "CREATE TABLE orders(x); INSERT INTO orders VALUES (1); CREATE TABLE \"a,b\"(x)").is_none() {
        return;
    }
    let good = "src/shop: 1.db:orders=digest,\"a,b\",@full";
    let report = world.repo(["backup", "src", "--probe", good, "--json"]).expect(0).json("backup");
    assert_eq!(report["warnings"].as_array().unwrap().len(), 0);
    let bad = "src/shop: 1.db:users,@quick";
    let report = world.repo(["backup", "src", "--probe", bad, "--json"]).expect(3).json("backup");
    let warning = &report["warnings"][0];
    assert_eq!((&warning["kind"], &warning["path"]), (&"probe".into(), &world.text("src/shop: 1.db").into()));
    assert_eq!(warning["message"], "table users: there is no such table");
    let listed = world.repo(["snapshots", "--json"]).expect(0).json("snapshots");
    let warnings: Vec<u64> =
        listed["snapshots"].as_array().unwrap().iter().map(|row| row["warnings"].as_u64().unwrap()).collect();
    assert_eq!(warnings, [0, 1]);
    world.repo(["restore", "latest", "out", "--verify"]).expect(0);
    let report = world.repo(["check", "--probes", "--json"]).expect(0).json("check");
    assert_eq!((&report["probes_repeated"], report["damage"].as_array().unwrap().len()), (&2.into(), 0));
    let report = world.repo(["check", "--probes=latest", "--json"]).expect(0).json("check");
    assert_eq!(report["probes_repeated"], 1);
    for wrong in ["src/shop.db", "src/shop.db:", "src/shop.db:t=sum", "src/shop.db:@slow"] {
        world.repo(["backup", "src", "--probe", wrong]).expect(2);
    }
}

#[test]
fn a_database_is_restored_as_it_was_at_a_moment() {
    let world = World::new();
    let database = world.path("src/a.db");
    let Some(_) = ask(&database, "PRAGMA journal_mode = WAL; CREATE TABLE t(x)") else { return };
    for hour in 10..13 {
        ask(&database, "INSERT INTO t VALUES (1)");
        world.repo(["backup", "src", "--time", &format!("2025-01-05T{hour}:00:00Z")]).expect(0);
    }
    let count = |moment: &str, target: &str| {
        let source = format!("@{moment}:{}", world.text("src/a.db"));
        world.repo(["restore", &source, target, "--verify"]).expect(0);
        ask(&world.path(target), COUNT).unwrap()
    };
    assert_eq!(count("2025-01-05T10:00:00Z", "x.db"), "ok\n1");
    assert_eq!(count("2025-01-05T11:59:59Z", "x.db"), "ok\n2");
    assert_eq!(count("2025-01-05T13:00:00+01:00", "x.db"), "ok\n3");
    assert_eq!(count("2025-01-05T10:30:00Z", "src/a.db"), "ok\n1");
    world.repo(["restore", "@2025-01-05T09:00:00Z", "y"]).expect(2);
}

#[test]
fn a_database_in_use_is_refused_and_the_old_one_can_be_kept() {
    for mode in ["WAL", "DELETE"] {
        let world = World::new();
        let database = world.path("src/a.db");
        let Some(_) = ask(&database, &table(mode, 20)) else { return };
        world.backup().expect(0);
        world.write("src/a.txt", b"changed");
        let child = hold(&database, "DELETE FROM t");
        let source = format!("latest:{}", world.text("src"));
        let run = world.repo(["restore", &source, "src", "--json"]).expect(1);
        assert!(run.stderr.contains(&format!("process {} (sqlite3)", child.id())), "{}", run.stderr);
        let report = run.json("restore");
        assert_eq!(
            (&report["files_refused"][0], &report["files_written"]),
            (&world.text("src/a.db").into(), &1.into())
        );
        assert_eq!(
            (&report["error"]["kind"], &report["error"]["object"]),
            (&"input".into(), &world.text("src/a.db").into())
        );
        assert_eq!(report["warnings"][0]["kind"], "in_use");
        end(child);
        assert_eq!(ask(&database, COUNT).unwrap(), "ok\n0", "{mode}");
        let run = world.repo(["restore", &source, "src", "--keep-old"]).expect(0);
        assert!(run.stderr.contains("kept as a.db.before-"), "{}", run.stderr);
        assert_eq!(ask(&database, COUNT).unwrap(), "ok\n20");
        assert_eq!(ask(&kept(&world.path("src")).unwrap(), COUNT).unwrap(), "ok\n0");
    }
}

/// A database that was kept in a directory.
fn kept(directory: &Path) -> Option<std::path::PathBuf> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    names.into_iter().find(|path| path.to_str().unwrap().contains(".db.before-"))
}

/// A repository with a database of 40 rows; beside it a directory with what a killed program left: one of 70 rows, 30 of them in its log alone or, in the other mode, 40 that a hot journal takes back.
struct Crash {
    world: World,
    source: String,
}

impl Crash {
    fn new(mode: &str) -> Option<Self> {
        let world = World::new();
        let database = world.path("src/a.db");
        ask(&database, &table(mode, 40))?;
        world.backup().expect(0);
        fs::create_dir(world.path("left")).unwrap();
        let left = world.path("left/a.db");
        let more = "INSERT INTO t SELECT randomblob(2000) FROM t LIMIT 30";
        let child = if mode == "WAL" {
            ask(&left, &table(mode, 40))?;
            hold(&left, &format!("PRAGMA wal_autocheckpoint = 0; {more}"))
        } else {
            ask(&left, &table(mode, 70))?;
            hold(&left, "PRAGMA cache_size = 2; BEGIN; UPDATE t SET x = zeroblob(100); DELETE FROM t WHERE rowid > 30")
        };
        end(child);
        let journal = if mode == "WAL" { "left/a.db-wal" } else { "left/a.db-journal" };
        assert!(fs::metadata(world.path(journal)).unwrap().len() > 0);
        let source = format!("latest:{}", world.text("src/a.db"));
        Some(Self { world, source })
    }

    /// Puts everything as the killed program left it.
    fn reset(&self) {
        let live = self.world.path("live");
        let _ = fs::remove_dir_all(&live);
        fs::create_dir(&live).unwrap();
        for entry in fs::read_dir(self.world.path("left")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), live.join(entry.file_name())).unwrap();
        }
    }

    fn arguments(&self) -> [&str; 4] {
        ["restore", &self.source, "live/a.db", "--keep-old"]
    }

    /// One database or the other is there, whole; the old one is not lost; and the restore can be made again. Says whether the new one was there.
    fn examine(&self, what: &str) -> bool {
        let live = self.world.path("live");
        let answer = ask(&live.join("a.db"), COUNT).unwrap();
        assert!(answer == "ok\n40" || answer == "ok\n70", "{what}: {answer}");
        let is_new = answer == "ok\n40";
        if is_new {
            let kept = kept(&live).unwrap_or_else(|| panic!("{what}: the old one is gone"));
            assert_eq!(ask(&kept, COUNT).unwrap(), "ok\n70", "{what}");
        }
        self.world.repo(self.arguments()).expect(0);
        assert_eq!(ask(&live.join("a.db"), COUNT).unwrap(), "ok\n40", "{what}");
        is_new
    }
}

/// The calls by which the swap goes on. The process is killed as it enters one, which is then not done.
const CALLS: &str = "rename,renameat,renameat2,link,linkat,unlink,unlinkat,fsync,fdatasync,ftruncate";

#[test]
fn a_restore_that_is_killed_at_any_call_leaves_one_database_or_the_other() {
    for mode in ["WAL", "DELETE"] {
        let Some(crash) = Crash::new(mode) else { return };
        if Command::new("strace").arg("-V").output().is_err() {
            return skip("strace is missing");
        }
        let mut found = [0; 2];
        for call in 1..200 {
            crash.reset();
            let plain = crash.world.repo_command();
            let mut traced = Command::new("strace");
            traced.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={CALLS}")]);
            traced.args(["-e", &format!("inject={CALLS}:signal=KILL:when={call}")]);
            traced
                .arg(plain.get_program())
                .args(plain.get_args())
                .args(crash.arguments())
                .current_dir(crash.world.path(""));
            traced.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let status = traced.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
            let is_new = crash.examine(&format!("{mode}, killed at call {call}"));
            if status.signal().is_none() && status.code() == Some(0) {
                break;
            }
            found[usize::from(is_new)] += 1;
        }
        assert!(found[0] >= 3 && found[1] >= 1, "{mode}: killed before and after the swap: {found:?}");
    }
}

#[test]
fn a_restore_that_is_killed_at_any_moment_leaves_one_database_or_the_other() {
    for mode in ["WAL", "DELETE"] {
        let Some(crash) = Crash::new(mode) else { return };
        crash.reset();
        let started = Instant::now();
        crash.world.repo(crash.arguments()).expect(0);
        let usual = started.elapsed().as_micros() as u64;
        for kill in 0..25u64 {
            crash.reset();
            let mut command = crash.world.repo_command();
            let mut child =
                command.args(crash.arguments()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(usual * kill / 20));
            // One that has ended already was not killed; that, too, is a moment.
            let _ = child.kill();
            child.wait().unwrap();
            crash.examine(&format!("{mode}, killed at moment {kill}"));
        }
    }
}
