//! Several processes of the binary on one repository.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::world::{Run, World};

const MIB: u64 = 1 << 20;

/// Bytes that do not compress and never repeat.
fn noise(mut state: u64, length: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < length {
        // SplitMix64 (Steele, Lea and Flood, 2014).
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes
}

fn with_content(mebibytes: u64) -> World {
    let world = World::new();
    for number in 0..mebibytes {
        world.write(&format!("src/noise/{number:03}"), &noise(number, MIB));
    }
    world
}

/// A run that goes on beside others; it is ended when the test ends, however that is.
struct Running(Option<Child>);

impl Running {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(Some(command.spawn().unwrap()))
    }

    fn wait(mut self) -> Run {
        Run::of(self.0.take().unwrap().wait_with_output().unwrap())
    }

    fn is_running(&mut self) -> bool {
        self.0.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn backup_json(world: &World, more: &[&str]) -> Running {
    Running::start(world.repo_command().args(["--json", "backup", "src"]).args(more))
}

fn number(document: &Value, name: &str) -> u64 {
    document[name].as_u64().unwrap_or_else(|| panic!("{name} in {document}"))
}

fn id(document: &Value) -> String {
    document["snapshot_id"].as_str().unwrap().to_owned()
}

/// Restores a snapshot and compares it with what is there.
fn assert_restores(world: &World, id: &str) {
    let target = world.path(&format!("restored-{}", &id[..8]));
    world.repo(["restore", &format!("{id}:{}", world.text("src")), target.to_str().unwrap()]).expect(0);
    let compared = Command::new("diff").arg("-r").arg(world.path("src")).arg(&target).status().unwrap();
    assert!(compared.success(), "{id} differs");
    fs::remove_dir_all(&target).unwrap();
}

fn ledger_objects(world: &World) -> usize {
    let count = |directory: &Path| fs::read_dir(directory).map_or(0, |entries| entries.flatten().count());
    let writers = fs::read_dir(world.path("repo/ledger")).unwrap();
    writers.map(|writer| count(&writer.unwrap().path())).sum()
}

/// Waits until the ledger grows; says how many objects it then has, or `None` where the run ended before.
fn wait_for_more(world: &World, than: usize, run: &mut Running) -> Option<usize> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while run.is_running() {
        let objects = ledger_objects(world);
        if objects > than {
            return Some(objects);
        }
        assert!(Instant::now() < deadline, "no checkpoint came");
        std::thread::yield_now();
    }
    None
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn four_processes_at_once_on_equal_data_all_succeed_and_report_the_surplus() {
    let world = with_content(24);
    let running: Vec<Running> = (0..4).map(|_| backup_json(&world, &[])).collect();
    let documents: Vec<Value> = running.into_iter().map(|run| run.wait().expect(0).json("backup")).collect();
    let stored: u64 = documents.iter().map(|document| number(document, "stored_bytes")).sum();
    let surplus: u64 = documents.iter().map(|document| number(document, "surplus_bytes")).sum();
    let in_repository: u64 = ["packs", "meta"].iter().map(|area| length_below(&world.path("repo").join(area))).sum();
    // What lies there twice was reported, and by one of them at least.
    assert!(stored >= in_repository && stored - surplus <= 24 * MIB * 105 / 100, "{surplus} of {stored}");
    for document in &documents {
        assert_restores(&world, &id(document));
    }
    world.repo(["check", "--read-data"]).expect(0);
    world.repo(["ledger", "verify"]).expect(0);
    let after = world.backup().expect(0);
    assert!(!after.stdout.contains("others had stored"), "{}", after.stdout);
}

fn length_below(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let length = |entry: fs::DirEntry| match entry.metadata().unwrap() {
        metadata if metadata.is_dir() => length_below(&entry.path()),
        metadata => metadata.len(),
    };
    entries.flatten().map(length).sum()
}

#[test]
fn what_was_committed_before_a_process_starts_is_not_stored_again() {
    let world = with_content(96);
    let mut objects = ledger_objects(&world);
    let mut before = 0;
    let mut runs: Vec<(Running, u64)> = Vec::new();
    for _ in 0..4 {
        let mut run = backup_json(&world, &["--checkpoint-bytes", "8388608"]);
        let found = wait_for_more(&world, objects, &mut run);
        runs.push((run, before));
        // What a process finds committed when it starts: at least what was there when its predecessor's checkpoint was seen.
        before = committed_bytes(&world);
        objects = found.unwrap_or_else(|| ledger_objects(&world));
    }
    let mut alone = None;
    for (run, before) in runs {
        let document = run.wait().expect(0).json("backup");
        let stored = number(&document, "stored_bytes");
        let alone = *alone.get_or_insert(stored);
        assert!(
            stored <= alone - before.min(alone) + before / 20,
            "{stored} of {alone}, where {before} were committed"
        );
        assert_restores(&world, &id(&document));
    }
    world.repo(["check", "--read-data"]).expect(0);
}

/// Bytes of packs that entries name, as the ledger tells without a key.
fn committed_bytes(world: &World) -> u64 {
    let document = world.repo(["--json", "stats"]).expect(0).json("stats");
    number(&document, "stored_bytes")
}

#[test]
fn a_cloned_installation_is_noticed_and_becomes_a_new_writer() {
    let world = World::new();
    world.backup().expect(0);
    let with_state = |state: &str| {
        let mut command = world.repo_command();
        command.arg("--state-dir").arg(world.path(state)).args(["backup", "src"]);
        Run::of(command.output().unwrap())
    };
    with_state("original").expect(0);
    copy(&world.path("original"), &world.path("clone"));
    assert!(!with_state("original").expect(0).stderr.contains("copy of this installation"));
    let noticed = with_state("clone").expect(0);
    assert!(noticed.stderr.contains("another copy of this installation has written"), "{}", noticed.stderr);
    for state in ["original", "clone"] {
        assert!(!with_state(state).expect(0).stderr.contains("copy of this installation"));
    }
    world.repo(["ledger", "verify"]).expect(0);
}

#[test]
fn a_fork_is_a_note_and_both_snapshots_restore() {
    let world = World::new();
    let run = |repository: &str, state: &str| {
        let mut command = world.command();
        command.arg("-r").arg(world.path(repository)).arg("--key-file").arg(world.path("key"));
        command.arg("--state-dir").arg(world.path(state)).args(["--json", "backup", "src"]);
        Run::of(command.output().unwrap())
    };
    run("repo", "original").expect(0);
    copy(&world.path("original"), &world.path("clone"));
    // Both commit at once: neither sees the other's entry.
    copy(&world.path("repo"), &world.path("elsewhere"));
    let one = run("repo", "original").expect(0).json("backup");
    world.write("src/later", b"only one of them has it");
    let two = run("elsewhere", "clone").expect(0).json("backup");
    copy(&world.path("elsewhere/."), &world.path("repo"));
    let verified = world.repo(["ledger", "verify"]).expect(0);
    assert!(verified.stdout.contains("note: ") && verified.stdout.contains("forks here"), "{}", verified.stdout);
    assert_eq!(world.repo(["check", "--read-data"]).expect(0).code, 0);
    assert_restores(&world, &id(&two));
    fs::remove_file(world.path("src/later")).unwrap();
    assert_restores(&world, &id(&one));
    for state in ["original", "clone"] {
        let noticed = run("repo", state).expect(0);
        assert!(noticed.stderr.contains("written the same place of the ledger"), "{}", noticed.stderr);
        assert!(!run("repo", state).expect(0).stderr.contains("copy of this installation"));
    }
    world.repo(["ledger", "verify"]).expect(0);
}

#[test]
fn reading_and_writing_go_on_side_by_side() {
    let world = with_content(32);
    let first = id(&world.repo(["--json", "backup", "src"]).expect(0).json("backup"));
    // Writers of other content under other roots, with many checkpoints.
    for number in 0..3u64 {
        for file in 0..24u64 {
            world.write(&format!("other-{number}/{file:02}"), &noise(1000 + 100 * number + file, MIB));
        }
    }
    let mut writers: Vec<Running> = (0..3)
        .map(|number| {
            let mut command = world.repo_command();
            Running::start(command.args([
                "--json",
                "backup",
                "--checkpoint-bytes",
                "1048576",
                &format!("other-{number}"),
            ]))
        })
        .collect();
    let mut rounds = 0;
    loop {
        let running = writers.iter_mut().filter_map(|writer| writer.is_running().then_some(())).count();
        world.repo(["check"]).expect(0);
        world.repo(["snapshots"]).expect(0);
        assert_restores(&world, &first);
        rounds += 1;
        if running == 0 {
            break;
        }
    }
    assert!(rounds > 1);
    for writer in writers {
        writer.wait().expect(0);
    }
    let listed = world.repo(["--json", "snapshots"]).expect(0).json("snapshots");
    assert_eq!(listed["snapshots"].as_array().map(Vec::len), Some(4));
    world.repo(["check", "--read-data"]).expect(0);
}

#[test]
fn a_line_says_what_others_had_stored_meanwhile() {
    let world = World::new();
    world.write("data", &noise(1, 4 * MIB));
    let (ready, go, data) = (world.text("ready"), world.text("go"), world.text("data"));
    // It has opened the repository when its command starts, and ends after the other one has committed.
    let script = format!("touch {ready}; while [ ! -e {go} ]; do sleep 0.01; done; cat {data}");
    let mut command = world.repo_command();
    let mut late = Running::start(command.args(["backup", "--stdin-command", "x", "--", "sh", "-c", &script]));
    while !world.path("ready").exists() {
        assert!(late.is_running());
        std::thread::yield_now();
    }
    let early = world.repo(["backup", "--stdin-command", "x", "--", "cat", &data]).expect(0);
    assert!(!early.stdout.contains("others had stored"), "{}", early.stdout);
    world.write("go", b"");
    let late = late.wait().expect(0);
    let line = late.stdout.lines().find(|line| line.ends_with("of that others had stored meanwhile, too"));
    assert!(line.is_some_and(|line| line.starts_with("4.")), "{}", late.stdout);
}
