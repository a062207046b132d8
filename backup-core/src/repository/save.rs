//! Saves chunks: dedups them, lets neighbours share a frame, packs frames, uploads packs. Memory is bounded by what is under way.
//!
//! Frames are compressed and sealed by workers, and land in their packs in order. A pack is named by no entry yet when it is uploaded; [`Saver::flush`] returns the
//! packs that the next entry must name.

use std::collections::HashMap;
use std::sync::Arc;

mod packing;

use super::Repository;
use super::base::{AtHand, Patch, Remembered};
use super::load::Loader;
use super::news::Others;
use crate::buffers::Buffers;
use crate::compress::{self, is_incompressible};
use crate::error::Result;
use crate::format::constants::{FRAME_CONTENT, FRAME_NODE};
use crate::format::name::Area;
use crate::id::{ChunkId, ChunkPrefix};
use crate::index::{Added, Index};
use crate::keyring::PeriodKeys;
use crate::limits::{FRAME_PAYLOAD_BYTES_MAX, PATCH_DEPTH_MAX, SEAL_OVERHEAD_BYTES};
use crate::pack::builder::PlainFrame;
use crate::pack::reader::OpenPack;
use crate::pipeline::{Ordered, Workers};
use crate::storage::Storage;
use packing::Packing;

/// Plaintext bytes of a frame of page groups. A patch needs one group of it and opens it whole; so do restores of single pages.
const PAGES_FRAME_BYTES: usize = 128 << 10;
/// Bytes of a frame of patches: one restore opens frames of many steps side by side, and what is lost with a frame should be little.
const PATCHES_FRAME_BYTES: usize = 128 << 10;

/// The level of full frames of patches of nodes: each was compressed alone, and what they have in common is a tenth of them. Of content it is less, and a small step is to be quick.
const NODE_PATCHES_LEVEL: i32 = compress::LEVEL_MAX;

/// What a saver counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Saved {
    pub(crate) new_chunks: u64,
    pub(crate) new_chunk_bytes: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) packs_written: u64,
}

/// Saves the chunks of one run.
pub(crate) struct Saver {
    keys: Arc<PeriodKeys>,
    workers: Arc<Workers>,
    storage: Storage,
    /// The level of what is stored whole.
    level: i32,
    dry_run: bool,
    /// Chunks of this run that no entry names yet, with what reading each must decode; that is 0 until it was put.
    fresh: HashMap<ChunkPrefix, u32>,
    /// Packs of this run that an entry names.
    added: Added,
    streams: [Stream; 6],
    /// What is needed for patches, if there may be any.
    at_hand: Option<AtHand>,
    /// New nodes for which patches are being made.
    patching: Ordered<(ChunkPrefix, Vec<u8>, Option<Patch>)>,
    packing: Packing,
    /// Whether something was saved that no flush has returned yet.
    unflushed: bool,
    /// Chunks that had been put at the last flush.
    flushed_chunks: u64,
    pub(crate) saved: Saved,
    /// What others commit meanwhile.
    others: Others,
}

/// Chunks on their way into frames of one kind.
struct Stream {
    frame: PlainFrame,
    kind: u8,
    area: Area,
    /// At which it is compressed, if it is.
    level: Option<i32>,
    /// A frame with so many bytes is full.
    frame_bytes: usize,
    buffers: Buffers,
}

impl Stream {
    fn new(kind: u8, level: Option<i32>, frame_bytes: usize, buffers: &Buffers) -> Self {
        let area = if kind == FRAME_NODE { Area::Meta } else { Area::Packs };
        let (frame, buffers) = (PlainFrame::new(kind, buffers), buffers.clone());
        Self { frame, kind, area, level, frame_bytes, buffers }
    }

    /// Takes the frame out and begins another.
    fn take(&mut self) -> PlainFrame {
        std::mem::replace(&mut self.frame, PlainFrame::new(self.kind, &self.buffers))
    }
}

/// What a chunk of content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A piece of a file; whether it does not compress, where that was tried.
    Piece { incompressible: Option<bool> },
    /// A group of pages of a database.
    Pages,
}

