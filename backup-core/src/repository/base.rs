//! Bases for patches: found through the index, decoded if they are at hand, and used only after their ids were verified.
//!
//! At hand is what can be read without paying for it: from storage that is near, or from the local cache. Finding a base takes no reading ([`Loader::base`]); decoding it and making the
//! patch is for workers, who share [`AtHand`].

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::load::{Loader, chunk_id};
use super::recent::Recent;
use crate::compress;
use crate::format::constants::FRAME_NODE;
use crate::id::{ChunkId, ChunkPrefix, PackId};
use crate::index::Location;
use crate::keyring::PeriodKeys;
use crate::pack::reader::OpenPack;
use crate::pipeline::Workers;
use crate::storage::Storage;

/// Bytes of opened frames that are kept for the next base.
const KEPT_BYTES: usize = 32 << 20;
/// The least level of patches: lower ones find next to nothing in a prefix.
const LEVEL_MIN: i32 = 3;
/// The least level of patches of nodes and of small chunks: these stand for most of what patches take up, and for little of the time.
const LEVEL_MIN_SMALL: i32 = 6;
/// Chunks up to this size are small.
const SMALL_BYTES: usize = 96 << 10;
/// What a patch costs beyond its payload: the base and the length in its table's row.
const ROW_BYTES: usize = 20;
/// So many bytes that a restore must decode beyond the chunk itself are as dear as one stored byte: measured over 100 steps of a database, with this price both the bytes stored
/// and the bytes decoded are fewer than with the version before as the only base.
const DECODED_PER_STORED: usize = 200;

/// A stored chunk that a patch can be made against.
pub(crate) struct Base {
    /// What must be decoded for it: the link that is stored whole first, its own last.
    links: Vec<Link>,
    is_node: bool,
}

struct Link {
    pack: Arc<OpenPack>,
    row: u32,
}

/// A chunk's difference from its base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) base: ChunkPrefix,
    /// Number of patches to decode for the chunk, this one included.
    pub(crate) depth: u8,
    pub(crate) payload: Vec<u8>,
    /// Plaintext bytes of the chunk and of all its bases.
    pub(crate) decode_bytes: u32,
}

impl Loader<'_> {
    /// Finds a location of a chunk that a patch of at most `depth_max` can be made against: in the period of `keys`, in frames of the same kind, and not known to be bad.
    pub(crate) fn base(&self, keys: &PeriodKeys, prefix: &ChunkPrefix, is_node: bool, depth_max: u8) -> Option<Base> {
        let fits = |location: &Location| {
            let pack = self.index.pack(location.pack);
            let kind = pack.table.row(location.row).and_then(|(_, frame, _)| pack.table.frames().get(frame as usize));
            self.index.depth(*location) < depth_max
                && *pack.place.domain == *keys.domain()
                && kind.is_some_and(|frame| (frame.kind == FRAME_NODE) == is_node)
        };
        let location = self.index.locations(prefix).filter(fits).min_by_key(|location| self.index.depth(*location))?;
        let chain = self.index.chain(location)?;
        if chain.iter().any(|location| self.is_bad(*location)) {
            return None;
        }
        let links: Vec<Link> = chain
            .iter()
            .map(|location| Link { pack: Arc::clone(self.index.pack(location.pack)), row: location.row })
            .collect();
        Some(Base { links, is_node })
    }

    /// The chunk that lies behind one in its pack: where content moved, what followed it then is what follows it now, about.
    pub(crate) fn neighbour(&self, prefix: &ChunkPrefix) -> Option<ChunkPrefix> {
        let location = self.index.locations(prefix).next()?;
        self.index.pack(location.pack).table.prefixes().get(location.row as usize + 1).copied()
    }
}

/// Frames that backups in quick succession opened: those of metadata and of bases. Clones share them.
#[derive(Clone)]
pub(crate) struct Remembered(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    kept: Recent<FrameId>,
    /// Frames that somebody is opening.
    under_way: HashSet<FrameId>,
    /// Frames that a worker was asked to open.
    asked: HashSet<FrameId>,
}

/// A frame of a pack.
type FrameId = (PackId, u32);

impl Default for Remembered {
    fn default() -> Self {
        let state = State { kept: Recent::new(KEPT_BYTES), under_way: HashSet::new(), asked: HashSet::new() };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }))
    }
}

impl Remembered {
    pub(super) fn get(&self, key: FrameId) -> Option<Arc<Vec<u8>>> {
        self.lock().kept.get(&key)
    }

    pub(super) fn put(&self, key: FrameId, payloads: &Arc<Vec<u8>>) {
        self.lock().kept.put(key, Arc::clone(payloads));
    }

    /// Whether a frame is neither remembered nor being opened, and nobody was asked to open it before.
    fn ask(&self, key: FrameId) -> bool {
        let mut state = self.lock();
        state.kept.get(&key).is_none() && !state.under_way.contains(&key) && state.asked.insert(key)
    }

    /// Opens a frame that is not remembered, once however many workers ask for it at the same time: files that lie side by side have their bases in the same frame.
    fn get_or_open(&self, key: FrameId, open: impl FnOnce() -> Option<Vec<u8>>) -> Option<Arc<Vec<u8>>> {
        let mut state = self.lock();
        state.asked.remove(&key);
        loop {
            if let Some(payloads) = state.kept.get(&key) {
                return Some(payloads);
            }
            if state.under_way.insert(key) {
                break;
            }
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        // Whatever happens, nobody waits for this one any longer.
        let done = Done { remembered: self, key };
        let payloads = Arc::new(open()?);
        self.put(key, &payloads);
        drop(done);
        Some(payloads)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Done<'r> {
    remembered: &'r Remembered,
    key: FrameId,
}

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.remembered.lock().under_way.remove(&self.key);
        self.remembered.0.changed.notify_all();
    }
}

