//! Loads chunks: finds them, opens their frames, verifies their full ids, tries other copies, and remembers what was bad.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::Repository;
use crate::compress;
use crate::error::{Error, Result};
use crate::format::constants::FRAME_NODE;
use crate::id::{ChunkId, ChunkPrefix, PackId};
use crate::index::{Index, Location, Voids};
use crate::keyring::PeriodKeys;
use crate::pack::reader::OpenPack;

/// Bytes of opened frames that a loader keeps.
const CACHE_BYTES: usize = 32 << 20;

/// Loads chunks of a repository; shared by the workers of one verb.
pub(crate) struct Loader<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) index: &'a Index,
    cache: Mutex<FrameCache>,
    bad: Mutex<Voids>,
}

/// An opened frame: the payloads of its chunks.
pub(crate) type Payloads = Arc<Vec<u8>>;

impl<'a> Loader<'a> {
    pub(crate) fn new(repository: &'a Repository) -> Result<Self> {
        Ok(Self::over(repository, repository.index()?))
    }

    /// Loads what an index of one's own leads to.
    pub(crate) fn over(repository: &'a Repository, index: &'a Index) -> Self {
        Self { repository, index, cache: Mutex::default(), bad: Mutex::default() }
    }

    /// The locations that were found bad so far.
    pub(crate) fn bad(&self) -> Voids {
        lock(&self.bad).clone()
    }

    /// Whether a chunk has a location that can be relied on, so that it need not be saved again: neither it nor what it is a patch of was found bad.
    pub(crate) fn relies_on(&self, prefix: &ChunkPrefix) -> bool {
        if self.is_whole() {
            return self.index.contains(prefix);
        }
        let is_bad = |location: Location| self.is_bad(location);
        self.index.locations(prefix).any(|location| self.index.is_supported(location, &is_bad))
    }

    /// Whether nothing is known to be lost, so that whatever a snapshot refers to can be relied on.
    pub(crate) fn is_whole(&self) -> bool {
        !self.index.is_lossy() && lock(&self.bad).is_empty()
    }

    /// Whether a location was found bad.
    pub(crate) fn is_bad(&self, location: Location) -> bool {
        let pack = self.index.pack(location.pack);
        let frame = pack.table.row(location.row).map(|(_, frame, _)| frame);
        frame.is_none_or(|frame| lock(&self.bad).contains(pack.place.id, frame))
    }

    /// Notes that a frame, or for `None` a whole pack, cannot be relied on.
    pub(crate) fn note_bad(&self, pack: PackId, frame: Option<u32>) {
        lock(&self.bad).add(pack, frame.map(|frame| [frame]));
    }

