//! Files of PostgreSQL's write-ahead log: what they cost, and what becomes of them when something goes wrong.

use std::fs;
use std::path::{Path, PathBuf};

use backup_core::ops::wal::{FetchReport, PushReport, WalOptions};
use backup_core::progress::Silent;
use backup_core::repository::names::SnapshotFilter;
use backup_core::repository::wal::WAL_TAG;
use backup_core::storage::Cache;
use backup_core::{Error, ErrorKind, Repository, Result};
use tempfile::TempDir;

use crate::kit::faulty::{Faults, Mode};
use crate::kit::model_source::ModelSource;
use crate::kit::noise;
use crate::kit::world::{World, backup, check_clean};

/// The name of the n-th segment.
fn segment(number: u64) -> String {
    format!("0000000100000000{number:08X}")
}

/// A directory for files on their way in and out.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn fetched(&self) -> PathBuf {
        self.0.path().join("fetched")
    }
}

fn push(repository: &mut Repository, path: &Path) -> Result<PushReport> {
    repository.push_wal(path, &WalOptions::new(), &Silent)
}

fn fetch(repository: &Repository, files: &Files, name: &str) -> Result<FetchReport> {
    repository.fetch_wal(name, &files.fetched(), &WalOptions::new(), &Silent)
}

fn files_stored(repository: &Repository) -> usize {
    let filter = SnapshotFilter::new().tag(WAL_TAG);
    repository.snapshots().iter().filter(|snapshot| filter.passes(snapshot)).count()
}

/// Requests of a process that pushes one file, and of one that fetches it, opening included: reads, writes and lists.
fn costs(world: &World, files: &Files, cache: &Path, state: &Path, number: u64) -> [[u64; 3]; 2] {
    let open = || world.open_with(world.lasting(state).cache(Cache::open(cache, 64 << 20)));
    let counted = |repository: &Repository| {
        let counts = repository.storage().counts();
        [counts.reads, counts.writes, counts.lists]
    };
    let path = files.write(&segment(number), &noise(number, 50_000));
    let mut repository = open();
    assert!(push(&mut repository, &path).unwrap().is_new);
    let pushed = counted(&repository);
    let repository = open();
    fetch(&repository, files, &segment(number)).unwrap();
    assert_eq!(fs::read(files.fetched()).unwrap(), noise(number, 50_000));
    [pushed, counted(&repository)]
}

#[test]
fn a_push_and_a_fetch_cost_the_same_however_many_files_there_are() {
    let (world, files, local) = (World::new(), Files::new(), tempfile::tempdir().unwrap());
    let (cache, state) = (local.path().join("cache"), local.path().join("state"));
    let mut repository = world.init_with(&Default::default(), world.lasting(&state));
    backup(&mut repository, &ModelSource::new("/data").file("a", &noise(1, 500_000)));
    push(&mut repository, &files.write(&segment(0), b"first")).unwrap();
    drop(repository);
    costs(&world, &files, &cache, &state, 1);
    let few = costs(&world, &files, &cache, &state, 2);
    let mut repository = world.open_with(world.lasting(&state));
    for number in 3..300 {
        push(&mut repository, &files.write(&segment(number), &noise(number, 2_000))).unwrap();
    }
    drop(repository);
    // The cache gets to know the ledger once, and every sixteenth push gathers the entries of those before.
    costs(&world, &files, &cache, &state, 300);
    let many = [301, 302].map(|number| costs(&world, &files, &cache, &state, number)).into_iter().min().unwrap();
    assert_eq!(few, many);
    let [[reads, writes, lists], [fetch_reads, fetch_writes, _]] = many;
    assert!(reads <= 4 && writes == 2 && lists <= 3, "{many:?}");
    assert!(fetch_reads <= 7 && fetch_writes == 0, "{many:?}");
}

