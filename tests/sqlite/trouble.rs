//! Databases that are hard to read: left in the middle of a transaction, locked, encrypted, damaged, on read-only media. Nothing is copied raw without a word.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backup_core::ops::restore::RestoreOptions;
use backup_core::source::files::Files;
use backup_core::source::sqlite::Connection;

use crate::kit::world::{backup, restore};
use crate::kit::{noise, skip};
use crate::other;
use crate::place::{Place, content, fill, listing};

#[test]
fn a_hot_journal_is_rolled_back_in_a_private_copy() {
    let mut place = Place::new();
    let outside = tempfile::tempdir().unwrap();
    let connection = Connection::open(outside.path().join("a.db")).unwrap();
    fill(&connection, "t", 20_000);
    let expected = content(&connection);
    drop(connection);
    let mut other = other::start("executes", &outside.path().join("a.db"));
    // A small cache spills changed pages into the main file before the commit.
    other.ask("PRAGMA cache_size = 5; PRAGMA synchronous = OFF; BEGIN; UPDATE t SET name = 'half done ' || id", "done");
    for suffix in ["", "-journal"] {
        let name = format!("a.db{suffix}");
        fs::copy(outside.path().join(&name), place.path(&name)).unwrap();
    }
    other.kill();
    let report = place.backup();
    let kinds: Vec<_> = report.warnings.iter().map(|warning| warning.kind).collect();
    assert_eq!(kinds, ["recovered"]);
    let target = place.restore(&report);
    assert_eq!(content(&Connection::open(target.path().join("a.db")).unwrap()), expected);
}

#[test]
fn a_log_whose_index_is_gone_is_played_back_in_a_private_copy() {
    let mut place = Place::new();
    let outside = tempfile::tempdir().unwrap();
    let connection = Connection::open(outside.path().join("a.db")).unwrap();
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    fill(&connection, "t", 500);
    for name in ["a.db", "a.db-wal"] {
        fs::copy(outside.path().join(name), place.path(name)).unwrap();
    }
    let report = place.backup();
    assert_eq!(report.warnings.iter().map(|warning| warning.kind).collect::<Vec<_>>(), ["recovered"]);
    let target = place.restore(&report);
    assert_eq!(content(&Connection::open(target.path().join("a.db")).unwrap()), content(&connection));
}

#[test]
fn what_a_killed_writer_left_is_read_as_it_was_committed() {
    for mode in ["WAL", "DELETE"] {
        let mut place = Place::new();
        let mut other = other::start("executes", &place.path("a.db"));
        other.ask(&format!("PRAGMA journal_mode = {mode}; PRAGMA cache_size = 5; CREATE TABLE t(x)"), "done");
        other.ask("INSERT INTO t VALUES (1), (2)", "done");
        other.ask("BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO t SELECT randomblob(900) FROM n", "done");
        other.kill();
        let report = place.backup();
        let target = place.restore(&report);
        assert_eq!(content(&Connection::open(target.path().join("a.db")).unwrap())["t"].len(), 2, "{mode}");
    }
}

#[test]
fn a_damaged_and_an_encrypted_database_are_copied_raw_with_a_warning_each_time() {
    let mut place = Place::new();
    let mut damaged = b"SQLite format 3\0".to_vec();
    damaged.extend(noise(1, 8192 - 16));
    fs::write(place.path("damaged.db"), &damaged).unwrap();
    // An encrypted database begins with noise; its log tells it.
    fs::write(place.path("secret.db"), noise(2, 8192)).unwrap();
    fs::write(place.path("secret.db-wal"), noise(3, 4152)).unwrap();
    place.world.surroundings.advance(3600);
    for number in 0..2 {
        let report = place.backup();
        let mut found: Vec<_> = report.warnings.iter().map(|warning| (warning.kind, &warning.subject)).collect();
        found.sort();
        assert_eq!(found.len(), 2, "{number}: {found:?}");
        assert!(found[0].0 == "raw_copy" && found[0].1.ends_with(b"damaged.db"));
        assert!(found[1].0 == "raw_copy" && found[1].1.ends_with(b"secret.db"));
        assert!(!place.state(&report, "damaged.db").unwrap().is_whole());
        let target = place.restore(&report);
        assert_eq!(fs::read(target.path().join("damaged.db")).unwrap(), damaged);
        assert_eq!(fs::read(target.path().join("secret.db-wal")).unwrap(), noise(3, 4152));
    }
}

#[test]
fn a_database_that_stays_locked_is_a_warning_and_not_copied() {
    let mut place = Place::new();
    let connection = Connection::open(place.path("a.db")).unwrap();
    fill(&connection, "t", 10);
    drop(connection);
    let mut other = other::start("executes", &place.path("a.db"));
    other.ask("BEGIN EXCLUSIVE; DELETE FROM t", "done");
    let report = place.backup();
    assert_eq!((report.counts.files_new, report.warnings.len()), (0, 1));
    assert!(report.warnings[0].message.contains("locked"), "{:?}", report.warnings);
    other.kill();
}

/// A directory seen through a mount that nothing can be written to, as on read-only media.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn of(directory: &Path, at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mount = |arguments: &[&str]| {
            let done = Command::new("mount").args(arguments).arg(at).stderr(Stdio::null()).status();
            done.is_ok_and(|status| status.success())
        };
        mount(&["--bind", directory.to_str().unwrap()]).then_some(())?;
        let mounted = Self(at.to_owned());
        mount(&["-o", "remount,bind,ro"]).then_some(mounted)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn databases_on_read_only_media_come_back() {
    for (mode, ends) in [("WAL", true), ("WAL", false), ("DELETE", true)] {
        let mut place = Place::new();
        let outside = tempfile::tempdir().unwrap();
        let connection = Connection::open(place.path("a.db")).unwrap();
        connection.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(())).unwrap();
        fill(&connection, "t", 100);
        let expected = content(&connection);
        // As it lies there after a proper end, and as after a crash.
        let media = outside.path().join("media");
        fs::create_dir(&media).unwrap();
        let suffixes: &[&str] = if ends { &[""] } else { &["", "-wal", "-shm"] };
        if ends {
            connection.close().unwrap();
            copy(&place, &media, suffixes);
        } else {
            copy(&place, &media, suffixes);
            drop(connection);
        }
        let Some(mounted) = ReadOnly::of(&media, &outside.path().join("mounted")) else {
            return skip("nothing can be mounted here: run as root");
        };
        let before = listing(&mounted.0);
        let report = backup(&mut place.repository, &Files::new([mounted.0.clone()]).unwrap());
        assert!(report.warnings.iter().all(|warning| warning.kind == "recovered"), "{mode}: {:?}", report.warnings);
        assert_eq!(listing(&mounted.0), before);
        let target = tempfile::tempdir().unwrap();
        let root = mounted.0.as_os_str().as_encoded_bytes();
        restore(&mut place.repository, report.snapshot_id, Some(root), target.path(), &RestoreOptions::new());
        assert_eq!(content(&Connection::open(target.path().join("a.db")).unwrap()), expected, "{mode}");
    }
}

/// Copies a database with what lies beside it, as a crash of the whole machine leaves it.
fn copy(place: &Place, to: &Path, suffixes: &[&str]) {
    for suffix in suffixes {
        let name = format!("a.db{suffix}");
        fs::copy(place.path(&name), to.join(&name)).unwrap();
    }
}