    /// Loads one chunk of content or a node, verified.
    ///
    /// # Errors
    /// [`Error::ChunkLost`] if no location yields it; [`Error::Storage`].
    pub(crate) fn load(&self, id: &ChunkId) -> Result<Vec<u8>> {
        for location in self.index.locations(&id.prefix()) {
            match self.load_at(location, id) {
                Ok(plaintext) => return Ok(plaintext),
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::ChunkLost { chunk: *id })
    }

    /// Loads the chunk of an item, which must be as long as the item says.
    ///
    /// # Errors
    /// As for [`Loader::load`]; [`Error::Damaged`] where the lengths differ.
    pub(crate) fn load_item(&self, id: &ChunkId, length: u32) -> Result<Vec<u8>> {
        let plaintext = self.load(id)?;
        if plaintext.len() as u64 == u64::from(length) {
            return Ok(plaintext);
        }
        Err(Error::damaged("a file's content", "a chunk is not as long as its item says"))
    }

    /// Loads a chunk from one location, verified.
    pub(crate) fn load_at(&self, location: Location, id: &ChunkId) -> Result<Vec<u8>> {
        let pack = self.index.pack(location.pack);
        let (_, frame, _) = pack.table.row(location.row).ok_or(Error::ChunkLost { chunk: *id })?;
        let result = self.decode_at(location).and_then(|plaintext| self.verify(pack, frame, id, plaintext));
        if let Err(error) = &result
            && error.is_damage()
        {
            let whole = matches!(error, Error::Missing { .. });
            self.note_bad(pack.place.id, (!whole).then_some(frame));
        }
        result
    }

    fn verify(&self, pack: &OpenPack, frame: u32, id: &ChunkId, plaintext: Vec<u8>) -> Result<Vec<u8>> {
        let kind = pack.table.frames().get(frame as usize).map(|frame| frame.kind);
        if chunk_id(self.keys(pack)?, kind == Some(FRAME_NODE), &plaintext) == *id {
            return Ok(plaintext);
        }
        Err(Error::damaged(format!("{} frame {frame}", pack.place.name()), "a chunk's bytes do not hash to its id"))
    }

    fn keys(&self, pack: &OpenPack) -> Result<&PeriodKeys> {
        let keys = self.repository.keys.get(&pack.place.domain);
        keys.map(|keys| &**keys).ok_or_else(|| Error::damaged(pack.place.name(), "the keys of its period are missing"))
    }

    /// Where a chunk stands in the opened frame of its location, if it stands there as it is and its bytes hash to its id.
    pub(crate) fn verified_range(
        &self,
        payloads: &Payloads,
        location: Location,
        id: &ChunkId,
    ) -> Option<(usize, usize)> {
        let pack = self.index.pack(location.pack);
        let (row, frame, offset) = pack.table.row(location.row)?;
        if row.base.is_some() {
            return None;
        }
        let (start, end) = (offset as usize, offset as usize + row.payload as usize);
        let is_node = pack.table.frames().get(frame as usize)?.kind == FRAME_NODE;
        let plaintext = payloads.get(start..end)?;
        (chunk_id(self.keys(pack).ok()?, is_node, plaintext) == *id).then_some((start, end))
    }

    /// Decodes what stands at a location. A patch's base may be any copy of smaller depth, so this ends.
    fn decode_at(&self, location: Location) -> Result<Vec<u8>> {
        let pack = self.index.pack(location.pack);
        let lost = || Error::damaged(pack.place.name(), "there is no such row");
        let (row, frame, offset) = pack.table.row(location.row).ok_or_else(lost)?;
        let payloads = self.frame(location.pack, frame)?;
        let payload = payloads.get(offset as usize..offset as usize + row.payload as usize).ok_or_else(lost)?;
        let Some(base) = row.base else { return Ok(payload.to_vec()) };
        self.decode_patch(&base, row.depth, payload, row.plain)
            .ok_or_else(|| Error::damaged(format!("{} frame {frame}", pack.place.name()), "a patch does not decode"))
    }

    /// Decodes a patch; `None` where its base is lost or it does not decode.
    pub(crate) fn decode_patch(&self, base: &ChunkPrefix, depth: u8, payload: &[u8], plain: u32) -> Option<Vec<u8>> {
        compress::decompress_patch(&self.decode_base(base, depth)?, payload, plain as usize).ok()
    }

    /// The plaintext of a base, from a location of smaller depth whose bytes hash to the prefix.
    fn decode_base(&self, prefix: &ChunkPrefix, depth: u8) -> Option<Vec<u8>> {
        self.index.locations(prefix).find_map(|location| {
            let pack = self.index.pack(location.pack);
            let (row, frame, _) = pack.table.row(location.row)?;
            if row.depth >= depth {
                return None;
            }
            let plaintext = self.decode_at(location).ok()?;
            let node = pack.table.frames().get(frame as usize)?.kind == FRAME_NODE;
            (chunk_id(self.keys(pack).ok()?, node, &plaintext).prefix() == *prefix).then_some(plaintext)
        })
    }

    /// The payloads of a frame, from the cache or from storage.
    pub(crate) fn frame(&self, pack: u32, frame: u32) -> Result<Payloads> {
        if let Some(payloads) = lock(&self.cache).get((pack, frame)) {
            return Ok(payloads);
        }
        let payloads = Arc::new(self.index.pack(pack).read_frame(frame, &self.repository.storage)?);
        lock(&self.cache).put((pack, frame), Arc::clone(&payloads));
        Ok(payloads)
    }
}

/// Names a chunk by the keys of its period.
pub(crate) fn chunk_id(keys: &PeriodKeys, is_node: bool, plaintext: &[u8]) -> ChunkId {
    if is_node { keys.node_id(plaintext) } else { keys.content_id(plaintext) }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What these guard is replaced whole, so a panic elsewhere leaves it sound.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The frames used last, up to a number of bytes.
#[derive(Default)]
struct FrameCache {
    frames: HashMap<(u32, u32), Payloads>,
    order: VecDeque<(u32, u32)>,
    bytes: usize,
}

impl FrameCache {
    fn get(&self, key: (u32, u32)) -> Option<Payloads> {
        self.frames.get(&key).map(Arc::clone)
    }

    fn put(&mut self, key: (u32, u32), payloads: Payloads) {
        self.bytes += payloads.len();
        if let Some(replaced) = self.frames.insert(key, payloads) {
            self.bytes -= replaced.len();
        } else {
            self.order.push_back(key);
        }
        while self.bytes > CACHE_BYTES && self.order.len() > 1 {
            if let Some(oldest) = self.order.pop_front().and_then(|key| self.frames.remove(&key)) {
                self.bytes -= oldest.len();
            }
        }
    }
}
