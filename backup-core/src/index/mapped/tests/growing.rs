//! An index grows while a run adds packs to it: what moves into segments at checkpoints, and what is loaded anew.

use std::os::unix::fs::FileExt;

use super::super::super::{Added, Index, MORE_SEGMENTS_MAX, Voids};
use super::*;
use crate::pack::reader::OpenPack;

impl World {
    fn reading(&self) -> Reading<'_> {
        self.place.repository.reading()
    }

    /// Opens the tables of packs that are not among those known.
    fn open_others(&self, known: &[PackPlace]) -> Vec<OpenPack> {
        let new = self.places().into_iter().filter(|place| !known.contains(place));
        new.map(|place| place.read_table(&self.place.keys, self.reading().storage).unwrap()).collect()
    }

    /// Stores packs in several rounds, each added to one index, and compares it with one of all packs. Returns it.
    fn add_rounds(&mut self, known: &Index, local: Option<LocalIndex>, mut between: impl FnMut(&Self)) -> Index {
        let mut added = Added::new(local, known);
        for round in 0..6 {
            let (before, first) = (self.places(), self.plaintexts.len());
            self.store(1 + round % 3, 60);
            let packs = self.open_others(&before);
            added.add(self.reading(), &Environment::default(), packs).unwrap();
            let all = self.load_all(None);
            for plaintext in &self.plaintexts[first..] {
                let prefix = self.place.id(plaintext).prefix();
                assert!(added.contains(&prefix));
                assert_eq!(added.decode_bytes(&prefix, known), all.decode_bytes(&prefix, None));
                assert!(!added.contains(&self.place.id(&[&plaintext[..], b"other"].concat()).prefix()));
            }
            between(self);
        }
        added.into_index()
    }
}

#[test]
fn what_a_run_adds_is_found_and_moves_into_segments() {
    let mut world = World::new();
    world.store(5, 50);
    let local = world.local();
    for is_known_mapped in [true, false] {
        let mut known = world.load_all(is_known_mapped.then_some(&local));
        let added = world.add_rounds(&known, Some(local.clone()), |_| {});
        assert!(is_mapped(&added) && added.runs.is_empty(), "no row lies in memory");
        assert!(added.mapped.len() <= 3, "{} segments", added.mapped.len());
        known.absorb(added);
        assert_eq!(world.answers(&known), world.answers(&world.load_all(None)));
        // What is opened next finds them, and reads nothing.
        let before = world.reads();
        let next = world.load_all(Some(&local));
        assert_eq!((world.reads(), is_mapped(&next)), (before, true));
    }
}

#[test]
fn few_rows_and_everything_without_a_cache_stay_in_memory_of_a_run() {
    let mut world = World::new();
    world.store(5, 50);
    let large = LocalIndex { rows_min: 10_000, ..world.local() };
    for local in [None, Some(large)] {
        let mut known = world.load_all(None);
        let added = world.add_rounds(&known, local, |_| {});
        assert_eq!((added.rows_in_memory(), added.mapped.len()), (added.len(), 0));
        known.absorb(added);
        assert_eq!(world.answers(&known), world.answers(&world.load_all(None)));
    }
}

#[test]
fn segments_that_another_process_removes_and_a_full_cache_lose_nothing() {
    let remove: fn(&World) = |world| world.files().iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let damage: fn(&World) = |world| world.files().iter().for_each(|file| replace(file, b"no segment"));
    for between in [remove, damage] {
        let mut world = World::new();
        world.store(5, 50);
        let mut known = world.load_all(None);
        let added = world.add_rounds(&known, Some(world.local()), between);
        known.absorb(added);
        assert_eq!(world.answers(&known), world.answers(&world.load_all(None)));
    }
    let mut world = World::new();
    let cache = Cache::open(world.directory.path(), 1);
    let full = LocalIndex { rows_min: 1, lot_rows: 300, ..LocalIndex::new(&cache, &world.place.repository.keyring) };
    let mut known = world.load_all(None);
    let added = world.add_rounds(&known, Some(full), |_| {});
    assert_eq!(added.rows_in_memory(), added.len());
    known.absorb(added);
    assert_eq!(world.answers(&known), world.answers(&world.load_all(None)));
}

#[test]
fn a_segment_that_is_damaged_under_a_run_is_read_again_and_left_behind() {
    let mut world = World::new();
    let known = world.load_all(None);
    let mut added = Added::new(Some(world.local()), &known);
    world.store(4, 60);
    let first = world.places();
    added.add(world.reading(), &Environment::default(), world.open_others(&[])).unwrap();
    let segment = Arc::clone(&added.index().mapped[0].segment);
    // All behind the directory, which was compared when the segment was opened.
    let blocks = segment.layout.first_block(Part::Filter)..segment.layout.blocks();
    let file = std::fs::OpenOptions::new().write(true).open(&world.files()[0]).unwrap();
    for block in blocks {
        file.write_all_at(&[0xa5; 64], Layout::offset(block) + 100).unwrap();
    }
    assert_eq!(world.answers(added.index()), world.answers(&world.load_all(None)));
    assert!(segment.is_damaged() && world.files().is_empty(), "found, and unlinked");
    world.store(3, 60);
    added.add(world.reading(), &Environment::default(), world.open_others(&first)).unwrap();
    let index = added.into_index();
    assert!(index.mapped.iter().all(|mapped| !mapped.segment.is_damaged()), "left behind");
    assert_eq!(world.answers(&index), world.answers(&world.load_all(None)));
}

#[test]
fn an_index_is_overgrown_by_rows_in_memory_and_by_segments() {
    let mut world = World::new();
    world.store(4, 50);
    let local = LocalIndex { rows_min: 200, ..world.local() };
    let mut index = world.load_all(Some(&local));
    assert_eq!(
        (index.rows_in_memory(), index.is_overgrown(&local, 199), index.is_overgrown(&local, 200)),
        (0, false, true)
    );
    for is_overgrown in [false, true] {
        let before = world.places();
        world.store(3, 50);
        index.extend(world.open_others(&before), true, &Voids::default());
        assert_eq!(index.is_overgrown(&local, 0), is_overgrown, "{} rows in memory", index.rows_in_memory());
    }
    let local = world.local();
    let mut index = world.load_all(Some(&local));
    assert!(!index.is_overgrown(&local, 0));
    for round in 0..6 {
        assert_eq!(index.is_overgrown(&local, 0), round > MORE_SEGMENTS_MAX);
        let (before, mut added) = (world.places(), Added::new(Some(local.clone()), &index));
        world.store(1, 50);
        added.add(world.reading(), &Environment::default(), world.open_others(&before)).unwrap();
        index.absorb(added.into_index());
    }
}
