//! Loads many chunks at once: chains of patches are found in the tables first, frames fetched pack by pack, each base decoded once.
//!
//! Only the chunks asked for are verified, by their full ids: that proves all that they were made from. Those that fail go through [`Loader::load`], which looks at every link.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::frames::{FrameKey, Use, Wanted};
use super::load::{Loader, Payloads};
use crate::compress;
use crate::error::{Error, Result};
use crate::format::tree::Item;
use crate::id::ChunkId;
use crate::index::Location;

/// Bytes of frames that are open for one group of chunks.
const GROUP_BYTES_MAX: u64 = 32 << 20;
/// Bytes of bases that are kept for the chunks of a group that share them.
const SHARED_BYTES_MAX: usize = 16 << 20;

/// Verified chunks, as places in the frames that hold them where that wastes little.
#[derive(Default)]
pub(crate) struct Chunks {
    found: HashMap<ChunkId, Plaintext>,
}

enum Plaintext {
    InFrame(Payloads, usize, usize),
    Alone(Vec<u8>),
}

/// One payload on the way to a chunk.
pub(super) struct Link {
    pub(super) location: Location,
    frame: FrameKey,
    start: usize,
    end: usize,
    plain: usize,
}

/// Chains whose frames are opened together.
#[derive(Default)]
pub(super) struct Group {
    pub(super) chains: Vec<Vec<Link>>,
    frames: HashMap<FrameKey, Needed>,
    bytes: u64,
    /// How many chains go through a location.
    needed_by: HashMap<Location, u32>,
}

/// What a group needs of a frame.
#[derive(Default)]
struct Needed {
    /// Bytes of the frame.
    bytes: u64,
    /// How many of them are needed, some perhaps for several chunks.
    used: u64,
    /// Whether chains of patches go through it, which other groups may share.
    has_chains: bool,
}

impl Loader<'_> {
    /// Loads chunks, verified. Those that are lost are left out.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Interrupted`].
    pub(crate) fn load_all(&self, ids: impl Iterator<Item = ChunkId>) -> Result<Chunks> {
        let (mut chunks, mut group, mut seen) = (Chunks::default(), Group::default(), HashSet::new());
        let mut named = Vec::new();
        for id in ids.filter(|id| seen.insert(*id)) {
            let prefix = id.prefix();
            let shallowest = self.index.locations(&prefix).min_by_key(|location| self.index.depth(*location));
            let Some(links) = shallowest.and_then(|location| self.links(location)) else {
                chunks.load_alone(self, &id)?;
                continue;
            };
            if group.is_full_with(&links, self, GROUP_BYTES_MAX) {
                chunks.load_group(self, &std::mem::take(&mut group), &std::mem::take(&mut named))?;
            }
            group.add(links, self);
            named.push(id);
        }
        chunks.load_group(self, &group, &named)?;
        Ok(chunks)
    }

    /// The payloads that lead to a location by the shortest way, the one that is stored whole first; `None` where there is no way.
    pub(super) fn links(&self, location: Location) -> Option<Vec<Link>> {
        let link = |location: Location| {
            let (row, frame, offset) = self.index.pack(location.pack).table.row(location.row)?;
            let (start, end) = (offset as usize, offset as usize + row.payload as usize);
            Some(Link { location, frame: (location.pack, frame), start, end, plain: row.plain as usize })
        };
        self.index.chain(location)?.into_iter().map(link).collect()
    }

    fn frame_bytes(&self, key: FrameKey) -> u64 {
        self.index.pack(key.0).table.frames().get(key.1 as usize).map_or(0, |frame| u64::from(frame.payload))
    }
}

impl Needed {
    fn is_most(&self) -> bool {
        self.used * 4 >= self.bytes * 3
    }
}

impl Group {
    /// Whether it must be dealt with before another chain finds room.
    pub(super) fn is_full_with(&self, links: &[Link], loader: &Loader<'_>, bytes_max: u64) -> bool {
        let new = links.iter().filter(|link| !self.frames.contains_key(&link.frame));
        let new: u64 = new.map(|link| loader.frame_bytes(link.frame)).sum();
        !self.chains.is_empty() && self.bytes + new > bytes_max
    }

    pub(super) fn add(&mut self, links: Vec<Link>, loader: &Loader<'_>) {
        for link in &links {
            let needed = self.frames.entry(link.frame).or_default();
            if needed.bytes == 0 {
                needed.bytes = loader.frame_bytes(link.frame);
                self.bytes += needed.bytes;
            }
            needed.used += (link.end - link.start) as u64;
            needed.has_chains |= links.len() > 1;
            *self.needed_by.entry(link.location).or_default() += 1;
        }
        self.chains.push(links);
    }

    /// Whether a good part of a frame is needed, so that it may stay open for what is.
    fn uses(&self, frame: &FrameKey) -> bool {
        self.frames.get(frame).is_some_and(Needed::is_most)
    }

