//! What changed is stored as its difference from what stood at its place.

use std::fs;
use std::path::Path;

use backup_core::Repository;
use backup_core::ops::backup::{BackupOptions, BackupReport};
use backup_core::storage::{Cache, Storage, StorageOptions};

use crate::kit::model_source::{ModelSource, Node, Part};
use crate::kit::noise;
use crate::kit::world::{World, backup, backup_with, check_clean, dump, made};

/// Backs up `before`, then `after` under the same name, and says what the second backup did. Both must come back.
fn step(before: &[u8], after: &[u8], options: &BackupOptions) -> BackupReport {
    let world = World::new();
    let mut repository = world.init();
    let mut source = ModelSource::new("/data").file("file", before);
    let first = backup_with(&mut repository, &source, options);
    source.write("file", after);
    let second = backup_with(&mut repository, &source, options);
    let mut repository = world.open();
    assert!(dump(&repository, &made(&repository, &first), b"/data/file") == before);
    assert!(dump(&repository, &made(&repository, &second), b"/data/file") == after);
    check_clean(&mut repository);
    second
}

#[test]
fn a_change_in_a_large_file_costs_the_change() {
    let before = noise(1, 4 << 20);
    let mut after = before.clone();
    for place in [100, 1_000_000, 3_999_000] {
        after[place..place + 100].copy_from_slice(&noise(2, 100));
    }
    let with = step(&before, &after, &BackupOptions::new()).counts.stored_bytes;
    let without = step(&before, &after, &BackupOptions::new().patches(false)).counts.stored_bytes;
    assert!(with < 6000, "{with} bytes");
    assert!(without > 100_000, "{without} bytes without patches");
}

#[test]
fn changes_in_place_that_take_cut_points_away_cost_no_more() {
    let before = noise(9, 32 << 20);
    let mut after = before.clone();
    for place in (0..128).map(|number| number * 262_000) {
        after[place..place + 4096].copy_from_slice(&noise(place as u64, 4096));
    }
    let stored = step(&before, &after, &BackupOptions::new()).counts.stored_bytes;
    // Half a megabyte is new. Without the old cut points one change in sixteen would cost a whole chunk.
    assert!(stored < 660_000, "{stored} bytes");
}

#[test]
fn what_is_put_in_or_cut_out_moves_the_bases_along() {
    let before = noise(3, 4 << 20);
    let mut after = before.clone();
    drop(after.splice(500_000..500_000, noise(4, 300_000)));
    for place in [1_500_000, 3_500_000] {
        after[place..place + 100].copy_from_slice(&noise(5, 100));
    }
    let put_in = step(&before, &after, &BackupOptions::new()).counts.stored_bytes;
    assert!((300_000..420_000).contains(&put_in), "{put_in} bytes");
    let cut_out = step(&after, &before, &BackupOptions::new()).counts.stored_bytes;
    assert!(cut_out < 80_000, "{cut_out} bytes");
}

#[test]
fn a_log_that_grew_costs_what_it_grew() {
    let line =
        |number: u64| format!("2025-01-05T14:30:00Z order {} filled at {}\n", number * 7919 % 100_000, number % 977);
    let before: Vec<u8> = (0..100_000).map(line).collect::<String>().into_bytes();
    let grown: Vec<u8> = (100_000..120_000).map(line).collect::<String>().into_bytes();
    let after = [&before[..], &grown].concat();
    let stored = step(&before, &after, &BackupOptions::new()).counts.stored_bytes;
    let alone = backup(&mut World::new().init(), &ModelSource::new("/data").file("file", &grown)).counts.stored_bytes;
    assert!(stored < alone + 4096, "{stored} bytes, alone {alone}");
}

#[test]
fn a_long_file_that_moved_and_changed_is_stored_as_its_change() {
    let world = World::new();
    let mut repository = world.init();
    let content = noise(6, 4 << 20);
    let source = ModelSource::new("/data").file("old", &content);
    backup(&mut repository, &source);
    let mut changed = content;
    changed[2_000_000..2_000_100].copy_from_slice(&noise(7, 100));
    let source = ModelSource::new("/data").file("new/place", &changed);
    let report = backup(&mut repository, &source);
    // The list of its chunks is new; of its content, what lies in one of them.
    assert!(report.counts.stored_bytes < 16_000, "{} bytes", report.counts.stored_bytes);
    assert!(dump(&repository, &made(&repository, &report), b"/data/new/place") == changed);
    check_clean(&mut repository);
}

#[test]
fn directories_cost_what_changed_in_them() {
    let world = World::new();
    let mut repository = world.init();
    let mut source = ModelSource::new("/data");
    for number in 0..5000 {
        source.put(&format!("{number:05}"), Node::File(vec![Part::Bytes(noise(number, 100)[..].into())]));
    }
    let first = backup(&mut repository, &source);
    source.write("02500", &noise(1, 100));
    let second = backup(&mut repository, &source);
    assert!(second.counts.stored_bytes < 2500, "{} after {}", second.counts.stored_bytes, first.counts.stored_bytes);
    check_clean(&mut repository);
}

/// A second backup of a file of which a little changed, into storage where reading costs; says how many bytes it stored. `spoil` is done to the cache in between.
fn step_far_away(spoil: impl FnOnce(&Path), has_cache: bool) -> u64 {
    let (world, cache) = (World::new(), tempfile::tempdir().unwrap());
    drop(world.init());
    let open = || {
        let storage = Storage::new(world.medium.clone(), StorageOptions::new().near(false)).unwrap();
        let options = world.options();
        let options = if has_cache { options.cache(Cache::open(cache.path(), 64 << 20)) } else { options };
        Repository::open(storage, &world.key, options).unwrap()
    };
    let content = noise(8, 8 << 20);
    let mut source = ModelSource::new("/data").file("file", &content);
    backup(&mut open(), &source);
    spoil(cache.path());
    let mut changed = content;
    changed[4_000_000..4_000_100].fill(0);
    source.write("file", &changed);
    let mut repository = open();
    let report = backup(&mut repository, &source);
    assert!(dump(&repository, &made(&repository, &report), b"/data/file") == changed);
    check_clean(&mut repository);
    report.counts.stored_bytes
}

fn each_file_below(directory: &Path, each: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { each_file_below(&path, each) } else { each(&path) }
    }
}

/// Flips a bit in the middle of each piece of an area that the cache has.
fn flip_pieces(area: &str, cache: &Path) {
    each_file_below(cache, &mut |path| {
        if path.components().any(|component| component.as_os_str() == area) {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        }
    });
}

#[test]
fn over_a_network_the_cache_has_the_bases() {
    let stored = step_far_away(|_| {}, true);
    assert!(stored < 4000, "{stored} bytes");
}

#[test]
fn what_is_not_at_hand_is_no_base() {
    // 64 KiB is about a chunk.
    let without_cache = step_far_away(|_| {}, false);
    assert!(without_cache > 16_000, "{without_cache} bytes without a cache");
    let emptied = step_far_away(|cache| fs::remove_dir_all(cache).unwrap(), true);
    assert!(emptied > 16_000, "{emptied} bytes with an emptied cache");
}

#[test]
fn a_cached_base_with_a_flipped_bit_is_not_used() {
    let stored = step_far_away(|cache| flip_pieces("packs", cache), true);
    assert!(stored > 16_000, "{stored} bytes");
}
