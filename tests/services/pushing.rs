//! `wal push` and `wal fetch` by themselves, as PostgreSQL sees them: exit codes and files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};

use crate::world::{Run, World};

const SEGMENT: &str = "000000010000000000000001";

/// Bytes that do not compress, the same for the same seed.
fn noise(mut seed: u64, length: usize) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn push(world: &World, directory: &str) -> Run {
    world.repo(["--json", "wal", "push", &format!("{directory}/{SEGMENT}")])
}

/// Names of the files in a directory.
fn names(world: &World, below: &str) -> Vec<String> {
    let entries = fs::read_dir(world.path(below)).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// All objects of the repository.
fn objects(world: &World) -> usize {
    let mut open = vec![world.path("repo")];
    let mut count = 0;
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { count += 1 }
        }
    }
    count
}

#[test]
fn a_pushed_file_is_fetched_whole_and_an_unknown_one_writes_nothing() {
    let world = World::new();
    let bytes = noise(1, 300_000);
    world.write(&format!("pg_wal/{SEGMENT}"), &bytes);
    let document = push(&world, "pg_wal").expect(0).json("wal push");
    assert_eq!((&document["name"], &document["cluster"]), (&SEGMENT.into(), &"main".into()));
    assert_eq!((&document["is_new"], &document["source_bytes"]), (&true.into(), &300_000.into()));
    world.write("out/RECOVERYXLOG", b"of another recovery");
    let silent = world.repo(["wal", "fetch", SEGMENT, "out/RECOVERYXLOG"]).expect(0);
    assert_eq!((silent.stdout, silent.stderr), (String::new(), String::new()));
    assert_eq!(fs::read(world.path("out/RECOVERYXLOG")).unwrap(), bytes);
    for unknown in ["000000010000000000000002", "00000002.history", "../etc/passwd", "nothing of the kind", ""] {
        let run = world.repo(["--json", "wal", "fetch", unknown, "out/unknown"]).expect(1);
        assert!(run.json("wal fetch")["snapshot_id"].is_null());
    }
    world.repo(["wal", "fetch", SEGMENT, "missing/RECOVERYXLOG"]).expect(1);
    assert_eq!(names(&world, "out"), ["RECOVERYXLOG"]);
    assert!(!world.path("missing").exists());
}

#[test]
fn the_same_bytes_again_store_nothing_and_other_bytes_are_refused() {
    let world = World::new();
    world.write(&format!("a/{SEGMENT}"), &noise(1, 100_000));
    world.write(&format!("b/{SEGMENT}"), &noise(2, 100_000));
    world.write(&format!("c/{SEGMENT}"), &noise(1, 100_000)[..99_999]);
    world.write(&format!("d/{SEGMENT}"), b"");
    push(&world, "a").expect(0);
    let before = objects(&world);
    let again = push(&world, "a").expect(0).json("wal push");
    assert_eq!((&again["is_new"], &again["stored_bytes"]), (&false.into(), &0.into()));
    for other in ["b", "c", "d"] {
        let refused = push(&world, other).expect(1);
        assert!(refused.stderr.contains("with other bytes"), "{}", refused.stderr);
    }
    assert_eq!(objects(&world), before);
    world.repo(["wal", "fetch", SEGMENT, "fetched"]).expect(0);
    assert_eq!(fs::read(world.path("fetched")).unwrap(), noise(1, 100_000));
    // Another cluster's file of the same name is another file.
    world.repo(["wal", "push", "--cluster", "other", &format!("b/{SEGMENT}")]).expect(0);
    world.repo(["wal", "fetch", "--cluster", "other", SEGMENT, "fetched"]).expect(0);
    assert_eq!(fs::read(world.path("fetched")).unwrap(), noise(2, 100_000));
    world.repo(["wal", "fetch", "--cluster", "third", SEGMENT, "fetched"]).expect(1);
}

