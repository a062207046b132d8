//! A program that has databases open itself, and backs up the directory in which they lie.

use std::sync::{Arc, Mutex};

use backup_core::source::sqlite::Connection;

use crate::other;
use crate::place::{Place, content, fill, listing};

#[test]
fn a_transaction_of_this_process_still_excludes_others_after_its_directory_was_backed_up() {
    for mode in ["DELETE", "WAL"] {
        let mut place = Place::new();
        let connection = Connection::open(place.path("a.db")).unwrap();
        connection.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(())).unwrap();
        fill(&connection, "t", 100);
        connection.execute_batch("BEGIN IMMEDIATE; UPDATE t SET amount = 0").unwrap();
        let report = place.backup();
        assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
        assert!(report.warnings[0].message.contains("this process has it open"), "{:?}", report.warnings);
        let mut other = other::start("executes", &place.path("a.db"));
        other.ask("BEGIN IMMEDIATE", "failed");
        connection.execute_batch("COMMIT").unwrap();
        other.ask("BEGIN IMMEDIATE", "done");
        other.end();
    }
}

#[test]
fn a_database_open_here_is_read_through_the_connection_given_for_it() {
    for mode in ["DELETE", "WAL"] {
        let mut place = Place::new();
        let connection = Connection::open(place.path("a.db")).unwrap();
        connection.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(())).unwrap();
        fill(&connection, "t", 5000);
        let expected = content(&connection);
        let connection = Arc::new(Mutex::new(connection));
        let files = place.files().connection(place.path("a.db"), Arc::clone(&connection));
        let report = place.backup_of(&files);
        assert_eq!((report.warnings.len(), report.counts.files_new), (0, 1), "{:?}", report.warnings);
        let target = place.restore(&report);
        assert_eq!(content(&Connection::open(target.path().join("a.db")).unwrap()), expected, "{mode}");
        // It still works, and still excludes.
        connection.lock().unwrap().execute_batch("BEGIN IMMEDIATE; UPDATE t SET amount = 0").unwrap();
        let mut other = other::start("executes", &place.path("a.db"));
        other.ask("BEGIN IMMEDIATE", "failed");
        other.end();
    }
}

#[test]
fn a_connection_inside_a_transaction_is_a_warning() {
    let mut place = Place::new();
    let connection = Connection::open(place.path("a.db")).unwrap();
    fill(&connection, "t", 10);
    connection.execute_batch("BEGIN; DELETE FROM t").unwrap();
    let connection = Arc::new(Mutex::new(connection));
    let files = place.files().connection(place.path("a.db"), Arc::clone(&connection));
    let report = place.backup_of(&files);
    assert_eq!((report.warnings.len(), report.counts.files_new), (1, 0));
    assert!(report.warnings[0].message.contains("transaction"), "{:?}", report.warnings);
    connection.lock().unwrap().execute_batch("ROLLBACK").unwrap();
    assert_eq!(place.backup_of(&files).warnings, []);
}

#[test]
fn a_file_that_this_process_has_open_and_that_is_no_database_is_read() {
    let mut place = Place::new();
    let path = place.path("log");
    std::fs::write(&path, "a line of a log").unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let report = place.backup();
    assert_eq!((report.warnings.len(), report.counts.files_new), (0, 1));
    drop(file);
}

#[test]
fn two_backups_of_one_database_in_one_process_do_not_disturb_each_other() {
    let mut place = Place::new();
    let connection = Connection::open(place.path("a.db")).unwrap();
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    fill(&connection, "t", 60_000);
    let expected = content(&connection);
    drop(connection);
    let mut second = Place::new();
    let files = place.files();
    let before = listing(&place.data());
    std::thread::scope(|scope| {
        let other = scope.spawn(|| crate::kit::world::backup(&mut second.repository, &files));
        let report = crate::kit::world::backup(&mut place.repository, &files);
        assert_eq!((report.warnings, other.join().unwrap().warnings), (vec![], vec![]));
    });
    assert_eq!(listing(&place.data()), before, "one of them left something behind");
    place.assert_comes_back("a.db", &expected);
}
