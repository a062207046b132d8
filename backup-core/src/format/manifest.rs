//! Manifests: what a snapshot is, and its warnings, section 12 of `docs/format.md`.
//!
//! A manifest holds no path below a root; warnings do, so they are a node of the period and go when it is erased.

use super::constants::{RECORD_SNAPSHOT, RECORD_WARNINGS};
use super::keys::{check_text, is_class_name};
use super::record::{Body, Flaw, check_row_version, require};
use super::tree::Sums;
use crate::codec::{Decode, Encode};
use crate::id::{ChunkId, EntryId, PeriodId, RunId};
use crate::limits;
use crate::time::Time;

/// A root of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Root {
    /// Its absolute, normalised path.
    pub path: Vec<u8>,
    /// A tree that holds exactly one entry: the root itself.
    pub root: ChunkId,
    /// Totals of that tree.
    pub sums: Sums,
}

/// Something that was archived, with its roots.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SourceRow {
    /// 1 directories, 2 stream, 3 other.
    pub kind: u8,
    /// Its roots.
    pub roots: Vec<Root>,
}

/// What a backup counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, serde::Serialize)]
pub struct Counts {
    /// Files that the parent did not have.
    pub files_new: u64,
    /// Files that differ from the parent's.
    pub files_changed: u64,
    /// Files that were not read again.
    pub files_unchanged: u64,
    /// Directories.
    pub directories: u64,
    /// Bytes of content of all files.
    pub source_bytes: u64,
    /// Chunks that were not in the repository before.
    pub new_chunks: u64,
    /// Their plaintext bytes.
    pub new_chunk_bytes: u64,
    /// Bytes of the packs written, their tables and padding included, the entry itself not.
    pub stored_bytes: u64,
    /// Packs written.
    pub packs_written: u64,
    /// Warnings.
    pub warnings: u64,
}

/// The immutable description of one snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Manifest {
    /// The content's time: when the backup began, unless given.
    pub time: Time,
    /// When the backup began to read.
    pub started: Time,
    /// The host's offset from UTC, east positive.
    pub zone_offset_seconds: i32,
    /// The machine's name.
    pub host: String,
    /// The user's name.
    pub user: String,
    /// Name and version of the program.
    pub program: String,
    /// The class it belongs to.
    pub class: String,
    /// The period it belongs to.
    pub period: PeriodId,
    /// Tags, sorted.
    pub tags: Vec<String>,
    /// The snapshot it was compared with.
    pub parent: Option<EntryId>,
    /// The backup that made it.
    pub run: RunId,
    /// What it holds.
    pub sources: Vec<SourceRow>,
    /// What was counted.
    pub counts: Counts,
    /// A node with its warnings.
    pub warnings: Option<ChunkId>,
}

impl Body for Manifest {
    const KIND: u16 = RECORD_SNAPSHOT;

    fn check(&self) -> Result<(), Flaw> {
        require(is_class_name(&self.class), "a class's name is not one")?;
        require(self.tags.len() as u64 <= limits::TAGS_MAX, "there are too many tags")?;
        require(self.tags.is_sorted(), "tags are out of order")?;
        for text in [&self.host, &self.user, &self.program].into_iter().chain(&self.tags) {
            check_text(text)?;
        }
        require(self.roots().count() as u64 <= limits::ROOTS_MAX, "there are too many roots")?;
        let absolute = |root: &Root| {
            let path = &root.path;
            path.len() as u64 <= limits::PATH_BYTES_MAX && *path == crate::path::absolute(path, b"/")
        };
        require(self.roots().all(absolute), "a root's path is not normalised")
    }
}

impl Manifest {
    /// All roots of all sources.
    pub fn roots(&self) -> impl Iterator<Item = &Root> {
        self.sources.iter().flat_map(|source| &source.roots)
    }

    /// Totals over all roots.
    pub fn sums(&self) -> Sums {
        self.roots().fold(Sums::default(), |mut sums, root| {
            sums.add(&root.sums);
            sums
        })
    }
}

/// One warning, as a snapshot keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct WarningRow {
    /// A word for programs.
    pub kind: String,
    /// The path concerned.
    pub path: Vec<u8>,
    /// What happened.
    pub message: String,
}

/// Body of the warnings of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Warnings {
    /// 1.
    pub row_version: u16,
    /// In the order in which they came.
    pub rows: Vec<WarningRow>,
}

impl Body for Warnings {
    const KIND: u16 = RECORD_WARNINGS;

    fn check(&self) -> Result<(), Flaw> {
        check_row_version(self.row_version)?;
        require(self.rows.len() as u64 <= limits::WARNINGS_MAX, "there are too many warnings")
    }
}
