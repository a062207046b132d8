//! What a machine remembers of the ledger in its cache: it saves time, and nothing it says is believed over the ledger.

use std::fs;
use std::path::{Path, PathBuf};

use backup_core::Repository;
use backup_core::ops::verify::verify_ledger;
use backup_core::storage::Cache;

use crate::kit::model_source::ModelSource;
use crate::kit::world::{World, backup, check_clean};

fn source(number: u64) -> ModelSource {
    let mut source = ModelSource::new("/data").file("a", format!("content {number}").as_bytes());
    source.entry("a").inode = 100 + number;
    source
}

fn stored(snapshots: u64) -> World {
    let world = World::new();
    drop(world.init());
    (0..snapshots).for_each(|number| drop(backup(&mut world.open(), &source(number))));
    world
}

fn open(world: &World, directory: &Path) -> Repository {
    world.open_with(world.options().cache(Cache::open(directory, 64 << 20)))
}

/// The file that remembers.
fn remembered(directory: &Path) -> PathBuf {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files = files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("ledger-"));
    let file = files.next().unwrap();
    assert_eq!(files.next(), None);
    file
}

/// Snapshots, heads and problems, as an opening without a cache sees them.
fn seen(repository: &Repository) -> String {
    let snapshots: Vec<_> = repository.snapshots().iter().map(|snapshot| (snapshot.id, snapshot.writer)).collect();
    let mut problems: Vec<_> = repository.problems().map(|problem| format!("{problem:?}")).collect();
    problems.sort();
    format!("{snapshots:?} {:?} {problems:?} {:?}", repository.heads(), repository.forks())
}

#[test]
fn an_opening_that_remembers_sees_what_one_sees_that_does_not() {
    let (world, directory) = (stored(5), tempfile::tempdir().unwrap());
    let cold = open(&world, directory.path());
    assert_eq!(cold.storage().counts().reads, 1 + 1 + 1 + 11);
    let warm = open(&world, directory.path());
    assert_eq!(warm.storage().counts().reads, 1);
    assert_eq!(seen(&warm), seen(&world.open()));
    backup(&mut world.open(), &source(9));
    let warm = open(&world, directory.path());
    assert_eq!(warm.storage().counts().reads, 1 + 2);
    assert_eq!((seen(&warm), warm.snapshots().len()), (seen(&world.open()), 6));
}

#[test]
fn a_damaged_or_cut_memory_costs_reads_and_changes_nothing() {
    let (world, directory) = (stored(3), tempfile::tempdir().unwrap());
    open(&world, directory.path());
    for number in 3..6 {
        backup(&mut world.open(), &source(number));
        open(&world, directory.path());
    }
    let file = remembered(directory.path());
    let whole = fs::read(&file).unwrap();
    let expected = seen(&world.open());
    for place in (0..whole.len()).step_by(331) {
        let mut flipped = whole.clone();
        flipped[place] ^= 1;
        for spoilt in [flipped, whole[..place].to_vec()] {
            fs::write(&file, spoilt).unwrap();
            let repository = open(&world, directory.path());
            assert_eq!(seen(&repository), expected, "at {place}");
            assert!(repository.storage().counts().reads > 1, "at {place}");
            // It was mended by the way.
            let repository = open(&world, directory.path());
            assert_eq!((seen(&repository), repository.storage().counts().reads), (expected.clone(), 1), "at {place}");
        }
    }
    fs::remove_dir_all(directory.path()).unwrap();
    assert_eq!(seen(&open(&world, directory.path())), expected);
}

#[test]
fn what_the_storage_no_longer_lists_is_not_believed() {
    let (world, directory) = (stored(4), tempfile::tempdir().unwrap());
    open(&world, directory.path());
    for name in world.names("ledger/") {
        let object = world.storage().read(&name, 1 << 20).unwrap();
        world.storage().delete(&name).unwrap();
        assert_eq!(seen(&open(&world, directory.path())), seen(&world.open()), "without {name}");
        world.storage().write(&name, object).unwrap();
    }
}

#[test]
fn the_memory_of_another_repository_or_of_nobody_is_not_believed() {
    let (world, directory) = (stored(2), tempfile::tempdir().unwrap());
    open(&world, directory.path());
    let mut other = World::new();
    other.surroundings = crate::kit::surroundings::TestSurroundings::new(77);
    backup(&mut other.init(), &source(1));
    let elsewhere = tempfile::tempdir().unwrap();
    open(&other, elsewhere.path());
    fs::copy(remembered(elsewhere.path()), remembered(directory.path())).unwrap();
    let repository = open(&world, directory.path());
    assert_eq!(seen(&repository), seen(&world.open()));
    assert!(repository.storage().counts().reads > 1);
}

#[test]
fn checking_and_verifying_look_at_the_storage_and_not_at_the_memory() {
    let (world, directory) = (stored(3), tempfile::tempdir().unwrap());
    open(&world, directory.path());
    let name = world.names("ledger/").into_iter().next().unwrap();
    let mut object = world.storage().read(&name, 1 << 20).unwrap();
    let middle = object.len() / 2;
    object[middle] ^= 1;
    world.storage().delete(&name).unwrap();
    world.storage().write(&name, object).unwrap();
    let mut repository = open(&world, directory.path());
    assert_eq!(repository.problems().count(), 0);
    let report = repository.check(&Default::default(), &backup_core::progress::Silent).unwrap();
    assert!(report.damage.iter().any(|damage| damage.object.contains(&name)), "{:?}", report.damage);
    let options = world.options().cache(Cache::open(directory.path(), 64 << 20));
    let report = verify_ledger(&world.storage(), Some(&world.key), &[], options).unwrap();
    assert!(report.problems.iter().any(|problem| problem.object == name), "{:?}", report.problems);
}

#[test]
fn a_local_repository_is_remembered_once_it_is_worth_it() {
    let (world, place) = (World::new(), tempfile::tempdir().unwrap());
    let (root, directory) = (place.path().join("repository"), place.path().join("cache"));
    let storage = || {
        backup_core::storage::Storage::from_uri(root.to_str().unwrap(), backup_core::storage::StorageOptions::new())
            .unwrap()
    };
    let options = || world.options().cache(Cache::open(&directory, 64 << 20));
    let open = || Repository::open(storage(), &world.key, options()).unwrap();
    let mut repository = Repository::init(storage(), &world.key, &Default::default(), options()).unwrap();
    (0..10).for_each(|number| drop(backup(&mut repository, &source(number))));
    open();
    assert!(!directory.exists());
    (10..40).for_each(|number| drop(backup(&mut repository, &source(number))));
    let first = open();
    assert!(remembered(&directory).exists());
    let second = open();
    assert_eq!(first.storage().counts().reads - second.storage().counts().reads, 81);
    assert_eq!(seen(&second), seen(&first));
    check_clean(&mut repository);
}
