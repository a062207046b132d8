//! Loads chunks: finds them, opens their frames, decodes patches, verifies full ids, tries other copies, and remembers what was bad.
//!
//! [`Loader::load`] verifies every link of a chain of patches, so that what is bad is known exactly. Many chunks at once are the matter of [`super::fetch`], which comes back to it for those that fail.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::Repository;
use super::base::Remembered;
use super::frames::{FrameKey, Frames, Use};
use super::recent::Recent;
use crate::compress;
use crate::error::{Error, Result};
use crate::format::constants::FRAME_NODE;
use crate::id::{ChunkId, ChunkPrefix, PackId};
use crate::index::{Index, Location, Voids};
use crate::keyring::PeriodKeys;
use crate::pack::reader::OpenPack;

/// Bytes of bases that were decoded and verified last, which a loader keeps.
const BASES_BYTES: usize = 24 << 20;

/// Loads chunks of a repository; shared by the workers of one verb.
pub(crate) struct Loader<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) index: &'a Index,
    pub(super) frames: Frames,
    /// Nodes that verbs before opened, where they may be trusted.
    pub(super) remembered: Option<Remembered>,
    bases: Mutex<Recent<Location>>,
    /// Locations that were found to yield no chunk.
    lost: Mutex<HashSet<Location>>,
    bad: Mutex<Voids>,
}

/// An opened frame: the payloads of its chunks. Also the plaintext of a chunk.
pub(crate) type Payloads = Arc<Vec<u8>>;

impl<'a> Loader<'a> {
    pub(crate) fn new(repository: &'a Repository) -> Result<Self> {
        Ok(Self::over(repository, repository.index()?))
    }

    /// Loads what an index of one's own leads to.
    pub(crate) fn over(repository: &'a Repository, index: &'a Index) -> Self {
        let bases = Mutex::new(Recent::new(BASES_BYTES));
        let (lost, bad) = (Mutex::default(), Mutex::default());
        Self { repository, index, frames: Frames::default(), remembered: None, bases, lost, bad }
    }

