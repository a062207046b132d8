//! What is new of the content that was read, and patches for it: bases are found at the same place in the parent, and workers make the patches.

use std::collections::VecDeque;
use std::sync::Arc;

use super::aligner::{Aligned, Aligner};
use super::content::{Named, Piece, Standing};
use super::events::{Event, Patched, Queue, Settled};
use crate::error::Result;
use crate::format::tree::{Content, Sums};
use crate::id::ChunkId;
use crate::limits::PATCH_DEPTH_MAX;
use crate::pipeline::Workers;
use crate::repository::Snapshot;
use crate::repository::base::{AtHand, Base};
use crate::repository::load::Loader;
use crate::repository::save::Saver;

/// Content for which patches may be under way at a time.
const UNDER_WAY_BYTES: usize = 16 << 20;
/// Work on patches is handed over so many steps, or so many bytes, behind the place where its bases were found: meanwhile these are opened, and nobody waits for them.
const AHEAD_STEPS: usize = 64;
const AHEAD_BYTES: usize = 4 << 20;
/// Steps that wait behind patches; each is an entry in memory.
const STEPS_MAX: usize = 4096;

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
    let mut settler = Settler { aligner, at_hand: saver.at_hand().cloned(), saver, loader, bases: Vec::new() };
    let pieces = std::mem::take(&mut named.pieces);
    named.pieces.reserve(pieces.len());
    for number in 0..pieces.len() {
        settler.settle(&pieces[number..], &mut named)?;
    }
    let Settler { aligner, at_hand, bases, .. } = settler;
    let Some(at_hand) = at_hand.filter(|_| !bases.is_empty()) else { return Ok(Settling::Ready(named)) };
    // Pages of a database have bases in many short frames, which would push one another out.
    let opens_ahead = !aligner.is_fixed;
    if opens_ahead {
        bases.iter().for_each(|(_, base)| at_hand.open_ahead(base, workers));
    }
    let bytes = named.buffer.len();
    let make = move || {
        for (number, base) in &bases {
            if let Piece::Chunk { id, start, end, standing, .. } = &mut named.pieces[*number] {
                *standing = Standing::New(at_hand.patch(base, id, &named.buffer[*start..*end]));
            }
        }
        named
    };
    let mut patched = Patched::later(make, bytes);
    if !opens_ahead {
        patched.send(workers);
    }
    Ok(Settling::Patching(patched))
}

/// Finds out what is new, piece by piece.
struct Settler<'s, 'l> {
    aligner: &'s mut Aligner,
    saver: &'s mut Saver,
    loader: &'s Loader<'l>,
    at_hand: Option<AtHand>,
    /// Bases of pieces, by their numbers.
    bases: Vec<(usize, Base)>,
}

impl Settler<'_, '_> {
    /// Settles the first of some pieces, and adds it to what was named.
    fn settle(&mut self, pieces: &[Piece], named: &mut Named) -> Result<()> {
        let Some((piece, rest)) = pieces.split_first() else { return Ok(()) };
        let chunk = match piece {
            Piece::Zeros(length) | Piece::Hole(length) => {
                self.aligner.pass(*length);
                None
            }
            Piece::Same(length) => {
                self.aligner.pass_same(*length);
                None
            }
            Piece::Inline { start, end } => {
                self.aligner.pass((end - start) as u64);
                None
            }
            Piece::Chunk { id, start, end, incompressible, .. } => {
                Some(Chunk { id: *id, start: *start, end: *end, incompressible: *incompressible })
            }
        };
        let Some(chunk) = chunk else {
            named.pieces.push(piece.clone());
            return Ok(());
        };
        if self.at_hand.is_none() {
            self.chunk(chunk, Aligned { same: None, base: None }, named);
            return Ok(());
        }
        let aligned = self.aligner.chunk(&chunk.id, chunk.end - chunk.start, self.loader)?;
        let is_changed = aligned.same.is_none() && aligned.base.is_some() && !self.aligner.is_fixed;
        if !is_changed || !self.split(&chunk, rest, named)? {
            self.chunk(chunk, aligned, named);
        }
        Ok(())
    }

