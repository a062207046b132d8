//! A database that did not change is told by its counter, its log and its times, without reading its pages.

use backup_core::source::sqlite::{Connection, SqliteMode};

use crate::kit::world::backup;
use crate::other;
use crate::place::{Place, content, fill};

/// Makes what was written until now count as settled.
fn settle(place: &Place) {
    place.world.surroundings.advance(3600);
}

#[test]
fn an_unchanged_database_is_not_read_again_at_rest_or_open_elsewhere() {
    for mode in ["WAL", "DELETE"] {
        let mut place = Place::new();
        let mut other = other::start("executes", &place.path("a.db"));
        other.ask(&format!("PRAGMA journal_mode = {mode}; CREATE TABLE t(x); INSERT INTO t VALUES (1)"), "done");
        settle(&place);
        assert_eq!(place.backup().counts.files_new, 1);
        let second = place.backup();
        assert_eq!((second.counts.files_unchanged, second.counts.new_chunks), (1, 0), "{mode}");
        assert!(!second.notes.iter().any(|note| note.kind == "sqlite"), "it was read: {:?}", second.notes);
        other.ask("INSERT INTO t VALUES (2)", "done");
        settle(&place);
        let third = place.backup();
        assert_eq!(third.counts.files_changed, 1, "{mode}");
        let restored = place.restore(&third);
        assert_eq!(content(&Connection::open(restored.path().join("a.db")).unwrap())["t"].len(), 2, "{mode}");
        other.end();
    }
}

#[test]
fn a_database_that_changed_in_its_log_alone_is_read_again() {
    let mut place = Place::new();
    let mut other = other::start("executes", &place.path("a.db"));
    other.ask("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t(x)", "done");
    other.ask("PRAGMA wal_checkpoint(TRUNCATE)", "done");
    settle(&place);
    place.backup();
    other.ask("INSERT INTO t VALUES (1)", "done");
    settle(&place);
    let report = place.backup();
    assert_eq!(report.counts.files_changed, 1);
    let restored = place.restore(&report);
    assert_eq!(content(&Connection::open(restored.path().join("a.db")).unwrap())["t"].len(), 1);
    other.end();
}

#[test]
fn one_changed_page_costs_one_group() {
    let mut place = Place::new();
    let connection = Connection::open(place.path("a.db")).unwrap();
    fill(&connection, "t", 200_000);
    drop(connection);
    let first = place.backup();
    let connection = Connection::open(place.path("a.db")).unwrap();
    connection.execute_batch("UPDATE t SET amount = -1 WHERE id = 100000").unwrap();
    drop(connection);
    let second = place.backup();
    assert!(first.counts.new_chunks > 500, "{:?}", first.counts);
    // The first page, which has the change counter, the page of the row, and a few nodes above them.
    assert!(second.counts.new_chunks <= 8, "{:?}", second.counts);
}

#[test]
fn a_database_taken_as_a_file_before_is_read_as_one_when_asked_to() {
    let mut place = Place::new();
    let mut other = other::start("executes", &place.path("a.db"));
    other.ask("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t(x)", "done");
    settle(&place);
    let plain = place.files().sqlite(SqliteMode::Off);
    let report = backup(&mut place.repository, &plain);
    assert_eq!((report.counts.files_new, place.state(&report, "a.db")), (3, None));
    let report = place.backup();
    assert!(place.state(&report, "a.db").unwrap().is_whole());
    let target = place.restore(&report);
    assert_eq!(content(&Connection::open(target.path().join("a.db")).unwrap()).len(), 1);
    let report = backup(&mut place.repository, &plain);
    assert_eq!(place.state(&report, "a.db"), None);
    other.end();
}
