//! An index over mapped segments answers as one in memory does, whatever happens to the files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::super::{Index, Reading, Voids};
use super::*;
use crate::environment::Environment;
use crate::repository::by_hand::{Made, Place, noise};

/// A repository with packs made by hand, and a folder for segments.
pub(super) struct World {
    pub(super) place: Place,
    pub(super) plaintexts: Vec<Vec<u8>>,
    pub(super) directory: tempfile::TempDir,
    random: u64,
}

impl World {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { place: Place::new(), plaintexts: Vec::new(), directory, random: 7 }
    }

    fn random(&mut self, below: usize) -> usize {
        self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        ((self.random >> 33) as usize) % below
    }

    /// Stores packs of three frames each, of which the last has patches of what is stored already; some chunks are there again and again.
    pub(super) fn store(&mut self, packs: usize, chunks: usize) {
        for _ in 0..packs {
            let first = self.plaintexts.len();
            for _ in 0..chunks {
                let seed = self.random(250) as u8;
                let mut plaintext = noise(seed, 40 + self.random(40));
                let number = self.plaintexts.len() as u64;
                plaintext[..8].copy_from_slice(&number.to_le_bytes());
                self.plaintexts.push(plaintext);
            }
            let mut whole: Vec<Made> =
                self.plaintexts[first..].iter().map(|plaintext| self.place.whole(plaintext)).collect();
            let again = self.random(self.plaintexts.len());
            whole.push(self.place.whole(&self.plaintexts[again]));
            let patches: Vec<Made> = (0..chunks / 8)
                .map(|_| {
                    let base = self.random(first.max(1));
                    let mut plaintext = self.plaintexts[base].clone();
                    plaintext.extend_from_slice(&(self.plaintexts.len() as u64).to_le_bytes());
                    let made = self.place.patch(&self.plaintexts[base], &plaintext, 1);
                    self.plaintexts.push(plaintext);
                    made
                })
                .collect();
            let (one, two) = whole.split_at(chunks / 3);
            self.place.pack(&[one, two, &patches]);
        }
    }

    pub(super) fn local(&self) -> LocalIndex {
        let cache = Cache::open(self.directory.path(), 1 << 30);
        let local = LocalIndex::new(&cache, &self.place.repository.keyring);
        LocalIndex { rows_min: 1, lot_rows: 300, ..local }
    }

    pub(super) fn places(&self) -> Vec<PackPlace> {
        self.place.repository.state.packs.values().cloned().collect()
    }

    /// Loads what stands at places, from memory or with a local index.
    pub(super) fn load(&self, local: Option<&LocalIndex>, places: Vec<PackPlace>, voids: &Voids) -> Index {
        let repository = &self.place.repository;
        let reading = Reading { storage: &repository.storage, workers: &repository.workers, keys: &repository.keys };
        let (index, unreadable) = Index::load(reading, local, &Environment::default(), places, voids).unwrap();
        assert_eq!(unreadable, []);
        index
    }

    pub(super) fn load_all(&self, local: Option<&LocalIndex>) -> Index {
        self.load(local, self.places(), &Voids::default())
    }

    pub(super) fn reads(&self) -> u64 {
        self.place.repository.storage.counts().reads
    }

    /// The files of the folder.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(self.directory.path()).unwrap().flatten();
        let files = folders.flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten());
        files.map(|file| file.path()).collect()
    }

    /// Everything that an index says, in one text that does not depend on how it numbers packs.
    pub(super) fn answers(&self, index: &Index) -> String {
        let name = |location: crate::index::Location| (index.pack(location.pack).place.id, location.row);
        let mut answers = vec![format!("{} rows, lossy {}", index.len(), index.is_lossy())];
        for (number, plaintext) in self.plaintexts.iter().enumerate() {
            let prefix = self.place.id(plaintext).prefix();
            let locations: Vec<_> = index.locations(&prefix).collect();
            let found: BTreeSet<_> = locations.iter().map(|location| name(*location)).collect();
            assert_eq!((found.len(), !found.is_empty()), (locations.len(), index.contains(&prefix)));
            let rows: BTreeSet<_> = locations
                .iter()
                .map(|location| format!("{:?}", index.pack(location.pack).table.row(location.row)))
                .collect();
            answers.push(format!("{number}: {found:?} {rows:?} {:?}", index.decode_bytes(&prefix, None)));
            let absent = self.place.id(&[&plaintext[..], b"other"].concat()).prefix();
            assert!(!index.contains(&absent));
        }
        let packs = index.packs().iter().map(|pack| {
            let (table, header) = (&pack.table, pack.header());
            let depths: Vec<u8> = (0..table.len() as u32 + 2).map(|row| table.depth(row)).collect();
            let patches: Vec<_> = table.patches().collect();
            format!("{:?} {header:?} {:?} {:?} {depths:?} {patches:?}", pack.place, table.frames(), table.to_body())
        });
        answers.extend(packs.collect::<BTreeSet<_>>());
        answers.join("\n")
    }
}

