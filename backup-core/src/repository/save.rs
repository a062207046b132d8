//! Saves chunks: dedups them, lets neighbours share a frame, packs frames, uploads packs. Memory is bounded by what is under way.
//!
//! Frames are compressed and sealed by workers, and land in their packs in order. A pack is named by no entry yet when it is uploaded; [`Saver::flush`] returns the
//! packs that the next entry must name.

use std::collections::HashSet;
use std::sync::Arc;

use super::Repository;
use super::load::Loader;
use super::news::Others;
use crate::compress::is_incompressible;
use crate::error::Result;
use crate::format::constants::{FRAME_CONTENT, FRAME_NODE};
use crate::format::name::Area;
use crate::id::{ChunkId, ChunkPrefix, WriterId};
use crate::keyring::PeriodKeys;
use crate::limits::{FRAME_PAYLOAD_BYTES_MAX, PACK_CHUNKS_MAX};
use crate::pack::builder::{PackBuilder, PackSealer, PlainFrame, SealedFrame};
use crate::pack::reader::{OpenPack, PackPlace};
use crate::pipeline::{Ordered, Workers};
use crate::storage::Storage;

/// Packs that may be uploaded at a time; each is held in memory.
const UPLOADS_MAX: usize = 2;

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
    context: Context,
    level: i32,
    dry_run: bool,
    pad_bytes_min: u64,
    /// Chunks saved in this run; the index does not have them yet.
    fresh: HashSet<ChunkPrefix>,
    content: Stream,
    incompressible: Stream,
    nodes: Stream,
    areas: [OpenArea; 2],
    frames: Ordered<(Area, u64, SealedFrame)>,
    uploads: Ordered<Result<OpenPack>>,
    written: Vec<OpenPack>,
    /// Whether something was saved that no flush has returned yet.
    unflushed: bool,
    pub(crate) saved: Saved,
    /// What others commit meanwhile.
    pub(crate) others: Others,
}

struct Context {
    workers: Arc<Workers>,
    storage: Storage,
    environment: crate::environment::Environment,
    writer: WriterId,
}

/// Chunks on their way into frames of one kind.
struct Stream {
    frame: PlainFrame,
    area: Area,
    compressed: bool,
}

/// The packs under way in one area.
#[derive(Default)]
struct OpenArea {
    /// Counts packs; frames carry the number of theirs.
    number: u64,
    /// The pack that new frames are sealed for.
    sealing: Option<SealingPack>,
    /// The packs that still receive frames, oldest first.
    landing: std::collections::VecDeque<(u64, PackBuilder)>,
}

struct SealingPack {
    sealer: Arc<PackSealer>,
    next_ordinal: u64,
    plain_bytes: u64,
    chunks: u64,
}

impl Stream {
    fn new(kind: u8, area: Area, compressed: bool) -> Self {
        Self { frame: PlainFrame::new(kind), area, compressed }
    }

    /// Takes the frame out and begins another.
    fn take(&mut self) -> PlainFrame {
        let kind = if self.area == Area::Meta && self.compressed { FRAME_NODE } else { FRAME_CONTENT };
        std::mem::replace(&mut self.frame, PlainFrame::new(kind))
    }
}