/// What workers need to decode bases. Clones share the frames that were opened last.
#[derive(Clone)]
pub(crate) struct AtHand {
    storage: Storage,
    keys: Arc<PeriodKeys>,
    frames: Remembered,
    /// The level of chunks that are stored whole.
    level: i32,
}

impl AtHand {
    /// `None` where nothing that is stored can be had without paying for it.
    pub(crate) fn new(storage: &Storage, keys: &Arc<PeriodKeys>, level: i32, frames: Remembered) -> Option<Self> {
        let at_hand = || Self { storage: storage.clone(), keys: Arc::clone(keys), frames, level };
        (storage.is_near() || storage.has_cache()).then(at_hand)
    }

    /// Makes a patch against a base, or against one of the base's own bases where the chain is then so much shorter. `None` where none of them is at hand or what its name says,
    /// or where storing the chunk whole costs no more.
    pub(crate) fn patch(&self, base: &Base, id: &ChunkId, plaintext: &[u8]) -> Option<Patch> {
        let chain = self.decode(base)?;
        let level = if base.is_node { LEVEL_MIN_SMALL } else { least_level(plaintext.len()) }.max(self.level);
        let (number, payload, cost) = cheapest(level, &chain, plaintext)?;
        if !self.is_worth_it(cost, plaintext) {
            return None;
        }
        let (link, base_plaintext) = (&base.links[number], &chain[number]);
        let (row, ..) = link.pack.table.row(link.row)?;
        if chunk_id(&self.keys, base.is_node, base_plaintext).prefix() != row.prefix {
            return None;
        }
        // Nobody has the plaintext once the source changed: what is uploaded must be known to yield it.
        let decoded = compress::decompress_patch(base_plaintext, &payload, plaintext.len()).ok()?;
        if chunk_id(&self.keys, base.is_node, &decoded) != *id {
            return None;
        }
        let below: usize = chain[..=number].iter().map(Vec::len).sum();
        let decode_bytes = u32::try_from(below + plaintext.len()).ok()?;
        Some(Patch { base: row.prefix, depth: row.depth + 1, payload, decode_bytes })
    }

    /// Whether a patch costs clearly less than what the chunk would take up whole.
    fn is_worth_it(&self, cost: usize, plaintext: &[u8]) -> bool {
        const SURELY: usize = 8;
        if cost * SURELY < plaintext.len() {
            return true;
        }
        let mut whole = Vec::new();
        compress::compress(self.level, plaintext, &mut whole);
        // Chunks that share a frame take up a little less than alone.
        cost < whole.len().min(plaintext.len()) / 10 * 9
    }

    /// Lets workers open the frames that a base needs, so that they are at hand by the time when the patch is made.
    pub(crate) fn open_ahead(&self, base: &Base, workers: &Workers) {
        for link in &base.links {
            let Some((_, frame, _)) = link.pack.table.row(link.row) else { continue };
            if self.frames.ask((link.pack.place.id, frame)) {
                let (at_hand, pack) = (self.clone(), Arc::clone(&link.pack));
                drop(workers.submit(move || drop(at_hand.frame(&pack, frame))));
            }
        }
    }

    /// The plaintexts of all links.
    fn decode(&self, base: &Base) -> Option<Vec<Vec<u8>>> {
        let mut chain: Vec<Vec<u8>> = Vec::with_capacity(base.links.len());
        for link in &base.links {
            let (row, frame, offset) = link.pack.table.row(link.row)?;
            let payloads = self.frame(&link.pack, frame)?;
            let payload = payloads.get(offset as usize..offset as usize + row.payload as usize)?;
            let plaintext = match (chain.last(), row.base) {
                (None, None) => payload.to_vec(),
                (Some(below), Some(_)) => compress::decompress_patch(below, payload, row.plain as usize).ok()?,
                _ => return None,
            };
            chain.push(plaintext);
        }
        Some(chain)
    }

    /// The payloads of a frame, if they are at hand.
    fn frame(&self, pack: &OpenPack, number: u32) -> Option<Arc<Vec<u8>>> {
        self.frames.get_or_open((pack.place.id, number), || {
            let frame = pack.table.frames().get(number as usize)?;
            let (name, stored) = (pack.place.name(), u64::from(frame.stored));
            let blob = match self.storage.is_near() {
                true => self.storage.read_range(&name, frame.offset, stored).ok()?,
                false => self.storage.cached_piece(&name, Some((frame.offset, stored)), stored)?,
            };
            pack.open_frame(number, &blob).ok()
        })
    }
}

fn least_level(length: usize) -> i32 {
    if length <= SMALL_BYTES { LEVEL_MIN_SMALL } else { LEVEL_MIN }
}

/// The patch of least cost, stored bytes and the price of what must be decoded for it together, and the link that it is made against: the last, or one that lies 1, 3, 7... links before.
fn cheapest(level: i32, chain: &[Vec<u8>], plaintext: &[u8]) -> Option<(usize, Vec<u8>, usize)> {
    let mut cheapest: Option<(usize, Vec<u8>, usize)> = None;
    let mut distance = 1;
    while distance <= chain.len() {
        let number = chain.len() - distance;
        let decoded: usize = chain[..=number].iter().map(Vec::len).sum();
        let payload = compress::compress_patch(level, &chain[number], plaintext)?;
        let cost = payload.len() + ROW_BYTES + decoded / DECODED_PER_STORED;
        if cheapest.as_ref().is_none_or(|(.., least)| cost < *least) {
            cheapest = Some((number, payload, cost));
        }
        distance *= 2;
    }
    cheapest
}

#[cfg(test)]
mod tests;