/// Whether all tables of an index lie in files.
fn is_mapped(index: &Index) -> bool {
    index.packs().iter().all(|pack| pack.table.header().is_some())
}

/// Puts other bytes in a file's place, as a process does that does not cut what others have mapped.
pub(super) fn replace(file: &Path, bytes: &[u8]) {
    std::fs::remove_file(file).unwrap();
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn answers_are_those_from_memory_and_nothing_is_read_again() {
    let mut world = World::new();
    world.store(20, 50);
    let expected = world.answers(&world.load_all(None));
    let local = world.local();
    let cold = world.load_all(Some(&local));
    assert!(is_mapped(&cold) && cold.runs.is_empty(), "no row lies in memory");
    assert_eq!(world.answers(&cold), expected);
    let before = world.reads();
    let warm = world.load_all(Some(&local));
    assert_eq!((world.reads(), world.answers(&warm)), (before, expected));
    assert_eq!(world.files().len(), 1);
}

#[test]
fn rows_below_the_minimum_and_everything_without_a_cache_stay_in_memory() {
    let mut world = World::new();
    world.store(3, 50);
    let local = LocalIndex { rows_min: 1000, ..world.local() };
    assert!(world.load_all(Some(&local)).packs().iter().all(|pack| pack.table.header().is_none()));
    assert_eq!(std::fs::read_dir(world.directory.path()).unwrap().count(), 0);
}

#[test]
fn no_more_rows_wait_in_memory_than_a_lot_has() {
    let mut world = World::new();
    world.store(20, 50);
    let (local, repository) = (world.local(), &world.place.repository);
    let environment = Environment::default();
    let mut lots = gather::Lots::new(Some(&local), &repository.workers, &environment);
    for place in world.places() {
        let keys = &repository.keys[&place.domain];
        lots.take(vec![place.read_table(keys, &repository.storage).unwrap()]);
        assert!(lots.rows() < local.lot_rows, "{} rows", lots.rows());
    }
    let (kept, written) = lots.finish();
    assert_eq!((kept.len(), written.len()), (0, world.files().len()));
    assert!(written.len() >= 20 * 50 / local.lot_rows, "{written:?}");
}

#[test]
fn voids_are_applied_to_what_lies_in_files() {
    let mut world = World::new();
    world.store(12, 40);
    let places = world.places();
    let mut voids = Voids::default();
    voids.add(places[0].id, None::<[u32; 0]>);
    voids.add(places[1].id, Some([1]));
    voids.add(places[2].id, Some([0, 2]));
    let local = world.local();
    world.load_all(Some(&local));
    let expected = world.load(None, world.places(), &voids);
    let found = world.load(Some(&local), world.places(), &voids);
    assert!(is_mapped(&found));
    assert_eq!(found.len(), expected.len());
    // Frames that are void stay in the tables, and none of their rows is found.
    assert_eq!(world.answers(&found), world.answers(&expected));
    assert_ne!(found.len(), world.load_all(Some(&local)).len());
}

#[test]
fn segments_are_merged_as_they_grow() {
    let mut world = World::new();
    let local = world.local();
    let mut files_max = 0;
    for round in 0..30 {
        world.store(1 + round % 3, 30);
        let index = world.load_all(Some(&local));
        assert!(is_mapped(&index));
        assert_eq!(world.answers(&index), world.answers(&world.load_all(None)), "round {round}");
        files_max = files_max.max(world.files().len());
    }
    assert!((2..=5).contains(&files_max), "{files_max} files");
}

#[test]
fn the_rows_of_each_merged_segment_grow_by_a_quarter_at_least() {
    let mut sizes: Vec<(u64, u64)> = Vec::new();
    let mut written = 0;
    for _ in 0..10_000 {
        sizes.push((1, 1));
        let chosen = merge::choose(&sizes);
        let rows: u64 = chosen.iter().map(|number| sizes[*number as usize].0).sum();
        if let Some(largest) = chosen.iter().map(|number| sizes[*number as usize].0).max() {
            assert!(rows * 4 >= largest * 5, "{largest} of {rows}");
            let kept = (0..sizes.len() as u32).filter(|number| !chosen.contains(number));
            sizes = kept.map(|number| sizes[number as usize]).chain([(rows, rows)]).collect();
            written += rows;
        }
        assert!(sizes.len() <= 8, "{sizes:?}");
    }
    assert!(written < 10_000 * 30, "{written} rows written");
    assert_eq!(merge::choose(&[(10, 10)]), [0u32; 0]);
    assert_eq!(merge::choose(&[(3, 10)]), [0]);
    // A small one does not keep larger ones apart.
    assert_eq!(merge::choose(&[(1000, 1000), (10, 10), (1000, 1000), (100_000, 100_000)]), [1, 0, 2]);
    let huge = u64::from(u32::MAX) - 5;
    assert_eq!(merge::choose(&[(huge, huge), (huge, huge)]), [0u32; 0]);
}

#[test]
fn packs_that_the_ledger_does_not_name_are_passed_over_and_dropped() {
    let mut world = World::new();
    world.store(16, 40);
    let local = world.local();
    world.load_all(Some(&local));
    let files = world.files();
    let mut places = world.places();
    for left in [12, 5, 0] {
        places.truncate(left);
        let before = world.reads();
        let index = world.load(Some(&local), places.clone(), &Voids::default());
        assert_eq!(world.reads(), before);
        let expected = world.load(None, places.clone(), &Voids::default());
        assert_eq!((index.packs().len(), world.answers(&index)), (left, world.answers(&expected)));
        match left {
            12 => assert_eq!(world.files(), files),
            5 => assert!(world.files().len() == 1 && world.files() != files, "written anew"),
            _ => assert_eq!(world.files(), [] as [PathBuf; 0]),
        }
    }
}

#[test]
fn a_pack_at_another_place_is_another_pack() {
    let mut world = World::new();
    world.store(2, 40);
    let local = world.local();
    world.load_all(Some(&local));
    let domains = HashMap::from([(1, world.places()[0].clone())]);
    let segment = Segment::open(&local, &local.folder.list()[0].0, &Arc::new(world.reread())).unwrap();
    let place = &domains[&1];
    let record = *segment.records().iter().find(|record| record.pack == place.id.0).unwrap();
    let tag = domain_tag(&place.domain);
    assert!(agrees(&record, place, &tag));
    for change in 0..5 {
        let mut other = record;
        match change {
            0 => other.length += 1,
            1 => other.table_offset += 1,
            2 => other.table_length += 1,
            3 => other.area ^= 1,
            _ => other.domain[3] ^= 1,
        }
        assert!(!agrees(&other, place, &tag), "change {change}");
    }
}

impl World {
    pub(super) fn reread(&self) -> Reread {
        Reread::new(&self.place.repository.storage, &self.place.repository.keys)
    }
}

mod growing;
mod harm;