    /// The frames. What is stored whole is asked for once by a verb that reads everything, so that a frame of such chunks is kept until the groups behind asked for the rest of it.
    pub(super) fn wanted(&self) -> Wanted {
        let wanted = |needed: &Needed| match needed {
            Needed { has_chains: false, used, .. } => Use::Once(*used),
            needed if needed.is_most() => Use::Once(needed.bytes),
            _ => Use::Again,
        };
        self.frames.iter().map(|(key, needed)| (*key, wanted(needed))).collect()
    }
}

impl Chunks {
    /// A chunk, if it is there.
    pub(crate) fn get(&self, id: &ChunkId) -> Option<&[u8]> {
        self.found.get(id).map(Plaintext::bytes)
    }

    /// Whether an item needs no chunk, or one that is there, and as long as the item says.
    pub(crate) fn has(&self, item: &Item) -> bool {
        match item {
            Item::Chunk { id, length, .. } => self.get(id).is_some_and(|plaintext| plaintext.len() == *length as usize),
            _ => true,
        }
    }

    /// Takes the chunk of an item; [`Error::ChunkLost`] if it is not there, or not as long as the item says.
    pub(crate) fn of_item(&self, item: &Item, id: &ChunkId) -> Result<&[u8]> {
        self.get(id).filter(|_| self.has(item)).ok_or(Error::ChunkLost { chunk: *id })
    }

    /// Loads the chunks that the chains of a group lead to.
    fn load_group(&mut self, loader: &Loader<'_>, group: &Group, ids: &[ChunkId]) -> Result<()> {
        let frames = loader.open_frames(&group.wanted())?;
        let mut bases = Bases::new(group, &frames);
        for (id, links) in ids.iter().zip(&group.chains) {
            loader.repository.options.cancel.check()?;
            let found = match &links[..] {
                [link] => in_frame(link, &frames, group.uses(&link.frame)),
                links => bases.decode(links).map(Plaintext::Alone),
            };
            match (found, links.last()) {
                (Some(found), Some(own)) if loader.is_named(own.location, found.bytes(), id) => {
                    self.found.insert(*id, found);
                }
                _ => self.load_alone(loader, id)?,
            }
        }
        Ok(())
    }

    /// Loads a chunk that cannot be had with the others, looking at every link on the way and at every other location.
    fn load_alone(&mut self, loader: &Loader<'_>, id: &ChunkId) -> Result<()> {
        match loader.load(id) {
            Ok(plaintext) => drop(self.found.insert(*id, Plaintext::Alone(plaintext))),
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Plaintext {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::InFrame(payloads, start, end) => payloads.get(*start..*end).unwrap_or_default(),
            Self::Alone(plaintext) => plaintext,
        }
    }
}

/// A chunk that is stored whole. It keeps its frame in memory only where much of that is needed.
fn in_frame(link: &Link, frames: &HashMap<FrameKey, Payloads>, stays: bool) -> Option<Plaintext> {
    let payloads = frames.get(&link.frame)?;
    let plaintext = payloads.get(link.start..link.end)?;
    Some(match stays {
        true => Plaintext::InFrame(Arc::clone(payloads), link.start, link.end),
        false => Plaintext::Alone(plaintext.to_vec()),
    })
}

/// What several chains of a group go through, decoded once.
pub(super) struct Bases<'g> {
    group: &'g Group,
    frames: &'g HashMap<FrameKey, Payloads>,
    kept: HashMap<Location, Vec<u8>>,
    bytes: usize,
}

impl<'g> Bases<'g> {
    pub(super) fn new(group: &'g Group, frames: &'g HashMap<FrameKey, Payloads>) -> Self {
        Self { group, frames, kept: HashMap::new(), bytes: 0 }
    }

    /// Follows a chain from what is stored whole, or from what was decoded before, to its end. Nothing of it is verified.
    pub(super) fn decode(&mut self, links: &[Link]) -> Option<Vec<u8>> {
        let payload = |link: &Link| self.frames.get(&link.frame)?.get(link.start..link.end);
        let known = links.iter().rposition(|link| self.kept.contains_key(&link.location));
        let mut plaintext = match known {
            Some(known) => self.kept.get(&links[known].location)?.clone(),
            None => payload(links.first()?)?.to_vec(),
        };
        for link in &links[known.map_or(1, |known| known + 1)..] {
            plaintext = compress::decompress_patch(&plaintext, payload(link)?, link.plain).ok()?;
            let is_shared = self.group.needed_by.get(&link.location).is_some_and(|needed| *needed > 1);
            if is_shared && self.bytes < SHARED_BYTES_MAX {
                self.bytes += plaintext.len();
                self.kept.insert(link.location, plaintext.clone());
            }
        }
        Some(plaintext)
    }

    /// Drops what is kept: what follows has nothing in common with it.
    pub(super) fn forget(&mut self) {
        self.kept.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests;
