//! Every kind of database comes back as it was, whatever its pages, its journal and its tables are.

use std::fs;

use backup_core::source::sqlite::Connection;

use crate::other;
use crate::place::{Place, content, fill};

#[test]
fn databases_of_all_page_sizes_and_ways_of_vacuuming_come_back() {
    for page_bytes in [512, 1024, 4096, 16_384, 32_768, 65_536] {
        for vacuum in ["NONE", "FULL", "INCREMENTAL"] {
            let mut place = Place::new();
            let connection = Connection::open(place.path("a.db")).unwrap();
            connection
                .execute_batch(&format!("PRAGMA page_size = {page_bytes}; PRAGMA auto_vacuum = {vacuum};"))
                .unwrap();
            fill(&connection, "t", 1000);
            connection.execute_batch("DELETE FROM t WHERE id % 7 = 0").unwrap();
            let expected = content(&connection);
            drop(connection);
            place.assert_comes_back("a.db", &expected);
        }
    }
}

#[test]
fn databases_of_all_journal_modes_come_back_at_rest_and_open_elsewhere() {
    for mode in ["DELETE", "TRUNCATE", "PERSIST", "MEMORY", "OFF", "WAL"] {
        let mut place = Place::new();
        let connection = Connection::open(place.path("a.db")).unwrap();
        connection.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(())).unwrap();
        fill(&connection, "t", 500);
        let expected = content(&connection);
        drop(connection);
        place.assert_comes_back("a.db", &expected);
        let mut other = other::start("executes", &place.path("a.db"));
        other.ask("INSERT INTO t(name) VALUES ('from elsewhere')", "done");
        let connection = Connection::open(place.path("a.db")).unwrap();
        let expected = content(&connection);
        drop(connection);
        assert!(expected["t"].len() == 501, "{mode}");
        place.assert_comes_back("a.db", &expected);
        other.end();
    }
}

#[test]
fn a_log_longer_than_its_database_is_read_with_it() {
    let mut place = Place::new();
    let mut other = other::start("executes", &place.path("a.db"));
    other.ask(
        "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t(id INTEGER PRIMARY KEY, body BLOB)",
        "done",
    );
    other.ask("PRAGMA wal_checkpoint(TRUNCATE)", "done");
    for _ in 0..6 {
        other.ask("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400) INSERT INTO t(body) SELECT randomblob(3000) FROM n", "done");
    }
    let length = |name: &str| fs::metadata(place.path(name)).unwrap().len();
    assert!(length("a.db-wal") > 5 << 20 && length("a.db") < 20_000);
    let report = place.backup();
    assert_eq!(report.warnings, []);
    let target = place.restore(&report);
    assert_eq!(content(&Connection::open(target.path().join("a.db")).unwrap())["t"].len(), 2400);
    other.end();
}

#[test]
fn tables_of_all_kinds_and_attached_databases_come_back() {
    let mut place = Place::new();
    let connection = Connection::open(place.path("a.db")).unwrap();
    fill(&connection, "t", 300);
    connection
        .execute_batch(&format!(
            "CREATE TABLE w(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
             INSERT INTO w SELECT name, amount FROM t;
             CREATE VIRTUAL TABLE f USING fts5(body);
             INSERT INTO f SELECT 'some words about ' || name FROM t;
             CREATE VIRTUAL TABLE r USING rtree(id, x0, x1);
             INSERT INTO r SELECT id, id, id + 1 FROM t;
             CREATE INDEX i ON t(amount DESC) WHERE id % 2;
             CREATE VIEW v AS SELECT * FROM t JOIN w ON key = name;
             CREATE TRIGGER g AFTER DELETE ON t BEGIN DELETE FROM w WHERE key = old.name; END;
             ATTACH '{}' AS b; CREATE TABLE b.other(x); INSERT INTO b.other VALUES (1), (2);",
            place.path("b.db").display()
        ))
        .unwrap();
    let expected = content(&connection);
    drop(connection);
    place.assert_comes_back("a.db", &expected);
    let expected = content(&Connection::open(place.path("b.db")).unwrap());
    place.assert_comes_back("b.db", &expected);
}

#[test]
fn names_with_a_meaning_in_uris_or_that_are_no_text_are_only_names() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let mut place = Place::new();
    let names: [&[u8]; 5] = [b"a?mode=memory#x%20y.db", b"b &+ =.db", b"c\xff\xfe.db", b"d%.db", b"-wal"];
    for name in names {
        let path = place.data().join(OsStr::from_bytes(name));
        let connection = Connection::open(place.path("draft")).unwrap();
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
        fill(&connection, "t", 50);
        drop(connection);
        fs::rename(place.path("draft"), path).unwrap();
    }
    let report = place.backup();
    assert_eq!((report.warnings.len(), report.counts.files_new), (0, 5));
    let target = place.restore(&report);
    for name in names {
        let restored = target.path().join(OsStr::from_bytes(name));
        assert_eq!(fs::read(place.data().join(OsStr::from_bytes(name))).unwrap(), fs::read(restored).unwrap());
    }
}

#[test]
fn a_database_of_zero_pages_is_an_empty_file_even_while_its_first_transaction_is_open() {
    let mut place = Place::new();
    let mut other = other::start("executes", &place.path("a.db"));
    other.ask("BEGIN IMMEDIATE", "done");
    assert_eq!(fs::metadata(place.path("a.db")).unwrap().len(), 0);
    let report = place.backup();
    assert_eq!((report.warnings.len(), place.state(&report, "a.db")), (0, None));
    assert_eq!(fs::read(place.restore(&report).path().join("a.db")).unwrap(), b"");
    other.ask("CREATE TABLE t(x); COMMIT", "done");
    place.assert_comes_back("a.db", &[("t".to_owned(), Vec::new())].into());
    other.end();
}

#[test]
fn what_only_looks_like_the_files_of_a_database_is_kept() {
    let mut place = Place::new();
    fs::write(place.path("empty.db"), "").unwrap();
    for name in ["empty.db-wal", "text", "text-wal", "text-journal", "lonely-shm", "lonely-wal"] {
        fs::write(place.path(name), name.repeat(100)).unwrap();
    }
    let report = place.backup();
    let names: Vec<&str> = report.warnings.iter().map(|warning| warning.kind).collect();
    // A log beside what is no database by its header: it may be encrypted.
    assert_eq!((report.counts.files_new, &names[..]), (7, &["raw_copy"][..]));
    assert!(!place.state(&report, "text").unwrap().is_whole());
    let target = place.restore(&report);
    assert_eq!(fs::read(target.path().join("text-journal")).unwrap(), "text-journal".repeat(100).as_bytes());
}
