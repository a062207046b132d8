//! What a file's entry tells of the SQLite database that it is: an optional extension of rows, section 8 of `docs/format.md`.

use super::constants::{DATABASE_WHOLE, EXTENSION_DATABASE};
use super::tree::{Entry, RowExtension};
use crate::codec::{self, Decode, Encode};
use crate::time::Time;

/// A database as a backup found it. The next backup compares it with what it finds, to tell without reading pages whether anything was written.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DatabaseState {
    /// How the content was read: one of the `DATABASE_` constants.
    pub reading: u8,
    /// Bytes of a page; 0 where the content is a raw copy.
    pub page_bytes: u32,
    /// Bytes of the main file, which may be fewer than those of the content: the rest lay in the log.
    pub file_bytes: u64,
    /// The change counter in the main file's header; 0 if it could not be read.
    pub change_counter: u32,
    /// The write-ahead log beside it, if there was one with content.
    pub log: Option<LogState>,
}

/// The write-ahead log of a database, as the file system showed it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LogState {
    /// Its length.
    pub bytes: u64,
    /// Number of the file on its file system.
    pub inode: u64,
    /// Time of the last change of content.
    pub mtime: Time,
    /// Time of the last change of content or metadata.
    pub ctime: Time,
}

impl DatabaseState {
    /// What an entry tells; `None` if it is no database, or tells it in a way that is not known.
    pub fn of(entry: &Entry) -> Option<Self> {
        let extension = entry.extensions.iter().find(|extension| extension.tag == EXTENSION_DATABASE)?;
        codec::decode(&extension.value).ok()
    }

    /// Whether the content is one state of the database that was committed, and no raw copy.
    pub fn is_whole(&self) -> bool {
        self.reading == DATABASE_WHOLE
    }

    /// The extension that says so.
    pub fn to_extension(&self) -> RowExtension {
        RowExtension { tag: EXTENSION_DATABASE, value: codec::encode(self) }
    }
}
