//! Databases that are watched while other processes write them: every snapshot is one state that was committed, whatever happens to the database, its log or the storage.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use backup_core::id::EntryId;
use backup_core::ops::restore::RestoreOptions;
use backup_core::ops::watch::{Happened, WatchEvent, WatchOptions, WatchReport};
use backup_core::progress::{Cancel, Silent};
use backup_core::repository::RepositoryOptions;
use backup_core::source::sqlite::{Connection, Doubt};
use backup_core::storage::Storage;
use backup_core::{Error, Repository};
use tempfile::TempDir;

use crate::kit::faulty::{Faults, Mode};
use crate::kit::world::{World, check_clean, restore};
use crate::other;
use crate::place::{content, fill};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A watch in a thread of this process, and what it told.
struct Watching {
    thread: JoinHandle<backup_core::Result<WatchReport>>,
    cancel: Cancel,
    events: Arc<Mutex<Vec<WatchEvent>>>,
}

impl Watching {
    fn start(world: &World, storage: Storage, state: &Path, databases: Vec<PathBuf>, options: WatchOptions) -> Self {
        let (cancel, events) = (Cancel::new(), Arc::new(Mutex::new(Vec::new())));
        let opened = RepositoryOptions::new().threads(2).state_dir(state).cancel(cancel.clone());
        let mut repository = Repository::open(storage, &world.key, opened).unwrap();
        let heard = Arc::clone(&events);
        let thread = std::thread::spawn(move || {
            let mut each = |event: &WatchEvent| {
                heard.lock().unwrap().push(event.clone());
                Ok(())
            };
            repository.watch(&databases, &options, &mut each, &Silent)
        });
        Self { thread, cancel, events }
    }

    fn events(&self) -> Vec<WatchEvent> {
        self.events.lock().unwrap().clone()
    }

    /// Waits until something was told, and returns how many events there were before.
    fn wait(&self, from: usize, is_it: impl Fn(&WatchEvent) -> bool) {
        let started = Instant::now();
        while !self.events().iter().skip(from).any(&is_it) {
            assert!(started.elapsed() < PATIENCE && !self.thread.is_finished(), "{:?}", self.events());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops it, and returns what it told.
    fn stop(self) -> Vec<WatchEvent> {
        self.cancel.cancel();
        assert!(matches!(self.thread.join().unwrap(), Err(Error::Interrupted)));
        Arc::try_unwrap(self.events).unwrap().into_inner().unwrap()
    }
}

fn committed(event: &WatchEvent) -> Option<(EntryId, Option<Doubt>)> {
    match event.what {
        Happened::Committed { snapshot_id, whole, .. } => Some((snapshot_id, whole)),
        _ => None,
    }
}

/// A directory for databases and a state, and a repository in memory.
pub(crate) struct Scene {
    world: World,
    directory: TempDir,
}

impl Scene {
    fn new() -> Self {
        let world = World::new();
        world.init();
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("data")).unwrap();
        Self { world, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("data").join(name)
    }

    fn watch(&self, names: &[&str], options: WatchOptions) -> Watching {
        self.watch_on(self.world.storage(), names, options)
    }

    fn watch_on(&self, storage: Storage, names: &[&str], options: WatchOptions) -> Watching {
        let databases = names.iter().map(|name| self.path(name)).collect();
        Watching::start(&self.world, storage, &self.directory.path().join("state"), databases, options)
    }

    /// What a snapshot holds, as a database that can be looked at.
    fn restored(&self, repository: &mut Repository, id: EntryId, name: &str) -> (TempDir, Connection) {
        restored(repository, id, &self.path(name))
    }
}

/// Restores the database of a snapshot, and checks its integrity.
pub(crate) fn restored(repository: &mut Repository, id: EntryId, path: &Path) -> (TempDir, Connection) {
    let target = tempfile::tempdir().unwrap();
    let root = path.to_str().unwrap().as_bytes();
    restore(repository, Some(id), Some(root), &target.path().join("a.db"), &RestoreOptions::new());
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1, "something lies beside the database");
    let connection = Connection::open(target.path().join("a.db")).unwrap();
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    (target, connection)
}

/// Digests of the states that a writer was about to commit.
pub(crate) fn states(log: &Path) -> HashSet<String> {
    fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect()
}

fn make(path: &Path, mode: &str, rows: u32) {
    let connection = Connection::open(path).unwrap();
    connection.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(())).unwrap();
    fill(&connection, "t", rows);
}

