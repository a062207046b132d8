//! Where chunks are: the sealed tables of all packs, in memory, searchable by prefix.
//!
//! The tables are the truth. Segments ([`segment`]) only save requests, and are used for packs that the ledger names with the same place of the table.

pub(crate) mod segment;
mod support;
pub(crate) mod supported;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::name::Domain;
use crate::id::{ChunkPrefix, PackId};
use crate::keyring::PeriodKeys;
use crate::pack::reader::{OpenPack, PackPlace};
use crate::pipeline::Workers;
use crate::storage::Storage;

/// Locations that must not be relied on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Voids(HashMap<PackId, Option<BTreeSet<u32>>>);

impl Voids {
    /// Excludes frames of a pack, or all of it for `None`.
    pub(crate) fn add(&mut self, pack: PackId, frames: Option<impl IntoIterator<Item = u32>>) {
        let known = self.0.entry(pack).or_insert_with(|| Some(BTreeSet::new()));
        match (frames, known.as_mut()) {
            (Some(frames), Some(known)) => known.extend(frames),
            _ => *known = None,
        }
    }

    /// Excludes what others exclude, too.
    pub(crate) fn extend(&mut self, others: &Voids) {
        for (pack, frames) in others.iter() {
            self.add(pack, frames.map(|frames| frames.iter().copied()));
        }
    }

    /// Whether a frame is excluded.
    pub(crate) fn contains(&self, pack: PackId, frame: u32) -> bool {
        self.0.get(&pack).is_some_and(|frames| frames.as_ref().is_none_or(|frames| frames.contains(&frame)))
    }

    /// Whether a pack is excluded whole.
    pub(crate) fn contains_pack(&self, pack: PackId) -> bool {
        matches!(self.0.get(&pack), Some(None))
    }

    /// Whether nothing is excluded.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of it, by pack; `None` is the whole pack.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PackId, Option<&BTreeSet<u32>>)> {
        self.0.iter().map(|(pack, frames)| (*pack, frames.as_ref()))
    }

    /// What is in `self` and not yet in `other`.
    pub(crate) fn without(&self, other: &Voids) -> Voids {
        let mut rest = Voids::default();
        for (pack, frames) in self.iter().filter(|(pack, _)| !other.contains_pack(*pack)) {
            match frames {
                None => rest.add(pack, None::<[u32; 0]>),
                Some(frames) => {
                    let new: Vec<u32> = frames.iter().copied().filter(|frame| !other.contains(pack, *frame)).collect();
                    if !new.is_empty() {
                        rest.add(pack, Some(new));
                    }
                }
            }
        }
        rest
    }
}

/// One place where a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Location {
    /// Number of the pack in the index.
    pub(crate) pack: u32,
    /// Number of the row in its table.
    pub(crate) row: u32,
}

/// All chunks of all packs whose tables could be read.
#[derive(Default)]
pub(crate) struct Index {
    packs: Vec<Arc<OpenPack>>,
    sorted: Vec<(ChunkPrefix, Location)>,
    recent: HashMap<ChunkPrefix, Vec<Location>>,
    lossy: bool,
}

impl Index {
    /// Reads the tables of all `places`, through segments where there are some, and indexes what is not void.
    pub(crate) fn load(
        storage: &Storage,
        workers: &Workers,
        keys: &HashMap<Arc<Domain>, Arc<PeriodKeys>>,
        places: Vec<PackPlace>,
        voids: &Voids,
    ) -> Result<(Self, Vec<PackPlace>)> {
        let mut index = Self { lossy: !voids.is_empty(), ..Self::default() };
        let places: Vec<PackPlace> = places.into_iter().filter(|place| !voids.contains_pack(place.id)).collect();
        let (mut packs, unreadable) = read_tables(storage, workers, keys, places)?;
        index.lossy |= !unreadable.is_empty();
        packs.sort_by_key(|pack| pack.place.id);
        index.fill(packs, voids, workers);
        Ok((index, unreadable))
    }

