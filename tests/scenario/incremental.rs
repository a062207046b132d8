//! The second backup costs what changed, not what exists.

use backup_core::ops::backup::BackupOptions;
use backup_core::time::Time;

use crate::kit::model_source::{ModelSource, Node};
use crate::kit::noise;
use crate::kit::surroundings::START_SECONDS;
use crate::kit::world::{World, backup, backup_with, check_clean, dump, made, paths};

fn tree() -> ModelSource {
    ModelSource::new("/data")
        .file("a", &noise(1, 100_000))
        .file("below/b", &noise(2, 200_000))
        .file("below/c", b"small")
        .file("long", &noise(3, 3 << 20))
}

#[test]
fn an_unchanged_tree_is_not_read_and_writes_no_pack() {
    let (world, source) = (World::new(), tree());
    let first = backup(&mut world.init(), &source);
    assert_eq!((first.counts.files_new, source.take_opened().len()), (4, 4));
    let packs = [world.names("packs/"), world.names("meta/")];
    let read_bytes = source.read_bytes();
    let mut repository = world.open();
    let second = backup(&mut repository, &source);
    assert_eq!(second.parent_id, first.snapshot_id);
    assert_eq!((second.counts.files_unchanged, second.counts.files_new, second.counts.files_changed), (4, 0, 0));
    assert_eq!((second.counts.packs_written, second.counts.stored_bytes, second.counts.new_chunks), (0, 0, 0));
    assert_eq!(source.take_opened(), Vec::<Vec<u8>>::new());
    assert_eq!(source.read_bytes(), read_bytes);
    assert_eq!([world.names("packs/"), world.names("meta/")], packs);
    // One object with the enrolment of a writer that nothing remembers, one with the snapshot.
    assert!(repository.storage().counts().writes <= 2, "{:?}", repository.storage().counts());
    let roots = |report| made(&repository, report).manifest.sources;
    assert_eq!(roots(&first), roots(&second));
}

#[test]
fn a_lasting_writer_needs_one_write_for_an_unchanged_tree() {
    let (world, source, state) = (World::new(), tree(), tempfile::tempdir().unwrap());
    backup(&mut world.init_with(&Default::default(), world.lasting(state.path())), &source);
    let mut repository = world.open_with(world.lasting(state.path()));
    backup(&mut repository, &source);
    assert_eq!(repository.storage().counts().writes, 1);
}

#[test]
fn only_a_changed_file_is_read_again() {
    let (world, mut source) = (World::new(), tree());
    let mut repository = world.init();
    let first = backup(&mut repository, &source);
    source.take_opened();
    source.write("below/b", &noise(4, 200_000));
    let second = backup(&mut repository, &source);
    assert_eq!(source.take_opened(), [b"/data/below/b".to_vec()]);
    assert_eq!((second.counts.files_changed, second.counts.files_unchanged), (1, 3));
    assert!(second.counts.new_chunk_bytes < 210_000, "{}", second.counts.new_chunk_bytes);
    assert_eq!(dump(&repository, &made(&repository, &first), b"/data/below/b"), noise(2, 200_000));
    assert_eq!(dump(&repository, &made(&repository, &second), b"/data/below/b"), noise(4, 200_000));
    check_clean(&mut repository);
}

#[test]
fn each_of_size_mtime_ctime_and_inode_makes_a_file_be_read() {
    let (world, source) = (World::new(), tree());
    let mut repository = world.init();
    let first = backup(&mut repository, &source);
    let against_first = BackupOptions::new().parent(first.snapshot_id);
    let variants: [fn(&mut ModelSource); 4] = [
        |source| source.entry("a").mtime.nanoseconds += 1,
        |source| source.entry("a").ctime.nanoseconds += 1,
        |source| source.entry("a").inode += 1000,
        |source| {
            let entry = source.entry("a");
            let Node::File(parts) = &mut entry.node else { panic!("it is a file") };
            parts.push(crate::kit::model_source::Part::Bytes((*b"x").into()));
        },
    ];
    for change in variants {
        let mut changed = source.clone();
        changed.take_opened();
        change(&mut changed);
        backup_with(&mut repository, &changed, &against_first);
        assert_eq!(changed.take_opened(), [b"/data/a".to_vec()]);
    }
}

