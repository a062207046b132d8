//! A database that is followed, as a [`Source`] of snapshots: whole, or only what changed since the last one.
//!
//! Both look as a backup of the database's path looks: the walk of [`Files`] yields the entry, and only what its handle opens is another. What could not be read makes no snapshot.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::changed::ChangedReader;
use super::doubt::Doubt;
use super::follow::Follower;
use super::held::{Readings, open_files};
use super::probe::ProbeRequest;
use super::{HEADER_BYTES, Header, SharedConnection};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::format::database::DatabaseState;
use crate::format::tree::{Attribute, Entry};
use crate::progress::Warning;
use crate::source::files::{Files, read_beginning};
use crate::source::{ContentReader, Findings, Finish, Handle, Owner, Source, SourceKind, Stretch, Visitor};

/// A follower that the reading of a snapshot shares with whoever looks at the log meanwhile.
pub(crate) type SharedFollower = Arc<Mutex<Follower>>;

/// Waits for the follower.
pub(crate) fn lock(follower: &SharedFollower) -> MutexGuard<'_, Follower> {
    follower.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much of the database a snapshot reads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent {
    /// All of it, as an ordinary backup does.
    Whole,
    /// The groups of pages that changed; the others are the parent's.
    Changed {
        /// Bytes of a group, or a page where that is larger.
        group_bytes: u32,
        /// Bytes of the database in the parent.
        parent_bytes: u64,
    },
}

/// Why a snapshot could not be made of what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It cannot be told what changed.
    Doubt(Doubt),
    /// Another program keeps it locked, or it cannot be read now.
    Unreadable(String),
}

/// One snapshot of a followed database.
pub(crate) struct Watched {
    files: Files,
    shared: Arc<Shared>,
}

struct Shared {
    follower: SharedFollower,
    extent: Extent,
    environment: Environment,
    /// Whether a connection was given for it: it is known then that what this process has open, it has open through SQLite.
    is_given: bool,
    outcome: Mutex<Outcome>,
}

/// What became of the reading.
#[derive(Debug, Default)]
struct Outcome {
    is_read: bool,
    failure: Option<Failure>,
    changed_pages: Option<u64>,
}

impl Shared {
    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, failure: Failure) -> io::Error {
        let error = match &failure {
            Failure::Doubt(doubt) => io::Error::other(doubt.message()),
            Failure::Unreadable(what) => io::Error::other(what.clone()),
        };
        self.outcome().failure = Some(failure);
        error
    }
}

impl Watched {
    /// Makes the source of one snapshot; a connection that the embedding program has to the database is `given`.
    pub(crate) fn new(
        follower: &SharedFollower,
        given: Option<&SharedConnection>,
        extent: Extent,
        environment: Environment,
    ) -> Result<Self> {
        let path = PathBuf::from(OsStr::from_bytes(lock(follower).path()));
        let files = Files::new([path.clone()])?;
        let files = match given {
            Some(connection) => files.connection(path, Arc::clone(connection)),
            None => files,
        };
        let (follower, is_given, outcome) = (Arc::clone(follower), given.is_some(), Mutex::default());
        Ok(Self { files, shared: Arc::new(Shared { follower, extent, environment, is_given, outcome }) })
    }

    /// Why it failed, where the reading did.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.shared.outcome().failure.clone()
    }

    /// Pages that were read because they changed; `None` where all were.
    pub(crate) fn changed_pages(&self) -> Option<u64> {
        self.shared.outcome().changed_pages
    }
}

impl Source for Watched {
    fn kind(&self) -> SourceKind {
        self.files.kind()
    }

    fn roots(&self) -> Vec<Vec<u8>> {
        self.files.roots()
    }

    fn walk(&self, visitor: &mut dyn Visitor) -> Result<()> {
        self.files.walk(&mut Diversion { visitor, shared: &self.shared })
    }

    fn verify(&self) -> Result<()> {
        let outcome = self.shared.outcome();
        let what = match &outcome.failure {
            None if outcome.is_read => return Ok(()),
            None => "it is no regular file, or cannot be looked at".to_owned(),
            Some(Failure::Doubt(doubt)) => doubt.message().to_owned(),
            Some(Failure::Unreadable(what)) => what.clone(),
        };
        Err(Error::Input { what })
    }
}

