//! What is new of the content that was read, and patches for it: bases are found at the same place in the parent, and workers make the patches.

use std::collections::{HashMap, VecDeque};

use super::content::{Named, Piece, Standing};
use super::events::{Event, Patched, Queue, Settled};
use crate::error::{Result, unless_damage};
use crate::format::tree::{Content, Item, Sums};
use crate::id::{ChunkId, ChunkPrefix};
use crate::limits::PATCH_DEPTH_MAX;
use crate::pipeline::Workers;
use crate::repository::Snapshot;
use crate::repository::base::Base;
use crate::repository::load::Loader;
use crate::repository::nodes::Items;
use crate::repository::save::Saver;

/// How far behind and ahead of a place in the parent what moved is looked for, in bytes.
const REACH_BYTES: u64 = 1 << 20;

/// Content for which patches may be under way at a time.
const UNDER_WAY_BYTES: usize = 16 << 20;
/// Steps that wait behind patches; each is an entry in memory.
const STEPS_MAX: usize = 4096;

/// Follows the content of a file through that of the parent: what is at the same place there, where changes before it moved it.
#[derive(Default)]
struct Aligner {
    /// What comes next of the parent's content; `None` where there was none, or it ended.
    items: Option<Items>,
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
    is_fixed: bool,
    /// Whether the parent has no such file: what followed the piece before where that was stored is then the only base.
    is_new: bool,
    /// See `is_new`.
    follower: Option<ChunkPrefix>,
    /// Patches are made of chunks of smaller depth.
    depth_max: u8,
}

#[derive(Clone, Copy)]
struct OldChunk {
    start: u64,
    length: u32,
    decode_bytes: u32,
    id: ChunkId,
}

/// What the parent says of a chunk.
struct Aligned {
    /// It is there, and reading it decodes so many bytes.
    same: Option<u32>,
    /// What it may be a patch of.
    base: Option<ChunkPrefix>,
}

impl Aligner {
    /// Begins a file, with what the parent held of it.
    fn new(before: Option<&Content>, is_fixed: bool, depth_max: u8) -> Self {
        let items = before.filter(|content| matches!(content, Content::Items { .. } | Content::List { .. }));
        Self { items: items.map(Items::new), is_fixed, depth_max, is_new: items.is_none(), ..Self::default() }
    }

    /// Begins the file anew.
    fn restart(&mut self, before: Option<&Content>) {
        *self = Self::new(before, self.is_fixed, self.depth_max);
    }

    /// Passes what is no chunk.
    fn pass(&mut self, length: u64) {
        self.offset += length;
        self.follower = None;
    }

