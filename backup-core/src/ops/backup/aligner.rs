//! Follows the content of a file through what the parent held of it, so that bases are found at the same place.

use std::collections::{HashMap, VecDeque};

use super::content::Piece;
use crate::error::{Result, unless_damage};
use crate::format::tree::{Content, Item};
use crate::id::{ChunkId, ChunkPrefix};
use crate::repository::load::Loader;
use crate::repository::nodes::Items;

/// How far behind and ahead of a place in the parent what moved is looked for, in bytes.
const REACH_BYTES: u64 = 1 << 20;

/// Follows the content of a file through that of the parent: what is at the same place there, where changes before it moved it.
#[derive(Default)]
pub(super) struct Aligner {
    /// What comes next of the parent's content; `None` where there was none, or it ended.
    items: Option<Items>,
    /// Where they come from, to go on elsewhere.
    before: Option<Content>,
    /// Whether a stretch was passed that nobody looks at, so that its items need not be read.
    has_gap: bool,
    /// Bytes of the parent's content that were taken out of `items`.
    taken: u64,
    /// Chunks of the parent near the place, with where they begin.
    near: VecDeque<OldChunk>,
    places: HashMap<ChunkPrefix, u64>,
    /// Where in the file the next piece begins.
    offset: u64,
    /// What to add to a place in the file for the place in the parent.
    drift: i64,
    /// Whether pieces stand at fixed places, so that nothing can have moved.
    pub(super) is_fixed: bool,
    /// Whether the parent has no such file: what followed the piece before where that was stored is then the only base.
    pub(super) is_new: bool,
    /// See `is_new`.
    pub(super) follower: Option<ChunkPrefix>,
    /// Patches are made of chunks of smaller depth.
    pub(super) depth_max: u8,
}

#[derive(Clone, Copy)]
struct OldChunk {
    start: u64,
    length: u32,
    decode_bytes: u32,
    id: ChunkId,
}

/// What the parent says of a chunk.
pub(super) struct Aligned {
    /// It is there, and reading it decodes so many bytes.
    pub(super) same: Option<u32>,
    /// What it may be a patch of.
    pub(super) base: Option<ChunkPrefix>,
}

impl Aligner {
    /// Begins a file, with what the parent held of it.
    pub(super) fn new(before: Option<&Content>, is_fixed: bool, depth_max: u8) -> Self {
        let items = before.filter(|content| matches!(content, Content::Items { .. } | Content::List { .. }));
        let (is_new, before) = (items.is_none(), items.cloned());
        Self { items: items.map(Items::new), before, is_fixed, depth_max, is_new, ..Self::default() }
    }

    /// Begins the file anew.
    pub(super) fn restart(&mut self) {
        *self = Self::new(self.before.take().as_ref(), self.is_fixed, self.depth_max);
    }

    /// Passes what is no chunk.
    pub(super) fn pass(&mut self, length: u64) {
        self.offset += length;
        self.follower = None;
    }

    /// Passes a stretch that is the parent's.
    pub(super) fn pass_same(&mut self, length: u64) {
        self.has_gap = true;
        self.pass(length);
    }

    /// Goes on with the parent's items at the place, behind a gap.
    fn close_gap(&mut self, loader: &Loader<'_>) -> Result<()> {
        let is_far = std::mem::take(&mut self.has_gap) && self.is_fixed && self.taken < self.offset;
        let Some(before) = self.before.as_ref().filter(|_| is_far) else { return Ok(()) };
        (self.items, self.taken) = match unless_damage(Items::seek(before, self.offset, loader))? {
            Some((items, start)) => (Some(items), start),
            None => (None, self.offset),
        };
        self.near.clear();
        Ok(())
    }

    /// Goes back by a chunk that was passed.
    pub(super) fn back(&mut self, length: usize) {
        self.offset -= length as u64;
    }

    /// Passes the next chunk, and says what the parent has at its place.
    pub(super) fn chunk(&mut self, id: &ChunkId, length: usize, loader: &Loader<'_>) -> Result<Aligned> {
        let start = self.offset.saturating_add_signed(self.drift);
        let end = start + length as u64;
        let reach = if self.is_fixed { 0 } else { REACH_BYTES };
        self.fill(end + reach, loader)?;
        self.drop_before(start.saturating_sub(reach));
        let offset = self.offset;
        self.offset += length as u64;
        let overlap =
            |old: &&OldChunk| (old.start + u64::from(old.length)).min(end).saturating_sub(old.start.max(start));
        let best = self.near.iter().max_by_key(overlap).filter(|old| overlap(old) > 0).copied();
        if let Some(old) = best.filter(|old| old.id == *id) {
            return Ok(Aligned { same: Some(old.decode_bytes), base: None });
        }
        let moved = self.places.get(&id.prefix()).and_then(|place| self.near.iter().find(|old| old.start == *place));
        if let Some(old) = moved.filter(|old| old.id == *id) {
            self.drift = old.start.cast_signed() - offset.cast_signed();
            return Ok(Aligned { same: Some(old.decode_bytes), base: None });
        }
        Ok(Aligned { same: None, base: best.map(|old| old.id.prefix()) })
    }

    /// Where in a chunk, which was passed last, those of the parent begin that it replaces. None where something was put in or cut out, which shows in the next piece that is the parent's: it stands
    /// elsewhere then.
    pub(super) fn cut_points(&mut self, length: usize, rest: &[Piece], loader: &Loader<'_>) -> Result<Vec<usize>> {
        let end = self.offset.saturating_add_signed(self.drift);
        let start = end - length as u64;
        let inner = self.near.iter().filter(|old| start < old.start && old.start < end);
        let places: Vec<usize> = inner.map(|old| (old.start - start) as usize).collect();
        let is_in_place = !places.is_empty() && self.goes_on_at(end, rest, loader)?;
        Ok(if is_in_place { places } else { Vec::new() })
    }

    /// Whether the next of these pieces that the parent has stands at its place there, the first being at `place`.
    fn goes_on_at(&mut self, mut place: u64, rest: &[Piece], loader: &Loader<'_>) -> Result<bool> {
        for piece in rest {
            let length = match piece {
                Piece::Chunk { id, start, end, .. } => {
                    let length = (end - start) as u64;
                    self.fill(place + length + REACH_BYTES, loader)?;
                    if let Some(old) = self.places.get(&id.prefix()) {
                        return Ok(*old == place);
                    }
                    length
                }
                Piece::Inline { start, end } => (end - start) as u64,
                Piece::Zeros(length) | Piece::Hole(length) | Piece::Same(length) => *length,
            };
            place += length;
        }
        Ok(false)
    }

    /// Takes the parent's chunks up to a place. What the parent has lost is the end of it.
    fn fill(&mut self, end: u64, loader: &Loader<'_>) -> Result<()> {
        self.close_gap(loader)?;
        while let Some(items) = self.items.as_mut().filter(|_| self.taken < end) {
            let Some(item) = unless_damage(items.next(loader))?.flatten() else {
                self.items = None;
                return Ok(());
            };
            let start = self.taken;
            self.taken += item.length();
            if let Item::Chunk { length, decode_bytes, id } = item {
                if !self.is_fixed {
                    self.places.insert(id.prefix(), start);
                }
                self.near.push_back(OldChunk { start, length, decode_bytes, id });
            }
        }
        Ok(())
    }

    fn drop_before(&mut self, place: u64) {
        while let Some(old) = self.near.front().filter(|old| old.start + u64::from(old.length) <= place) {
            if self.places.get(&old.id.prefix()) == Some(&old.start) {
                self.places.remove(&old.id.prefix());
            }
            self.near.pop_front();
        }
    }
}