/// Checks that a path leads to what can be watched: a database, or an empty file that may become one.
///
/// # Errors
/// The system's answer; also what is there instead.
pub(crate) fn check(path: &[u8], is_given: bool) -> io::Result<()> {
    let place = Follower::new(path.to_vec()).place()?;
    let stat = place.stat()?;
    if stat.kind != rustix::fs::FileType::RegularFile {
        return Err(io::Error::other("it is no regular file; of a link, name what it leads to"));
    }
    let readings = Readings::lock();
    if stat.size_bytes == 0 || is_given || readings.find(stat.identity).is_some() {
        return Ok(());
    }
    if open_files().contains(&stat.identity) {
        return Err(io::Error::other("this process has it open"));
    }
    match Header::parse(&read_beginning(&place.directory, &place.name, HEADER_BYTES)?) {
        Some(_) => Ok(()),
        None => Err(io::Error::other("it does not begin as a SQLite database does")),
    }
}

/// Puts a handle of one's own in the place of the database's.
struct Diversion<'a> {
    visitor: &'a mut dyn Visitor,
    shared: &'a Arc<Shared>,
}

impl Visitor for Diversion<'_> {
    fn root(&mut self, path: &[u8]) -> Result<()> {
        self.visitor.root(path)
    }

    fn enter(&mut self, entry: Entry, owner: Owner, handle: Box<dyn Handle>) -> Result<()> {
        self.visitor.enter(entry, owner, handle)
    }

    fn leave(&mut self, incomplete: bool) -> Result<()> {
        self.visitor.leave(incomplete)
    }

    fn file(&mut self, entry: Entry, owner: Owner, size_bytes: u64, handle: Box<dyn Handle>) -> Result<()> {
        self.shared.outcome().is_read = true;
        let handle = WatchedHandle { inner: handle, shared: Arc::clone(self.shared) };
        self.visitor.file(entry, owner, size_bytes, Box::new(handle))
    }

    fn other(&mut self, entry: Entry, owner: Owner, handle: Box<dyn Handle>) -> Result<()> {
        self.visitor.other(entry, owner, handle)
    }

    fn warning(&mut self, warning: Warning) {
        self.shared.fail(Failure::Unreadable(warning.message.clone()));
        self.visitor.warning(warning);
    }

    fn note(&mut self, note: Warning) {
        self.visitor.note(note);
    }
}

struct WatchedHandle {
    inner: Box<dyn Handle>,
    shared: Arc<Shared>,
}

impl Handle for WatchedHandle {
    fn attributes(&self) -> io::Result<Vec<Attribute>> {
        self.inner.attributes()
    }

    fn open(&self) -> io::Result<Box<dyn ContentReader>> {
        let opened = match self.shared.extent {
            Extent::Whole => self.inner.open().map_err(|error| Failure::Unreadable(error.to_string())),
            Extent::Changed { group_bytes, parent_bytes } => {
                let Shared { follower, environment, is_given, .. } = &*self.shared;
                ChangedReader::open(follower, *is_given, environment, (group_bytes, parent_bytes)).map(|reader| {
                    self.shared.outcome().changed_pages = Some(reader.changed_pages());
                    Box::new(reader) as Box<dyn ContentReader>
                })
            }
        };
        let inner = opened.map_err(|failure| self.shared.fail(failure))?;
        Ok(Box::new(WatchedReader { inner, shared: Arc::clone(&self.shared) }))
    }

    fn is_logged(&self) -> bool {
        // What tells of changes is read as a stream.
        matches!(self.shared.extent, Extent::Changed { .. }) || self.inner.is_logged()
    }

    fn is_same_database(&self, before: &DatabaseState, settled_seconds: i64) -> bool {
        matches!(self.shared.extent, Extent::Whole) && self.inner.is_same_database(before, settled_seconds)
    }
}

/// Notes whether reading failed: there is no snapshot then.
struct WatchedReader {
    inner: Box<dyn ContentReader>,
    shared: Arc<Shared>,
}

impl ContentReader for WatchedReader {
    fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> io::Result<Stretch> {
        let read = self.inner.read(buffer, limit);
        read.map_err(|error| self.shared.fail(Failure::Unreadable(error.to_string())))
    }

    fn finish(&mut self) -> io::Result<Finish> {
        self.inner.finish()
    }

    fn page_bytes(&self) -> Option<u32> {
        self.inner.page_bytes()
    }

    fn probe(&mut self, requests: Vec<ProbeRequest>) {
        self.inner.probe(requests);
    }

    fn findings(&mut self) -> Findings {
        self.inner.findings()
    }
}
