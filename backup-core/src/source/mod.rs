//! The user's data on its way in: a [`Source`] yields entries and bytes, and knows nothing of packs.
//!
//! A source *pushes* its entries, in an order that is the same whenever the data is the same, into a [`Visitor`]. Metadata comes at once; extended attributes and
//! content come through a [`Handle`], later and on another thread, and only for entries that must be read.

pub mod files;
pub mod sqlite;
pub mod stream;

use crate::error::Result;
use crate::format::database::DatabaseState;
use crate::format::probes::ProbeResult;
use crate::format::tree::{Attribute, Entry, OwnerName};
use crate::progress::Warning;
use crate::source::sqlite::probe::ProbeRequest;
use crate::time::Time;

/// What a source is, as manifests record it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// Directory trees.
    Directories,
    /// One stream of bytes.
    Stream,
    /// Something of an embedder's.
    Other,
}

/// Yields entries and bytes to be archived.
pub trait Source: Sync {
    /// What kind of source it is.
    fn kind(&self) -> SourceKind;

    /// The absolute, normalised paths under which its entries will stand in the snapshot, in order.
    fn roots(&self) -> Vec<Vec<u8>>;

    /// Visits everything: for each root [`Visitor::root`] and then that root's own entry with, if it is a directory, all below it.
    ///
    /// # Errors
    /// What stops the whole walk. What concerns one entry is a [`Visitor::warning`] instead.
    fn walk(&self, visitor: &mut dyn Visitor) -> Result<()>;

    /// Says whether what was read may become a snapshot; asked after everything was read, before the commit. By default it may.
    ///
    /// # Errors
    /// What makes the content worthless, such as a command that failed in the end.
    fn verify(&self) -> Result<()> {
        Ok(())
    }
}

/// Receives what a source yields. Entries of a directory must come in strictly ascending order of their names, bytewise. After an error nothing more is taken, and no snapshot comes of the walk.
pub trait Visitor {
    /// A root begins: the next entry is the root itself, named by the last component of `path` (`-` for `/`).
    fn root(&mut self, path: &[u8]) -> Result<()>;

    /// A directory begins. What follows lies in it, until [`Visitor::leave`]. Its `content` is `None`.
    fn enter(&mut self, entry: Entry, owner: Owner, handle: Box<dyn Handle>) -> Result<()>;

    /// The directory entered last is complete. `incomplete` says that something in it could not be read.
    fn leave(&mut self, incomplete: bool) -> Result<()>;

    /// A regular file of `size_bytes`. Its `content` is `None`.
    fn file(&mut self, entry: Entry, owner: Owner, size_bytes: u64, handle: Box<dyn Handle>) -> Result<()>;

    /// Anything else: symbolic links and devices, with their `content`, and fifos.
    fn other(&mut self, entry: Entry, owner: Owner, handle: Box<dyn Handle>) -> Result<()>;

    /// Something could not be read, or is not as it should be.
    fn warning(&mut self, warning: Warning);

    /// Something may be of interest.
    fn note(&mut self, note: Warning);
}

/// The names of an entry's owner and group on this machine, shared between entries; `None` where a number has no name.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    /// The user's.
    pub user: Option<std::sync::Arc<OwnerName>>,
    /// The group's.
    pub group: Option<std::sync::Arc<OwnerName>>,
}

/// Leads to the attributes and the content of an entry that was visited.
pub trait Handle: Send {
    /// Reads the extended attributes, sorted by name.
    ///
    /// # Errors
    /// The system's answer. Where a file system has no attributes, the list is empty.
    fn attributes(&self) -> std::io::Result<Vec<Attribute>>;

    /// Opens a regular file.
    ///
    /// # Errors
    /// The system's answer; also if what is there is no longer a regular file.
    fn open(&self) -> std::io::Result<Box<dyn ContentReader>>;

    /// Whether there may be much more content than the size tells, as of a database with a write-ahead log. Default: no.
    fn is_logged(&self) -> bool {
        false
    }

    /// Whether a database whose entry looks as it did is still in the state that an earlier backup noted; what changed at `settled_seconds` since 1970 or later does not count as
    /// the same. Default: yes.
    fn is_same_database(&self, _before: &DatabaseState, _settled_seconds: i64) -> bool {
        true
    }
}

/// A stretch of content, as [`ContentReader::read`] found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stretch {
    /// So many bytes were appended to the buffer.
    Data(usize),
    /// A hole of so many bytes.
    Hole(u64),
    /// So many bytes, whole groups of pages, are what the snapshot that the backup compares with holds of this file at this place. Only for files with [`ContentReader::page_bytes`].
    Same(u64),
    /// What was read so far is void, the buffer's content included: it comes again from the beginning.
    Again,
    /// There is no more.
    End,
}

/// Reads the content of one file, in order.
pub trait ContentReader: Send {
    /// Appends up to `limit` bytes of data to `buffer`, or tells of a hole or the end. Data is shorter than `limit` only before a hole or the end.
    ///
    /// # Errors
    /// The system's answer.
    fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> std::io::Result<Stretch>;

    /// Looks at the file once more after the end was read.
    ///
    /// # Errors
    /// The system's answer.
    fn finish(&mut self) -> std::io::Result<Finish>;

    /// Reads the extended attributes of what was opened, which takes less than finding it again. Default: `None`, so that [`Handle::attributes`] is asked.
    fn attributes(&self) -> Option<std::io::Result<Vec<Attribute>>> {
        None
    }

    /// Bytes of a page, where content changes by pages in place: it is then cut at fixed places. Default: none.
    fn page_bytes(&self) -> Option<u32> {
        None
    }

    /// Asks this of the database that the content is, in the very state that is read; called before anything is read. The answers are among the findings. Default: nobody answers.
    fn probe(&mut self, _requests: Vec<ProbeRequest>) {}

    /// What is to be said of the content, asked after [`ContentReader::finish`]. Default: nothing.
    fn findings(&mut self) -> Findings {
        Findings::default()
    }
}

/// What is to be said of content that was read: kinds and messages as in [`Warning`].
#[derive(Debug, Default)]
pub struct Findings {
    /// The state of a database.
    pub database: Option<DatabaseState>,
    /// What probes of it found.
    pub probes: Vec<ProbeResult>,
    /// What is not as it should be.
    pub warnings: Vec<(&'static str, String)>,
    /// What may be of interest.
    pub notes: Vec<(&'static str, String)>,
}

/// How a file looked after it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finish {
    /// Whether size or times differ from what they were when it was opened.
    pub changed: bool,
    /// Its times of content and metadata as they were when it was opened: those of the entry may be older.
    pub mtime: Time,
    /// See `mtime`.
    pub ctime: Time,
}
