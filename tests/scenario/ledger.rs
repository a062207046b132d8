//! Verifying the ledger, with a key and without; noticing that history was taken back.

use backup_core::ops::verify::{LedgerReport, verify_ledger};
use backup_core::progress::Silent;
use backup_core::repository::RepositoryOptions;
use backup_core::{Error, ErrorKind};

use crate::kit::model_source::ModelSource;
use crate::kit::world::{World, backup, made};

fn source(number: u64) -> ModelSource {
    let mut source = ModelSource::new("/data").file("a", &crate::kit::noise(number, 1000));
    source.entry("a").inode = 100 + number;
    source
}

fn verify(world: &World, with_key: bool, noted: &[backup_core::ledger::read::Head]) -> LedgerReport {
    let key = with_key.then_some(&world.key);
    verify_ledger(&world.storage(), key, noted, world.options()).unwrap()
}

/// Names of ledger objects that a step added.
fn added(world: &World, step: impl FnOnce()) -> Vec<String> {
    let before = world.names("ledger/");
    step();
    world.names("ledger/").into_iter().filter(|name| !before.contains(name)).collect()
}

#[test]
fn an_intact_ledger_verifies_with_and_without_a_key() {
    let world = World::new();
    let mut repository = world.init();
    (0..3).for_each(|number| drop(backup(&mut repository, &source(number))));
    for with_key in [true, false] {
        let report = verify(&world, with_key, &[]);
        assert_eq!(report.problems, []);
        assert_eq!((report.with_key, report.packs), (with_key, 3));
        let again = verify(&world, with_key, &report.heads);
        assert_eq!((again.problems, again.entries), (vec![], report.entries));
    }
}

#[test]
fn a_missing_pack_is_noticed_without_a_key() {
    let world = World::new();
    backup(&mut world.init(), &source(1));
    let pack = world.names("meta/").remove(0);
    world.storage().delete(&pack).unwrap();
    let report = verify(&world, false, &[]);
    assert!(report.problems.iter().any(|problem| problem.object == pack), "{:?}", report.problems);
}

#[test]
fn noted_heads_prove_that_history_was_taken_back() {
    let (world, state) = (World::new(), tempfile::tempdir().unwrap());
    let mut repository = world.init_with(&Default::default(), world.lasting(state.path()));
    backup(&mut repository, &source(1));
    let newest = added(&world, || drop(backup(&mut repository, &source(2))));
    let noted = verify(&world, true, &[]).heads;
    world.storage().delete(&newest[0]).unwrap();
    // Nothing else names the newest entry, so only those who noted it can know.
    assert_eq!(verify(&world, false, &[]).problems, []);
    for with_key in [true, false] {
        let problems = verify(&world, with_key, &noted).problems;
        assert!(problems.iter().any(|problem| problem.what.contains("rolled back")), "{problems:?}");
    }
}

#[test]
fn an_installation_notices_that_its_newest_entry_is_gone() {
    let (world, state) = (World::new(), tempfile::tempdir().unwrap());
    let mut repository = world.init_with(&Default::default(), world.lasting(state.path()));
    backup(&mut repository, &source(1));
    let newest = added(&world, || drop(backup(&mut repository, &source(2))));
    drop(repository);
    world.storage().delete(&newest[0]).unwrap();
    let mut repository = world.open_with(world.lasting(state.path()));
    let error = repository.backup(&source(3), &Default::default(), &Silent).unwrap_err();
    assert!(matches!(&error, Error::RolledBack { object } if *object == newest[0]), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::RolledBack);
    // Reading goes on.
    assert_eq!(repository.snapshots().len(), 1);
}

#[test]
fn an_entry_that_is_missing_in_the_middle_is_named() {
    let (world, state) = (World::new(), tempfile::tempdir().unwrap());
    let mut repository = world.init_with(&Default::default(), world.lasting(state.path()));
    let middle = added(&world, || drop(backup(&mut repository, &source(1))));
    let last = backup(&mut repository, &source(2));
    world.storage().delete(&middle[0]).unwrap();
    let report = verify(&world, false, &[]);
    assert!(!report.problems.is_empty());
    let repository = world.open();
    assert!(repository.problems().count() > 0);
    made(&repository, &last);
}

#[test]
fn a_replaced_repository_is_noticed_by_noted_heads_and_by_the_key() {
    let (world, other) = (World::new(), World::new());
    backup(&mut world.init(), &source(1));
    let noted = verify(&world, false, &[]).heads;
    other.surroundings.advance(1);
    let mut forged = World::new();
    forged.surroundings = crate::kit::surroundings::TestSurroundings::new(99);
    backup(&mut forged.init(), &source(1));
    let report = verify_ledger(&forged.storage(), None, &noted, RepositoryOptions::new()).unwrap();
    assert_eq!(report.problems.len(), noted.len());
    // The forger does not have the key, so its slots do not open with it.
    let sheet = backup_core::keyring::KeyFile::generate(&forged.surroundings.environment());
    let outcome =
        verify_ledger(&forged.storage(), Some(&backup_core::keyring::Key::File(sheet)), &[], forged.options());
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::WrongKey);
}