/// Lets a writer work for a while, and asserts that every snapshot is one of its states. Returns how many snapshots there were, and of how many only changes were read.
fn history(mode: &str, seconds: u64) -> (usize, usize) {
    let scene = Scene::new();
    make(&scene.path("a.db"), mode, 3000);
    let writer = other::start("writes_at_random", &scene.path("a.db"));
    let watching = scene.watch(&["a.db"], WatchOptions::new().every_ms(50));
    std::thread::sleep(Duration::from_secs(seconds));
    let before = watching.events().len();
    writer.kill();
    // What the writer had committed comes, and then nothing more.
    watching.wait(before.saturating_sub(1), |event| committed(event).is_some());
    std::thread::sleep(Duration::from_millis(500));
    let events = watching.stop();
    let made: Vec<_> = events.iter().filter_map(committed).collect();
    let mut repository = scene.world.open();
    let states = states(&scene.directory.path().join("log"));
    let mut seen = HashSet::new();
    for (number, (id, whole)) in made.iter().enumerate() {
        let (_target, connection) = scene.restored(&mut repository, *id, "a.db");
        let digest = other::digest(&connection);
        assert!(states.contains(&digest), "snapshot {number} of {}, {whole:?}, is no state", made.len());
        seen.insert(digest);
    }
    check_clean(&mut repository);
    assert!(seen.len() > made.len() / 3, "{} different ones of {}", seen.len(), made.len());
    let partly = made.iter().filter(|(_, whole)| whole.is_none()).count();
    (made.len(), partly)
}

#[test]
fn every_snapshot_of_a_watched_database_is_a_state_of_its_writer() {
    let (made, partly) = history("WAL", 10);
    assert!(made >= 10 && partly >= 5, "{made} snapshots, of which {partly} in part");
}

#[test]
fn a_watched_database_without_a_log_is_read_whole_each_time() {
    let (made, partly) = history("DELETE", 5);
    assert!(made >= 2 && partly == 0, "{made} snapshots, of which {partly} in part");
}

/// Lets the other process execute something that ends with a step, waits for the snapshot that holds it, and compares.
fn step(scene: &Scene, watching: &Watching, other: &mut other::Other, number: u32, sql: &str) -> Option<Doubt> {
    let from = watching.events().len();
    other.ask(&format!("{sql}; UPDATE step SET n = {number}"), "done");
    let started = Instant::now();
    let mut looked = from;
    loop {
        assert!(started.elapsed() < PATIENCE, "step {number} did not come: {sql}");
        watching.wait(looked, |event| committed(event).is_some());
        let events = watching.events();
        let mut repository = scene.world.open();
        for event in &events[looked..] {
            let Some((id, whole)) = committed(event) else { continue };
            let (_target, connection) = scene.restored(&mut repository, id, "a.db");
            let found: u32 = connection.query_row("SELECT n FROM step", [], |row| row.get(0)).unwrap();
            if found == number {
                let now = Connection::open(scene.path("a.db")).unwrap();
                assert!(content(&connection) == content(&now), "step {number} is another: {sql}");
                return whole;
            }
        }
        looked = events.len();
    }
}

const ROWS: &str = "INSERT INTO t SELECT randomblob(900) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT i FROM n)";

