//! How databases are watched, and what is told of it.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::id::EntryId;
use crate::ops::backup::BackupOptions;
use crate::progress::Warning;
use crate::repository::open::STANDARD_CLASS;
use crate::source::sqlite::probe::ProbeRequest;
use crate::source::sqlite::{Doubt, SharedConnection};

/// The shortest interval.
const EVERY_MS_MIN: u64 = 10;

/// How databases are watched. Every setter takes and returns the options by value.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    pub(super) backup: BackupOptions,
    pub(super) class: String,
    pub(super) every_ms: u64,
    pub(super) max_lag_ms: Option<u64>,
    pub(super) duration_ms: Option<u64>,
    /// Connections that the embedding program has open, with the absolute paths of their databases.
    pub(super) connections: Vec<(PathBuf, SharedConnection)>,
}

impl Default for WatchOptions {
    fn default() -> Self {
        let (backup, class) = (BackupOptions::new(), STANDARD_CLASS.to_owned());
        Self { backup, class, every_ms: 5000, max_lag_ms: None, duration_ms: None, connections: Vec::new() }
    }
}

impl WatchOptions {
    /// Makes the defaults: an interval of 5 seconds, a snapshot in each in which something changed, class `standard`, without end.
    pub fn new() -> Self {
        Self::default()
    }

    /// The interval in milliseconds: so often each database is dealt with; 5,000 by default, at least 10.
    pub fn every_ms(mut self, milliseconds: u64) -> Self {
        self.every_ms = milliseconds;
        self
    }

    /// How many milliseconds the oldest change may wait for a snapshot. Changes are collected that long, and stored together. By default each interval stores its own.
    pub fn max_lag_ms(mut self, milliseconds: u64) -> Self {
        self.max_lag_ms = Some(milliseconds);
        self
    }

    /// Ends after so many milliseconds, once what changed until then is stored. By default only a cancellation ends it.
    pub fn duration_ms(mut self, milliseconds: u64) -> Self {
        self.duration_ms = Some(milliseconds);
        self
    }

    /// Says that the embedding program has a database open itself, by a connection to it, under the absolute path that is watched. Without that, a database which this process has open cannot be watched: opening its file a second time could drop the locks
    /// of the first. Where only what changed is read, the library reads through a connection of its own; SQLite shares its locks between connections of one process.
    pub fn connection(mut self, path: impl Into<PathBuf>, connection: SharedConnection) -> Self {
        self.connections.push((path.into(), connection));
        self
    }

    /// The class that the snapshots belong to; `standard` by default.
    pub fn class(mut self, class: impl Into<String>) -> Self {
        self.class = class.into();
        self.backup = self.backup.class(&self.class);
        self
    }

    /// Adds a tag to every snapshot.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.backup = self.backup.tag(tag);
        self
    }

    /// zstd's level, 1 to 19; 3 by default.
    pub fn level(mut self, level: i32) -> Self {
        self.backup = self.backup.level(level);
        self
    }

    /// Asks that much of a database in every state that is stored, as [`BackupOptions::probe`] does.
    pub fn probe(mut self, request: ProbeRequest) -> Self {
        self.backup = self.backup.probe(request);
        self
    }

    /// The connection that was given for the database at an absolute path.
    pub(super) fn connection_to(&self, path: &[u8]) -> Option<&SharedConnection> {
        let given = self.connections.iter().find(|(given, _)| given.as_os_str().as_bytes() == path);
        given.map(|(_, connection)| connection)
    }

    pub(super) fn every(&self) -> Duration {
        Duration::from_millis(self.every_ms)
    }

    pub(super) fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::Usage { what });
        if self.every_ms < EVERY_MS_MIN {
            return wrong(format!("the interval is shorter than {EVERY_MS_MIN} ms"));
        }
        if self.max_lag_ms.is_some_and(|lag| lag < self.every_ms) {
            return wrong("the oldest change cannot be stored sooner than each interval".to_owned());
        }
        Ok(())
    }
}

/// Something that happened while databases were watched.
#[derive(Clone, Debug, serde::Serialize)]
pub struct WatchEvent {
    /// The database's path.
    #[serde(skip)]
    pub path: Vec<u8>,
    /// How long the oldest change had waited for a snapshot when it was stored, or waits by now.
    pub lag_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: Happened,
}

/// What happened to a watched database.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Happened {
    /// A snapshot was committed.
    Committed {
        /// The snapshot.
        snapshot_id: EntryId,
        /// Why the whole database was read; `None` where only what changed was.
        whole: Option<Doubt>,
        /// Pages that were read because they may have changed; `None` where all were.
        changed_pages: Option<u64>,
        /// Bytes of the packs written.
        stored_bytes: u64,
        /// Requests to the storage.
        requests: u64,
        /// How long it took.
        elapsed_ms: u64,
    },
    /// The database cannot be read now; it is tried again at the next interval.
    Waiting {
        /// Why.
        message: String,
    },
    /// The storage cannot be reached. Changes are collected, and stored later.
    Unreachable {
        /// What it said.
        message: String,
        /// When it is tried again.
        retry_ms: u64,
    },
}

/// What watching did in all.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct WatchReport {
    /// Snapshots that were committed.
    pub snapshots: u64,
    /// Of these, so many for which a whole database was read.
    pub whole: u64,
    /// Pages that were read because they may have changed.
    pub changed_pages: u64,
    /// Bytes of the packs written.
    pub stored_bytes: u64,
    /// How often a database could not be read.
    pub waits: u64,
    /// How often the storage could not be reached.
    pub outages: u64,
    /// The longest time that a change waited for its snapshot.
    pub lag_ms_max: u64,
    /// What must be seen, each once; the last is that something is not stored.
    #[serde(skip)]
    pub warnings: Vec<Warning>,
}
