//! Packs under way: frames are sealed by workers, land in their packs in order, and full packs are uploaded.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Saved;
use crate::environment::Environment;
use crate::error::Result;
use crate::format::name::Area;
use crate::id::WriterId;
use crate::keyring::PeriodKeys;
use crate::limits::{PACK_CHUNKS_MAX, PAD_BYTES_MIN_DEFAULT};
use crate::pack::builder::{PackBuilder, PackSealer, PlainFrame, SealedFrame};
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
    frames: Ordered<(Area, u64, SealedFrame)>,
    uploads: Ordered<Result<OpenPack>>,
    written: Vec<OpenPack>,
    /// Bytes of content that went into the cache.
    kept_bytes: u64,
}

/// The packs under way in one area.
#[derive(Default)]
struct OpenArea {
    /// Counts packs; frames carry the number of theirs.
    number: u64,
    /// The pack that new frames are sealed for.
    sealing: Option<SealingPack>,
    /// The packs that still receive frames, oldest first.
    landing: VecDeque<(u64, PackBuilder)>,
}

struct SealingPack {
    sealer: Arc<PackSealer>,
    next_ordinal: u64,
    plain_bytes: u64,
    chunks: u64,
}

impl Packing {
    /// Begins; so many frames may be under way.
    pub(super) fn new(repository: &Repository, keys: &Arc<PeriodKeys>, under_way: usize) -> Self {
        let class = repository.state.classes.get(&keys.domain().class);
        Self {
            keys: Arc::clone(keys),
            workers: Arc::clone(&repository.workers),
            storage: repository.storage.clone(),
            environment: repository.environment().clone(),
            writer: repository.writer(),
            pad_bytes_min: class.map_or(PAD_BYTES_MIN_DEFAULT, |class| u64::from(class.pad_bytes_min)),
            areas: Default::default(),
            frames: Ordered::new(under_way),
            uploads: Ordered::new(UPLOADS_MAX),
            written: Vec::new(),
            kept_bytes: 0,
        }
    }

    /// Whether an area has received nothing since the last flush.
    pub(super) fn is_empty(&self, area: Area) -> bool {
        self.areas[area as usize].landing.is_empty() && self.written.is_empty()
    }

    /// Hands a frame to a worker, for the pack that is open in an area.
    pub(super) fn send(&mut self, frame: PlainFrame, level: Option<i32>, area: Area, saved: &mut Saved) -> Result<()> {
        let pack_bytes = u64::from(self.keys.parameters().pack_bytes);
        let open = &mut self.areas[area as usize];
        let landed = open.landing.back().map_or(0, |(_, builder)| builder.len());
        let full = open.sealing.as_ref().is_some_and(|pack| {
            landed >= pack_bytes || pack.plain_bytes >= 8 * pack_bytes || pack.chunks >= PACK_CHUNKS_MAX / 2
        });
        if full {
            open.sealing = None;
        }
        if open.sealing.is_none() {
            open.number += 1;
            let sealer = PackSealer::new(&self.keys, self.writer, &self.environment);
            open.landing.push_back((open.number, PackBuilder::new(Arc::clone(&sealer))));
            open.sealing = Some(SealingPack { sealer, next_ordinal: 0, plain_bytes: 0, chunks: 0 });
        }
        let pack = open.sealing.as_mut().expect("it was opened just now");
        let (sealer, ordinal, number) = (Arc::clone(&pack.sealer), pack.next_ordinal, open.number);
        pack.next_ordinal += 1;
        pack.plain_bytes += frame.len() as u64;
        pack.chunks += frame.chunks();
        self.frames.push(self.workers.submit(move || (area, number, sealer.seal(ordinal, frame, level))));
        while let Some(sealed) = self.frames.next_ready() {
            self.land(sealed, saved)?;
        }
        Ok(())
    }

    /// Puts a sealed frame into its pack; a pack that will receive no more is uploaded.
    fn land(&mut self, (area, number, frame): (Area, u64, SealedFrame), saved: &mut Saved) -> Result<()> {
        loop {
            let open = &mut self.areas[area as usize];
            match open.landing.front_mut() {
                Some((front, builder)) if *front == number => {
                    builder.push(frame);
                    return Ok(());
                }
                _ => {
                    let (_, builder) = open.landing.pop_front().expect("a frame's pack is open until it landed");
                    self.upload(area, builder, saved)?;
                }
            }
        }
    }

    /// Whether content goes into the cache, so that the next backup finds bases there: so much of it that there is room for what else is kept.
    fn keeps_content(&mut self, bytes: u64) -> bool {
        const SHARE: u64 = 4;
        let keeps = self.kept_bytes + bytes <= self.storage.cache_bytes_max() / SHARE;
        self.kept_bytes += if keeps { bytes } else { 0 };
        keeps
    }

    fn upload(&mut self, area: Area, builder: PackBuilder, saved: &mut Saved) -> Result<()> {
        let keeps_content = self.keeps_content(builder.len());
        let storage = self.storage.clone();
        let keys = Arc::clone(&self.keys);
        let pad_bytes_min = self.pad_bytes_min;
        self.uploads.push(Workers::submit_waiting(move || {
            let pack = builder.finish(pad_bytes_min);
            let place = PackPlace {
                id: pack.id(),
                area,
                domain: Arc::new(keys.domain().clone()),
                length: pack.length,
                table_offset: pack.table_offset,
                table_length: pack.table_length,
            };
            let open = place.open_table(&keys, pack.end().to_vec())?;
            place.keep(&open, |offset, length| pack.part(offset, length), &storage, keeps_content);
            storage.write_parts(&place.name(), pack.parts)?;
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
        while let Some(sealed) = self.frames.next() {
            self.land(sealed, saved)?;
        }
        for area in [Area::Packs, Area::Meta] {
            self.areas[area as usize].sealing = None;
            while let Some((_, builder)) = self.areas[area as usize].landing.pop_front() {
                self.upload(area, builder, saved)?;
            }
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