#[test]
fn names_that_postgresql_does_not_make_are_not_pushed() {
    let world = World::new();
    for name in ["segment", "000000010000000000000001.ready", "00000001000000000000000a", "a.history"] {
        world.write(&format!("odd/{name}"), b"x");
        world.repo(["wal", "push", &format!("odd/{name}")]).expect(2);
    }
    world.write(&format!("odd/{SEGMENT}"), b"x");
    world.repo(["wal", "push", "--cluster", "../x", &format!("odd/{SEGMENT}")]).expect(2);
    world.repo(["wal", "push", "--class", "nope", &format!("odd/{SEGMENT}")]).expect(2);
    world.repo(["wal", "push", "odd/000000010000000000000009"]).expect(1);
    fs::create_dir(world.path("odd/000000010000000000000008")).unwrap();
    world.repo(["wal", "push", "odd/000000010000000000000008"]).expect(1);
    assert_eq!(
        world.repo(["--json", "snapshots", "--tag", "wal"]).json("snapshots")["snapshots"],
        serde_json::json!([])
    );
    for name in ["000000010000000000000001.partial", "00000002.history", "000000010000000000000002.00000028.backup"] {
        world.write(&format!("odd/{name}"), name.as_bytes());
        world.repo(["wal", "push", &format!("odd/{name}")]).expect(0);
        world.repo(["wal", "fetch", name, "fetched"]).expect(0);
        assert_eq!(fs::read(world.path("fetched")).unwrap(), name.as_bytes());
    }
}