    fn fill(&mut self, packs: Vec<OpenPack>, voids: &Voids, workers: &Workers) {
        self.sorted.reserve_exact(packs.iter().map(|pack| pack.table.len()).sum());
        for mut pack in packs {
            pack.drop_record();
            let number = self.packs.len() as u32;
            for (row, prefix) in live_rows(&pack, voids) {
                self.sorted.push((prefix, Location { pack: number, row }));
            }
            self.packs.push(Arc::new(pack));
        }
        workers.sort_by_key(&mut self.sorted, |(prefix, _)| *prefix);
    }

    /// Adds packs that were committed after the index was loaded. Where it could not be read what some of them hold, that counts as lost.
    pub(crate) fn extend(&mut self, packs: impl IntoIterator<Item = OpenPack>, is_whole: bool, voids: &Voids) {
        self.lossy |= !is_whole;
        for mut pack in packs {
            pack.drop_record();
            let number = self.packs.len() as u32;
            for (row, prefix) in live_rows(&pack, voids) {
                self.recent.entry(prefix).or_default().push(Location { pack: number, row });
            }
            self.packs.push(Arc::new(pack));
        }
    }

    /// Whether some location is known for a chunk.
    pub(crate) fn contains(&self, prefix: &ChunkPrefix) -> bool {
        self.locations(prefix).next().is_some()
    }

    /// All known locations of a chunk.
    pub(crate) fn locations(&self, prefix: &ChunkPrefix) -> impl Iterator<Item = Location> {
        let start = self.sorted.partition_point(|(other, _)| other < prefix);
        let sorted = self.sorted[start..].iter().take_while(move |(other, _)| other == prefix);
        let recent = self.recent.get(prefix).into_iter().flatten();
        sorted.map(|(_, location)| *location).chain(recent.copied())
    }

    /// The pack of a number that a [`Location`] has.
    pub(crate) fn pack(&self, number: u32) -> &Arc<OpenPack> {
        &self.packs[number as usize]
    }

    /// All packs.
    pub(crate) fn packs(&self) -> &[Arc<OpenPack>] {
        &self.packs
    }

    /// How many rows there are over all packs.
    pub(crate) fn len(&self) -> usize {
        self.sorted.len() + self.recent.values().map(Vec::len).sum::<usize>()
    }

    /// Whether something that was committed cannot be relied on, so that what refers to chunks must look whether they are there.
    pub(crate) fn is_lossy(&self) -> bool {
        self.lossy
    }
}

/// Reads the tables of packs, from the cache, and then through segments where there are some; returns those that could be read, and the places of the others.
pub(crate) fn read_tables(
    storage: &Storage,
    workers: &Workers,
    keys: &HashMap<Arc<Domain>, Arc<PeriodKeys>>,
    places: Vec<PackPlace>,
) -> Result<(Vec<OpenPack>, Vec<PackPlace>)> {
    let (mut packs, mut rest, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
    let cached = workers.map(places, |place| match keys.get(&place.domain) {
        Some(keys) => place.cached_table(keys, storage).ok_or(place),
        None => Err(place),
    });
    for result in cached {
        match result {
            Ok(pack) => packs.push(pack),
            Err(place) => rest.push(place),
        }
    }
    let (gathered, rest) = segment::read_all(storage, workers, keys, rest)?;
    packs.extend(gathered);
    let opened = workers.map(rest, |place| {
        let result = match keys.get(&place.domain) {
            Some(keys) => place.read_table(keys, storage),
            None => Err(Error::damaged(place.name(), "the keys of its period are missing")),
        };
        (place, result)
    });
    for (place, result) in opened {
        match result {
            Ok(pack) => packs.push(pack),
            Err(error) if error.is_damage() => unreadable.push(place),
            Err(error) => return Err(error),
        }
    }
    Ok((packs, unreadable))
}

/// The rows of a pack that may be relied on, with their chunks.
pub(crate) fn live_rows<'a>(pack: &'a OpenPack, voids: &'a Voids) -> impl Iterator<Item = (u32, ChunkPrefix)> + 'a {
    let frames = (0u32..).zip(pack.table.frames());
    let live = frames.filter(|(number, _)| !voids.contains(pack.place.id, *number));
    live.flat_map(move |(_, frame)| {
        (frame.first_row..frame.first_row + frame.rows).map(|row| (row, pack.table.prefixes()[row as usize]))
    })
}
