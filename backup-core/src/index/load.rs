//! Loads an index: from mapped segments what these have, from tables the rest.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::mapped::gather::Lots;
use super::mapped::merge::Claim;
use super::mapped::open::Segments;
use super::mapped::{Mapped, Reread};
use super::{Index, LocalIndex, Sorted, Voids, live_rows, segment};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::format::name::Domain;
use crate::format::table::TableSource;
use crate::id::PackId;
use crate::keyring::PeriodKeys;
use crate::pack::reader::{OpenPack, PackPlace};
use crate::pipeline::Workers;
use crate::storage::Storage;

/// Sealed bytes of tables that are read and opened side by side.
const LOT_BYTES: u64 = 8 << 20;

/// What reading tables needs.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) storage: &'a Storage,
    pub(crate) workers: &'a Workers,
    pub(crate) keys: &'a HashMap<Arc<Domain>, Arc<PeriodKeys>>,
}

/// What an index is made of.
struct Found<'a> {
    places: Vec<PackPlace>,
    segments: Option<Segments<'a>>,
    claims: Vec<Option<Claim>>,
    lots: Lots<'a>,
    unreadable: Vec<PackPlace>,
}

impl Index {
    /// Opens the tables of all `places`, through mapped segments where there is a local index, and makes segments of what is new. Returns the index of what is not void, and the places whose
    /// tables could not be read.
    pub(crate) fn load(
        reading: Reading<'_>,
        local: Option<&LocalIndex>,
        environment: &Environment,
        places: Vec<PackPlace>,
        voids: &Voids,
    ) -> Result<(Self, Vec<PackPlace>)> {
        let mut places: Vec<PackPlace> = places.into_iter().filter(|place| !voids.contains_pack(place.id)).collect();
        places.sort_unstable_by_key(|place| place.id);
        let reread = Arc::new(Reread::new(reading.storage, reading.keys));
        let segments = local.map(|local| Segments::open(local, reading.keys, &reread));
        let claims = segments.as_ref().map_or_else(|| vec![None; places.len()], |open| open.claim(&places));
        let rest = places.iter().zip(&claims).filter(|(_, claim)| claim.is_none()).map(|(place, _)| place.clone());
        let mut lots = Lots::new(local, reading.workers, environment);
        let unreadable = reading.read_each(rest.collect(), |packs| lots.take(packs))?;
        let mut index = Self { voids: voids.clone(), reread: Some(Arc::clone(&reread)), ..Self::default() };
        let unreadable = index.fill(reading, environment, Found { places, segments, claims, lots, unreadable })?;
        index.lossy = !voids.is_empty() || !unreadable.is_empty();
        Ok((index, unreadable))
    }

    /// Moves tables that lie in memory into mapped segments, as far as these may have room, and merges those that should be one.
    ///
    /// # Errors
    /// [`Error::Storage`], where a table must be read again.
    pub(super) fn into_segments(
        self,
        reading: Reading<'_>,
        local: &LocalIndex,
        environment: &Environment,
    ) -> Result<Self> {
        // Before anything else is made of the rows.
        drop(self.runs);
        let reread = self.reread.unwrap_or_else(|| Arc::new(Reread::new(reading.storage, reading.keys)));
        let segments = self.mapped.into_iter().map(Mapped::into_segment).collect();
        let segments = Segments::of(local, reading.keys, &reread, segments);
        let mut packs = self.packs;
        packs.sort_unstable_by_key(|pack| pack.place.id);
        let places: Vec<PackPlace> = packs.iter().map(|pack| pack.place.clone()).collect();
        let claims = segments.claim(&places);
        let in_memory = packs.into_iter().zip(&claims).filter(|(_, claim)| claim.is_none()).map(|(pack, _)| pack);
        let mut lots = Lots::new(Some(local), reading.workers, environment);
        // One that somebody else holds, too, is read again.
        lots.take(in_memory.filter_map(Arc::into_inner).collect());
        let mut index = Self { voids: self.voids, reread: Some(Arc::clone(&reread)), ..Self::default() };
        let found = Found { places, segments: Some(segments), claims, lots, unreadable: Vec::new() };
        let unreadable = index.fill(reading, environment, found)?;
        index.lossy = self.lossy || !unreadable.is_empty();
        Ok(index)
    }

