//! Directories and files so large that their metadata needs inner nodes.

use std::io::{self, Write};
use std::sync::Arc;

use backup_core::ops::restore::RestoreOptions;
use backup_core::repository::open::InitOptions;

use crate::kit::model_source::{ModelSource, Node, Part};
use crate::kit::noise;
use crate::kit::world::{World, backup, made, restore};

#[test]
fn a_directory_of_70_000_entries_is_stored_once_and_changed_cheaply() {
    let world = World::new();
    let mut source = ModelSource::new("/data");
    for number in 0..70_000 {
        source.put(&format!("entry-{number:06}"), Node::File(vec![Part::Bytes(format!("{number}").as_bytes().into())]));
    }
    let mut repository = world.init();
    let first = backup(&mut repository, &source);
    assert_eq!(first.counts.files_new, 70_000);
    source.take_opened();
    source.write("entry-034567", b"changed");
    source.remove("entry-000001");
    let mut repository = world.open();
    let second = backup(&mut repository, &source);
    assert_eq!(source.take_opened(), [b"/data/entry-034567".to_vec()]);
    assert_eq!((second.counts.files_unchanged, second.counts.files_changed), (69_998, 1));
    // One leaf each, and the inner nodes above them.
    assert!(second.counts.stored_bytes < first.counts.stored_bytes / 10, "{:?}", second.counts);
    let snapshot = made(&repository, &second);
    let mut listed = 0;
    repository
        .list(&snapshot, None, &mut |_| {
            listed += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!((listed, snapshot.manifest.sums().entries), (70_000, 70_000));
    let mut content = Vec::new();
    repository.dump(&snapshot, b"/data/entry-034567", &mut content).unwrap();
    assert_eq!(content, b"changed");
    let mut differences = Vec::new();
    let mut each = |difference: backup_core::ops::diff::Difference| {
        differences.push(difference.path);
        Ok(())
    };
    repository.diff(&made(&repository, &first), &snapshot, &mut each).unwrap();
    assert_eq!(differences, [b"/data/entry-000001".to_vec(), b"/data/entry-034567".to_vec()]);
}

#[test]
fn a_directory_of_a_million_entries_is_one_tree_of_which_a_change_rewrites_a_leaf() {
    let world = World::new();
    let mut source = ModelSource::new("/data");
    for number in 0..1_000_000 {
        source.put(&format!("entry-{number:07}"), Node::File(Vec::new()));
    }
    let mut repository = world.init();
    let first = backup(&mut repository, &source);
    assert_eq!(first.counts.files_new, 1_000_000);
    source.write("entry-0500000", b"changed");
    let second = backup(&mut repository, &source);
    assert_eq!((second.counts.files_unchanged, second.counts.files_changed), (999_999, 1));
    assert!(second.counts.stored_bytes < 200_000, "{:?}", second.counts);
    let snapshot = made(&world.open(), &second);
    assert_eq!(snapshot.manifest.sums().entries, 1_000_001);
    let mut content = Vec::new();
    repository.dump(&snapshot, b"/data/entry-0500000", &mut content).unwrap();
    assert_eq!(content, b"changed");
}

/// Compares what is written with a pattern that repeats, without keeping it.
struct Expecting {
    pattern: Arc<[u8]>,
    place: u64,
}

impl Write for Expecting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = (self.place % self.pattern.len() as u64) as usize;
            let length = rest.len().min(self.pattern.len() - at);
            assert!(rest[..length] == self.pattern[at..at + length], "differs at {}", self.place);
            self.place += length as u64;
            rest = &rest[length..];
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_of_256_mib_that_repeats_is_stored_once() {
    let pattern: Arc<[u8]> = noise(1, 3_000_001).into();
    let length = 256 << 20;
    let mut source = ModelSource::new("/data");
    source.put("long", Node::File(vec![Part::Repeat(Arc::clone(&pattern), length)]));
    let world = World::new();
    let mut repository = world.init_with(&InitOptions::new().chunk_bytes_avg(16 << 10), world.options());
    let report = backup(&mut repository, &source);
    assert_eq!(report.counts.source_bytes, length);
    assert!(report.counts.stored_bytes < 8 << 20, "{:?}", report.counts);
    let repository = world.open();
    let mut expecting = Expecting { pattern, place: 0 };
    repository.dump(&made(&repository, &report), b"/data/long", &mut expecting).unwrap();
    assert_eq!(expecting.place, length);
}

#[test]
fn packs_are_closed_where_their_padding_is_small() {
    let source = (0..48).fold(ModelSource::new("/data"), |source, number| {
        source.file(&format!("{number:03}"), &noise(number, 1 << 20))
    });
    let world = World::new();
    let mut repository =
        world.init_with(&InitOptions::new().pack_bytes(2 << 20).frame_bytes(64 << 10), world.options());
    backup(&mut repository, &source);
    let stats = repository.stats().unwrap();
    assert!(stats.packs > 15, "{stats:?}");
    // Closed wherever they are long enough, packs have half of a step of 64 KiB on average, 1.6 %.
    assert!(stats.stored.padding_bytes * 100 < stats.stored_bytes, "{stats:?}");
}

#[test]
fn a_terabyte_of_hole_costs_nothing() {
    let mut source = ModelSource::new("/data");
    let content = vec![Part::Bytes((*b"begin").into()), Part::Hole((1 << 40) - 8), Part::Bytes((*b"end").into())];
    source.put("sparse", Node::File(content));
    let mut repository = World::new().init();
    let report = backup(&mut repository, &source);
    assert_eq!(report.counts.source_bytes, 1 << 40);
    assert!(report.counts.stored_bytes < 10_000, "{:?}", report.counts);
    let directory = tempfile::tempdir().unwrap();
    if std::fs::File::create(directory.path().join("probe")).unwrap().set_len(1 << 40).is_err() {
        return crate::kit::skip("there are no files of a terabyte here");
    }
    restore(&mut repository, report.snapshot_id, Some(b"/data/sparse"), directory.path(), &RestoreOptions::new());
    use std::os::unix::fs::{FileExt, MetadataExt};
    let file = std::fs::File::open(directory.path().join("sparse")).unwrap();
    assert!(file.metadata().unwrap().blocks() * 512 < 1 << 20);
    let mut end = [0; 4];
    file.read_exact_at(&mut end, (1 << 40) - 4).unwrap();
    assert_eq!(&end, b"\0end");
}