    /// Passes the next chunk, and says what the parent has at its place.
    fn chunk(&mut self, id: &ChunkId, length: usize, loader: &Loader<'_>) -> Result<Aligned> {
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

    /// Takes the parent's chunks up to a place. What the parent has lost is the end of it.
    fn fill(&mut self, end: u64, loader: &Loader<'_>) -> Result<()> {
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

/// Content of which it is known what is new; patches may still be under way.
enum Settling {
    Ready(Named),
    Patching(Patched),
}

/// Finds out which chunks of a file's pieces are new, and lets workers make patches of those that have bases.
fn settle(
    mut named: Named,
    aligner: &mut Aligner,
    saver: &mut Saver,
    loader: &Loader<'_>,
    workers: &Workers,
) -> Result<Settling> {
    let at_hand = saver.at_hand().cloned();
    let mut bases: Vec<(usize, Base)> = Vec::new();
    for (number, piece) in named.pieces.iter_mut().enumerate() {
        match piece {
            Piece::Zeros(length) | Piece::Hole(length) | Piece::Same(length) => aligner.pass(*length),
            Piece::Inline { start, end } => aligner.pass((*end - *start) as u64),
            Piece::Chunk { id, start, end, standing, .. } => {
                let aligned = match at_hand {
                    Some(_) => aligner.chunk(id, *end - *start, loader)?,
                    None => Aligned { same: None, base: None },
                };
                let prefix = id.prefix();
                // What the parent has at its place is there, unless something is known to be lost.
                let is_stored = aligned.same.is_some() && loader.is_whole();
                if is_stored || !saver.claim(loader, &prefix) {
                    *standing = Standing::Stored(aligned.same);
                    aligner.follower = if aligner.is_new { loader.neighbour(&prefix) } else { None };
                    continue;
                }
                *standing = Standing::New(None);
                let follower = aligner.follower.take();
                let base = aligned.base.or(follower).filter(|_| at_hand.is_some());
                let base = base.and_then(|base| loader.base(saver.keys(), &base, false, aligner.depth_max));
                aligner.follower = follower.and_then(|base| loader.neighbour(&base));
                bases.extend(base.map(|base| (number, base)));
            }
        }
    }
    let Some(at_hand) = at_hand.filter(|_| !bases.is_empty()) else { return Ok(Settling::Ready(named)) };
    let bytes = named.buffer.len();
    let named = workers.submit(move || {
        for (number, base) in &bases {
            if let Piece::Chunk { id, start, end, standing, .. } = &mut named.pieces[*number] {
                *standing = Standing::New(at_hand.patch(base, id, &named.buffer[*start..*end]));
            }
        }
        named
    });
    Ok(Settling::Patching(Patched { named, bytes }))
}

/// Steps on their way from having been read to being saved, in order.
pub(super) struct Patching {
    settled: VecDeque<Settled>,
    /// Bytes of those for which patches are being made.
    bytes: usize,
    /// The long file that the steps are in, and what the parent held of it.
    file: Option<(Aligner, Option<Content>)>,
    /// Totals of the parent.
    parent: Sums,
}

impl Patching {
    pub(super) fn new(parent: Option<&Snapshot>) -> Self {
        let parent = parent.map(|parent| parent.manifest.sums()).unwrap_or_default();
        Self { settled: VecDeque::new(), bytes: 0, file: None, parent }
    }

    /// Finds out what is new of a step that was read.
    pub(super) fn settle(
        &mut self,
        event: Event,
        queue: &mut Queue,
        saver: &mut Saver,
        loader: &Loader<'_>,
        workers: &Workers,
    ) -> Result<()> {
        let settled = match event {
            Event::File(found) => {
                let mut read = queue.next_read();
                match &mut read.content {
                    Ok(content) => {
                        let mut aligner = self.aligner(found.before.as_deref(), content.group_bytes);
                        match settle(std::mem::take(&mut content.named), &mut aligner, saver, loader, workers)? {
                            Settling::Ready(named) => {
                                content.named = named;
                                Settled::File(found, read)
                            }
                            Settling::Patching(patched) => Settled::PatchedFile(found, read, patched),
                        }
                    }
                    Err(_) => Settled::File(found, read),
                }
            }
            Event::Segment(pending) => {
                let (aligner, _) = self.file.as_mut().expect("segments come inside a file");
                match settle(pending.wait(), aligner, saver, loader, workers)? {
                    Settling::Ready(named) => Settled::Segment(named),
                    Settling::Patching(patched) => Settled::PatchedSegment(patched),
                }
            }
            event => {
                self.follow(&event);
                Settled::Step(event)
            }
        };
        self.bytes += settled.patched_bytes();
        self.settled.push_back(settled);
        Ok(())
    }

    /// Notes where long files begin and end.
    fn follow(&mut self, event: &Event) {
        match event {
            Event::Begin(found, group_bytes) => {
                let before = found.before.as_deref().cloned();
                self.file = Some((self.aligner(before.as_ref(), *group_bytes), before));
            }
            Event::Again => {
                if let Some((aligner, before)) = &mut self.file {
                    aligner.restart(before.as_ref());
                }
            }
            Event::End(_) => self.file = None,
            _ => {}
        }
    }

    fn aligner(&self, before: Option<&Content>, group_bytes: Option<u64>) -> Aligner {
        Aligner::new(before, group_bytes.is_some(), depth_max(before, &self.parent))
    }

    /// The next step, if it can be saved without waiting, or if too much is under way.
    pub(super) fn next_ready(&mut self) -> Option<Settled> {
        let is_due = self.settled.front()?.is_done() || self.bytes > UNDER_WAY_BYTES || self.settled.len() > STEPS_MAX;
        if is_due { self.next() } else { None }
    }

    /// The next step.
    pub(super) fn next(&mut self) -> Option<Settled> {
        let settled = self.settled.pop_front()?;
        self.bytes -= settled.patched_bytes();
        Some(settled)
    }
}

/// The depth below which chunks of a file may be bases. What a restore must decode is to stay within about three times the plaintext: the nearer the parent is to that, the fewer
/// patches may lie on one another, so that the deepest chunks are stored whole again.
fn depth_max(before: Option<&Content>, parent: &Sums) -> u8 {
    let sums = match before {
        Some(Content::List { sums, .. }) => sums,
        _ => parent,
    };
    let deepest = PATCH_DEPTH_MAX as u8;
    let ratio = sums.decode_bytes as f64 / sums.plaintext_bytes.max(1) as f64;
    // Up to twice the plaintext all depths are allowed, at three times hardly any.
    match ratio {
        ..2.0 => deepest,
        _ => (f64::from(deepest) * (3.0 - ratio).clamp(0.0, 1.0)).round().max(2.0) as u8,
    }
}

#[cfg(test)]
mod tests;
