//! Both ways of reading pages give the same database, and the one without a copy is there.

use std::fs;

use backup_core::source::sqlite::{Connection, PageReader};

use crate::other;
use crate::place::{Place, content, fill};

#[test]
fn the_sqlite_of_this_workspace_is_built_with_the_table_of_pages() {
    assert_eq!(
        PageReader::of_this_library(),
        PageReader::Table,
        "LIBSQLITE3_FLAGS in .cargo/config.toml is not in force"
    );
    assert_eq!(PageReader::Table.name(), "sqlite_dbpage");
}

#[test]
fn both_readers_bring_a_live_database_back() {
    for mode in ["WAL", "DELETE"] {
        for reader in [PageReader::Table, PageReader::Copy] {
            let mut place = Place::new();
            let mut other = other::start("executes", &place.path("a.db"));
            other.ask(&format!("PRAGMA journal_mode = {mode}; CREATE TABLE t(x)"), "done");
            other.ask("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000) INSERT INTO t SELECT randomblob(600) FROM n", "done");
            let files = place.files().page_reader(reader);
            let report = place.backup_of(&files);
            assert_eq!(report.warnings, [], "{mode} {reader:?}");
            let target = place.restore(&report);
            let restored = content(&Connection::open(target.path().join("a.db")).unwrap());
            assert_eq!(restored["t"].len(), 9000, "{mode} {reader:?}");
            assert_eq!(restored, content(&Connection::open(place.path("a.db")).unwrap()));
            other.end();
        }
    }
}

#[test]
fn the_table_of_pages_needs_no_room_for_a_copy() {
    let mut place = Place::new();
    let connection = Connection::open(place.path("a.db")).unwrap();
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    fill(&connection, "t", 20_000);
    drop(connection);
    let copies = || {
        let entries = fs::read_dir(std::env::temp_dir()).unwrap();
        let is_copy = |name: &str| name.starts_with("holdfast-database-");
        entries.filter(|entry| is_copy(&entry.as_ref().unwrap().file_name().to_string_lossy())).count()
    };
    let before = copies();
    place.backup();
    assert_eq!(copies(), before);
}
