//! `stats`: sizes.

use crate::error::Result;
use crate::format::name::Area;
use crate::repository::Repository;

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
        for pack in self.index()?.packs() {
            let rows = 0..u32::try_from(pack.table.len()).unwrap_or(u32::MAX);
            report.chunk_bytes +=
                rows.filter_map(|row| pack.table.row(row)).map(|(row, _, _)| u64::from(row.plain)).sum::<u64>();
        }
        Ok(report)
    }
}
