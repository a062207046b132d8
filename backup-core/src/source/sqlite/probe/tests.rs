//! Probes of real databases, and digests against bytes that are put together by hand from the specification.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::*;
use crate::crypto::hash;

fn probe(connection: &Connection, list: &str) -> ProbeResult {
    let request = ProbeRequest::parse(format!("/x.db:{list}").as_bytes(), b"/").unwrap();
    run(connection, &request)
}

fn digest(connection: &Connection, table: &str) -> [u8; 32] {
    let result = probe(connection, &format!("{table}=digest"));
    result.tables[0].digest.unwrap_or_else(|| panic!("{result:?}"))
}

fn memory(sql: &str) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(sql).unwrap();
    connection
}

fn file(directory: &Path, sql: &str) -> PathBuf {
    let path = directory.join("a ?#%.db");
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    path
}

/// The head of a digest.
fn head(columns: &[&str]) -> Vec<u8> {
    let mut bytes = (columns.len() as u32).to_le_bytes().to_vec();
    columns.iter().for_each(|name| bytes.extend(counted(name.as_bytes())));
    bytes
}

fn counted(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes()[..], bytes].concat()
}

fn integer(number: i64) -> Vec<u8> {
    [&[VALUE_INTEGER][..], &number.to_le_bytes()].concat()
}

fn real(number: f64) -> Vec<u8> {
    [&[VALUE_REAL][..], &number.to_bits().to_le_bytes()].concat()
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [vec![VALUE_TEXT], counted(bytes)].concat()
}

fn blob(bytes: &[u8]) -> Vec<u8> {
    [vec![VALUE_BLOB], counted(bytes)].concat()
}

#[test]
fn a_digest_is_made_of_the_bytes_that_the_format_gives() {
    let connection = memory(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v);
         INSERT INTO t VALUES (9, 'a' || char(0) || 'b'), (-1, NULL), (2, x'00ff'), (3, 9e999), (4, -1.5), (5, ''), (6, 9e999 - 9e999), (7, 42);",
    );
    let rows = [
        (-1, vec![VALUE_NULL]),
        (2, blob(b"\0\xff")),
        (3, real(f64::INFINITY)),
        (4, real(-1.5)),
        (5, text(b"")),
        (6, vec![VALUE_NULL]),
        (7, integer(42)),
        (9, text(b"a\0b")),
    ];
    let rows: Vec<u8> = rows.into_iter().flat_map(|(id, value)| [integer(id), value].concat()).collect();
    assert_eq!(digest(&connection, "t"), hash(&[head(&["id", "v"]), rows].concat()));
    assert_eq!(probe(&connection, "T=digest").tables[0].rows, 8);
}

#[test]
fn a_digest_follows_what_rows_hold_and_nothing_else() {
    let sql = |page: u32, encoding: &str| {
        format!(
            "PRAGMA page_size = {page}; PRAGMA encoding = '{encoding}'; CREATE TABLE filler(x); INSERT INTO filler VALUES (zeroblob({page}));
             CREATE TABLE t(a TEXT, b REAL, c AS (a || b)); CREATE INDEX i ON t(b);
             INSERT INTO t(a, b) VALUES ('größer', 1), ('z', 2.5), ('delete me', 0), ('€', 3); DELETE FROM t WHERE a = 'delete me';"
        )
    };
    let rows = [text("größer".as_bytes()), real(1.0), text(b"z"), real(2.5), text("€".as_bytes()), real(3.0)].concat();
    let expected = hash(&[head(&["a", "b"]), rows].concat());
    for page in [512, 1024, 4096, 65536] {
        for encoding in ["UTF-8", "UTF-16le", "UTF-16be"] {
            let connection = memory(&sql(page, encoding));
            assert_eq!(digest(&connection, "t"), expected, "{page} {encoding}");
        }
    }
    let connection = memory(&sql(4096, "UTF-8"));
    connection.execute_batch("DROP INDEX i; VACUUM").unwrap();
    assert_eq!(digest(&connection, "t"), expected);
    connection.execute_batch("UPDATE t SET b = 4 WHERE a = 'z'").unwrap();
    assert_ne!(digest(&connection, "t"), expected);
}

#[test]
fn a_table_without_rowid_is_digested_in_the_order_of_its_key() {
    let connection = memory(
        "CREATE TABLE t(v, a TEXT COLLATE NOCASE, b INTEGER, PRIMARY KEY(b DESC, a)) WITHOUT ROWID;
         INSERT INTO t VALUES (1, 'b', 1), (2, 'A', 1), (3, 'c', 2);",
    );
    let row = |v: i64, a: &str, b: i64| [integer(v), text(a.as_bytes()), integer(b)].concat();
    let rows = [row(3, "c", 2), row(2, "A", 1), row(1, "b", 1)].concat();
    assert_eq!(digest(&connection, "t"), hash(&[head(&["v", "a", "b"]), rows].concat()));
}

#[test]
fn a_column_may_have_the_name_of_a_rowid() {
    let connection = memory("CREATE TABLE t(rowid TEXT, oid); INSERT INTO t VALUES ('z', 1), ('a', 2);");
    let rows = [text(b"z"), integer(1), text(b"a"), integer(2)].concat();
    assert_eq!(digest(&connection, "t"), hash(&[head(&["rowid", "oid"]), rows].concat()));
    let connection = memory("CREATE TABLE t(rowid, oid, _ROWID_)");
    assert_eq!(probe(&connection, "t=digest").tables[0].state, TABLE_UNREADABLE);
    assert_eq!(probe(&connection, "t").tables[0].state, TABLE_READ);
}

