//! How a backup is made, and what it tells of itself.

use crate::compress::LEVEL_MAX;
use crate::error::{Error, Result};
use crate::format::manifest::Counts;
use crate::id::EntryId;
use crate::limits::{PROBES_MAX, TAGS_MAX, TEXT_BYTES_MAX};
use crate::progress::Warning;
use crate::repository::open::STANDARD_CLASS;
use crate::source::sqlite::probe::ProbeRequest;
use crate::time::Time;

/// How a backup is made. Every setter takes and returns the options by value.
#[derive(Clone, Debug)]
pub struct BackupOptions {
    pub(super) class: String,
    pub(super) tags: Vec<String>,
    pub(super) parent: ParentChoice,
    pub(super) level: i32,
    pub(super) time: Option<Time>,
    pub(super) dry_run: bool,
    pub(super) content_hash: bool,
    pub(super) checkpoint_bytes: u64,
    pub(super) checkpoint_chunks: u64,
    pub(super) checkpoint_seconds: u64,
    pub(super) probes: Vec<ProbeRequest>,
    pub(super) patches: bool,
    pub(super) trusted_seconds: u64,
    pub(super) is_alone: bool,
    pub(super) only_changed: bool,
}

#[derive(Clone, Debug)]
pub(super) enum ParentChoice {
    Newest,
    None,
    Snapshot(EntryId),
}

impl Default for BackupOptions {
    fn default() -> Self {
        Self {
            class: STANDARD_CLASS.to_owned(),
            tags: Vec::new(),
            parent: ParentChoice::Newest,
            level: 3,
            time: None,
            dry_run: false,
            content_hash: false,
            checkpoint_bytes: 2 << 30,
            checkpoint_chunks: 1 << 18,
            checkpoint_seconds: 300,
            probes: Vec::new(),
            patches: true,
            trusted_seconds: 0,
            is_alone: false,
            only_changed: false,
        }
    }
}

/// Levels that have names, chosen by the measurements in `docs/performance.md`: `fastest`, `default`, `better` and `max`.
const LEVELS: [(&str, i32); 4] = [("fastest", 1), ("default", 3), ("better", 7), ("max", 19)];

/// The level of a name, for [`BackupOptions::level`]: `fastest` is 1, `default` 3, `better` 7 (an eighth smaller than 3, in about three times its processor time), `max` 19 (a fifth
/// smaller, in about ninety times).
pub fn named_level(name: &str) -> Option<i32> {
    LEVELS.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
}

impl BackupOptions {
    /// Makes the defaults: class `standard`, compared with the newest snapshot of the same host, class and roots, zstd level 3.
    pub fn new() -> Self {
        Self::default()
    }

    /// The class that the snapshot belongs to; `standard` by default.
    pub fn class(mut self, class: impl Into<String>) -> Self {
        self.class = class.into();
        self
    }

    /// Adds a tag.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Compares with this snapshot instead of the newest that fits; with none for `None`, so that everything is read.
    pub fn parent(mut self, snapshot: Option<EntryId>) -> Self {
        self.parent = snapshot.map_or(ParentChoice::None, ParentChoice::Snapshot);
        self
    }

    /// zstd's level, 1 to 19; 3 by default. Some have names: see [`named_level`].
    pub fn level(mut self, level: i32) -> Self {
        self.level = level;
        self
    }

    /// The time of the content, where it is older than the backup. It never shortens retention.
    pub fn time(mut self, time: Time) -> Self {
        self.time = Some(time);
        self
    }

    /// Reads and counts everything, and stores nothing.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Records the plain BLAKE3 of every file that is read, so that `b3sum` can check it. Off by default.
    pub fn content_hash(mut self, content_hash: bool) -> Self {
        self.content_hash = content_hash;
        self
    }

    /// After so many stored bytes an entry names the packs so far; 2 GiB by default.
    pub fn checkpoint_bytes(mut self, bytes: u64) -> Self {
        self.checkpoint_bytes = bytes;
        self
    }

    /// After so many new chunks an entry names the packs so far; 262,144 by default. Until then a chunk takes about 40 bytes of memory, and its row in a table as many.
    pub fn checkpoint_chunks(mut self, chunks: u64) -> Self {
        self.checkpoint_chunks = chunks;
        self
    }

    /// After so many seconds an entry names the packs so far; 300 by default.
    pub fn checkpoint_seconds(mut self, seconds: u64) -> Self {
        self.checkpoint_seconds = seconds;
        self
    }

    /// Stores what changed as its difference from what the parent holds at the same place, where that is at hand and helps; so by default. What is stored reads the same either way.
    pub fn patches(mut self, patches: bool) -> Self {
        self.patches = patches;
        self
    }

    /// Asks that much of a database in the very state that is stored; the answer is recorded with the snapshot, and what is not as asked is a warning of kind `probe`. May be called again, for the same
    /// database too.
    pub fn probe(mut self, request: ProbeRequest) -> Self {
        self.probes.push(request);
        self
    }

    /// Does not look again at what this process saw of the storage less than so many seconds ago: which packs are there, and what others commit. For backups in quick succession.
    pub(crate) fn trusted_seconds(mut self, seconds: u64) -> Self {
        self.trusted_seconds = seconds;
        self
    }

    /// Stores everything anew in packs that only the snapshot's own entry names, and neither compares with what is stored nor looks whether it is still there.
    pub(crate) fn alone(mut self) -> Self {
        self.is_alone = true;
        self.parent(None).checkpoint_bytes(u64::MAX).checkpoint_chunks(u64::MAX).checkpoint_seconds(u64::MAX)
    }

    /// Makes no snapshot where all files are there as the parent has them, whatever their metadata. What was there and is gone does not count.
    pub(crate) fn only_changed(mut self) -> Self {
        self.only_changed = true;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::Usage { what: what.to_owned() });
        if !(1..=LEVEL_MAX).contains(&self.level) {
            return wrong("the level lies outside 1 to 19");
        }
        let long = self.tags.iter().any(|tag| tag.is_empty() || tag.len() as u64 > TEXT_BYTES_MAX);
        if long || self.tags.len() as u64 > TAGS_MAX {
            return wrong("a tag is empty or too long, or there are too many");
        }
        if self.probes.len() as u64 > PROBES_MAX {
            return wrong("there are too many probes");
        }
        Ok(())
    }
}

/// What a backup did.
#[derive(Clone, Debug, serde::Serialize)]
pub struct BackupReport {
    /// The snapshot; `None` after a dry run.
    pub snapshot_id: Option<EntryId>,
    /// The snapshot that it was compared with.
    pub parent_id: Option<EntryId>,
    /// Its class.
    pub class: String,
    /// What was counted.
    #[serde(flatten)]
    pub counts: Counts,
    /// Requests to the storage.
    pub requests: u64,
    /// Of the stored bytes, those that others had committed meanwhile; a frame's are shared out by the lengths of its chunks.
    pub surplus_bytes: u64,
    /// What could not be read, or changed meanwhile.
    #[serde(skip)]
    pub warnings: Vec<Warning>,
    /// What may be of interest.
    #[serde(skip)]
    pub notes: Vec<Warning>,
}