    /// Takes what was found together. Returns the places whose tables could not be read.
    fn fill(&mut self, reading: Reading<'_>, environment: &Environment, found: Found<'_>) -> Result<Vec<PackPlace>> {
        let Found { places, mut segments, mut claims, lots, mut unreadable } = found;
        let (mut kept, written) = lots.finish();
        if let Some(segments) = &mut segments {
            if !written.is_empty() {
                segments.add(written);
                claims = segments.claim(&places);
            }
            if segments.tidy(&claims, environment) {
                claims = segments.claim(&places);
            }
            // Another process may have been faster to remove what this one wrote.
            let mut known: HashSet<PackId> = kept.iter().map(|pack| pack.place.id).collect();
            known.extend(unreadable.iter().map(|place| place.id));
            let unclaimed = places.iter().zip(&claims).filter(|(_, claim)| claim.is_none()).map(|(place, _)| place);
            let missing = unclaimed.filter(|place| !known.contains(&place.id)).cloned();
            unreadable.extend(reading.read_each(missing.collect(), |packs| kept.extend(packs))?);
        }
        let segments = segments.map(Segments::into_all).unwrap_or_default();
        self.fill_kept(kept, reading.workers);
        self.mapped = segments.iter().map(|segment| Mapped::new(Arc::clone(segment))).collect();
        self.packs.reserve_exact(places.len() - self.packs.len());
        for (place, claim) in places.into_iter().zip(claims) {
            let (Some((segment, pack)), Some(keys)) = (claim, reading.keys.get(&place.domain)) else { continue };
            let source = Arc::clone(&segments[segment as usize]) as Arc<dyn TableSource>;
            self.push_mapped(OpenPack::from_source(place, Arc::clone(keys), source, pack), (segment, pack));
        }
        self.at_load = (self.rows_in_memory(), self.mapped.len());
        Ok(unreadable)
    }

    /// Adds the packs whose tables lie in memory.
    fn fill_kept(&mut self, kept: Vec<OpenPack>, workers: &Workers) {
        let mut run = Sorted::new();
        run.reserve_exact(kept.iter().map(|pack| pack.table.len()).sum());
        let voids = self.voids.clone();
        for pack in kept {
            self.push(pack, &voids, &mut run);
        }
        workers.sort_by_key(&mut run, |(prefix, _)| *prefix);
        self.push_run(run);
    }

    /// Adds a pack whose table lies in a segment.
    fn push_mapped(&mut self, pack: OpenPack, (segment, number): (u32, u32)) {
        let mapped = &mut self.mapped[segment as usize];
        self.rows += match self.voids.concerns(pack.place.id) {
            true => live_rows(&pack, &self.voids).count(),
            false => mapped.rows(number),
        };
        mapped.take(number, self.packs.len() as u32);
        self.packs.push(Arc::new(pack));
    }
}

/// Reads the tables of packs; returns those that could be read, and the places of the others.
pub(crate) fn read_tables(
    storage: &Storage,
    workers: &Workers,
    keys: &HashMap<Arc<Domain>, Arc<PeriodKeys>>,
    places: Vec<PackPlace>,
) -> Result<(Vec<OpenPack>, Vec<PackPlace>)> {
    let mut all = Vec::new();
    let unreadable = Reading { storage, workers, keys }.read_each(places, |packs| all.extend(packs))?;
    Ok((all, unreadable))
}

impl Reading<'_> {
    /// Reads the tables of packs from the cache, then through segments of the repository where there are some, then one by one, and hands them on in lots of bounded size. Returns the places of those
    /// that could not be read.
    fn read_each(&self, places: Vec<PackPlace>, mut take: impl FnMut(Vec<OpenPack>)) -> Result<Vec<PackPlace>> {
        let (mut rest, mut unreadable) = (Vec::new(), Vec::new());
        for lot in lots(places) {
            let cached = self.workers.map(lot, |place| match self.keys.get(&place.domain) {
                Some(keys) => place.cached_table(keys, self.storage).ok_or(place),
                None => Err(place),
            });
            let mut packs = Vec::new();
            for result in cached {
                match result {
                    Ok(pack) => packs.push(pack),
                    Err(place) => rest.push(place),
                }
            }
            take(packs);
        }
        let rest = segment::read_each(self.storage, self.workers, self.keys, rest, &mut take)?;
        for lot in lots(rest) {
            let opened = self.workers.map(lot, |place| {
                let result = match self.keys.get(&place.domain) {
                    Some(keys) => place.read_table(keys, self.storage),
                    None => Err(Error::damaged(place.name(), "the keys of its period are missing")),
                };
                (place, result)
            });
            let mut packs = Vec::new();
            for (place, result) in opened {
                match result {
                    Ok(pack) => packs.push(pack),
                    Err(error) if error.is_damage() => unreadable.push(place),
                    Err(error) => return Err(error),
                }
            }
            take(packs);
        }
        Ok(unreadable)
    }
}

/// Divides places into lots of about [`LOT_BYTES`] of tables.
pub(crate) fn lots(places: Vec<PackPlace>) -> impl Iterator<Item = Vec<PackPlace>> {
    let mut places = places.into_iter().peekable();
    std::iter::from_fn(move || {
        let (mut lot, mut bytes) = (Vec::new(), 0);
        while let Some(place) = places.next_if(|place| bytes == 0 || bytes + u64::from(place.table_length) <= LOT_BYTES)
        {
            bytes += u64::from(place.table_length).max(1);
            lot.push(place);
        }
        (!lot.is_empty()).then_some(lot)
    })
}
