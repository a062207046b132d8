//! Databases restored onto old ones: whole, in one step, with nobody's log beside them, and never under a program that uses them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use backup_core::Repository;
use backup_core::id::EntryId;
use backup_core::ops::restore::{Overwrite, RestoreOptions, RestoreReport};
use backup_core::progress::Silent;
use backup_core::source::files::Files;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::kit::sqlite::{Client, ask};
use crate::kit::world::{World, backup};

/// A snapshot of a directory with a database of 100 rows and a letter; what is at work there now is up to the test.
struct Place {
    folder: TempDir,
    repository: Repository,
    snapshot: EntryId,
}

const MODES: [&str; 2] = ["WAL", "DELETE"];

impl Place {
    fn new(mode: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let (home, world) = (folder.path().join("home"), World::new());
        fs::create_dir(&home).unwrap();
        fs::write(home.join("letter"), "Dear Ada,").unwrap();
        make(&home.join("a.db"), mode, 100);
        let mut repository = world.init();
        let report = backup(&mut repository, &Files::new([home]).unwrap());
        let snapshot = report.snapshot_id.unwrap();
        Self { folder, repository, snapshot }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("home/a.db")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        PathBuf::from(format!("{}{suffix}", self.database().display()))
    }

    /// Restores the directory onto itself.
    fn restore(&mut self, options: &RestoreOptions) -> RestoreReport {
        let home = self.folder.path().join("home");
        let path = home.to_str().unwrap().as_bytes().to_vec();
        self.repository.restore(self.snapshot, Some(&path), &home, options, &Silent).unwrap()
    }

    /// Names in the directory, sorted.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("home")).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The name under which the old database was kept, or what lay beside it was set aside.
    fn aside(&self) -> PathBuf {
        let names = self.names();
        let found = names
            .iter()
            .find(|name| name.starts_with("a.db.before-2100-01-01T00-"))
            .unwrap_or_else(|| panic!("{names:?}"));
        let base = found.trim_end_matches("-wal").trim_end_matches("-journal");
        self.folder.path().join("home").join(base)
    }
}

fn make(path: &Path, mode: &str, rows: u32) {
    let sql = format!(
        "PRAGMA journal_mode = {mode}; CREATE TABLE t(i INTEGER PRIMARY KEY, x);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) INSERT INTO t SELECT i, randomblob(2000) FROM n;"
    );
    Connection::open(path).unwrap().execute_batch(&sql).unwrap();
}

fn rows(path: &Path) -> i64 {
    let connection = Connection::open(path).unwrap();
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

/// Makes a database and leaves it as a program does that is killed: with `commit` behind a transaction that is in the log, else within one, with a hot journal.
fn leave_interrupted(path: &Path, mode: &str, rows: u32, commit: bool) {
    let elsewhere = TempDir::new().unwrap();
    let made = elsewhere.path().join("made");
    make(&made, mode, rows);
    let connection = Connection::open(&made).unwrap();
    let sql = "PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = 2; BEGIN IMMEDIATE; DELETE FROM t WHERE i % 2 = 0; UPDATE t SET x = randomblob(2500);";
    connection.execute_batch(sql).unwrap();
    if commit {
        connection.execute_batch("COMMIT").unwrap();
    }
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let from = PathBuf::from(format!("{}{suffix}", made.display()));
        if from.exists() {
            fs::copy(from, format!("{}{suffix}", path.display())).unwrap();
        }
    }
}

#[test]
fn a_database_takes_the_place_of_one_that_was_left_in_the_middle() {
    for (mode, suffix) in [("WAL", "-wal"), ("DELETE", "-journal")] {
        let mut place = Place::new("WAL");
        fs::remove_file(place.database()).unwrap();
        leave_interrupted(&place.database(), mode, 60, mode == "WAL");
        assert!(fs::metadata(place.beside(suffix)).unwrap().len() > 0);
        let report = place.restore(&RestoreOptions::new());
        assert_eq!((&report.files_refused[..], &report.warnings[..]), (&[][..], &[][..]));
        assert_eq!((report.files_written, report.files_unchanged), (1, 1));
        assert_eq!(place.names(), ["a.db", "letter"], "{mode}");
        assert_eq!(rows(&place.database()), 100);
    }
}

