//! `stats --growth`: what every snapshot added to what is stored, so that it shows what keeping snapshots costs. Tables and the ledger tell it all; no frame is read.

use std::collections::HashMap;

use super::stats::StoredBytes;
use crate::error::Result;
use crate::format::bodies::CheckpointBody;
use crate::format::constants::RECORD_CHECKPOINT;
use crate::format::record;
use crate::id::{EntryId, PackId, RunId};
use crate::ledger::entry::Entry;
use crate::repository::{Repository, Snapshot};
use crate::time::Time;

/// What one snapshot added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotGrowth {
    /// The snapshot.
    pub id: EntryId,
    /// The time of its content.
    pub time: Time,
    /// Of its host at that time, east positive.
    pub zone_offset_seconds: i32,
    /// Bytes of content that it holds, however much of that is new.
    pub source_bytes: u64,
    /// Packs that its entry names, or a checkpoint of the same run.
    pub packs: u64,
    /// Chunks in them, nodes included.
    pub new_chunks: u64,
    /// Those of them that are patches.
    pub patched_chunks: u64,
    /// Those packs, and its entry with those of its checkpoints.
    pub stored: StoredBytes,
}

/// What the snapshots of one source added, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceGrowth {
    /// Where they were made.
    pub host: String,
    /// Their class.
    pub class: String,
    /// What they hold.
    pub roots: Vec<Vec<u8>>,
    /// The snapshots.
    pub snapshots: Vec<SnapshotGrowth>,
}

/// What all snapshots added. Everything that is stored in packs, and every entry, is counted exactly once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrowthReport {
    /// By source, in the order of their first snapshots.
    pub sources: Vec<SourceGrowth>,
    /// What no snapshot's run stored: packs of backups that went no further than a checkpoint, and other entries of the ledger.
    pub unattributed: StoredBytes,
}

impl SourceGrowth {
    /// What all of its snapshots added.
    pub fn stored(&self) -> StoredBytes {
        let mut sum = StoredBytes::default();
        self.snapshots.iter().for_each(|snapshot| sum.add(&snapshot.stored));
        sum
    }
}

impl Repository {
    /// Counts what each snapshot added to what is stored.
    ///
    /// A pack belongs to the snapshot whose entry names it, or whose run wrote the checkpoint that does; where several do, to the earliest.
    ///
    /// # Errors
    /// [`crate::Error::Storage`] where tables cannot be read.
    pub fn growth(&self) -> Result<GrowthReport> {
        let mut packs = self.count_packs()?;
        let chunks = self.index()?.packs().iter();
        let chunks: HashMap<PackId, (u64, u64)> = chunks
            .map(|pack| (pack.place.id, (pack.table.len() as u64, pack.table.patches().count() as u64)))
            .collect();
        let mut grown: HashMap<EntryId, SnapshotGrowth> =
            self.snapshots().iter().map(|snapshot| (snapshot.id, begin(snapshot))).collect();
        let runs: HashMap<RunId, EntryId> =
            self.snapshots().iter().rev().map(|snapshot| (snapshot.manifest.run, snapshot.id)).collect();
        let mut report = GrowthReport::default();
        let mut entries: Vec<&Entry> = self.ledger.entries.iter().collect();
        entries.sort_by_key(|entry| (entry.header.time, entry.id));
        for entry in entries {
            let owner = if grown.contains_key(&entry.id) { Some(entry.id) } else { self.run_of(entry, &runs) };
            let Some(snapshot) = owner.and_then(|owner| grown.get_mut(&owner)) else {
                report.unattributed.ledger_bytes += entry.stored_bytes();
                continue;
            };
            snapshot.stored.ledger_bytes += entry.stored_bytes();
            for pack in &entry.header.packs_added {
                let Some(stored) = packs.remove(&pack.pack) else { continue };
                let (all, patched) = chunks.get(&pack.pack).copied().unwrap_or_default();
                snapshot.stored.add(&stored);
                snapshot.packs += 1;
                snapshot.new_chunks += all;
                snapshot.patched_chunks += patched;
            }
        }
        packs.values().for_each(|stored| report.unattributed.add(stored));
        report.sources = by_source(self.snapshots(), grown);
        Ok(report)
    }

    /// The snapshot of the run that a checkpoint belongs to.
    fn run_of(&self, entry: &Entry, runs: &HashMap<RunId, EntryId>) -> Option<EntryId> {
        let record = entry.open(&self.keyring).ok()?;
        let is_checkpoint = record::kind(&record) == Some(RECORD_CHECKPOINT);
        let body: CheckpointBody = is_checkpoint.then(|| record::decode(&record).ok())??;
        runs.get(&body.run).copied()
    }
}

fn begin(snapshot: &Snapshot) -> SnapshotGrowth {
    SnapshotGrowth {
        id: snapshot.id,
        time: snapshot.manifest.time,
        zone_offset_seconds: snapshot.manifest.zone_offset_seconds,
        source_bytes: snapshot.manifest.sums().plaintext_bytes,
        packs: 0,
        new_chunks: 0,
        patched_chunks: 0,
        stored: StoredBytes::default(),
    }
}

fn by_source(snapshots: &[Snapshot], mut grown: HashMap<EntryId, SnapshotGrowth>) -> Vec<SourceGrowth> {
    let mut sources: Vec<SourceGrowth> = Vec::new();
    for snapshot in snapshots {
        let Some(growth) = grown.remove(&snapshot.id) else { continue };
        let manifest = &snapshot.manifest;
        let roots: Vec<Vec<u8>> = manifest.roots().map(|root| root.path.clone()).collect();
        let is_same = |source: &&mut SourceGrowth| {
            source.host == manifest.host && source.class == manifest.class && source.roots == roots
        };
        match sources.iter_mut().find(is_same) {
            Some(source) => source.snapshots.push(growth),
            None => sources.push(SourceGrowth {
                host: manifest.host.clone(),
                class: manifest.class.clone(),
                roots,
                snapshots: vec![growth],
            }),
        }
    }
    sources
}
