//! `stats`: sizes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::Result;
use crate::format::constants::FRAME_NODE;
use crate::format::name::Area;
use crate::format::record;
use crate::id::PackId;
use crate::ledger::entry::Entry;
use crate::limits::{OBJECT_HEADER_BYTES, SEAL_OVERHEAD_BYTES, TRAILER_BYTES};
use crate::pack::reader::{OpenPack, PackPlace};
use crate::repository::Repository;

/// Bytes that are stored, by what they are for. Those of packs add up to the lengths of the packs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct StoredBytes {
    /// Frames of content that hold no patch, sealed.
    pub content_whole_bytes: u64,
    /// Frames of content that hold patches, sealed.
    pub content_patch_bytes: u64,
    /// Frames of nodes that hold no patch, sealed.
    pub node_whole_bytes: u64,
    /// Frames of nodes that hold patches, sealed.
    pub node_patch_bytes: u64,
    /// Tables of packs: seals, envelopes and compressed rows, without padding.
    pub table_bytes: u64,
    /// Zeros that hide the exact lengths of packs. They stand in the tables' blobs, and are what those are longer than the tables would be if this program wrote them.
    pub padding_bytes: u64,
    /// Headers and trailers of packs.
    pub header_bytes: u64,
    /// Packs whose tables could not be read, or that must not be relied on, whole.
    pub unread_bytes: u64,
    /// Entries of the ledger, each counted once, padding and signature included.
    pub ledger_bytes: u64,
}

impl StoredBytes {
    /// Counts a pack whose table is known.
    pub(super) fn of_pack(pack: &OpenPack) -> Self {
        let mut bytes = Self { header_bytes: OBJECT_HEADER_BYTES + TRAILER_BYTES, ..Self::default() };
        for frame in pack.table.frames() {
            let is_patched = (frame.first_row..frame.first_row + frame.rows).any(|row| pack.table.depth(row) > 0);
            let kind = match (frame.kind == FRAME_NODE, is_patched) {
                (false, false) => &mut bytes.content_whole_bytes,
                (false, true) => &mut bytes.content_patch_bytes,
                (true, false) => &mut bytes.node_whole_bytes,
                (true, true) => &mut bytes.node_patch_bytes,
            };
            *kind += u64::from(frame.stored);
        }
        let sealed = u64::from(pack.place.table_length);
        let unpadded = SEAL_OVERHEAD_BYTES + record::unpadded_length(&record::encode(&pack.table.to_body()));
        bytes.table_bytes = unpadded.min(sealed);
        bytes.padding_bytes = sealed - bytes.table_bytes;
        bytes
    }

    /// All of it that is packs.
    pub fn of_packs(&self) -> u64 {
        let frames =
            self.content_whole_bytes + self.content_patch_bytes + self.node_whole_bytes + self.node_patch_bytes;
        frames + self.table_bytes + self.padding_bytes + self.header_bytes + self.unread_bytes
    }

    /// All of it.
    pub fn all(&self) -> u64 {
        self.of_packs() + self.ledger_bytes
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.content_whole_bytes += other.content_whole_bytes;
        self.content_patch_bytes += other.content_patch_bytes;
        self.node_whole_bytes += other.node_whole_bytes;
        self.node_patch_bytes += other.node_patch_bytes;
        self.table_bytes += other.table_bytes;
        self.padding_bytes += other.padding_bytes;
        self.header_bytes += other.header_bytes;
        self.unread_bytes += other.unread_bytes;
        self.ledger_bytes += other.ledger_bytes;
    }
}

/// Sizes of a repository.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct StatsReport {
    /// Snapshots.
    pub snapshots: u64,
    /// Ledger entries.
    pub entries: u64,
    /// Writers that ever wrote.
    pub writers: u64,
    /// Packs that the ledger names.
    pub packs: u64,
    /// Chunks in them, each location counted.
    pub chunks: u64,
    /// Chunks in them that are patches, each location counted.
    pub patched_chunks: u64,
    /// Bytes of packs of content.
    pub content_stored_bytes: u64,
    /// Bytes of packs of nodes, and of small backups whole.
    pub meta_stored_bytes: u64,
    /// Bytes of all packs.
    pub stored_bytes: u64,
    /// Bytes of plaintext of all chunks.
    pub chunk_bytes: u64,
    /// Bytes of content of the newest snapshot.
    pub latest_source_bytes: u64,
    /// Bytes of content of all snapshots together.
    pub source_bytes: u64,
    /// What is stored, by what it is for.
    #[serde(flatten)]
    pub stored: StoredBytes,
}

impl Repository {
    /// Counts what the repository holds.
    ///
    /// # Errors
    /// [`crate::Error::Storage`] where tables cannot be read.
    pub fn stats(&self) -> Result<StatsReport> {
        let source_bytes = |snapshot: &crate::repository::Snapshot| snapshot.manifest.sums().plaintext_bytes;
        let mut report = StatsReport {
            snapshots: self.snapshots().len() as u64,
            entries: self.ledger.entries.len() as u64,
            writers: self.ledger.heads.len() as u64,
            packs: self.state.packs.len() as u64,
            chunks: self.count_chunks()?,
            latest_source_bytes: self.snapshots().last().map_or(0, source_bytes),
            source_bytes: self.snapshots().iter().map(source_bytes).sum(),
            ..StatsReport::default()
        };
        for place in self.state.packs.values() {
            match place.area {
                Area::Packs => report.content_stored_bytes += place.length,
                Area::Meta => report.meta_stored_bytes += place.length,
            }
        }
        report.stored_bytes = report.content_stored_bytes + report.meta_stored_bytes;
        for stored in self.count_packs()?.values() {
            report.stored.add(stored);
        }
        report.stored.ledger_bytes = self.ledger.entries.iter().map(Entry::stored_bytes).sum();
        for pack in self.index()?.packs() {
            report.patched_chunks += pack.table.patches().count() as u64;
            let rows = 0..u32::try_from(pack.table.len()).unwrap_or(u32::MAX);
            report.chunk_bytes +=
                rows.filter_map(|row| pack.table.row(row)).map(|(row, _, _)| u64::from(row.plain)).sum::<u64>();
        }
        Ok(report)
    }
    /// What each pack that the ledger names is for.
    pub(super) fn count_packs(&self) -> Result<HashMap<PackId, StoredBytes>> {
        let unread = |place: &PackPlace| StoredBytes { unread_bytes: place.length, ..StoredBytes::default() };
        let mut counted: HashMap<PackId, StoredBytes> =
            self.state.packs.values().map(|place| (place.id, unread(place))).collect();
        let packs = self.index()?.packs().to_vec();
        let count = |pack: Arc<OpenPack>| (pack.place.id, StoredBytes::of_pack(&pack));
        for (id, stored) in self.workers.map(packs, count) {
            counted.insert(id, stored);
        }
        Ok(counted)
    }
}