#[test]
fn the_old_database_is_kept_with_what_its_log_held() {
    for (mode, commit, left) in [("WAL", true, 30), ("DELETE", false, 60)] {
        let mut place = Place::new("DELETE");
        fs::remove_file(place.database()).unwrap();
        leave_interrupted(&place.database(), mode, 60, commit);
        let report = place.restore(&RestoreOptions::new().keep_old(true).delete(true));
        assert_eq!(report.notes.iter().filter(|note| note.kind == "kept").count(), 1, "{:?}", report.notes);
        assert_eq!(place.names().len(), 3, "{:?}", place.names());
        assert_eq!((rows(&place.database()), rows(&place.aside())), (100, left), "{mode}");
        // A second one finds nothing to do, and the name that was kept stays.
        let report = place.restore(&RestoreOptions::new().keep_old(true).delete(true));
        assert_eq!((report.files_written, report.files_unchanged, report.deleted), (0, 2, 0));
        assert_eq!(rows(&place.aside()), left);
    }
}

#[test]
fn a_database_that_another_process_has_open_is_left_alone_and_the_rest_is_restored() {
    for mode in MODES {
        let mut place = Place::new(mode);
        let Some(mut client) = Client::open(&place.database(), "INSERT INTO t(x) VALUES (1)") else { return };
        fs::write(place.folder.path().join("home/letter"), "changed").unwrap();
        fs::write(place.folder.path().join("home/stray"), "stray").unwrap();
        let before: Vec<(String, Vec<u8>)> = place
            .names()
            .into_iter()
            .filter(|name| name.starts_with("a.db"))
            .map(|name| (name.clone(), fs::read(place.folder.path().join("home").join(name)).unwrap()))
            .collect();
        let report = place.restore(&RestoreOptions::new().delete(true).keep_old(true));
        assert_eq!(report.files_refused, [place.database().to_str().unwrap().as_bytes()]);
        assert!(
            report.warnings.iter().any(|warning| warning.message.contains(&client.name())),
            "{:?}",
            report.warnings
        );
        assert_eq!((report.files_written, report.deleted), (1, 1));
        for (name, content) in before {
            assert_eq!(fs::read(place.folder.path().join("home").join(name)).unwrap(), content, "{mode}");
        }
        assert_eq!(client.run("INSERT INTO t(x) VALUES (2); SELECT count(*) FROM t"), ["102"]);
        drop(client);
        let report = place.restore(&RestoreOptions::new());
        assert_eq!((report.files_refused.len(), report.files_written), (0, 1), "{mode}");
        assert_eq!(rows(&place.database()), 100);
    }
}

#[test]
fn a_database_that_this_process_has_open_is_left_alone_and_keeps_its_lock() {
    for mode in MODES {
        let mut place = Place::new(mode);
        let connection = Connection::open(place.database()).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE; DELETE FROM t").unwrap();
        let report = place.restore(&RestoreOptions::new());
        assert_eq!(report.files_refused.len(), 1, "{mode}");
        if let Some(answer) = ask(&place.database(), "DELETE FROM t") {
            assert!(answer.contains("locked"), "the lock is gone: {answer}");
        }
        connection.execute_batch("ROLLBACK").unwrap();
        drop(connection);
        assert_eq!(rows(&place.database()), 100);
    }
}

#[test]
fn a_log_whose_database_is_gone_is_set_aside_and_never_applied() {
    for (mode, suffix) in [("WAL", "-wal"), ("DELETE", "-journal")] {
        let mut place = Place::new(mode);
        fs::remove_file(place.database()).unwrap();
        leave_interrupted(&place.database(), mode, 100, mode == "WAL");
        fs::remove_file(place.database()).unwrap();
        let log = fs::read(place.beside(suffix)).unwrap();
        let report = place.restore(&RestoreOptions::new());
        assert_eq!(report.notes.iter().filter(|note| note.kind == "set_aside").count(), 1, "{:?}", report.notes);
        assert_eq!(rows(&place.database()), 100, "{mode}");
        let aside = PathBuf::from(format!("{}{suffix}", place.aside().display()));
        assert_eq!(fs::read(aside).unwrap(), log);
        assert!(!place.beside(suffix).exists() && !place.beside("-shm").exists());
    }
}

