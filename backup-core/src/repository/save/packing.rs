//! Packs under way: frames are compressed by workers, land in their packs in order, are sealed by workers, and full packs are uploaded.

use std::sync::Arc;

use super::Saved;
use crate::buffers::Buffers;
use crate::environment::Environment;
use crate::error::Result;
use crate::format::name::Area;
use crate::id::WriterId;
use crate::keyring::PeriodKeys;
use crate::limits::PAD_BYTES_MIN_DEFAULT;
use crate::pack::builder::{CompressedFrame, PackBuilder, PlainFrame};
use crate::pack::reader::{OpenPack, PackPlace};
use crate::pipeline::{Ordered, Workers};
use crate::repository::Repository;
use crate::storage::Storage;

/// Packs that may be uploaded at a time; each is held in memory.
const UPLOADS_MAX: usize = 2;

/// The packs of one run.
pub(super) struct Packing {
    keys: Arc<PeriodKeys>,
    workers: Arc<Workers>,
    storage: Storage,
    environment: Environment,
    writer: WriterId,
    pad_bytes_min: u64,
    areas: [OpenArea; 2],
    buffers: Buffers,
    frames: Ordered<(Area, CompressedFrame)>,
    uploads: Ordered<Result<OpenPack>>,
    written: Vec<OpenPack>,
    /// Bytes of content that went into the cache.
    kept_bytes: u64,
}

/// The pack under way in one area.
#[derive(Default)]
struct OpenArea {
    pack: Option<PackBuilder>,
    /// Whether it was sent frames since the last flush.
    is_used: bool,
}

impl Packing {
    /// Begins; so many frames may be under way, of which long ones lie in `buffers`.
    pub(super) fn new(repository: &Repository, keys: &Arc<PeriodKeys>, under_way: usize, buffers: Buffers) -> Self {
        let class = repository.state.classes.get(&keys.domain().class);
        Self {
            keys: Arc::clone(keys),
            workers: Arc::clone(&repository.workers),
            storage: repository.storage.clone(),
            environment: repository.environment().clone(),
            writer: repository.writer(),
            pad_bytes_min: class.map_or(PAD_BYTES_MIN_DEFAULT, |class| u64::from(class.pad_bytes_min)),
            areas: Default::default(),
            buffers,
            frames: Ordered::new(under_way),
            uploads: Ordered::new(UPLOADS_MAX),
            written: Vec::new(),
            kept_bytes: 0,
        }
    }

    /// Whether an area has received nothing since the last flush.
    pub(super) fn is_empty(&self, area: Area) -> bool {
        !self.areas[area as usize].is_used
    }

    /// Hands a frame to a worker, for the pack that is open in an area.
    pub(super) fn send(&mut self, frame: PlainFrame, level: Option<i32>, area: Area, saved: &mut Saved) -> Result<()> {
        self.areas[area as usize].is_used = true;
        self.frames.push(self.workers.submit(move || (area, frame.compress(level))));
        while let Some((area, frame)) = self.frames.next_ready() {
            self.land(area, frame, saved)?;
        }
        Ok(())
    }

    /// Puts a frame into the pack of its area; a full one is uploaded. Frames land in the order in which they were sent, so that what a pack holds does not depend on how fast workers are.
    fn land(&mut self, area: Area, frame: CompressedFrame, saved: &mut Saved) -> Result<()> {
        let (keys, environment) = (&self.keys, &self.environment);
        let (writer, pad_bytes_min) = (self.writer, self.pad_bytes_min);
        let open = &mut self.areas[area as usize].pack;
        let pack = open.get_or_insert_with(|| PackBuilder::new(keys, writer, pad_bytes_min, environment));
        pack.push(frame, &self.workers);
        if pack.is_full(u64::from(keys.parameters().pack_bytes)) {
            self.close(area, saved)?;
        }
        Ok(())
    }

    /// Whether content goes into the cache, so that the next backup finds bases there: so much of it that there is room for what else is kept.
    fn keeps_content(&mut self, bytes: u64) -> bool {
        const SHARE: u64 = 4;
        let keeps = self.kept_bytes + bytes <= self.storage.cache_bytes_max() / SHARE;
        self.kept_bytes += if keeps { bytes } else { 0 };
        keeps
    }

    /// Seals and uploads the pack that is open in an area, if there is one.
    fn close(&mut self, area: Area, saved: &mut Saved) -> Result<()> {
        let Some(builder) = self.areas[area as usize].pack.take() else { return Ok(()) };
        let keeps_content = self.keeps_content(builder.len());
        let storage = self.storage.clone();
        let (keys, buffers) = (Arc::clone(&self.keys), self.buffers.clone());
        self.uploads.push(Workers::submit_waiting(move || {
            let pack = builder.finish();
            let place = PackPlace {
                id: pack.id,
                area,
                domain: Arc::new(keys.domain().clone()),
                length: pack.length,
                table_offset: pack.table_offset,
                table_length: pack.table_length,
            };
            let open = place.open_table(&keys, pack.end().to_vec())?;
            place.keep(&open, |offset, length| pack.part(offset, length), &storage, keeps_content);
            let unused = storage.write_parts(&place.name(), pack.parts)?;
            unused.into_iter().for_each(|buffer| buffers.give(buffer));
            Ok(open)
        }));
        while let Some(result) = self.uploads.next_ready() {
            self.arrived(result?, saved);
        }
        Ok(())
    }

    fn arrived(&mut self, pack: OpenPack, saved: &mut Saved) {
        saved.stored_bytes += pack.place.length;
        saved.packs_written += 1;
        self.written.push(pack);
    }

    /// Ends all frames and packs under way, waits until they are stored, and returns those that it did not return before.
    pub(super) fn flush(&mut self, saved: &mut Saved) -> Result<Vec<OpenPack>> {
        while let Some((area, frame)) = self.frames.next() {
            self.land(area, frame, saved)?;
        }
        for area in [Area::Packs, Area::Meta] {
            self.close(area, saved)?;
            self.areas[area as usize].is_used = false;
        }
        while let Some(result) = self.uploads.next() {
            self.arrived(result?, saved);
        }
        Ok(std::mem::take(&mut self.written))
    }

    /// Bytes of packs stored since the last flush.
    pub(super) fn written_bytes(&self) -> u64 {
        self.written.iter().map(|pack| pack.place.length).sum()
    }
}
