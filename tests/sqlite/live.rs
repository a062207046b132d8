//! Databases that other processes write while they are backed up: every snapshot is one state that was committed.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use backup_core::source::sqlite::Connection;

use crate::other::{self, Other};
use crate::place::{Place, content, fill};

/// Digests of the states that a writer was about to commit.
fn states(log: &Path) -> HashSet<String> {
    fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect()
}

/// Backs up many times while a writer works, and returns how many different states were seen.
fn snapshots_are_states(place: &mut Place, name: &str, backups: usize) -> usize {
    let mut seen = HashSet::new();
    for number in 0..backups {
        let files = place.files();
        let report = crate::kit::world::backup(&mut place.repository, &files);
        assert_eq!(report.warnings, [], "backup {number}");
        let target = place.restore(&report);
        let restored = Connection::open(target.path().join(name)).unwrap();
        content(&restored);
        let digest = other::digest(&restored);
        assert!(
            states(&place.data().with_file_name("log")).contains(&digest),
            "backup {number} is no state of the writer"
        );
        seen.insert(digest);
    }
    seen.len()
}

fn history(mode: &str, backups: usize) {
    let mut place = Place::new();
    let path = place.path("a.db");
    let connection = Connection::open(&path).unwrap();
    connection.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(())).unwrap();
    fill(&connection, "t", 3000);
    drop(connection);
    let writer = other::start("writes_at_random", &path);
    let seen = snapshots_are_states(&mut place, "a.db", backups);
    // Were they all the same, nothing would have been shown.
    assert!(seen > backups / 3, "{mode}: {seen}");
    writer.kill();
    // What the writer left behind is recovered where it lies, or in a copy.
    let files = place.files();
    let report = crate::kit::world::backup(&mut place.repository, &files);
    assert!(report.warnings.iter().all(|warning| warning.kind == "recovered"), "{:?}", report.warnings);
    let target = place.restore(&report);
    let restored = Connection::open(target.path().join("a.db")).unwrap();
    content(&restored);
    assert!(states(&place.data().with_file_name("log")).contains(&other::digest(&restored)));
}

#[test]
fn a_hundred_snapshots_of_a_database_in_log_mode_are_states_of_its_writer() {
    history("WAL", 100);
}

#[test]
fn snapshots_of_a_database_with_a_rollback_journal_are_states_of_its_writer() {
    history("DELETE", 40);
    history("PERSIST", 10);
}

#[test]
fn a_writer_in_log_mode_never_meets_a_lock() {
    let mut place = Place::new();
    let path = place.path("a.db");
    let connection = Connection::open(&path).unwrap();
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    fill(&connection, "t", 100_000);
    drop(connection);
    let writer = other::start("writes_impatiently", &path);
    for _ in 0..5 {
        let files = place.files();
        assert_eq!(crate::kit::world::backup(&mut place.repository, &files).warnings, []);
    }
    let said = writer.end();
    assert!(said.contains("busy 0"), "{said}");
}

#[test]
fn how_long_a_rollback_journal_keeps_writers_waiting_is_bounded_and_told() {
    let mut place = Place::new();
    let path = place.path("a.db");
    let connection = Connection::open(&path).unwrap();
    fill(&connection, "t", 200_000);
    drop(connection);
    let writer = other::start("writes_impatiently", &path);
    let files = place.files();
    let report = crate::kit::world::backup(&mut place.repository, &files);
    assert_eq!(report.warnings, []);
    let note = report.notes.iter().find(|note| note.subject.ends_with(b"a.db")).unwrap();
    let words: Vec<&str> = note.message.split(' ').collect();
    let waited: u64 = words[words.iter().position(|word| *word == "ms").unwrap() - 1].parse().unwrap();
    assert!(note.message.contains("kept waiting") && waited < 5000, "{note:?}");
    let said = writer.end();
    assert!(said.contains("commits"), "{said}");
    content(&Connection::open(place.restore(&report).path().join("a.db")).unwrap());
}

/// Lets the other process hold a transaction open, and tells whether a backup sees what it has not committed.
fn uncommitted(place: &mut Place, other: &mut Other) -> usize {
    other.ask("BEGIN IMMEDIATE; INSERT INTO t(name) VALUES ('not yet')", "done");
    let report = place.backup();
    assert_eq!(report.warnings, []);
    let target = place.restore(&report);
    let rows = content(&Connection::open(target.path().join("a.db")).unwrap())["t"].len();
    other.ask("ROLLBACK", "done");
    rows
}

#[test]
fn what_another_process_has_not_committed_is_not_in_a_snapshot() {
    for mode in ["WAL", "DELETE"] {
        let mut place = Place::new();
        let connection = Connection::open(place.path("a.db")).unwrap();
        connection.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(())).unwrap();
        fill(&connection, "t", 10);
        drop(connection);
        let mut other = other::start("executes", &place.path("a.db"));
        assert_eq!(uncommitted(&mut place, &mut other), 10, "{mode}");
        other.end();
    }
}