#[test]
fn a_file_is_stored_whole_whatever_is_stored_already() {
    let (world, files) = (World::new(), Files::new());
    let mut repository = world.init();
    backup(&mut repository, &ModelSource::new("/data").file("a", &noise(1, 500_000)));
    let before = world.names("meta/").len() + world.names("packs/").len();
    for number in [1, 2] {
        let report = push(&mut repository, &files.write(&segment(number), &noise(1, 500_000))).unwrap();
        assert!(report.stored_bytes > 500_000, "{report:?}");
        assert_eq!((report.source_bytes, report.file.name), (500_000, segment(number)));
    }
    // A backup after them finds what they hold.
    let report = backup(&mut repository, &ModelSource::new("/other").file("b", &noise(1, 500_000)));
    assert!(report.counts.stored_bytes < 10_000, "{report:?}");
    assert_eq!(world.names("meta/").len() + world.names("packs/").len(), before + 3);
    check_clean(&mut repository);
}

#[test]
fn a_damaged_file_is_pushed_once_more_and_heals() {
    let (world, files) = (World::new(), Files::new());
    let path = files.write(&segment(1), &noise(1, 100_000));
    push(&mut world.init(), &path).unwrap();
    for pack in world.names("meta/") {
        world.storage().delete(&pack).unwrap();
    }
    let mut repository = world.open();
    assert_eq!(fetch(&repository, &files, &segment(1)).unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(!files.fetched().exists());
    let report = push(&mut repository, &path).unwrap();
    assert_eq!((report.is_new, report.notes.len(), report.notes[0].kind), (true, 1, "damaged"));
    // The chunks of both are the same, and so the new ones heal the first version.
    let fetched = fetch(&world.open(), &files, &segment(1)).unwrap();
    assert!(fetched.snapshot_id.is_some_and(|id| id != report.snapshot_id) && fetched.notes.is_empty(), "{fetched:?}");
    assert_eq!(fs::read(files.fetched()).unwrap(), noise(1, 100_000));
    assert!(!push(&mut world.open(), &path).unwrap().is_new);
}

/// Two processes with writers that are enrolled, each open before the other does anything.
fn two_writers(world: &World, states: &[TempDir; 2]) -> [Repository; 2] {
    drop(world.init());
    let open = |number: usize| world.open_with(world.lasting(states[number].path()));
    for number in [0, 1] {
        let files = Files::new();
        push(&mut open(number), &files.write(&segment(100 + number as u64), b"enrols")).unwrap();
    }
    [open(0), open(1)]
}

#[test]
fn of_two_versions_that_did_not_know_of_each_other_the_earlier_entry_counts() {
    let (world, files, other) = (World::new(), Files::new(), Files::new());
    let states = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [mut first, mut second] = two_writers(&world, &states);
    let winner = push(&mut first, &files.write(&segment(1), b"one")).unwrap();
    let error = push(&mut second, &other.write(&segment(1), b"two")).unwrap_err();
    assert!(matches!(&error, Error::Input { what } if what.contains("another writer")), "{error:?}");
    for _ in 0..3 {
        let repository = world.open();
        let fetched = fetch(&repository, &files, &segment(1)).unwrap();
        assert_eq!(
            (fetched.snapshot_id, fs::read(files.fetched()).unwrap()),
            (Some(winner.snapshot_id), b"one".to_vec())
        );
        assert_eq!(fetched.notes.iter().map(|note| note.kind).collect::<Vec<_>>(), ["version"]);
        assert_eq!(files_stored(&repository), 4);
    }
    let error = push(&mut world.open(), &other.0.path().join(segment(1))).unwrap_err();
    assert!(matches!(&error, Error::Input { what } if what.contains("stored already")), "{error:?}");
}

#[test]
fn equal_versions_that_did_not_know_of_each_other_are_no_conflict() {
    let (world, files) = (World::new(), Files::new());
    let states = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [mut first, mut second] = two_writers(&world, &states);
    let path = files.write(&segment(1), &noise(1, 10_000));
    assert!(push(&mut first, &path).unwrap().is_new && push(&mut second, &path).unwrap().is_new);
    let repository = world.open();
    let fetched = fetch(&repository, &files, &segment(1)).unwrap();
    assert_eq!((fetched.restored_bytes, fetched.notes), (10_000, vec![]));
}

#[test]
fn a_push_that_fails_anywhere_is_done_by_the_next_process_and_stored_once() {
    let files = Files::new();
    let path = files.write(&segment(1), &noise(1, 100_000));
    let run = |mode: Mode| {
        let (world, state, faults) = (World::new(), tempfile::tempdir().unwrap(), Faults::new(mode));
        drop(world.init_with(&Default::default(), world.lasting(state.path())));
        let mut repository = Repository::open(world.faulty(&faults), &world.key, world.lasting(state.path())).unwrap();
        let outcome = push(&mut repository, &path);
        (world, state, faults, outcome)
    };
    let mutations = run(Mode::Count).2.mutations();
    assert!(mutations >= 2);
    for k in 1..=mutations {
        for mode in [Mode::FailAt(k), Mode::StopFrom(k), Mode::Tear(k), Mode::Unanswered(k)] {
            let (world, state, _, outcome) = run(mode);
            assert!(outcome.is_err(), "{mode:?}");
            let mut repository = world.open_with(world.lasting(state.path()));
            push(&mut repository, &path).unwrap();
            assert_eq!(files_stored(&world.open()), 1, "{mode:?}");
            fetch(&repository, &files, &segment(1)).unwrap();
            assert_eq!(fs::read(files.fetched()).unwrap(), noise(1, 100_000));
            check_clean(&mut world.open());
        }
    }
}

#[test]
fn a_fetch_that_fails_leaves_what_stood_there() {
    let (world, files) = (World::new(), Files::new());
    let mut repository = world.init();
    push(&mut repository, &files.write(&segment(1), &noise(1, 100_000))).unwrap();
    fs::write(files.fetched(), b"before").unwrap();
    for pack in world.names("meta/") {
        let bytes = world.storage().read(&pack, u64::MAX >> 1).unwrap();
        let middle = bytes.len() / 2;
        let mut spoilt = bytes.clone();
        spoilt[middle] ^= 1;
        world.storage().delete(&pack).unwrap();
        world.storage().write(&pack, spoilt).unwrap();
    }
    assert_eq!(fetch(&world.open(), &files, &segment(1)).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(fs::read(files.fetched()).unwrap(), b"before");
    assert_eq!(fetch(&world.open(), &files, &segment(2)).unwrap().snapshot_id, None);
    assert_eq!(fs::read(files.fetched()).unwrap(), b"before");
    assert_eq!(fs::read_dir(files.0.path()).unwrap().count(), 2);
}

#[test]
fn names_such_as_latest_mean_a_wal_file_only_where_one_is_asked_for() {
    let (world, files) = (World::new(), Files::new());
    let mut repository = world.init();
    let usual = backup(&mut repository, &ModelSource::new("/data").file("a", b"1")).snapshot_id;
    let pushed = push(&mut repository, &files.write(&segment(1), b"log")).unwrap().snapshot_id;
    let find = |name: &str, filter: SnapshotFilter| repository.find_snapshot(name, &filter).map(|found| found.id);
    let all = SnapshotFilter::new;
    assert_eq!(find("latest", all()).ok(), usual);
    assert_eq!(find("@2200-01-01T00:00:00Z", all()).ok(), usual);
    assert_eq!(find("latest", all().path(b"/")).ok(), usual);
    for filter in [all().tag("wal"), all().path(b"/wal"), all().path(b"/wal/main")] {
        assert_eq!(find("latest", filter).unwrap(), pushed);
    }
    assert!(find("latest", all().path(b"/wal/other")).is_err());
    assert_eq!(find(&pushed.to_string(), all()).unwrap(), pushed);
    // A directory that somebody tagged so is none.
    let options = backup_core::ops::backup::BackupOptions::new().tag("wal");
    let tagged = ModelSource::new("/wal/main").file("a", b"1");
    let tagged = crate::kit::world::backup_with(&mut repository, &tagged, &options).snapshot_id;
    assert_eq!(repository.find_snapshot("latest", &all()).map(|found| found.id).ok(), tagged);
}