#[test]
fn whatever_happens_to_a_database_its_next_snapshot_holds_it() {
    let scene = Scene::new();
    let mut other = other::start("executes", &scene.path("a.db"));
    let begin = "PRAGMA auto_vacuum = 2; PRAGMA journal_mode = WAL; CREATE TABLE t(x); CREATE TABLE step(n); INSERT INTO step VALUES (0)";
    other.ask(begin, "done");
    let watching = scene.watch(&["a.db"], WatchOptions::new().every_ms(50));
    watching.wait(0, |event| committed(event).is_some());
    let steps = [
        (ROWS, true),
        ("UPDATE t SET x = randomblob(900) WHERE rowid = 100", true),
        ("DELETE FROM t WHERE rowid > 200; PRAGMA incremental_vacuum", true),
        ("PRAGMA wal_checkpoint(PASSIVE); INSERT INTO t VALUES (zeroblob(200000))", false),
        ("VACUUM", false),
        ("CREATE INDEX i ON t(x)", false),
        ("PRAGMA wal_checkpoint(TRUNCATE)", false),
        ("PRAGMA journal_mode = DELETE", false),
        (ROWS, false),
        ("PRAGMA page_size = 8192; VACUUM", false),
        ("PRAGMA journal_mode = WAL", false),
        ("DELETE FROM t WHERE rowid % 2 = 0; VACUUM", false),
        (ROWS, false),
    ];
    for (number, (sql, is_partly)) in steps.iter().enumerate() {
        let whole = step(&scene, &watching, &mut other, number as u32 + 1, sql);
        assert!(!is_partly || whole.is_none(), "{sql}: {whole:?}");
    }
    // Another file takes its place, while the old one is still open elsewhere.
    let copy = scene.path("copy.db");
    other.ask(&format!("VACUUM INTO '{}'", copy.display()), "done");
    fs::rename(copy, scene.path("a.db")).unwrap();
    let mut newcomer = other::start("executes", &scene.path("a.db"));
    let whole = step(&scene, &watching, &mut newcomer, 100, "PRAGMA journal_mode = WAL");
    assert!(whole.is_some());
    watching.stop();
    check_clean(&mut scene.world.open());
}

#[test]
fn changes_are_collected_while_the_storage_cannot_be_reached() {
    let scene = Scene::new();
    let mut other = other::start("executes", &scene.path("a.db"));
    other
        .ask("PRAGMA journal_mode = WAL; CREATE TABLE t(x); CREATE TABLE step(n); INSERT INTO step VALUES (0)", "done");
    let faults = Faults::temporary(Mode::Count);
    let watching = scene.watch_on(scene.world.faulty(&faults), &["a.db"], WatchOptions::new().every_ms(50));
    watching.wait(0, |event| committed(event).is_some());
    faults.fail_writes(u64::MAX);
    faults.fail_reads(u64::MAX);
    for number in 1..=5 {
        other.ask(&format!("{ROWS}; UPDATE step SET n = {number}"), "done");
    }
    watching.wait(0, |event| matches!(event.what, Happened::Unreachable { .. }));
    other.ask("UPDATE step SET n = 6", "done");
    faults.fail_writes(0);
    faults.fail_reads(0);
    let whole = step(&scene, &watching, &mut other, 7, "DELETE FROM t WHERE rowid < 50");
    assert_eq!(whole, None, "nothing was missed, so nothing need be read again");
    let events = watching.stop();
    let outage = events.iter().position(|event| matches!(event.what, Happened::Unreachable { .. })).unwrap();
    let after = events[outage..].iter().find(|event| committed(event).is_some()).unwrap();
    assert!(after.lag_ms >= 1000, "the pause after an outage is a second: {after:?}");
    check_clean(&mut scene.world.open());
}

#[test]
fn two_databases_are_watched_at_once_and_each_snapshot_holds_one() {
    let scene = Scene::new();
    for name in ["a.db", "b.db"] {
        make(&scene.path(name), "WAL", 1000);
    }
    let mut writers = ["a.db", "b.db"].map(|name| other::start("executes", &scene.path(name)));
    let watching = scene.watch(&["a.db", "b.db"], WatchOptions::new().every_ms(50));
    let of = |name: &str| scene.path(name).to_str().unwrap().as_bytes().to_vec();
    for name in ["a.db", "b.db"] {
        watching.wait(0, |event| committed(event).is_some() && event.path == of(name));
    }
    for (writer, name) in writers.iter_mut().zip(["a.db", "b.db"]) {
        for name_of_row in ["another", "other"] {
            let from = watching.events().len();
            writer.ask(&format!("UPDATE t SET name = '{name_of_row}' WHERE id = 500"), "done");
            watching.wait(from, |event| committed(event).is_some() && event.path == of(name));
        }
    }
    let events = watching.stop();
    let partly = events.iter().filter(|event| matches!(committed(event), Some((_, None))));
    assert!(partly.count() >= 2, "{events:?}");
    let mut repository = scene.world.open();
    for name in ["a.db", "b.db"] {
        let last = events.iter().rev().find(|event| committed(event).is_some() && event.path == of(name)).unwrap();
        let (_target, connection) = scene.restored(&mut repository, committed(last).unwrap().0, name);
        let found: String = connection.query_row("SELECT name FROM t WHERE id = 500", [], |row| row.get(0)).unwrap();
        assert_eq!(found, "other");
    }
}

