//! Installations that hold one writer's key: cloned machines, and an old state that came back.

use std::fs;
use std::path::{Path, PathBuf};

use backup_core::ops::backup::{BackupOptions, BackupReport};
use backup_core::ops::verify::verify_ledger;
use backup_core::progress::Silent;
use backup_core::{Error, Repository};
use opendal::{Operator, services};
use tempfile::TempDir;

use crate::kit::faulty::{Faults, Mode};
use crate::kit::meanwhile::Meanwhile;
use crate::kit::model_source::ModelSource;
use crate::kit::noise;
use crate::kit::world::{World, backup, check_clean, dump, made};

fn source(number: u64) -> ModelSource {
    let mut source = ModelSource::new("/data").file("a", &noise(number, 50_000));
    source.entry("a").inode = 100 + number;
    source
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A repository with one snapshot, and two installations that hold its writer's key.
struct Twins {
    world: World,
    directory: TempDir,
}

impl Twins {
    fn new() -> Self {
        let twins = Self { world: World::new(), directory: tempfile::tempdir().unwrap() };
        let mut repository = twins.world.init_with(&Default::default(), twins.world.lasting(&twins.original()));
        backup(&mut repository, &source(1));
        drop(repository);
        copy(&twins.original(), &twins.clone());
        twins
    }

    fn original(&self) -> PathBuf {
        self.directory.path().join("original")
    }

    fn clone(&self) -> PathBuf {
        self.directory.path().join("clone")
    }

    fn open(&self, state: &Path) -> Repository {
        self.world.open_with(self.world.lasting(state))
    }

    fn backup(&self, state: &Path, number: u64) -> BackupReport {
        backup(&mut self.open(state), &source(number))
    }

    /// Lets both commit at once: each into a storage that the other does not see, and then all objects come together.
    fn fork(&self) -> (BackupReport, BackupReport) {
        let elsewhere = World { medium: Operator::new(services::Memory::default()).unwrap(), ..self.world.clone() };
        copy_objects(&self.world, &elsewhere);
        let one = self.backup(&self.original(), 2);
        let two = backup(&mut elsewhere.open_with(elsewhere.lasting(&self.clone())), &source(3));
        copy_objects(&elsewhere, &self.world);
        (one, two)
    }
}

fn copy_objects(from: &World, to: &World) {
    for name in from.names("") {
        to.storage().write(&name, from.storage().read(&name, 1 << 30).unwrap()).unwrap();
    }
}

fn kinds(report: &BackupReport) -> Vec<&str> {
    report.notes.iter().map(|note| note.kind).collect()
}

#[test]
fn a_clone_that_starts_after_the_original_went_on_becomes_a_new_writer() {
    let twins = Twins::new();
    let one = twins.backup(&twins.original(), 2);
    assert_eq!(one.notes, []);
    let mut repository = twins.open(&twins.clone());
    let two = backup(&mut repository, &source(3));
    assert_eq!(kinds(&two), ["cloned"]);
    assert_ne!(made(&repository, &one).writer, made(&repository, &two).writer);
    // Each goes on as itself, and nothing more is said.
    for (state, number) in [(twins.original(), 4), (twins.clone(), 5)] {
        assert_eq!(kinds(&twins.backup(&state, number)), [""; 0]);
    }
    let mut repository = twins.world.open();
    assert_eq!((repository.problems().count(), repository.forks().len(), repository.snapshots().len()), (0, 0, 5));
    check_clean(&mut repository);
}

#[test]
fn an_old_state_that_came_back_becomes_a_new_writer() {
    let twins = Twins::new();
    twins.backup(&twins.original(), 2);
    twins.backup(&twins.original(), 3);
    fs::remove_dir_all(twins.original()).unwrap();
    copy(&twins.clone(), &twins.original());
    assert_eq!(kinds(&twins.backup(&twins.original(), 4)), ["cloned"]);
    assert_eq!(kinds(&twins.backup(&twins.original(), 5)), [""; 0]);
    let mut repository = twins.world.open();
    assert_eq!((repository.problems().count(), repository.forks().len(), repository.snapshots().len()), (0, 0, 5));
    check_clean(&mut repository);
}

#[test]
fn of_a_fork_both_snapshots_count_and_both_installations_go_on_as_new_writers() {
    let twins = Twins::new();
    let (one, two) = twins.fork();
    let mut repository = twins.world.open();
    let (first, second) = (made(&repository, &one), made(&repository, &two));
    assert_eq!(first.writer, second.writer);
    assert_eq!((repository.problems().count(), repository.forks().len()), (0, 1));
    assert_eq!(dump(&repository, &first, b"/data/a"), noise(2, 50_000));
    assert_eq!(dump(&repository, &second, b"/data/a"), noise(3, 50_000));
    let report = check_clean(&mut repository);
    assert_eq!(report.notes.iter().map(|note| note.kind).collect::<Vec<_>>(), ["forked"]);
    // Whichever of the two entries counts as the chain's head.
    for (state, number) in [(twins.original(), 4), (twins.clone(), 5)] {
        let mut repository = twins.open(&state);
        let report = backup(&mut repository, &source(number));
        assert_eq!(kinds(&report), ["forked"]);
        assert_ne!(made(&repository, &report).writer, first.writer);
        assert_eq!(kinds(&backup(&mut repository, &source(number + 2))), [""; 0]);
    }
    let mut repository = twins.world.open();
    assert_eq!((repository.problems().count(), repository.forks().len(), repository.snapshots().len()), (0, 1, 7));
    check_clean(&mut repository);
}

#[test]
fn a_fork_is_named_by_the_ledger_and_is_no_problem_of_it() {
    let twins = Twins::new();
    twins.fork();
    for key in [Some(&twins.world.key), None] {
        let report = verify_ledger(&twins.world.storage(), key, &[], twins.world.options()).unwrap();
        assert_eq!((&report.problems[..], report.forks.len()), (&[][..], 1));
        // Both ends are heads: that one of them is taken away must show later.
        assert_eq!(report.heads.len(), 2);
        let again = verify_ledger(&twins.world.storage(), key, &report.heads, twins.world.options()).unwrap();
        assert_eq!(again.problems, []);
        let name =
            twins.world.names("ledger/").into_iter().find(|name| name.ends_with(&report.heads[1].entry_id.to_string()));
        assert!(name.is_some());
    }
}

#[test]
fn a_clone_that_commits_while_the_original_runs_makes_no_fork() {
    let twins = Twins::new();
    let (world, state) = (twins.world.clone(), twins.clone());
    let meanwhile = move || drop(backup(&mut world.open_with(world.lasting(&state)), &source(3)));
    let mut repository = twins.open(&twins.original());
    let report = backup(&mut repository, &Meanwhile::new(source(2), 1, meanwhile));
    assert_eq!(kinds(&report), ["cloned"]);
    let writers: Vec<_> = repository.snapshots().iter().map(|snapshot| snapshot.writer).collect();
    assert_eq!((repository.forks().len(), writers.len()), (0, 3));
    assert_ne!(made(&repository, &report).writer, writers[0]);
    check_clean(&mut twins.world.open());
}

#[test]
fn what_both_have_signed_and_not_sent_is_no_fork() {
    let twins = Twins::new();
    let faults = Faults::new(Mode::StopFrom(2));
    let options = twins.world.lasting(&twins.original());
    let mut repository = Repository::open(twins.world.faulty(&faults), &twins.world.key, options).unwrap();
    let outcome = repository.backup(&source(2), &BackupOptions::new(), &Silent);
    assert!(matches!(outcome, Err(Error::Storage { .. })), "{outcome:?}");
    drop(repository);
    fs::remove_dir_all(twins.clone()).unwrap();
    copy(&twins.original(), &twins.clone());
    assert_eq!(kinds(&twins.backup(&twins.original(), 3)), [""; 0]);
    assert_eq!(kinds(&twins.backup(&twins.clone(), 4)), ["cloned"]);
    let mut repository = twins.world.open();
    // The one that was only signed is there, too, once.
    assert_eq!((repository.problems().count(), repository.forks().len(), repository.snapshots().len()), (0, 0, 4));
    check_clean(&mut repository);
}

#[test]
fn a_program_that_runs_on_notices_its_clone() {
    let twins = Twins::new();
    let mut repository = twins.open(&twins.original());
    assert_eq!(kinds(&backup(&mut repository, &source(2))), [""; 0]);
    fs::remove_dir_all(twins.clone()).unwrap();
    copy(&twins.original(), &twins.clone());
    assert_eq!(kinds(&twins.backup(&twins.clone(), 3)), [""; 0]);
    assert_eq!(kinds(&backup(&mut repository, &source(4))), ["cloned"]);
    assert_eq!(kinds(&backup(&mut repository, &source(5))), [""; 0]);
    assert_eq!((repository.snapshots().len(), repository.forks().len()), (5, 0));
    check_clean(&mut twins.world.open());
}

#[test]
fn a_program_that_runs_on_notices_that_its_last_entry_is_gone() {
    let twins = Twins::new();
    let mut repository = twins.open(&twins.original());
    let before = twins.world.names("ledger/");
    backup(&mut repository, &source(2));
    let newest = twins.world.names("ledger/").into_iter().find(|name| !before.contains(name)).unwrap();
    twins.world.storage().delete(&newest).unwrap();
    let outcome = repository.backup(&source(3), &BackupOptions::new(), &Silent);
    assert!(matches!(&outcome, Err(Error::RolledBack { object }) if *object == newest), "{outcome:?}");
}
