//! The local cache saves requests, and may be lost or spoilt at any time.

use std::fs;
use std::path::Path;

use backup_core::Repository;
use backup_core::storage::Cache;

use crate::kit::model_source::ModelSource;
use crate::kit::noise;
use crate::kit::world::{World, backup, check_clean, dump};

fn stored() -> (World, ModelSource) {
    let source = ModelSource::new("/data").file("a", &noise(1, 100_000)).file("below/b", b"small");
    let world = World::new();
    backup(&mut world.init(), &source);
    (world, source)
}

fn open(world: &World, directory: &Path) -> Repository {
    world.open_with(world.options().cache(Cache::open(directory, 64 << 20)))
}

/// Uses the repository in every way that the cache has a part in, and says how many reads it took.
fn use_it(world: &World, directory: &Path, source: &ModelSource) -> u64 {
    let mut repository = open(world, directory);
    assert_eq!(repository.problems().count(), 0);
    let snapshot = repository.snapshots()[0].clone();
    assert_eq!(dump(&repository, &snapshot, b"/data/a"), noise(1, 100_000));
    backup(&mut repository, source);
    repository.storage().counts().reads
}

fn files_below(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn what_is_cached_is_not_read_again() {
    let ((world, source), directory) = (stored(), tempfile::tempdir().unwrap());
    let cold = use_it(&world, directory.path(), &source);
    let warm = use_it(&world, directory.path(), &source);
    assert!(warm < cold, "{warm} of {cold} reads");
    let counts = open(&world, directory.path()).storage().counts();
    assert!(counts.cache_hits > 0, "{counts:?}");
}

#[test]
fn a_cache_that_is_deleted_meanwhile_is_made_again() {
    let ((world, source), directory) = (stored(), tempfile::tempdir().unwrap());
    let path = directory.path().join("cache");
    use_it(&world, &path, &source);
    let mut repository = open(&world, &path);
    fs::remove_dir_all(&path).unwrap();
    backup(&mut repository, &source);
    fs::remove_dir_all(&path).unwrap();
    use_it(&world, &path, &source);
    check_clean(&mut open(&world, &path));
}

#[test]
fn spoilt_pieces_are_noticed_and_fetched_again() {
    let ((world, source), directory) = (stored(), tempfile::tempdir().unwrap());
    use_it(&world, directory.path(), &source);
    let spoil: [fn(Vec<u8>) -> Vec<u8>; 3] = [
        |mut bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            bytes
        },
        |bytes| bytes[..bytes.len() / 2].to_vec(),
        |bytes| vec![0; bytes.len()],
    ];
    for spoil in spoil {
        let pieces = files_below(directory.path());
        assert!(!pieces.is_empty());
        for piece in &pieces {
            fs::write(piece, spoil(fs::read(piece).unwrap())).unwrap();
        }
        use_it(&world, directory.path(), &source);
        check_clean(&mut open(&world, directory.path()));
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_no_error() {
    let ((world, source), directory) = (stored(), tempfile::tempdir().unwrap());
    let path = directory.path().join("file");
    fs::write(&path, "in the way").unwrap();
    use_it(&world, &path, &source);
    assert_eq!(fs::read(&path).unwrap(), b"in the way");
}
