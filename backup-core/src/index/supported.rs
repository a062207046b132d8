//! Which chunks can be decoded when some locations are bad: what was found out about a location is remembered, so that asking for all chunks looks at each location once.

use std::collections::HashSet;

use super::{Index, Location, Marks, Voids};
use crate::id::ChunkPrefix;

/// What can be decoded, as far as the tables tell.
pub(crate) struct Supported<'i> {
    index: &'i Index,
    bad: Voids,
    /// Patches that were looked at, and those of them that can be decoded. Whether a chunk that is stored whole is good takes no search.
    known: Marks,
    good: Marks,
}

impl<'i> Supported<'i> {
    /// Begins with the frames and packs that are bad.
    pub(crate) fn new(index: &'i Index, bad: Voids) -> Self {
        Self { index, bad, known: Marks::default(), good: Marks::default() }
    }

    /// Whether a chunk has a location that can be decoded.
    pub(crate) fn has(&mut self, prefix: &ChunkPrefix) -> bool {
        let index = self.index;
        index.locations(prefix).any(|location| self.is_supported(location))
    }

    fn is_supported(&mut self, location: Location) -> bool {
        if self.known.contains(location) {
            return self.good.contains(location);
        }
        let index = self.index;
        let is_bad = index.is_excluded(location, &self.bad);
        let can_decode = index.can_decode(location, |_, _| is_bad, |below| self.is_supported(below));
        if index.depth(location) > 0 {
            self.known.insert(location, index);
            if can_decode {
                self.good.insert(location, index);
            }
        }
        can_decode
    }

    /// The chunks among these, and among all that was made from them through any number of patches, that cannot be decoded.
    pub(crate) fn lost_with(&mut self, first: &HashSet<ChunkPrefix>) -> HashSet<ChunkPrefix> {
        let mut seen = first.clone();
        let mut is_growing = !first.is_empty();
        // Depths are bounded, and so are the rounds. A table from base to patches would be as large as the index.
        while is_growing {
            is_growing = false;
            for pack in self.index.packs() {
                for (base, prefix) in pack.table.patches() {
                    // A chunk with another location may be there while what was made from it is lost: that other one may be too deep.
                    is_growing |= seen.contains(&base) && seen.insert(prefix);
                }
            }
        }
        seen.retain(|prefix| !self.has(prefix));
        seen
    }
}
