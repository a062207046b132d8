//! An index that lies in mapped segments of the cache: what a user sees is what one without a cache sees, whatever becomes of the files.

use std::fs;
use std::path::{Path, PathBuf};

use backup_core::Repository;
use backup_core::storage::Cache;

use crate::kit::model_source::ModelSource;
use crate::kit::noise;
use crate::kit::world::{World, backup, check_clean, dump, made};

/// More chunks than stay in memory.
const FILES: u64 = 33_000;

fn source(first: u64, files: u64) -> ModelSource {
    let file = |source: ModelSource, number: u64| source.file(&format!("{number:06}"), &noise(number, 100));
    (first..first + files).fold(ModelSource::new("/data"), file)
}

fn stored() -> World {
    let world = World::new();
    backup(&mut world.init(), &source(0, FILES));
    world
}

fn open(world: &World, directory: &Path) -> Repository {
    world.open_with(world.options().cache(Cache::open(directory, 64 << 20)))
}

fn folder(directory: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.find(|path| path.file_name().unwrap().to_string_lossy().starts_with("mapped-"))
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    folder(directory)
        .map_or(Vec::new(), |folder| fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect())
}

/// Removes everything from a cache but the segments.
fn forget_pieces(directory: &Path) {
    let kept = folder(directory).unwrap();
    for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).filter(|path| *path != kept) {
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
}

#[test]
fn an_index_in_segments_is_opened_without_reading_a_table_and_serves_every_verb() {
    let (world, directory) = (stored(), tempfile::tempdir().unwrap());
    let expected = world.open().count_chunks().unwrap();
    assert_eq!(open(&world, directory.path()).count_chunks().unwrap(), expected);
    assert_eq!(segments(directory.path()).len(), 1);
    forget_pieces(directory.path());
    let mut repository = open(&world, directory.path());
    let before = repository.storage().counts().reads;
    assert_eq!(repository.count_chunks().unwrap(), expected);
    assert_eq!(repository.storage().counts().reads, before);
    let snapshot = repository.snapshots()[0].clone();
    for number in (0..FILES).step_by(4001) {
        assert_eq!(dump(&repository, &snapshot, format!("/data/{number:06}").as_bytes()), noise(number, 100));
    }
    // What is stored is found, and what is new is not.
    let report = backup(&mut repository, &source(FILES - 500, 1000));
    assert_eq!(made(&repository, &report).manifest.sums().entries, 1001);
    let nodes = report.counts.new_chunks - 500;
    assert!((1..60).contains(&nodes), "{nodes} nodes");
    check_clean(&mut repository);
    check_clean(&mut open(&world, directory.path()));
}

#[test]
fn segments_may_be_altered_or_lost_at_any_time() {
    let (world, directory) = (stored(), tempfile::tempdir().unwrap());
    open(&world, directory.path()).count_chunks().unwrap();
    let [segment] = &segments(directory.path())[..] else { panic!("one segment") };
    let whole = fs::read(segment).unwrap();
    for place in (0..8).map(|part| whole.len() / 8 * part + 20) {
        let mut flipped = whole.clone();
        flipped[place] ^= 1;
        segments(directory.path()).iter().for_each(|file| fs::remove_file(file).unwrap());
        fs::write(segment, flipped).unwrap();
        let mut repository = open(&world, directory.path());
        let expected = world.open().count_chunks().unwrap();
        assert_eq!(repository.count_chunks().unwrap(), expected, "at {place}");
        // All that exists is found, and nothing is stored again but new nodes.
        let report = backup(&mut repository, &source(7, 300));
        assert!(report.counts.new_chunks < 20, "at {place}: {:?}", report.counts);
        check_clean(&mut repository);
    }
    let mut repository = open(&world, directory.path());
    repository.count_chunks().unwrap();
    fs::remove_dir_all(directory.path()).unwrap();
    check_clean(&mut repository);
}