impl Saver {
    /// Begins a run. A dry one counts what is new, and stores nothing.
    pub(crate) fn new(repository: &Repository, keys: Arc<PeriodKeys>, level: i32, dry_run: bool) -> Self {
        let context = Context {
            workers: Arc::clone(&repository.workers),
            storage: repository.storage.clone(),
            environment: repository.environment().clone(),
            writer: repository.writer(),
        };
        let class = repository.state.classes.get(&keys.domain().class);
        let pad_bytes_min = class.map_or(crate::limits::PAD_BYTES_MIN_DEFAULT, |class| u64::from(class.pad_bytes_min));
        let under_way = 2 * context.workers.count() + 2;
        Self {
            keys,
            context,
            level,
            dry_run,
            pad_bytes_min,
            fresh: HashSet::new(),
            content: Stream::new(FRAME_CONTENT, Area::Packs, true),
            incompressible: Stream::new(FRAME_CONTENT, Area::Packs, false),
            nodes: Stream::new(FRAME_NODE, Area::Meta, true),
            areas: Default::default(),
            frames: Ordered::new(under_way),
            uploads: Ordered::new(UPLOADS_MAX),
            written: Vec::new(),
            unflushed: false,
            saved: Saved::default(),
            others: Others::default(),
        }
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

    /// Saves a chunk of content that was named and tried already. Says whether it is new.
    pub(crate) fn save_content(
        &mut self,
        loader: &Loader<'_>,
        id: &ChunkId,
        plaintext: &[u8],
        incompressible: Option<bool>,
    ) -> Result<bool> {
        let which = || match incompressible.unwrap_or_else(|| is_incompressible(plaintext)) {
            true => Which::Incompressible,
            false => Which::Content,
        };
        self.save(loader, id, plaintext, which)
    }

    /// Names and saves a node.
    pub(crate) fn save_node(&mut self, loader: &Loader<'_>, record: &[u8]) -> Result<ChunkId> {
        let id = self.keys.node_id(record);
        self.save(loader, &id, record, || Which::Nodes)?;
        Ok(id)
    }

    fn save(
        &mut self,
        loader: &Loader<'_>,
        id: &ChunkId,
        plaintext: &[u8],
        which: impl FnOnce() -> Which,
    ) -> Result<bool> {
        let prefix = id.prefix();
        if self.fresh.contains(&prefix) || self.others.have(&prefix) || loader.relies_on(&prefix) {
            return Ok(false);
        }
        self.fresh.insert(prefix);
        self.saved.new_chunks += 1;
        self.unflushed = true;
        self.saved.new_chunk_bytes += plaintext.len() as u64;
        if self.dry_run {
            return Ok(true);
        }
        let which = which();
        let frame_bytes = self.keys.parameters().frame_bytes as usize;
        let overflows = self.stream(which).frame.len() + plaintext.len() > FRAME_PAYLOAD_BYTES_MAX as usize;
        if overflows {
            self.send_frame(which, None)?;
        }
        let stream = self.stream(which);
        stream.frame.push(prefix, plaintext);
        if stream.frame.len() >= frame_bytes {
            self.send_frame(which, None)?;
        }
        Ok(true)
    }

    fn stream(&mut self, which: Which) -> &mut Stream {
        match which {
            Which::Content => &mut self.content,
            Which::Incompressible => &mut self.incompressible,
            Which::Nodes => &mut self.nodes,
        }
    }

    /// Hands a frame to a worker, for the pack that is open in its area, or in another.
    fn send_frame(&mut self, which: Which, area: Option<Area>) -> Result<()> {
        let level = self.level;
        let stream = self.stream(which);
        if stream.frame.is_empty() {
            return Ok(());
        }
        let level = stream.compressed.then_some(level);
        let area = area.unwrap_or(stream.area);
        let frame = stream.take();
        let pack_bytes = u64::from(self.keys.parameters().pack_bytes);
        let open = &mut self.areas[area as usize];
        let landed = open.landing.back().map_or(0, |(_, builder)| builder.len() as u64);
        let full = open.sealing.as_ref().is_some_and(|pack| {
            landed >= pack_bytes || pack.plain_bytes >= 8 * pack_bytes || pack.chunks >= PACK_CHUNKS_MAX / 2
        });
        if full {
            open.sealing = None;
        }
        if open.sealing.is_none() {
            open.number += 1;
            let sealer = PackSealer::new(&self.keys, self.context.writer, &self.context.environment);
            open.landing.push_back((open.number, PackBuilder::new(Arc::clone(&sealer))));
            open.sealing = Some(SealingPack { sealer, next_ordinal: 0, plain_bytes: 0, chunks: 0 });
        }
        let pack = open.sealing.as_mut().expect("it was opened just now");
        let (sealer, ordinal, number) = (Arc::clone(&pack.sealer), pack.next_ordinal, open.number);
        pack.next_ordinal += 1;
        pack.plain_bytes += frame.len() as u64;
        pack.chunks += frame.chunks();
        self.frames.push(self.context.workers.submit(move || (area, number, sealer.seal(ordinal, frame, level))));
        while let Some(sealed) = self.frames.next_ready() {
            self.land(sealed)?;
        }
        Ok(())
    }

    /// Puts a sealed frame into its pack; a pack that will receive no more is uploaded.
    fn land(&mut self, (area, number, frame): (Area, u64, SealedFrame)) -> Result<()> {
        loop {
            let open = &mut self.areas[area as usize];
            match open.landing.front_mut() {
                Some((front, builder)) if *front == number => {
                    builder.push(frame);
                    return Ok(());
                }
                _ => {
                    let (_, builder) = open.landing.pop_front().expect("a frame's pack is open until it landed");
                    self.upload(area, builder)?;
                }
            }
        }
    }

    fn upload(&mut self, area: Area, builder: PackBuilder) -> Result<()> {
        let storage = self.context.storage.clone();
        let keys = Arc::clone(&self.keys);
        let pad_bytes_min = self.pad_bytes_min;
        self.uploads.push(Workers::submit_waiting(move || {
            let pack = builder.finish(pad_bytes_min);
            let place = PackPlace {
                id: pack.id(),
                area,
                domain: Arc::new(keys.domain().clone()),
                length: pack.bytes.len() as u64,
                table_offset: pack.table_offset,
                table_length: pack.table_length,
            };
            let open = place.open_table(&keys, pack.bytes[pack.table_offset as usize..].to_vec())?;
            place.keep(&open, 0, &pack.bytes, &storage);
            storage.write(&place.name(), pack.bytes)?;
            Ok(open)
        }));
        while let Some(result) = self.uploads.next_ready() {
            self.arrived(result?);
        }
        Ok(())
    }

    fn arrived(&mut self, pack: OpenPack) {
        self.saved.stored_bytes += pack.place.length;
        self.saved.packs_written += 1;
        self.written.push(pack);
    }

    /// Ends all frames and packs under way, waits until they are stored, and returns those that no entry names yet.
    pub(crate) fn flush(&mut self) -> Result<Vec<OpenPack>> {
        // A small backup is one pack, nodes and content together.
        let small = self.areas[Area::Packs as usize].landing.is_empty() && self.written.is_empty();
        let area = small.then_some(Area::Meta);
        self.send_frame(Which::Content, area)?;
        self.send_frame(Which::Incompressible, area)?;
        self.send_frame(Which::Nodes, None)?;
        while let Some(sealed) = self.frames.next() {
            self.land(sealed)?;
        }
        for area in [Area::Packs, Area::Meta] {
            self.areas[area as usize].sealing = None;
            while let Some((_, builder)) = self.areas[area as usize].landing.pop_front() {
                self.upload(area, builder)?;
            }
        }
        while let Some(result) = self.uploads.next() {
            self.arrived(result?);
        }
        self.unflushed = false;
        Ok(std::mem::take(&mut self.written))
    }

    /// Whether a flush would return something.
    pub(crate) fn is_unflushed(&self) -> bool {
        self.unflushed
    }

    /// Bytes of packs stored since the last flush.
    pub(crate) fn unnamed_bytes(&self) -> u64 {
        self.written.iter().map(|pack| pack.place.length).sum()
    }
}

#[derive(Clone, Copy)]
enum Which {
    Content,
    Incompressible,
    Nodes,
}