    /// Cuts a chunk where the parent's begin that it replaces, so that each part has its own base: a change in place may take cut points away. Says whether there were any.
    fn split(&mut self, chunk: &Chunk, rest: &[Piece], named: &mut Named) -> Result<bool> {
        let length = chunk.end - chunk.start;
        let mut places = self.aligner.cut_points(length, rest, self.loader)?;
        if places.is_empty() || self.loader.index.contains(&chunk.id.prefix()) {
            return Ok(false);
        }
        self.aligner.back(length);
        places.push(length);
        let mut start = chunk.start;
        for place in places {
            let end = chunk.start + place;
            let id = self.saver.keys().content_id(&named.buffer[start..end]);
            let aligned = self.aligner.chunk(&id, end - start, self.loader)?;
            self.chunk(Chunk { id, start, end, incompressible: chunk.incompressible }, aligned, named);
            start = end;
        }
        Ok(true)
    }

    fn chunk(&mut self, chunk: Chunk, aligned: Aligned, named: &mut Named) {
        let Chunk { id, start, end, incompressible } = chunk;
        let (prefix, loader) = (id.prefix(), self.loader);
        // What the parent has at its place is there, unless something is known to be lost.
        let is_stored = aligned.same.is_some() && loader.is_whole();
        let standing = if is_stored || !self.saver.claim(loader, &prefix) {
            self.aligner.follower = if self.aligner.is_new { loader.neighbour(&prefix) } else { None };
            Standing::Stored(aligned.same)
        } else {
            let follower = self.aligner.follower.take();
            let base = aligned.base.or(follower);
            let base = base.and_then(|base| loader.base(self.saver.keys(), &base, false, self.aligner.depth_max));
            self.aligner.follower = follower.and_then(|base| loader.neighbour(&base));
            self.bases.extend(base.map(|base| (named.pieces.len(), base)));
            Standing::New(None)
        };
        named.pieces.push(Piece::Chunk { id, start, end, incompressible, standing });
    }
}

/// A chunk of which it is not known yet whether it is new.
struct Chunk {
    id: ChunkId,
    start: usize,
    end: usize,
    incompressible: Option<bool>,
}

/// Steps on their way from having been read to being saved, in order.
pub(super) struct Patching {
    settled: VecDeque<Settled>,
    /// How many of the first of them have no work that was not handed over.
    sent: usize,
    /// Bytes of those for which patches are being made.
    bytes: usize,
    /// Bytes of those whose work was not handed over.
    unsent_bytes: usize,
    workers: Arc<Workers>,
    /// Follows the long file that the steps are in.
    file: Option<Aligner>,
    /// Totals of the parent.
    parent: Sums,
}

impl Patching {
    pub(super) fn new(parent: Option<&Snapshot>, workers: &Arc<Workers>) -> Self {
        let parent = parent.map(|parent| parent.manifest.sums()).unwrap_or_default();
        let workers = Arc::clone(workers);
        Self { settled: VecDeque::new(), sent: 0, bytes: 0, unsent_bytes: 0, workers, file: None, parent }
    }

    /// Finds out what is new of a step that was read.
    pub(super) fn settle(
        &mut self,
        event: Event,
        queue: &mut Queue,
        saver: &mut Saver,
        loader: &Loader<'_>,
    ) -> Result<()> {
        let workers = Arc::clone(&self.workers);
        let settled = match event {
            Event::File(found) => {
                let mut read = queue.next_read();
                match &mut read.content {
                    Ok(content) => {
                        let mut aligner = self.aligner(found.before.as_deref(), content.group_bytes);
                        match settle(std::mem::take(&mut content.named), &mut aligner, saver, loader, &workers)? {
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
                let aligner = self.file.as_mut().expect("segments come inside a file");
                match settle(pending.wait(), aligner, saver, loader, &workers)? {
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
        self.unsent_bytes += settled.patched_bytes();
        self.settled.push_back(settled);
        while self.unsent_bytes > AHEAD_BYTES || self.settled.len() - self.sent > AHEAD_STEPS {
            self.send_next();
        }
        Ok(())
    }

    /// Hands over the next work that was not, if there is some; the step counts as sent in any case.
    fn send_next(&mut self) {
        if let Some(step) = self.settled.get_mut(self.sent) {
            self.unsent_bytes -= step.patched_bytes();
            step.send(&self.workers);
            self.sent += 1;
        }
    }

    /// Hands all work over, for there will be no more.
    pub(super) fn send(&mut self) {
        while self.sent < self.settled.len() {
            self.send_next();
        }
    }

    /// Notes where long files begin and end.
    fn follow(&mut self, event: &Event) {
        match event {
            Event::Begin(found, group_bytes) => {
                self.file = Some(self.aligner(found.before.as_deref(), *group_bytes));
            }
            Event::Again => self.file.iter_mut().for_each(Aligner::restart),
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
        if self.sent == 0 {
            self.send_next();
        }
        let settled = self.settled.pop_front()?;
        self.sent -= 1;
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
