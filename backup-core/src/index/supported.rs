//! Which chunks can be decoded when some locations are bad: what was found out about a location is remembered, so that asking for all chunks looks at each location once.

use std::collections::{HashMap, HashSet};

use super::{Index, Location, Voids};
use crate::id::ChunkPrefix;

/// What can be decoded, as far as the tables tell.
pub(crate) struct Supported<'i> {
    index: &'i Index,
    bad: Voids,
    /// What is known of patches; whether a chunk that is stored whole is good takes no search.
    known: HashMap<Location, bool>,
}

impl<'i> Supported<'i> {
    /// Begins with the frames and packs that are bad.
    pub(crate) fn new(index: &'i Index, bad: Voids) -> Self {
        Self { index, bad, known: HashMap::new() }
    }

    /// Whether a chunk has a location that can be decoded.
    pub(crate) fn has(&mut self, prefix: &ChunkPrefix) -> bool {
        let index = self.index;
        index.locations(prefix).any(|location| self.is_supported(location))
    }

    /// Whether a location is not bad, and is stored whole or has a base at a location of smaller depth of which the same is true. Depths fall at every step, so this ends.
    fn is_supported(&mut self, location: Location) -> bool {
        if let Some(known) = self.known.get(&location) {
            return *known;
        }
        let index = self.index;
        let pack = index.pack(location.pack);
        let Some((row, frame, _)) = pack.table.row(location.row) else { return false };
        let is_good = !self.bad.contains(pack.place.id, frame);
        let Some(base) = row.base else { return is_good };
        let is_supported =
            is_good && index.locations(&base).any(|below| index.depth(below) < row.depth && self.is_supported(below));
        self.known.insert(location, is_supported);
        is_supported
    }

    /// The chunks among these, and among all that was made from them through any number of patches, that cannot be decoded.
    pub(crate) fn lost_with(&mut self, first: &HashSet<ChunkPrefix>) -> HashSet<ChunkPrefix> {
        let dependants = if first.is_empty() { HashMap::new() } else { self.dependants() };
        let mut seen = first.clone();
        let mut next: Vec<ChunkPrefix> = first.iter().copied().collect();
        while let Some(prefix) = next.pop() {
            // A chunk with another location may be there while what was made from it is lost: that other one may be too deep.
            let above = dependants.get(&prefix).into_iter().flatten();
            next.extend(above.copied().filter(|prefix| seen.insert(*prefix)));
        }
        seen.retain(|prefix| !self.has(prefix));
        seen
    }

    /// The chunks that have a patch made from each base.
    fn dependants(&self) -> HashMap<ChunkPrefix, Vec<ChunkPrefix>> {
        let mut dependants: HashMap<ChunkPrefix, Vec<ChunkPrefix>> = HashMap::new();
        for pack in self.index.packs() {
            for (base, prefix) in pack.table.patches() {
                dependants.entry(base).or_default().push(prefix);
            }
        }
        dependants
    }
}