#[test]
fn what_sqlite_cannot_open_is_replaced_and_its_log_set_aside() {
    let mut place = Place::new("WAL");
    fs::write(place.database(), vec![0xA5; 8192]).unwrap();
    fs::write(place.beside("-wal"), "a log of another kind").unwrap();
    fs::write(place.beside("-journal"), "").unwrap();
    let report = place.restore(&RestoreOptions::new().keep_old(true));
    assert_eq!(report.files_refused, Vec::<Vec<u8>>::new());
    assert_eq!(rows(&place.database()), 100);
    assert_eq!(fs::read(place.aside()).unwrap(), vec![0xA5; 8192]);
    let log = PathBuf::from(format!("{}-wal", place.aside().display()));
    assert_eq!(fs::read_to_string(log).unwrap(), "a log of another kind");
    assert_eq!(place.names().len(), 4, "{:?}", place.names());
}

#[test]
fn an_equal_database_stays_and_equal_pages_are_not_written() {
    let mut place = Place::new("DELETE");
    let inode = fs::metadata(place.database()).unwrap().ino();
    let report = place.restore(&RestoreOptions::new());
    assert_eq!((report.files_written, report.files_unchanged, report.restored_bytes), (0, 2, 0));
    assert_eq!(fs::metadata(place.database()).unwrap().ino(), inode);
    Connection::open(place.database()).unwrap().execute("UPDATE t SET x = 1 WHERE i = 50", []).unwrap();
    let size = fs::metadata(place.database()).unwrap().len();
    let report = place.restore(&RestoreOptions::new().verify(true));
    assert_eq!((report.files_written, &report.files_damaged[..]), (1, &[][..]));
    assert!((1..size / 2).contains(&report.restored_bytes), "{} of {size} bytes", report.restored_bytes);
    assert_ne!(fs::metadata(place.database()).unwrap().ino(), inode);
    assert_eq!(rows(&place.database()), 100);
}

#[test]
fn what_stands_in_a_log_alone_is_a_change() {
    let mut place = Place::new("WAL");
    let before = fs::metadata(place.database()).unwrap();
    let (size, mtime) = (before.len(), before.modified().unwrap());
    let elsewhere = TempDir::new().unwrap();
    let copy = elsewhere.path().join("copy");
    fs::copy(place.database(), &copy).unwrap();
    let connection = Connection::open(&copy).unwrap();
    connection.execute_batch("PRAGMA wal_autocheckpoint = 0; DELETE FROM t WHERE i > 10").unwrap();
    fs::copy(format!("{}-wal", copy.display()), place.beside("-wal")).unwrap();
    drop(connection);
    let found = fs::metadata(place.database()).unwrap();
    assert_eq!((found.len(), found.modified().unwrap()), (size, mtime), "the file looks as it did");
    let report = place.restore(&RestoreOptions::new().overwrite(Overwrite::IfChanged));
    assert_eq!((report.files_written, report.files_unchanged), (1, 1));
    assert_eq!(rows(&place.database()), 100);
}

#[test]
fn a_link_in_the_place_of_a_database_is_replaced_and_not_followed() {
    let mut place = Place::new("WAL");
    let elsewhere = place.folder.path().join("elsewhere.db");
    fs::rename(place.database(), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, place.database()).unwrap();
    let Some(client) = Client::open(&elsewhere, "DELETE FROM t") else { return };
    place.restore(&RestoreOptions::new().keep_old(true));
    drop(client);
    assert!(fs::symlink_metadata(place.database()).unwrap().is_file());
    assert_eq!((rows(&place.database()), rows(&elsewhere)), (100, 0));
}
