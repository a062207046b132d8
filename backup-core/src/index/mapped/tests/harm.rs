//! Files that are torn, altered, of others, or left behind; processes side by side.

use super::*;

#[test]
fn a_flipped_bit_anywhere_leads_to_the_tables_and_never_to_a_wrong_answer() {
    let mut world = World::new();
    world.store(9, 60);
    let expected = world.answers(&world.load_all(None));
    let local = world.local();
    world.load_all(Some(&local));
    let [file] = &world.files()[..] else { panic!("one segment") };
    let whole = std::fs::read(file).unwrap();
    let head = 0..size_of::<Head>();
    // Some bytes of each part where it begins, and others all over; what is left of the head's block means nothing.
    let blocks = (BLOCK_BYTES..whole.len()).step_by(BLOCK_BYTES);
    let begins = blocks.flat_map(|block| [0, 1, 7, 30, 163, 500].map(|place| block + place));
    let places = head.step_by(7).chain(begins).chain((BLOCK_BYTES..whole.len()).step_by(4099)).chain([whole.len() - 1]);
    for place in places.filter(|place| *place < whole.len()) {
        let mut flipped = whole.clone();
        flipped[place] ^= 1 << (place % 8);
        replace_or_write(file, &flipped);
        // Without new segments, so that what becomes of the altered one can be seen.
        let local = LocalIndex { rows_min: usize::MAX, lot_rows: usize::MAX, ..local.clone() };
        let index = world.load_all(Some(&local));
        assert_eq!(world.answers(&index), expected, "at {place}");
        assert!(!file.exists(), "at {place}: the file is still there");
    }
}