#[test]
fn a_file_whose_times_are_too_close_to_the_reading_is_read_again() {
    let (world, mut source) = (World::new(), tree());
    source.entry("a").mtime = Time::new(START_SECONDS, 0);
    source.entry("below/b").ctime = Time::new(START_SECONDS - 1, 0);
    source.entry("below/c").ctime = Time::new(START_SECONDS - 60, 0);
    let mut repository = world.init();
    backup(&mut repository, &source);
    source.take_opened();
    world.surroundings.advance(60);
    backup(&mut repository, &source);
    assert_eq!(source.take_opened(), [b"/data/a".to_vec(), b"/data/below/b".to_vec()]);
    backup(&mut repository, &source);
    assert_eq!(source.take_opened(), Vec::<Vec<u8>>::new());
}

#[test]
fn without_a_parent_everything_is_read_and_nothing_stored_twice() {
    let (world, source) = (World::new(), tree());
    let mut repository = world.init();
    backup(&mut repository, &source);
    source.take_opened();
    let second = backup_with(&mut repository, &source, &BackupOptions::new().parent(None));
    assert_eq!((source.take_opened().len(), second.parent_id), (4, None));
    assert_eq!((second.counts.new_chunks, second.counts.packs_written), (0, 0));
}

#[test]
fn the_parent_is_the_newest_of_the_same_host_and_roots() {
    let (world, source) = (World::new(), tree());
    let mut repository = world.init();
    let first = backup(&mut repository, &source);
    assert_eq!(backup(&mut repository, &ModelSource::new("/other").file("a", b"x")).parent_id, None);
    world.surroundings.set_host("elsewhere");
    assert_eq!(backup(&mut repository, &source).parent_id, None);
    world.surroundings.set_host("testhost");
    assert_eq!(backup(&mut repository, &source).parent_id, first.snapshot_id);
}

#[test]
fn a_dry_run_counts_and_stores_nothing() {
    let (world, source) = (World::new(), tree());
    let mut repository = world.init();
    let before = world.names("");
    let report = backup_with_dry_run(&mut repository, &source);
    assert_eq!((report.snapshot_id, report.counts.files_new), (None, 4));
    assert_eq!(world.names(""), before);
    assert_eq!(repository.snapshots().len(), 0);
    let real = backup(&mut repository, &source);
    assert_eq!(
        (real.counts.new_chunks, real.counts.new_chunk_bytes),
        (report.counts.new_chunks, report.counts.new_chunk_bytes)
    );
}

fn backup_with_dry_run(
    repository: &mut backup_core::Repository,
    source: &ModelSource,
) -> backup_core::ops::backup::BackupReport {
    backup_with(repository, source, &BackupOptions::new().dry_run(true))
}

#[test]
fn what_changes_its_kind_or_goes_away_is_followed() {
    let (world, mut source) = (World::new(), tree());
    let mut repository = world.init();
    backup(&mut repository, &source);
    source.remove("below");
    source.put("below", Node::Link(b"a".to_vec()));
    source.remove("a");
    source.put("a/now/a/directory", Node::Directory);
    source.put("long", Node::Fifo);
    let second = backup(&mut repository, &source);
    let expected: Vec<Vec<u8>> = source.contents().into_keys().collect();
    assert_eq!(paths(&repository, &made(&repository, &second)), expected);
    check_clean(&mut repository);
}

#[test]
fn hard_links_that_only_one_name_of_changed_are_read_once() {
    let world = World::new();
    let mut source = ModelSource::new("/data").file("one", &noise(5, 50_000)).file("two", &noise(5, 50_000));
    for name in ["one", "two"] {
        let entry = source.entry(name);
        (entry.link_group, entry.inode) = (7, 7);
    }
    let mut repository = world.init();
    backup(&mut repository, &source);
    assert_eq!(source.take_opened(), [b"/data/one".to_vec()]);
    let second = backup(&mut repository, &source);
    assert_eq!((source.take_opened().len(), second.counts.files_unchanged), (0, 2));
    assert_eq!(dump(&repository, &made(&repository, &second), b"/data/two"), noise(5, 50_000));
}
