//! Chains of patches: what must be decoded for a chunk, found in the tables alone.

use super::{Index, Location};
use crate::id::ChunkPrefix;
use crate::limits::PATCH_DEPTH_MAX;
use crate::pack::reader::OpenPack;

impl Index {
    /// Whether a location can be decoded as far as the tables tell: it is not bad, and if it is a patch, a location of its base of smaller depth can be decoded. Depths fall at every step, so asking
    /// the same of that one ends.
    pub(super) fn can_decode(
        &self,
        location: Location,
        is_bad: impl FnOnce(&OpenPack, u32) -> bool,
        mut can_decode_below: impl FnMut(Location) -> bool,
    ) -> bool {
        let pack = self.pack(location.pack);
        let Some((row, frame, _)) = pack.table.row(location.row) else { return false };
        if is_bad(pack, frame) {
            return false;
        }
        let Some(base) = row.base else { return true };
        self.locations(&base).any(|below| self.depth(below) < row.depth && can_decode_below(below))
    }

    /// Whether a location can be decoded as far as the tables tell, where not much is asked.
    pub(crate) fn is_supported(&self, location: Location, is_bad: &impl Fn(&OpenPack, u32) -> bool) -> bool {
        self.can_decode(location, is_bad, |below| self.is_supported(below, is_bad))
    }

    /// The locations to decode for one, its own last, the one that is stored whole first; `None` where a base has no location. Of several locations of a base it takes the one of smallest
    /// depth.
    pub(crate) fn chain(&self, location: Location) -> Option<Vec<Location>> {
        let mut chain = vec![location];
        let (mut row, ..) = self.pack(location.pack).table.row(location.row)?;
        while let Some(base) = row.base {
            let below = self.locations(&base).filter(|below| self.depth(*below) < row.depth);
            let below = below.min_by_key(|below| self.depth(*below))?;
            (row, ..) = self.pack(below.pack).table.row(below.row)?;
            chain.push(below);
            if chain.len() as u64 > PATCH_DEPTH_MAX + 1 {
                return None;
            }
        }
        chain.reverse();
        Some(chain)
    }

    /// Plaintext bytes of a chunk and of all its bases, as its shallowest location needs them; `None` where it has none that can be decoded. A chunk or a base that is not here is looked for in `others`.
    pub(crate) fn decode_bytes(&self, prefix: &ChunkPrefix, others: Option<&Index>) -> Option<u32> {
        self.decode_bytes_below(prefix, PATCH_DEPTH_MAX as u8 + 1, others)
    }

    /// As [`Self::decode_bytes`], by locations of smaller depth alone.
    fn decode_bytes_below(&self, prefix: &ChunkPrefix, depth: u8, others: Option<&Index>) -> Option<u32> {
        let below = self.locations(prefix).filter(|location| self.depth(*location) < depth);
        let Some(location) = below.min_by_key(|location| self.depth(*location)) else {
            return others?.decode_bytes_below(prefix, depth, None);
        };
        let (row, ..) = self.pack(location.pack).table.row(location.row)?;
        match row.base {
            None => Some(row.plain),
            Some(base) => row.plain.checked_add(self.decode_bytes_below(&base, row.depth, others)?),
        }
    }

    /// The depth of a location.
    pub(crate) fn depth(&self, location: Location) -> u8 {
        self.pack(location.pack).table.depth(location.row)
    }
}