#[test]
fn with_a_lag_changes_are_collected_and_stored_together_and_the_end_stores_the_rest() {
    let scene = Scene::new();
    let mut other = other::start("executes", &scene.path("a.db"));
    other.ask("PRAGMA journal_mode = WAL; CREATE TABLE t(x)", "done");
    let options = WatchOptions::new().every_ms(100).max_lag_ms(3_600_000).duration_ms(4000);
    let watching = scene.watch(&["a.db"], options);
    watching.wait(0, |event| committed(event).is_some());
    for _ in 0..5 {
        other.ask("INSERT INTO t VALUES (1)", "done");
        std::thread::sleep(Duration::from_millis(150));
    }
    assert_eq!(watching.events().len(), 1, "it did not wait");
    let report = watching.thread.join().unwrap().unwrap();
    assert_eq!((report.snapshots, report.whole, &report.warnings[..]), (2, 1, &[][..]));
    let mut repository = scene.world.open();
    let last = watching.events.lock().unwrap().last().and_then(committed).unwrap();
    let (_target, connection) = scene.restored(&mut repository, last.0, "a.db");
    let rows: u32 = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 5);
}

#[test]
fn what_is_no_database_is_refused_at_the_beginning() {
    let scene = Scene::new();
    fs::write(scene.path("text"), [b'x'; 4096]).unwrap();
    make(&scene.path("a.db"), "WAL", 10);
    std::os::unix::fs::symlink(scene.path("a.db"), scene.path("link.db")).unwrap();
    let mut repository = scene.world.open();
    for name in ["text", "missing", "link.db", "."] {
        let watched = repository.watch(&[scene.path(name)], &WatchOptions::new(), &mut |_| Ok(()), &Silent);
        assert!(matches!(watched, Err(Error::File { .. })), "{name}: {watched:?}");
    }
    let options = WatchOptions::new().every_ms(1000).max_lag_ms(10);
    let watched = repository.watch(&[scene.path("a.db")], &options, &mut |_| Ok(()), &Silent);
    assert!(matches!(watched, Err(Error::Usage { .. })));
}

#[test]
fn a_database_that_this_process_has_open_is_watched_once_a_connection_was_given_for_it() {
    let scene = Scene::new();
    make(&scene.path("a.db"), "WAL", 1000);
    let connection = Arc::new(Mutex::new(Connection::open(scene.path("a.db")).unwrap()));
    let execute = |sql: &str| connection.lock().unwrap().execute_batch(sql).unwrap();
    execute("UPDATE t SET name = 'first' WHERE id = 500");
    let watched =
        scene.world.open().watch(&[scene.path("a.db")], &WatchOptions::new(), &mut |_| Ok(()), &Silent).unwrap_err();
    assert!(format!("{watched:?}").contains("this process has it open"), "{watched:?}");

    let options = WatchOptions::new().every_ms(50).connection(scene.path("a.db"), Arc::clone(&connection));
    let watching = scene.watch(&["a.db"], options);
    watching.wait(0, |event| committed(event).is_some());
    for name in ["second", "third"] {
        let from = watching.events().len();
        execute(&format!("BEGIN IMMEDIATE; UPDATE t SET name = '{name}' WHERE id = 500"));
        // What was read meanwhile took none of its locks away.
        let mut other = other::start("executes", &scene.path("a.db"));
        other.ask("BEGIN IMMEDIATE", "failed");
        other.end();
        execute("COMMIT");
        watching.wait(from, |event| committed(event).is_some());
    }
    let events = watching.stop();
    assert!(events.iter().any(|event| matches!(committed(event), Some((_, None)))), "all was read: {events:?}");
    let mut repository = scene.world.open();
    let last = events.iter().rev().find_map(committed).unwrap();
    let (_target, restored) = scene.restored(&mut repository, last.0, "a.db");
    let found: String = restored.query_row("SELECT name FROM t WHERE id = 500", [], |row| row.get(0)).unwrap();
    assert_eq!(found, "third");
}
