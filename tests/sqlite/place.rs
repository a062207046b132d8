//! A directory with a database, a repository, and the comparison of what comes out with what went in.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use backup_core::Repository;
use backup_core::format::database::DatabaseState;
use backup_core::ops::backup::BackupReport;
use backup_core::ops::restore::RestoreOptions;
use backup_core::source::files::Files;
use backup_core::source::sqlite::Connection;
use tempfile::TempDir;

use crate::kit::world::{World, backup, made, restore};

/// A world, and a directory whose databases are backed up.
pub(crate) struct Place {
    pub(crate) world: World,
    pub(crate) repository: Repository,
    directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let world = World::new();
        let repository = world.init();
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("data")).unwrap();
        // Tests write and back up within the same second: a clock a while ahead lets files count as settled.
        Self { world, repository, directory }
    }

    /// The directory that is backed up.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.data().join(name)
    }

    pub(crate) fn files(&self) -> Files {
        Files::new([self.data()]).unwrap()
    }

    /// Backs the directory up, and asserts that nothing beside the databases came or went, and that their main files were not written.
    pub(crate) fn backup(&mut self) -> BackupReport {
        let files = self.files();
        self.backup_of(&files)
    }

    pub(crate) fn backup_of(&mut self, files: &Files) -> BackupReport {
        let before = listing(&self.data());
        let report = backup(&mut self.repository, files);
        assert_eq!(before, listing(&self.data()), "the backup left or changed something");
        report
    }

    /// Restores the newest snapshot and returns where the directory's content lies.
    pub(crate) fn restore(&mut self, report: &BackupReport) -> TempDir {
        let target = tempfile::tempdir().unwrap();
        let data = self.data();
        let root = data.as_os_str().as_bytes();
        restore(&mut self.repository, report.snapshot_id, Some(root), target.path(), &RestoreOptions::new());
        target
    }

    /// What the snapshot tells of a database.
    pub(crate) fn state(&self, report: &BackupReport, name: &str) -> Option<DatabaseState> {
        let path = self.path(name);
        let mut found = None;
        let mut each = |listed: backup_core::ops::list::Listed| {
            if listed.path == path.as_os_str().as_bytes() {
                found = DatabaseState::of(&listed.entry);
            }
            Ok(())
        };
        self.repository.list(&made(&self.repository, report), None, &mut each).unwrap();
        found
    }

    /// Backs up, restores, and asserts that the database is whole, says the same as before, and lies alone.
    pub(crate) fn assert_comes_back(&mut self, name: &str, expected: &BTreeMap<String, Vec<String>>) {
        let report = self.backup();
        assert_eq!(report.warnings, [], "{name}");
        let target = self.restore(&report);
        let restored = target.path().join(name);
        for suffix in ["-wal", "-shm", "-journal"] {
            let beside = PathBuf::from(format!("{}{suffix}", restored.display()));
            assert!(!beside.exists(), "{} was restored", beside.display());
        }
        assert_eq!(&content(&Connection::open(&restored).unwrap()), expected, "{name}");
        assert!(self.state(&report, name).unwrap().is_whole());
    }
}

/// Length, inode and time of content of a file.
pub(crate) type Look = (u64, u64, i64, i64);

/// Names, lengths, inodes and times of content of what lies in a directory. Of the index of a log only that it is there: every reader writes its marks into it.
pub(crate) fn listing(directory: &Path) -> Vec<(PathBuf, Option<Look>)> {
    let look = |entry: fs::DirEntry| {
        let stat = entry.metadata().unwrap();
        let is_index = entry.file_name().as_bytes().ends_with(b"-shm");
        (entry.path(), (!is_index).then(|| (stat.len(), stat.ino(), stat.mtime(), stat.mtime_nsec())))
    };
    let mut found: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| look(entry.unwrap())).collect();
    found.sort();
    found
}

/// All rows of all tables as text, after a check of integrity.
pub(crate) fn content(connection: &Connection) -> BTreeMap<String, Vec<String>> {
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let mut names = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    names.into_iter().map(|name| (name.clone(), rows(connection, &name))).collect()
}

/// All rows of a table as text, in the order in which they are stored.
pub(crate) fn rows(connection: &Connection, table: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
    let columns = statement.column_count();
    let text = |row: &rusqlite::Row<'_>| {
        let values = (0..columns).map(|column| format!("{:?}", row.get_ref(column).unwrap()));
        Ok(values.collect::<Vec<_>>().join("|"))
    };
    statement.query_map([], text).unwrap().map(Result::unwrap).collect()
}

/// A table with some rows of several kinds and lengths.
pub(crate) fn fill(connection: &Connection, table: &str, rows: u32) {
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {table}(id INTEGER PRIMARY KEY, name TEXT, amount REAL, body BLOB);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO {table}(name, amount, body)
         SELECT 'row ' || i, i * 1.5, CASE i % 3 WHEN 0 THEN NULL ELSE zeroblob(i % 700) END FROM n;"
    );
    connection.execute_batch(&sql).unwrap();
}