fn push_at_once(world: &World, directories: [&str; 2]) -> [i32; 2] {
    let start = |directory: &str| -> Child {
        let mut command = world.repo_command();
        command.args(["wal", "push", &format!("{directory}/{SEGMENT}")]).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let children = directories.map(start);
    children.map(|mut child| child.wait().unwrap().code().expect("no signal ended it"))
}

#[test]
fn two_pushes_at_once_of_the_same_bytes_both_succeed() {
    let bytes = noise(1, 2_000_000);
    for _ in 0..4 {
        let world = World::new();
        world.write(&format!("a/{SEGMENT}"), &bytes);
        world.write(&format!("b/{SEGMENT}"), &bytes);
        assert_eq!(push_at_once(&world, ["a", "b"]), [0, 0]);
        let fetched = world.repo(["wal", "fetch", SEGMENT, "fetched"]).expect(0);
        assert_eq!((fetched.stderr, fs::read(world.path("fetched")).unwrap()), (String::new(), bytes.clone()));
        world.repo(["check", "--read-data"]).expect(0);
    }
}

#[test]
fn two_pushes_at_once_of_other_bytes_never_both_succeed_and_a_fetch_is_always_the_same() {
    for _ in 0..4 {
        let world = World::new();
        world.write(&format!("a/{SEGMENT}"), &noise(1, 2_000_000));
        world.write(&format!("b/{SEGMENT}"), &noise(2, 2_000_000));
        let codes = push_at_once(&world, ["a", "b"]);
        assert!(codes.contains(&1) && codes.iter().all(|code| *code <= 1), "{codes:?}");
        let fetched: Vec<Vec<u8>> = (0..3)
            .map(|_| {
                world.repo(["wal", "fetch", SEGMENT, "fetched"]).expect(0);
                fs::read(world.path("fetched")).unwrap()
            })
            .collect();
        assert!(fetched.windows(2).all(|pair| pair[0] == pair[1]));
        // Whoever asks again hears what counts.
        let again = ["a", "b"].map(|directory| push(&world, directory).code);
        let counts = |directory: &str| fs::read(world.path(&format!("{directory}/{SEGMENT}"))).unwrap() == fetched[0];
        assert_eq!(again, ["a", "b"].map(|directory| if counts(directory) { 0 } else { 1 }));
    }
}

#[test]
fn a_push_that_is_killed_at_any_moment_is_done_by_the_next() {
    let world = World::new();
    for kill in 0..24_u64 {
        let name = format!("0000000100000000000000{kill:02X}");
        let bytes = noise(kill, 200_000);
        world.write(&format!("pg_wal/{name}"), &bytes);
        let path = format!("pg_wal/{name}");
        let mut command = world.repo_command();
        command.args(["wal", "push", &path]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(kill * 4));
        // One that has ended already was not killed; that, too, is a moment.
        let _ = child.kill();
        child.wait().unwrap();
        world.repo(["wal", "push", &path]).expect(0);
        world.repo(["wal", "fetch", &name, "fetched"]).expect(0);
        assert!(fs::read(world.path("fetched")).unwrap() == bytes, "kill {kill}");
    }
    world.repo(["check", "--read-data"]).expect(0);
    world.repo(["ledger", "verify"]).expect(0);
    let listed = world.repo(["--json", "snapshots", "--tag", "wal"]).expect(0).json("snapshots");
    assert_eq!(listed["snapshots"].as_array().unwrap().len(), 24);
}

#[test]
fn wal_files_do_not_stand_in_the_way_of_other_snapshots() {
    let world = World::with_snapshot();
    world.write(&format!("pg_wal/{SEGMENT}"), b"log");
    push(&world, "pg_wal").expect(0);
    let latest = world.repo(["ls", "latest"]).expect(0).stdout;
    assert!(latest.contains("src/a.txt"), "{latest}");
    let shown = world.repo(["--json", "snapshots"]).expect(0).json("snapshots");
    assert_eq!((shown["snapshots"].as_array().unwrap().len(), &shown["wal_files_hidden"]), (1, &1.into()));
    let lines = world.repo(["snapshots"]).expect(0).stdout;
    assert!(lines.ends_with("and 1 WAL file of PostgreSQL: --tag wal lists them\n"), "{lines}");
    let path = format!("/wal/main/{SEGMENT}");
    for words in [["--tag", "wal"], ["--path", "/wal/main"], ["--path", &path]] {
        let asked = world.repo(["--json", "snapshots"].into_iter().chain(words)).expect(0).json("snapshots");
        assert_eq!(asked["snapshots"][0]["roots"], serde_json::json!([path]), "{words:?}");
        let id = asked["snapshots"][0]["id"].as_str().unwrap();
        assert_eq!(world.repo(["dump", &format!("{id}:{path}")]).expect(0).stdout, "log");
    }
    world.repo(["backup", "src"]).expect(0);
    let parent = world.repo(["--json", "snapshots"]).expect(0).json("snapshots")["snapshots"][1]["parent_id"].clone();
    assert_eq!(parent, shown["snapshots"][0]["id"]);
}

#[test]
fn every_failure_but_an_unknown_name_has_the_code_that_was_asked_for() {
    let world = World::new();
    world.write(&format!("pg_wal/{SEGMENT}"), &noise(1, 100_000));
    push(&world, "pg_wal").expect(0);
    let fetch = |words: &[&str], name: &str| {
        world.repo(["wal", "fetch", "--failure-code", "200", name, "fetched"].iter().chain(words))
    };
    fetch(&[], "000000010000000000000002").expect(1);
    fetch(&[], "00000002.history").expect(1);
    fetch(&["-r", "nowhere"], SEGMENT).expect(200);
    fetch(&["--key-file", "nowhere"], SEGMENT).expect(200);
    world.repo(["wal", "fetch", "--failure-code", "200", SEGMENT, "missing/fetched"]).expect(200);
    let repo = world.path("repo/meta");
    fs::rename(&repo, world.path("away")).unwrap();
    let damaged = fetch(&["--json"], SEGMENT).expect(200).json("wal fetch");
    assert_eq!(damaged["error"]["kind"], "corrupt", "{damaged}");
    world.repo(["wal", "fetch", SEGMENT, "fetched"]).expect(4);
    assert!(!world.path("fetched").exists());
    fs::rename(world.path("away"), &repo).unwrap();
    fetch(&[], SEGMENT).expect(0);
    world.repo(["wal", "fetch", "--failure-code", "0", SEGMENT, "fetched"]).expect(2);
}

#[test]
fn a_fetch_needs_no_right_to_write_to_the_repository() {
    let world = World::new();
    world.write(&format!("pg_wal/{SEGMENT}"), b"log");
    push(&world, "pg_wal").expect(0);
    let before = objects(&world);
    world.repo(["wal", "fetch", SEGMENT, "fetched"]).expect(0);
    assert_eq!(objects(&world), before);
    assert_eq!(fs::metadata(world.path("fetched")).unwrap().permissions().mode() & 0o7777, 0o600);
}