impl Saver {
    /// Begins a run. A dry one counts what is new, and stores nothing.
    ///
    /// # Errors
    /// [`crate::Error::Storage`] where the index cannot be read.
    pub(crate) fn new(repository: &Repository, keys: Arc<PeriodKeys>, level: i32, dry_run: bool) -> Result<Self> {
        let workers = Arc::clone(&repository.workers);
        let under_way = 2 * workers.count() + 2;
        let frame_bytes = keys.parameters().frame_bytes as usize;
        let short_bytes = |bytes: usize| frame_bytes.min(bytes);
        // A frame is full once it has its bytes, so it may have nearly one chunk more.
        let room = keys.chunker().bytes_max() + SEAL_OVERHEAD_BYTES as usize;
        let long = Buffers::new(frame_bytes + room, 2 * under_way);
        let short = Buffers::new(short_bytes(PAGES_FRAME_BYTES.max(PATCHES_FRAME_BYTES)) + room, under_way);
        let compressed = Some(level);
        let stream = |which| match which {
            Which::Content => Stream::new(FRAME_CONTENT, compressed, frame_bytes, &long),
            Which::Incompressible => Stream::new(FRAME_CONTENT, None, frame_bytes, &long),
            Which::Pages => Stream::new(FRAME_CONTENT, compressed, short_bytes(PAGES_FRAME_BYTES), &short),
            Which::Patches => Stream::new(FRAME_CONTENT, compressed, short_bytes(PATCHES_FRAME_BYTES), &short),
            Which::Nodes => Stream::new(FRAME_NODE, compressed, frame_bytes, &long),
            Which::NodePatches => Stream::new(FRAME_NODE, compressed, short_bytes(PATCHES_FRAME_BYTES), &short),
        };
        Ok(Self {
            streams: Which::ALL.map(stream),
            at_hand: None,
            patching: Ordered::new(16 * under_way),
            packing: Packing::new(repository, &keys, under_way, long),
            storage: repository.storage.clone(),
            keys,
            workers,
            level,
            dry_run,
            fresh: HashMap::new(),
            added: Added::new(repository.local_index(), repository.index()?),
            unflushed: false,
            flushed_chunks: 0,
            saved: Saved::default(),
            others: Others::default(),
        })
    }

    /// Takes over packs that an entry names by now, so that their chunks need not be remembered one by one.
    ///
    /// # Errors
    /// [`crate::Error::Storage`].
    pub(crate) fn add_named(&mut self, repository: &Repository, packs: Vec<OpenPack>) -> Result<()> {
        for prefix in packs.iter().flat_map(|pack| pack.table.prefixes()) {
            self.fresh.remove(prefix);
        }
        self.added.add(repository.reading(), repository.environment(), packs)
    }

    /// How many chunks were put since the last flush.
    pub(crate) fn unnamed_chunks(&self) -> u64 {
        self.saved.new_chunks - self.flushed_chunks
    }

    /// Ends the run. Returns the index of the packs that were named, and what others committed meanwhile.
    pub(crate) fn finish(self) -> (Index, Others) {
        (self.added.into_index(), self.others)
    }

    /// Looks what others committed, before packs are named. It saves bytes and nothing else, so a failure is none of the run's.
    pub(crate) fn look_at_others(&mut self, repository: &Repository, packs: &[OpenPack]) {
        if !packs.is_empty() {
            let _ = self.others.look(repository, self.keys.domain(), packs);
        }
    }

    /// Looks again, after packs were named.
    pub(crate) fn look_back_at_others(&mut self, repository: &Repository, packs: &[OpenPack]) {
        if !packs.is_empty() {
            let _ = self.others.look_back(repository, self.keys.domain(), packs);
        }
    }

    /// The keys of the period that chunks are saved for.
    pub(crate) fn keys(&self) -> &Arc<PeriodKeys> {
        &self.keys
    }

    /// Lets chunks be stored as patches, where bases are at hand.
    pub(crate) fn allow_patches(&mut self, remembered: Remembered) {
        if !self.dry_run {
            self.at_hand = AtHand::new(&self.storage, &self.keys, self.level, remembered);
        }
    }

    /// What is needed for patches of content; `None` where there are to be none.
    pub(crate) fn at_hand(&self) -> Option<&AtHand> {
        self.at_hand.as_ref()
    }

    /// Whether nobody has a chunk. If so, the caller must put it: nobody else is told so again.
    pub(crate) fn claim(&mut self, loader: &Loader<'_>, prefix: &ChunkPrefix) -> bool {
        let is_ours = self.fresh.contains_key(prefix) || self.added.contains(prefix);
        if is_ours || self.others.have(prefix) || loader.relies_on(prefix) {
            return false;
        }
        self.fresh.insert(*prefix, 0);
        true
    }

    /// Plaintext bytes that reading a chunk must decode, its bases included. It is `length` bytes long, and stored or put.
    pub(crate) fn decode_bytes(&self, loader: &Loader<'_>, prefix: &ChunkPrefix, length: u32) -> u32 {
        if let Some(decode_bytes) = self.fresh.get(prefix) {
            return *decode_bytes;
        }
        // What another backup committed meanwhile is not known so well; it informs, and no more.
        self.added.decode_bytes(prefix, loader.index).unwrap_or(length)
    }

    /// Puts a chunk of content that was claimed, as a patch if there is one.
    pub(crate) fn put_content(
        &mut self,
        id: &ChunkId,
        plaintext: &[u8],
        form: Form,
        patch: Option<&Patch>,
    ) -> Result<()> {
        let whole = || match form {
            Form::Pages => Which::Pages,
            Form::Piece { incompressible } if incompressible.unwrap_or_else(|| is_incompressible(plaintext)) => {
                Which::Incompressible
            }
            Form::Piece { .. } => Which::Content,
        };
        let which = if patch.is_some() { Which::Patches } else { whole() };
        self.put(which, id.prefix(), plaintext, patch)
    }

