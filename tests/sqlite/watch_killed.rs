//! kill -9 of who watches and of who writes: what was committed restores, and little is missing.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use backup_core::Repository;
use backup_core::keyring::{Key, KeyFile};
use backup_core::repository::RepositoryOptions;
use backup_core::repository::open::InitOptions;
use backup_core::source::sqlite::Connection;
use backup_core::storage::{Storage, StorageOptions};

use crate::kit::surroundings::next_random;
use crate::other;
use crate::place::fill;
use crate::watch::{restored, states};

/// Interval of the watch in the second process.
const EVERY_MS: u64 = 500;

fn storage(directory: &Path) -> Storage {
    Storage::from_uri(directory.join("repository").to_str().unwrap(), StorageOptions::new()).unwrap()
}

/// Opens the repository that lies beside the directory of a database.
pub(crate) fn open(directory: &Path) -> Repository {
    let key = Key::File(KeyFile::parse(&fs::read_to_string(directory.join("key")).unwrap()).unwrap());
    let options = RepositoryOptions::new().threads(2).state_dir(directory.join("state"));
    Repository::open(storage(directory), &key, options).unwrap()
}

/// Makes a repository with a key beside it, and a database in log mode.
fn make(directory: &Path) {
    let key = KeyFile::generate(&backup_core::environment::Environment::default());
    fs::write(directory.join("key"), key.to_text().as_bytes()).unwrap();
    let options = RepositoryOptions::new().state_dir(directory.join("state"));
    Repository::init(storage(directory), &Key::File(key), &InitOptions::new(), options).unwrap();
    fs::create_dir(directory.join("data")).unwrap();
    let connection = Connection::open(directory.join("data/a.db")).unwrap();
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    fill(&connection, "t", 1000);
}

#[test]
fn kills_of_watchers_and_writers_at_any_moment_leave_only_states() {
    let directory = tempfile::tempdir().unwrap();
    let (directory, path) = (directory.path(), directory.path().join("data/a.db"));
    make(directory);
    let mut seed = 20_261_121;
    for _ in 0..6 {
        let writer = other::start("writes_at_random", &path);
        for _ in 0..2 {
            let watcher = other::start("watches", &path);
            std::thread::sleep(Duration::from_millis(next_random(&mut seed) % 1500));
            watcher.kill();
        }
        writer.kill();
    }
    let mut repository = open(directory);
    let states = states(&directory.join("log"));
    let ids: Vec<_> = repository.snapshots().iter().map(|snapshot| snapshot.id).collect();
    assert!(ids.len() >= 6, "{} snapshots", ids.len());
    for (number, id) in ids.iter().enumerate() {
        let (_target, connection) = restored(&mut repository, *id, &path);
        assert!(states.contains(&other::digest(&connection)), "snapshot {number} of {} is no state", ids.len());
    }
    crate::kit::world::check_clean(&mut repository);
}

#[test]
fn after_a_kill_no_more_than_two_intervals_are_missing() {
    // A machine that is busy with other things gets three tries; what it never may miss is four.
    let missing: Vec<u64> = (0..3).map(|_| missing_after_a_kill()).collect();
    assert!(missing.iter().any(|missing| *missing <= 2 * EVERY_MS), "{missing:?} ms are missing");
    assert!(missing.iter().all(|missing| *missing <= 4 * EVERY_MS), "{missing:?} ms are missing");
}

/// How much time lies between the newest row of what can be restored and the moment of the kill.
fn missing_after_a_kill() -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let (directory, path) = (directory.path(), directory.path().join("data/a.db"));
    make(directory);
    let writer = other::start("writes_the_time", &path);
    let watcher = other::start("watches", &path);
    std::thread::sleep(Duration::from_millis(6 * EVERY_MS));
    let killed = now_ms();
    watcher.kill();
    writer.kill();
    let mut repository = open(directory);
    let newest = repository.snapshots().last().unwrap().id;
    let (_target, connection) = restored(&mut repository, newest, &path);
    let written: i64 = connection.query_row("SELECT max(at) FROM times", [], |row| row.get(0)).unwrap();
    killed.saturating_sub(written.cast_unsigned())
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// The interval that the second process takes.
pub(crate) fn every_ms() -> u64 {
    EVERY_MS
}