#[test]
fn virtual_tables_are_tables_and_views_are_none() {
    let connection = memory(
        "CREATE VIRTUAL TABLE f USING fts5(body); INSERT INTO f VALUES ('one'), ('two');
         CREATE VIRTUAL TABLE r USING rtree(id, low, high); INSERT INTO r VALUES (7, 1, 2);
         CREATE VIEW v AS SELECT 1; CREATE TABLE \"odd \"\" name\"(x);",
    );
    let result = probe(&connection, "f=digest,r=digest,v,gone=digest,\"odd \"\" name\",sqlite_schema,@full");
    let states: Vec<(u8, u64)> = result.tables.iter().map(|table| (table.state, table.rows)).collect();
    let schema =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)).unwrap() as u64;
    let expected = [
        (TABLE_READ, 2),
        (TABLE_READ, 1),
        (TABLE_MISSING, 0),
        (TABLE_MISSING, 0),
        (TABLE_READ, 0),
        (TABLE_READ, schema),
    ];
    assert_eq!(states, expected, "{result:?}");
    assert_eq!(result.tables[0].digest, Some(hash(&[head(&["body"]), text(b"one"), text(b"two")].concat())));
    assert_eq!(result.complaints, Vec::<String>::new());
    assert_eq!(outcome(&result).unwrap(), "table v: it is a view; table gone: there is no such table");
}

#[test]
fn versions_are_those_of_the_database() {
    let connection = memory("CREATE TABLE t(x); PRAGMA user_version = -7;");
    let before = probe(&connection, "t");
    assert_eq!(before.user_version, -7);
    connection.execute_batch("ALTER TABLE t ADD COLUMN y").unwrap();
    let after = probe(&connection, "t");
    assert_eq!(outcome(&after), None);
    let differences = compare(&before, &after);
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert!(differences[0].message.starts_with("schema version"), "{differences:?}");
}

#[test]
fn a_later_answer_differs_by_rows_digest_and_presence() {
    let connection =
        memory("CREATE TABLE t(x); INSERT INTO t VALUES (1), (2); CREATE TABLE u(x); INSERT INTO u VALUES (1);");
    let before = probe(&connection, "t=digest,u=digest,w");
    assert_eq!(compare(&before, &before), []);
    connection.execute_batch("DELETE FROM t WHERE x = 1; UPDATE u SET x = 2").unwrap();
    let messages = |found: &ProbeResult| -> Vec<String> {
        let tell = |difference: Difference| format!("{}: {}", difference.table.unwrap_or_default(), difference.message);
        compare(&before, found).into_iter().map(tell).collect()
    };
    let found = probe(&connection, "t=digest,u=digest,w");
    assert_eq!(messages(&found), ["t: 2 rows were recorded, 1 are found", "u: its digest is not the recorded one"]);
    connection.execute_batch("DROP TABLE t; CREATE TABLE w(x); PRAGMA schema_version = 3").unwrap();
    let found = ProbeResult { schema_version: before.schema_version, ..probe(&connection, "t=digest,u=digest,w") };
    let expected = [
        "t: there is no such table",
        "u: its digest is not the recorded one",
        "w: it was missing when it was recorded, and is there",
    ];
    assert_eq!(messages(&found), expected);
}

#[test]
fn a_damaged_page_is_found_by_table_and_check() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(
        directory.path(),
        "PRAGMA page_size = 512; CREATE TABLE t(x); CREATE TABLE u(x); INSERT INTO u VALUES (1);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) INSERT INTO t SELECT zeroblob(300) FROM n;",
    );
    let requests = [ProbeRequest::parse(b"/x.db:t=digest,u=digest,@quick", b"/").unwrap()];
    let before = run_on_file(&path, &requests).remove(0);
    assert_eq!(outcome(&before), None, "{before:?}");
    let root: i64 = Connection::open(&path)
        .unwrap()
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 't'", [], |row| row.get(0))
        .unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let at = (root as usize - 1) * 512;
    bytes[at..at + 512].fill(0xA5);
    std::fs::write(&path, &bytes).unwrap();
    let found = run_on_file(&path, &requests).remove(0);
    assert_eq!((found.tables[0].state, found.tables[1].state), (TABLE_DAMAGED, TABLE_READ), "{found:?}");
    assert!(!found.complaints.is_empty());
    let tables: Vec<Option<String>> = compare(&before, &found).into_iter().map(|difference| difference.table).collect();
    assert_eq!(tables, [None, Some("t".to_owned())]);
    assert!(outcome(&found).unwrap().contains("table t: "), "{found:?}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "something was left beside it");
}

#[test]
fn what_is_no_database_cannot_be_probed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.db");
    std::fs::write(&path, vec![7; 4096]).unwrap();
    let requests = [ProbeRequest::parse(b"/x.db:t,@quick", b"/").unwrap()];
    let result = run_on_file(&path, &requests).remove(0);
    assert!(result.failure.is_some() && result.tables.is_empty(), "{result:?}");
    assert!(outcome(&result).unwrap().starts_with("it cannot be probed: "));
    assert_eq!(compare(&result, &result), [], "what failed at first is no difference");
}

#[test]
fn what_this_sqlite_lacks_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let sql = "CREATE VIRTUAL TABLE r USING rtree(id, low, high); CREATE TABLE t(x);";
    let path = file(directory.path(), sql);
    let requests = [ProbeRequest::parse(b"/x.db:r,t", b"/").unwrap()];
    let before = run_on_file(&path, &requests).remove(0);
    assert_eq!(outcome(&before), None);
    let sql =
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'rtree', 'absent') WHERE name = 'r'";
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let found = run_on_file(&path, &requests).remove(0);
    let differences = compare(&before, &found);
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert!(differences[0].is_doubtful && differences[0].message.contains("absent"), "{differences:?}");
    assert_eq!(found.tables[1].state, TABLE_READ);
}