    /// Names and saves a node; as a patch of the one that it replaces, which `old` is asked for, where that helps.
    pub(crate) fn save_node(
        &mut self,
        loader: &Loader<'_>,
        record: Vec<u8>,
        old: impl FnOnce() -> Result<Option<ChunkId>>,
    ) -> Result<ChunkId> {
        let id = self.keys.node_id(&record);
        let prefix = id.prefix();
        if !self.claim(loader, &prefix) {
            return Ok(id);
        }
        let depth_max = PATCH_DEPTH_MAX as u8;
        let old = if self.at_hand.is_some() { old()? } else { None };
        let base = old.and_then(|old| loader.base(&self.keys, &old.prefix(), true, depth_max));
        let (Some(base), Some(at_hand)) = (base, self.at_hand.clone()) else {
            self.put(Which::Nodes, prefix, &record, None)?;
            return Ok(id);
        };
        self.unflushed = true;
        self.patching.push(self.workers.submit(move || {
            let patch = at_hand.patch(&base, &id, &record);
            (prefix, record, patch)
        }));
        while let Some((prefix, record, patch)) = self.patching.next_ready() {
            self.put_node(prefix, &record, patch.as_ref())?;
        }
        Ok(id)
    }

    fn put_node(&mut self, prefix: ChunkPrefix, record: &[u8], patch: Option<&Patch>) -> Result<()> {
        let which = if patch.is_some() { Which::NodePatches } else { Which::Nodes };
        self.put(which, prefix, record, patch)
    }

    fn put(&mut self, which: Which, prefix: ChunkPrefix, plaintext: &[u8], patch: Option<&Patch>) -> Result<()> {
        let length = u32::try_from(plaintext.len()).expect("chunks are bounded by CHUNK_BYTES_MAX");
        self.fresh.insert(prefix, patch.map_or(length, |patch| patch.decode_bytes));
        self.saved.new_chunks += 1;
        self.unflushed = true;
        self.saved.new_chunk_bytes += plaintext.len() as u64;
        if self.dry_run {
            return Ok(());
        }
        let payload = patch.map_or(plaintext, |patch| &patch.payload);
        let overflows = self.stream(which).frame.len() + payload.len() > FRAME_PAYLOAD_BYTES_MAX as usize;
        if overflows {
            self.send_frame(which, None)?;
        }
        let stream = self.stream(which);
        match patch {
            Some(patch) => stream.frame.push_patch(prefix, plaintext.len(), patch.depth, patch.base, payload),
            None => stream.frame.push(prefix, plaintext),
        }
        if stream.frame.len() >= stream.frame_bytes {
            self.send_frame(which, None)?;
        }
        Ok(())
    }

    fn stream(&mut self, which: Which) -> &mut Stream {
        &mut self.streams[which as usize]
    }

    /// Hands what was gathered for a frame over, for a pack in its area or in another.
    fn send_frame(&mut self, which: Which, area: Option<Area>) -> Result<()> {
        let stream = self.stream(which);
        if stream.frame.is_empty() {
            return Ok(());
        }
        let is_full = stream.frame.len() >= stream.frame_bytes;
        let is_strong = is_full && matches!(which, Which::NodePatches);
        let level = if is_strong { Some(NODE_PATCHES_LEVEL) } else { stream.level };
        let area = area.unwrap_or(stream.area);
        let frame = stream.take();
        self.packing.send(frame, level, area, &mut self.saved)
    }

    /// Ends all frames and packs under way, waits until they are stored, and returns those that no entry names yet.
    pub(crate) fn flush(&mut self) -> Result<Vec<OpenPack>> {
        while let Some((prefix, record, patch)) = self.patching.next() {
            self.put_node(prefix, &record, patch.as_ref())?;
        }
        // A small backup is one pack, nodes and content together.
        let small = self.packing.is_empty(Area::Packs);
        let area = small.then_some(Area::Meta);
        for which in Which::ALL {
            self.send_frame(which, area)?;
        }
        self.unflushed = false;
        self.flushed_chunks = self.saved.new_chunks;
        self.packing.flush(&mut self.saved)
    }

    /// Whether a flush would return something.
    pub(crate) fn is_unflushed(&self) -> bool {
        self.unflushed
    }

    /// Bytes of packs stored since the last flush.
    pub(crate) fn unnamed_bytes(&self) -> u64 {
        self.packing.written_bytes()
    }
}

#[derive(Clone, Copy)]
enum Which {
    Content,
    Incompressible,
    Pages,
    Patches,
    Nodes,
    NodePatches,
}

impl Which {
    const ALL: [Self; 6] =
        [Self::Content, Self::Incompressible, Self::Pages, Self::Patches, Self::Nodes, Self::NodePatches];
}
