//! A repository's whole round through every kind of storage: init, backup, unchanged backup, restore, check.

use std::path::Path;

use backup_core::Repository;
use backup_core::keyring::{Key, KeyFile};
use backup_core::ops::backup::BackupOptions;
use backup_core::ops::restore::RestoreOptions;
use backup_core::progress::Silent;
use backup_core::repository::RepositoryOptions;
use backup_core::repository::open::InitOptions;
use backup_core::source::files::Files;
use backup_core::storage::{Storage, StorageOptions};

use crate::kit::noise;
use crate::kit::tree::{assert_same, tree_of};
use crate::kit::world::{check_clean, restore};
use crate::services::{self, Place};

/// Packs are larger than the parts of the storage's options below, so that S3 gets some.
fn storage(uri: &str) -> Storage {
    Storage::from_uri(uri, StorageOptions::new().part_bytes(5 << 20)).unwrap()
}

fn make_tree(root: &Path) {
    std::fs::create_dir_all(root.join("sub/dir")).unwrap();
    std::fs::write(root.join("large"), noise(1, 19 << 20)).unwrap();
    std::fs::write(root.join("sub/text"), "some words again and again ".repeat(10_000)).unwrap();
    for number in 0..40 {
        std::fs::write(root.join(format!("sub/dir/{number}")), noise(number, 3000)).unwrap();
    }
}

/// Fails unless a repository can be made and used.
pub(crate) fn expect_round(uri: &str) {
    let home = tempfile::tempdir().unwrap();
    let (tree, state, target) = (home.path().join("tree"), home.path().join("state"), home.path().join("target"));
    make_tree(&tree);
    let key = Key::File(KeyFile::generate(&Default::default()));
    let options = || RepositoryOptions::new().state_dir(&state);
    drop(Repository::init(storage(uri), &key, &InitOptions::new(), options()).unwrap());
    assert!(Repository::init(storage(uri), &key, &InitOptions::new(), options()).is_err(), "there is one already");

    let source = Files::new([tree.clone()]).unwrap();
    let mut repository = Repository::open(storage(uri), &key, options()).unwrap();
    let first = repository.backup(&source, &BackupOptions::new(), &Silent).unwrap();
    assert!(first.warnings.is_empty() && first.counts.stored_bytes > 19 << 20, "{first:?}");
    drop(repository);

    let mut repository = Repository::open(storage(uri), &key, options()).unwrap();
    assert_eq!(repository.snapshots().len(), 1);
    let before = repository.storage().counts();
    let second = repository.backup(&source, &BackupOptions::new(), &Silent).unwrap();
    let after = repository.storage().counts();
    assert_eq!(second.counts.new_chunks, 0, "{second:?}");
    assert!(after.written_bytes - before.written_bytes < 100_000, "{after:?}");

    restore(&mut repository, second.snapshot_id, None, &target, &RestoreOptions::new());
    assert_same(&tree_of(&tree), &tree_of(&target.join(tree.strip_prefix("/").unwrap())));
    check_clean(&mut repository);
    assert_eq!(repository.storage().counts().retries, 0);
}

fn expect_round_at(place: Option<Place>) {
    if let Some(place) = place {
        expect_round(&place.uri);
    }
}

#[test]
fn a_repository_lives_in_a_directory() {
    expect_round_at(Some(services::directory()));
}

#[test]
fn a_repository_lives_on_s3() {
    expect_round_at(Some(services::s3()));
}

#[test]
fn a_repository_lives_behind_webdav() {
    expect_round_at(Some(services::webdav()));
}

#[test]
fn a_repository_lives_on_azure() {
    expect_round_at(services::azurite());
}

#[test]
fn a_repository_lives_on_garage() {
    expect_round_at(services::garage());
}