    /// Takes nodes that verbs before opened as they were then, and remembers those that it opens.
    pub(crate) fn remembering(mut self) -> Self {
        self.remembered = Some(self.repository.remembered.clone());
        self
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
        let is_bad = |pack: &OpenPack, frame: u32| lock(&self.bad).contains(pack.place.id, frame);
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
        for location in self.shallowest_first(&id.prefix(), None) {
            match self.decode_at(location) {
                Ok((plaintext, found)) if found == *id => return Ok(plaintext),
                Ok(_) => drop(self.wrong(location)),
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        self.index.take_trouble()?;
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

    /// The locations of a chunk, or those whose depth is smaller than that of a patch: the ones that cost least come first.
    fn shallowest_first(&self, prefix: &ChunkPrefix, below: Option<u8>) -> Vec<Location> {
        let is_below = |location: &Location| below.is_none_or(|depth| self.index.depth(*location) < depth);
        let mut locations: Vec<Location> = self.index.locations(prefix).filter(is_below).collect();
        locations.sort_by_key(|location| self.index.depth(*location));
        locations
    }

    /// The plaintext of a base, from a location of smaller depth whose bytes hash to the prefix. Each location is decoded once, whoever needs it.
    ///
    /// # Errors
    /// [`Error::Damaged`] where no location yields it; [`Error::Storage`].
    fn base_plaintext(&self, prefix: &ChunkPrefix, depth: u8) -> Result<Payloads> {
        for location in self.shallowest_first(prefix, Some(depth)) {
            if let Some(plaintext) = lock(&self.bases).get(&location) {
                return Ok(plaintext);
            }
            match self.decode_at(location) {
                Ok((plaintext, _)) => {
                    let plaintext = Arc::new(plaintext);
                    lock(&self.bases).put(location, Arc::clone(&plaintext));
                    return Ok(plaintext);
                }
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::damaged("a patch", "its base is lost"))
    }

    /// Decodes what stands at a location, and names it by its bytes. The name begins as the table says, or it is damage. A patch's base may be any copy of smaller depth, so this ends.
    ///
    /// What is at fault is noted as bad: never a patch for the sake of its base.
    pub(crate) fn decode_at(&self, location: Location) -> Result<(Vec<u8>, ChunkId)> {
        let pack = self.index.pack(location.pack);
        let missing = || Error::damaged(pack.place.name(), "there is no such row");
        if lock(&self.lost).contains(&location) {
            return Err(Error::damaged(pack.place.name(), "a chunk was found to be lost"));
        }
        let (row, frame, offset) = pack.table.row(location.row).ok_or_else(missing)?;
        let payloads = self.frame((location.pack, frame))?;
        let payload = payloads.get(offset as usize..offset as usize + row.payload as usize).ok_or_else(missing)?;
        let plaintext = match row.base {
            None => Ok(payload.to_vec()),
            Some(base) => match self.base_plaintext(&base, row.depth) {
                Ok(base) => compress::decompress_patch(&base, payload, row.plain as usize),
                Err(error) => {
                    if error.is_damage() {
                        lock(&self.lost).insert(location);
                    }
                    return Err(error);
                }
            },
        };
        let Ok(plaintext) = plaintext else { return Err(self.wrong(location)) };
        let id = self.name(location, &plaintext)?;
        if id.prefix() == row.prefix { Ok((plaintext, id)) } else { Err(self.wrong(location)) }
    }

    /// Notes that what stands at a location is not what its table says.
    fn wrong(&self, location: Location) -> Error {
        lock(&self.lost).insert(location);
        let pack = self.index.pack(location.pack);
        let frame = pack.table.row(location.row).map(|(_, frame, _)| frame);
        self.note_bad(pack.place.id, frame);
        let object = format!("{} frame {}", pack.place.name(), frame.unwrap_or_default());
        Error::damaged(object, "a chunk's bytes do not hash to its id")
    }

    /// Whether bytes that a location led to hash to an id.
    pub(super) fn is_named(&self, location: Location, plaintext: &[u8], id: &ChunkId) -> bool {
        self.name(location, plaintext).is_ok_and(|found| found == *id)
    }

    /// Whether bytes that a location led to hash to the prefix that its table says.
    pub(super) fn is_prefixed(&self, location: Location, plaintext: &[u8]) -> bool {
        let row = self.index.pack(location.pack).table.row(location.row);
        let found = self.name(location, plaintext);
        row.is_some_and(|(row, ..)| found.is_ok_and(|found| found.prefix() == row.prefix))
    }

    /// Names a chunk by its bytes, as the location says of which kind it is.
    fn name(&self, location: Location, plaintext: &[u8]) -> Result<ChunkId> {
        let pack = self.index.pack(location.pack);
        let frame = pack.table.row(location.row).and_then(|(_, frame, _)| pack.table.frames().get(frame as usize));
        let is_node = frame.is_some_and(|frame| frame.kind == FRAME_NODE);
        Ok(chunk_id(self.keys(pack)?, is_node, plaintext))
    }

    fn keys(&self, pack: &OpenPack) -> Result<&PeriodKeys> {
        let keys = self.repository.keys.get(&pack.place.domain);
        keys.map(|keys| &**keys).ok_or_else(|| Error::damaged(pack.place.name(), "the keys of its period are missing"))
    }

    /// The payloads of a frame, as they were read before or from storage.
    fn frame(&self, key: FrameKey) -> Result<Payloads> {
        let mut opened = self.open_frames(&[(key, Use::Again)].into())?;
        let lost = || Error::damaged(self.index.pack(key.0).place.name(), "a frame does not open");
        opened.remove(&key).ok_or_else(lost)
    }
}

/// Names a chunk by the keys of its period.
pub(crate) fn chunk_id(keys: &PeriodKeys, is_node: bool, plaintext: &[u8]) -> ChunkId {
    if is_node { keys.node_id(plaintext) } else { keys.content_id(plaintext) }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What these guard is replaced whole, so a panic elsewhere leaves it sound.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