fn replace_or_write(file: &Path, bytes: &[u8]) {
    let _ = std::fs::remove_file(file);
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_storage_that_fails_while_tables_are_read_again_is_an_error_and_no_loss() {
    let mut world = World::new();
    world.store(4, 60);
    let local = world.local();
    world.load_all(Some(&local));
    let [file] = &world.files()[..] else { panic!("one segment") };
    let mut flipped = std::fs::read(file).unwrap();
    let segment = Segment::open(&local, &local.folder.list()[0].0, &Arc::new(world.reread())).unwrap();
    flipped[Layout::offset(segment.layout.first_block(Part::Prefixes)) as usize] ^= 1;
    replace(file, &flipped);
    let repository = &world.place.repository;
    let cancel = crate::progress::Cancel::new();
    let storage = repository.storage.clone().with_cancel(cancel.clone());
    let reading = Reading { storage: &storage, workers: &repository.workers, keys: &repository.keys };
    let load = |voids| Index::load(reading, Some(&local), &Environment::default(), world.places(), voids).unwrap().0;
    let index = load(&Voids::default());
    let prefix = world.place.id(&world.plaintexts[0]).prefix();
    cancel.cancel();
    assert!(!index.contains(&prefix));
    assert!(matches!(index.take_trouble(), Err(Error::Interrupted)));
    assert!(index.take_trouble().is_ok() && !index.contains(&prefix) && index.take_trouble().is_err());
}

#[test]
fn a_bit_that_flips_while_segments_are_merged_is_not_copied() {
    let mut world = World::new();
    world.store(9, 60);
    let local = world.local();
    world.load_all(Some(&local));
    let [file] = &world.files()[..] else { panic!("one segment") };
    let whole = std::fs::read(file).unwrap();
    world.store(4, 60);
    let expected = world.answers(&world.load_all(None));
    for place in (BLOCK_BYTES..whole.len()).step_by(BLOCK_BYTES) {
        world.files().iter().for_each(|file| std::fs::remove_file(file).unwrap());
        let mut flipped = whole.clone();
        flipped[place + 5] ^= 8;
        std::fs::write(file, flipped).unwrap();
        for _ in 0..2 {
            let index = world.load_all(Some(&local));
            assert_eq!(world.answers(&index), expected, "at {place}");
        }
        let before = world.reads();
        assert_eq!(world.answers(&world.load_all(Some(&local))), expected, "healed, at {place}");
        assert_eq!(world.reads(), before, "healed, at {place}");
    }
}

#[test]
fn a_torn_file_is_made_again() {
    let mut world = World::new();
    world.store(5, 60);
    let expected = world.answers(&world.load_all(None));
    let local = world.local();
    world.load_all(Some(&local));
    let [file] = &world.files()[..] else { panic!("one segment") };
    let whole = std::fs::read(file).unwrap();
    for length in [0, 1, 100, 4096, BLOCK_BYTES, whole.len() / 2, whole.len() - 16, whole.len() - 1] {
        replace(file, &whole[..length]);
        assert_eq!(world.answers(&world.load_all(Some(&local))), expected, "{length} bytes");
        assert_eq!(std::fs::read(file).unwrap(), whole, "{length} bytes");
    }
    let zeros = vec![0; whole.len()];
    replace(file, &zeros);
    assert_eq!(world.answers(&world.load_all(Some(&local))), expected);
    assert_eq!(std::fs::read(file).unwrap(), whole);
}

#[test]
fn a_segment_of_another_repository_is_removed() {
    let (mut world, mut other) = (World::new(), World::new());
    for world in [&mut world, &mut other] {
        world.store(5, 60);
        let local = world.local();
        world.load_all(Some(&local));
    }
    let (file, stranger) = (world.files()[0].clone(), other.files()[0].clone());
    let copied = file.with_file_name("0123");
    std::fs::copy(&stranger, &copied).unwrap();
    let before = world.reads();
    let local = world.local();
    assert_eq!(world.answers(&world.load_all(Some(&local))), world.answers(&world.load_all(None)));
    assert_eq!(world.files(), [file]);
    assert!(world.reads() > before, "the one in memory reads tables");
    // Another keyring has another folder.
    assert_ne!(stranger.parent().unwrap().file_name(), copied.parent().unwrap().file_name());
}

#[test]
fn of_a_killed_writer_only_a_temporary_file_stays_and_it_is_removed() {
    let mut world = World::new();
    world.store(5, 60);
    let local = world.local();
    let (left, living) = (local.folder.begin(&Environment::default()), local.folder.begin(&Environment::default()));
    let (left, living) = (left.unwrap(), living.unwrap());
    left.write_at(&[1; 100], 0).unwrap();
    // Its lock goes with the process, and no destructor runs.
    let path = world.files().into_iter().find(|file| file.metadata().unwrap().len() == 100).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    drop(left);
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(world.files().len(), 2);
    let index = world.load_all(Some(&local));
    assert_eq!(world.answers(&index), world.answers(&world.load_all(None)));
    assert!(!path.exists());
    assert_eq!(world.files().len(), 2, "the segment, and what somebody is writing");
    drop(living);
    assert_eq!(world.files().len(), 1);
}

#[test]
fn processes_side_by_side_answer_alike() {
    let mut world = World::new();
    world.store(8, 60);
    for round in 0..6 {
        world.store(2, 60);
        let expected = world.answers(&world.load_all(None));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let local = world.local();
                    for _ in 0..3 {
                        let index = world.load_all(Some(&local));
                        assert_eq!(world.answers(&index), expected, "round {round}");
                    }
                });
            }
        });
        let names = world.files();
        assert!(names.len() < 9, "{names:?}");
    }
}

#[test]
fn a_cache_that_is_too_small_has_no_segments() {
    let mut world = World::new();
    world.store(9, 60);
    let local = world.local();
    world.load_all(Some(&local));
    let length = world.files()[0].metadata().unwrap().len();
    let expected = world.answers(&world.load_all(None));
    let small = |limit| {
        let cache = Cache::open(world.directory.path(), limit);
        LocalIndex { rows_min: 1, ..LocalIndex::new(&cache, &world.place.repository.keyring) }
    };
    assert_eq!(world.answers(&world.load_all(Some(&small(length)))), expected);
    assert_eq!(world.files().len(), 1, "it has room for those that are there");
    assert_eq!(world.answers(&world.load_all(Some(&small(length - 1)))), expected);
    assert_eq!(world.files(), [] as [PathBuf; 0]);
    assert_eq!(world.answers(&world.load_all(Some(&small(length)))), expected);
    assert_eq!(world.files(), [] as [PathBuf; 0], "and none for new ones in half of it");
}
