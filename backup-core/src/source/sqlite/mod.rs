//! SQLite databases that may be in use, read through SQLite itself; the owner of `rusqlite`.
//!
//! A database is read within one transaction, page by page through the virtual table `sqlite_dbpage`, or where the linked library has none by the backup interface into a
//! private copy. What comes out is one file without a log or journal beside it: the database as it was committed at one moment.
//!
//! - [`open`] finds a way to look at a database without changing anything beside it, [`pages`] reads it on a thread of its own, in [`slices`] where it would keep writers waiting, [`copy`] makes private copies.
//! - [`held`] knows the files that this process has open. Closing *any* descriptor of a file drops all POSIX locks that the process holds on it, and SQLite's are
//!   such locks. So a file that is open here is never opened a second time, not even to look at its first bytes: it is read only through the [`Connection`] given for it.
//! - [`follow`] tells from a database's [`log`] which pages changed, over resets as [`chain`] allows it; [`watched`] is the source of a snapshot, for which [`changed`] reads only those.
//! - [`probe`] asks what a database holds; [`exclusive`] tells who has one open, and takes one that is to be replaced.

mod chain;
mod changed;
mod changes;
mod copy;
mod doubt;
pub(crate) mod exclusive;
pub(crate) mod follow;
pub(super) mod held;
mod log;
mod open;
mod pages;
pub mod probe;
mod slices;
pub(crate) mod watched;

use std::sync::{Arc, Mutex};

pub use doubt::Doubt;
pub(super) use open::{Place, Trouble};
pub(super) use pages::{Reading, state};
pub use rusqlite::Connection;

/// A connection that the embedding program shares with a backup. The backup holds it while it reads the database, and needs it outside of any transaction.
pub type SharedConnection = Arc<Mutex<Connection>>;

/// What becomes of SQLite databases among the files of a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SqliteMode {
    /// They are found by their header and read through SQLite.
    #[default]
    Auto,
    /// They are files as others are: whole only if nothing writes to them.
    Off,
}

/// How the pages of a database are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageReader {
    /// Through the virtual table `sqlite_dbpage`: no copy is made.
    Table,
    /// By the backup interface, into a private copy below the system's directory for temporary files.
    Copy,
}

impl PageReader {
    /// The reader that the linked SQLite allows: the table, if it was built with it.
    pub fn of_this_library() -> Self {
        let found = Connection::open_in_memory().and_then(|connection| {
            connection.query_row("SELECT count(*) FROM pragma_module_list WHERE name = 'sqlite_dbpage'", [], |row| {
                row.get::<_, i64>(0)
            })
        });
        if matches!(found, Ok(1..)) { Self::Table } else { Self::Copy }
    }

    /// What it is called in `--version -v`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "sqlite_dbpage",
            Self::Copy => "backup interface",
        }
    }
}

/// The version of the linked SQLite.
pub fn library_version() -> &'static str {
    rusqlite::version()
}

/// What every database begins with.
pub(super) const MAGIC: &[u8] = b"SQLite format 3\0";
/// Bytes that tell a database.
pub(super) const HEADER_BYTES: usize = 100;
/// No database is shorter, and all are a multiple of it long: the smallest page.
pub(super) const PAGE_BYTES_MIN: u64 = 512;

/// What the first bytes of a database tell (section 1.3 of SQLite's file format).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Whether it is written through a log.
    pub(super) is_logged: bool,
    pub(super) change_counter: u32,
}

impl Header {
    /// `None` if the bytes do not begin as a database does.
    pub(super) fn parse(beginning: &[u8]) -> Option<Self> {
        let versions = beginning.get(18..20)?;
        let counter = beginning.get(24..28)?.try_into().ok()?;
        beginning
            .starts_with(MAGIC)
            .then(|| Self { is_logged: versions == [2, 2], change_counter: u32::from_be_bytes(counter) })
    }
}

/// Suffixes of the files that SQLite keeps beside a database.
pub(super) const COMPANION_SUFFIXES: [&[u8]; 3] = [b"-wal", b"-shm", b"-journal"];

/// The database that a file of this name would belong to.
pub(super) fn base_of(name: &[u8]) -> Option<&[u8]> {
    COMPANION_SUFFIXES.iter().find_map(|suffix| name.strip_suffix(*suffix)).filter(|base| !base.is_empty())
}
