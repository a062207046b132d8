//! `watch` from outside: its document, its exit codes, and that a signal ends it.

use std::process::{Command, Stdio};

use crate::world::{Run, World};

/// Makes a database. `false` where there is no tool for it.
fn make(world: &World) -> bool {
    let statement = "PRAGMA journal_mode = WAL; CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(100000))";
    let made = Command::new("sqlite3").arg(world.path("a.db")).arg(statement).stdout(Stdio::null()).status();
    made.is_ok_and(|status| status.success())
}

#[test]
fn its_document_lists_what_happened_and_ends_with_totals() {
    let world = World::new();
    if !make(&world) {
        return crate::world::skip("sqlite3 is missing");
    }
    let path = world.text("a.db");
    let watch = ["watch", &path, "--every", "100ms", "--for", "500ms", "--json"];
    let document = world.repo(watch).expect(0).json("watch");
    let events = document["events"].as_array().unwrap();
    assert_eq!(events[0]["event"], "committed");
    assert_eq!((&events[0]["path"], &events[0]["whole"]), (&path.as_str().into(), &"start".into()));
    assert_eq!(document["snapshots"], events.len());
    let listed = world.repo(["snapshots", "--json"]).expect(0).json("snapshots");
    assert_eq!(listed["snapshots"][0]["id"], events[0]["snapshot_id"]);
    // Nothing changed since: there is nothing to tell.
    let again = world.repo(watch).expect(0).json("watch");
    assert_eq!((&again["snapshots"], again["events"].as_array().unwrap().len()), (&0.into(), 0));
}

#[test]
fn what_cannot_be_watched_is_said_at_once() {
    let world = World::with_snapshot();
    world.repo(["watch", &world.text("missing.db")]).expect(1);
    let run = world.repo(["watch", &world.text("src/a.txt")]).expect(1);
    assert!(run.stderr.contains("does not begin as a SQLite database does"), "{}", run.stderr);
    world.repo(["watch"]).expect(2);
    world.repo(["watch", "a.db", "--every", "5"]).expect(2);
    world.repo(["watch", "a.db", "--every", "5s", "--max-lag", "1s"]).expect(2);
}

#[test]
fn a_signal_ends_it_with_130() {
    let world = World::new();
    if !make(&world) {
        return crate::world::skip("sqlite3 is missing");
    }
    let mut command = world.repo_command();
    command.arg("watch").arg(world.path("a.db")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Its first line says that it watches.
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
    Run::of(child.wait_with_output().unwrap()).expect(130);
    world.repo(["check", "--read-data"]).expect(0);
}
