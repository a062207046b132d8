//! What verbs cost on a storage behind a network: requests, counted.

use std::path::{Path, PathBuf};

use backup_core::Repository;
use backup_core::ops::backup::BackupReport;
use backup_core::ops::restore::RestoreOptions;
use backup_core::progress::Silent;
use backup_core::repository::RepositoryOptions;
use backup_core::repository::open::InitOptions;
use backup_core::storage::{Cache, Counts};
use tempfile::TempDir;

use crate::kit::model_source::{ModelSource, Node};
use crate::kit::noise;
use crate::kit::world::{World, backup, check_clean};

/// A machine that has state and a cache.
struct Machine {
    world: World,
    directory: TempDir,
}

impl Machine {
    fn new(world: &World) -> Self {
        Self { world: world.clone(), directory: tempfile::tempdir().unwrap() }
    }

    fn cache(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    fn options(&self) -> RepositoryOptions {
        self.world.lasting(&self.directory.path().join("state")).cache(Cache::open(&self.cache(), 1 << 30))
    }

    fn init(&self) -> Repository {
        self.world.init_with(&InitOptions::new(), self.options())
    }

    fn open(&self) -> Repository {
        self.world.open_with(self.options())
    }

    fn forget(&self) {
        std::fs::remove_dir_all(self.cache()).unwrap();
    }

    /// Opens and backs up, as one run of the command does.
    fn backup(&self, source: &ModelSource) -> (BackupReport, Counts) {
        let mut repository = self.open();
        let report = backup(&mut repository, source);
        (report, repository.storage().counts())
    }

    /// Opens and restores one file.
    fn restore(&self, path: &str, expected: &[u8]) -> Counts {
        let mut repository = self.open();
        let id = repository.snapshots().last().unwrap().id;
        let target = self.directory.path().join("restored");
        let options = RestoreOptions::new();
        let report = repository.restore(id, Some(path.as_bytes()), &target, &options, &Silent).unwrap();
        assert_eq!((report.files_written, report.notes.len(), report.warnings.len()), (1, 0, 0));
        assert_eq!(std::fs::read(&target).unwrap(), expected);
        std::fs::remove_file(&target).unwrap();
        repository.storage().counts()
    }
}

/// Many small files in directories of a hundred, four levels deep, and some content.
fn tree(files: u64) -> ModelSource {
    let mut source = ModelSource::new("/data");
    for number in 0..files {
        let path = format!("{:02}/{:02}/{number:06}", number / 10_000, number / 100 % 100);
        source.put(&path, Node::File(Vec::new()));
    }
    source.file("00/07/letter", &noise(1, 70_000)).file("big", &noise(2, 30 << 20))
}

fn levels(path: &str) -> u64 {
    path.split('/').skip(1).count() as u64
}

const LETTER: &str = "/data/00/07/letter";

#[test]
fn an_unchanged_backup_needs_few_requests_however_many_files_there_are() {
    let mut counted = Vec::new();
    for files in [80_000, 100] {
        let world = World::new();
        let machine = Machine::new(&world);
        drop(world.init());
        let source = tree(files);
        machine.backup(&source);
        let (report, counts) = machine.backup(&source);
        assert_eq!((report.counts.files_unchanged, report.counts.stored_bytes), (files + 2, 0));
        counted.push(counts.requests());
    }
    // The repository object; lists of key slots, of the ledger twice, and of packs in both areas; the last own entry; the new one.
    assert_eq!(counted, [8, 8]);
}

#[test]
fn restoring_one_small_file_of_80_000_needs_few_requests() {
    let world = World::new();
    let machine = Machine::new(&world);
    drop(machine.init());
    machine.backup(&tree(80_000));
    machine.forget();
    let cold = machine.restore(LETTER, &noise(1, 70_000));
    assert!(cold.requests() < 10 + levels(LETTER), "{cold:?}");
    let warm = machine.restore(LETTER, &noise(1, 70_000));
    assert!(warm.requests() < 10, "{warm:?}");
}

#[test]
fn restoring_one_small_file_of_a_few_needs_few_requests() {
    let source = ModelSource::new("/data").file("a/b/c", &noise(1, 20_000)).file("top", &noise(2, 20_000));
    for (path, seed) in [("/data/a/b/c", 1), ("/data/top", 2)] {
        let world = World::new();
        let machine = Machine::new(&world);
        drop(machine.init());
        machine.backup(&source);
        machine.forget();
        let cold = machine.restore(path, &noise(seed, 20_000));
        assert!(cold.requests() < 10, "{cold:?}");
        let warm = machine.restore(path, &noise(seed, 20_000));
        assert!(warm.requests() < 8, "{warm:?}");
    }
}

/// A repository with earlier backups of several machines, each with a pack of its own.
fn with_history(backups: u64) -> (World, ModelSource) {
    let world = World::new();
    drop(world.init());
    let states = tempfile::tempdir().unwrap();
    for number in 0..backups {
        let state = states.path().join((number % 3).to_string());
        backup(&mut world.open_with(world.lasting(&state)), &small(number));
    }
    (world, small(backups))
}

fn small(number: u64) -> ModelSource {
    ModelSource::new(&format!("/machine-{}", number % 3)).file(&format!("file-{number}"), &noise(number, 5000))
}

#[test]
fn with_hundreds_of_backups_a_warm_opening_reads_only_what_is_new() {
    let (world, source) = with_history(300);
    let machine = Machine::new(&world);
    machine.backup(&source);
    let (_, counts) = machine.backup(&source);
    assert!(counts.requests() < 12, "{counts:?}");
    let counts = machine.restore("/machine-0/file-300", &noise(300, 5000));
    assert!(counts.requests() < 10, "{counts:?}");
    // Two more of another one: its enrolment and its entries, and their tables, nothing else.
    let other = Machine::new(&world);
    other.backup(&small(1001));
    other.backup(&small(1002));
    let mut repository = machine.open();
    let before = repository.storage().counts();
    assert_eq!(before.reads, 1 + 3, "{before:?}");
    repository.count_chunks().unwrap();
    let opened = repository.storage().counts();
    assert_eq!((opened.reads - before.reads, opened.lists - before.lists), (2, 0), "{opened:?}");
    assert_eq!(repository.snapshots().len(), 304);
    check_clean(&mut repository);
}

fn reads(directory: &Path, world: &World) -> u64 {
    world.open_with(world.options().cache(Cache::open(directory, 1 << 30))).storage().counts().reads
}

#[test]
fn what_is_opened_for_the_first_time_is_gathered_for_it() {
    let world = World::new();
    let machine = Machine::new(&world);
    drop(world.init());
    for number in 0..70 {
        machine.backup(&small(number));
    }
    let directory = tempfile::tempdir().unwrap();
    let cold = reads(directory.path(), &world);
    let objects = world.names("ledger/").len();
    assert!(objects > 70 && cold < 20, "{cold} reads of {objects} objects");
    let repository = world.open();
    assert_eq!((repository.snapshots().len(), repository.problems().count()), (70, 0));
    assert_eq!(reads(directory.path(), &world), 1);
    check_clean(&mut world.open());
    check_clean(&mut machine.open());
}
