//! Several writers, and one writer's state after mishaps.

use std::fs;
use std::path::Path;

use backup_core::ops::backup::BackupOptions;
use backup_core::progress::Silent;
use backup_core::{Error, Repository};

use crate::kit::faulty::{Faults, Mode};
use crate::kit::model_source::ModelSource;
use crate::kit::noise;
use crate::kit::world::{World, backup, check_clean, dump, made};

fn source(root: &str, number: u64) -> ModelSource {
    let mut source = ModelSource::new(root).file("a", &noise(number, 500_000));
    source.entry("a").inode = 100 + number;
    source
}

#[test]
fn two_installations_see_each_other_and_store_nothing_twice() {
    let (world, first_state, second_state) = (World::new(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut first = world.init_with(&Default::default(), world.lasting(first_state.path()));
    let mut second = world.open_with(world.lasting(second_state.path()));
    let one = backup(&mut first, &source("/one", 1));
    assert_eq!(second.snapshots().len(), 0);
    second.refresh().unwrap();
    assert_eq!(second.snapshots().len(), 1);
    let two = backup(&mut second, &source("/two", 1));
    assert!(two.counts.new_chunk_bytes < 10_000, "{:?}", two.counts);
    first.refresh().unwrap();
    assert_eq!(dump(&first, &made(&first, &two), b"/two/a"), noise(1, 500_000));
    assert_ne!(made(&first, &one).writer, made(&first, &two).writer);
    assert_eq!(first.problems().count(), 0);
    check_clean(&mut first);
}

#[test]
fn one_installation_goes_on_with_its_writer_and_two_processes_take_two() {
    let (world, state) = (World::new(), tempfile::tempdir().unwrap());
    let mut first = world.init_with(&Default::default(), world.lasting(state.path()));
    let one = backup(&mut first, &source("/data", 1));
    let mut second = world.open_with(world.lasting(state.path()));
    let two = backup(&mut second, &source("/data", 2));
    assert_ne!(made(&first, &one).writer, made(&second, &two).writer);
    drop((first, second));
    let mut third = world.open_with(world.lasting(state.path()));
    let three = backup(&mut third, &source("/data", 3));
    let writer = |id| third.snapshots().iter().find(|snapshot| Some(snapshot.id) == id).unwrap().writer;
    assert_eq!(writer(one.snapshot_id), writer(three.snapshot_id));
    assert_eq!(third.problems().count(), 0);
}

#[test]
fn a_lost_state_directory_costs_only_a_new_writer() {
    let (world, state) = (World::new(), tempfile::tempdir().unwrap());
    let path = state.path().join("state");
    backup(&mut world.init_with(&Default::default(), world.lasting(&path)), &source("/data", 1));
    fs::remove_dir_all(&path).unwrap();
    let mut repository = world.open_with(world.lasting(&path));
    let second = backup(&mut repository, &source("/data", 1));
    assert_eq!((second.counts.packs_written, repository.problems().count()), (0, 0));
}

/// Counts the mutations of a backup, and repeats it in a world where the last one, the write of its entry, fails.
fn fail_the_commit(mode: fn(u64) -> Mode, state: &Path) -> (World, Repository) {
    let run = |faults: &Faults, state: &Path| {
        let world = World::new();
        drop(world.init_with(&Default::default(), world.lasting(state)));
        let opened = Repository::open(world.faulty(faults), &world.key, world.lasting(state));
        let mut repository = opened.unwrap();
        let outcome = repository.backup(&source("/data", 1), &BackupOptions::new(), &Silent);
        (world, repository, outcome)
    };
    let counting = Faults::new(Mode::Count);
    run(&counting, &state.join("counted")).2.unwrap();
    let (world, repository, outcome) = run(&Faults::new(mode(counting.mutations())), &state.join("failing"));
    assert!(matches!(outcome, Err(Error::Storage { .. })), "{outcome:?}");
    (world, repository)
}

#[test]
fn an_entry_that_did_not_arrive_is_sent_again_by_the_next_process() {
    for mode in [Mode::FailAt, Mode::Tear] {
        let state = tempfile::tempdir().unwrap();
        let (world, failed) = fail_the_commit(mode, state.path());
        drop(failed);
        let options = || world.lasting(&state.path().join("failing"));
        let mut repository = world.open_with(options());
        assert_eq!(repository.snapshots().len(), 0);
        let report = backup(&mut repository, &source("/data", 2));
        let mut repository = world.open_with(options());
        assert_eq!((repository.snapshots().len(), repository.problems().count()), (2, 0));
        let first = repository.snapshots()[0].clone();
        assert_eq!(dump(&repository, &first, b"/data/a"), noise(1, 500_000));
        assert_eq!(dump(&repository, &made(&repository, &report), b"/data/a"), noise(2, 500_000));
        check_clean(&mut repository);
    }
}

#[test]
fn an_entry_that_did_not_arrive_is_sent_again_by_the_same_process() {
    let state = tempfile::tempdir().unwrap();
    let (world, mut repository) = fail_the_commit(Mode::FailAt, state.path());
    let report = backup(&mut repository, &source("/data", 2));
    drop(repository);
    let mut repository = world.open();
    // Both are there: the bytes of an entry that may have arrived are never replaced by others of the same place in the chain.
    assert_eq!((repository.snapshots().len(), repository.problems().count()), (2, 0));
    made(&repository, &report);
    check_clean(&mut repository);
}
