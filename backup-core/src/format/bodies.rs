//! Bodies of ledger entries other than manifests: section 11.1 of `docs/format.md`.

use super::constants::*;
use super::keys::{check_text, is_class_name};
use super::record::{Body, Flaw, require};
use crate::chunker::ChunkSizes;
use crate::codec::{Decode, Encode};
use crate::id::{EntryId, ObjectId, PackId, PeriodId, RunId};
use crate::limits;
use crate::time::Time;

/// A writer begins its chain.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EnrolBody {
    /// The machine's name.
    pub host: String,
    /// The user's name.
    pub user: String,
    /// Name and version of the program.
    pub program: String,
}

impl Body for EnrolBody {
    const KIND: u16 = RECORD_ENROL;

    fn check(&self) -> Result<(), Flaw> {
        [&self.host, &self.user, &self.program].into_iter().try_for_each(|text| check_text(text))
    }
}

/// A class, as it is from this entry on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ClassBody {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Smallest padded length of its objects, in bytes.
    pub pad_bytes_min: u32,
}

impl Body for ClassBody {
    const KIND: u16 = RECORD_CLASS;

    fn check(&self) -> Result<(), Flaw> {
        require(is_class_name(&self.name), "a class's name is not one")?;
        check_text(&self.description)?;
        require(u64::from(self.pad_bytes_min) <= limits::PAD_BYTES_MIN_MAX, "a class pads too much")
    }
}

/// A period begins.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PeriodBody {
    /// Its class.
    pub class: String,
    /// The period.
    pub period: PeriodId,
    /// Hash of the object that holds its secrets.
    pub object: ObjectId,
    /// From when on it is used.
    pub starts: Time,
    /// Until when; `None`: without end.
    pub ends: Option<Time>,
    /// Shortest chunk, in bytes.
    pub chunk_bytes_min: u32,
    /// Length around which chunks lie, in bytes.
    pub chunk_bytes_avg: u32,
    /// Longest chunk, in bytes.
    pub chunk_bytes_max: u32,
    /// Mask before the average.
    pub mask_small: u64,
    /// Mask behind it.
    pub mask_large: u64,
    /// Plaintext of a frame, about, in bytes.
    pub frame_bytes: u32,
    /// Length of a pack, about, in bytes.
    pub pack_bytes: u32,
    /// Group of database pages that is one chunk, in bytes.
    pub page_group_bytes: u32,
}

impl Body for PeriodBody {
    const KIND: u16 = RECORD_PERIOD;

    fn check(&self) -> Result<(), Flaw> {
        require(is_class_name(&self.class), "a class's name is not one")?;
        require(self.chunk_sizes().is_acceptable(), "the chunk sizes are not acceptable")?;
        require(u64::from(self.frame_bytes) <= limits::FRAME_PAYLOAD_BYTES_MAX, "frames are too long")?;
        require(u64::from(self.pack_bytes) <= limits::PACK_BYTES_MAX, "packs are too long")
    }
}

impl PeriodBody {
    /// Its parameters of chunking.
    pub fn chunk_sizes(&self) -> ChunkSizes {
        ChunkSizes {
            bytes_min: self.chunk_bytes_min,
            bytes_avg: self.chunk_bytes_avg,
            bytes_max: self.chunk_bytes_max,
            mask_small: self.mask_small,
            mask_large: self.mask_large,
        }
    }
}

/// Packs of a backup that goes on; the entry's header names them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CheckpointBody {
    /// The backup.
    pub run: RunId,
}

impl Body for CheckpointBody {
    const KIND: u16 = RECORD_CHECKPOINT;
}

/// Frames of a pack that must not be relied on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct VoidRow {
    /// The pack.
    pub pack: PackId,
    /// Numbers of frames, ascending.
    pub frames: Vec<u32>,
    /// The whole pack.
    pub whole: bool,
}

/// Locations found bad.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct VoidBody {
    /// Which.
    pub voids: Vec<VoidRow>,
    /// Why.
    pub reason: String,
}

impl Body for VoidBody {
    const KIND: u16 = RECORD_VOID;

    fn check(&self) -> Result<(), Flaw> {
        check_text(&self.reason)
    }
}

/// A check that was made.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CheckBody {
    /// 1 structure, 2 data.
    pub mode: u8,
    /// Objects looked at.
    pub objects: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Damaged objects found.
    pub damaged: u64,
    /// Packs that were read whole and found good.
    pub packs_read: Vec<PackId>,
}

impl Body for CheckBody {
    const KIND: u16 = RECORD_CHECK;
}

/// A restore that was made.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RestoreBody {
    /// The snapshot.
    pub snapshot: EntryId,
    /// What of it; empty: all.
    pub paths: Vec<Vec<u8>>,
    /// Files written.
    pub files: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Files that could not be restored.
    pub damaged: u64,
}

impl Body for RestoreBody {
    const KIND: u16 = RECORD_RESTORE;
}

/// A key slot was added.
pub const KEY_ADDED: u8 = 1;
/// A key slot was removed.
pub const KEY_REMOVED: u8 = 2;

/// A key slot was added or removed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KeyBody {
    /// [`KEY_ADDED`] or [`KEY_REMOVED`].
    pub action: u8,
    /// The slot.
    pub slot: ObjectId,
    /// Its label.
    pub label: String,
}

impl Body for KeyBody {
    const KIND: u16 = RECORD_KEY;

    fn check(&self) -> Result<(), Flaw> {
        check_text(&self.label)
    }
}
