//! Finds a way to look at a database that leaves nothing beside it and changes nothing in it.
//!
//! | found | way |
//! |---|---|
//! | a rollback journal's header, or none | read-only connection |
//! | log mode, a log and an index beside it | read-only connection: the other programs keep both files |
//! | log mode, no log | immutable connection: a usual one would leave a log and an index behind. Afterwards the file must be what it was before, else it is read again |
//! | log mode, a log without an index, so no program has it open; or a journal that must be rolled back; or no permission to recover | private copy, recovered there |

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, ffi};
use rustix::fs::FileType;

use super::Header;
use super::copy::{self, Scratch};
use crate::source::files::{Stat, stat_at};

/// How often and at which distance another program's lock is tried again: ten seconds in all. SQLite's own waiting takes longer pauses, and can miss all moments at which a
/// busy writer lets go.
const BUSY_TRIES: i32 = 5000;
const BUSY_PAUSE: Duration = Duration::from_millis(2);

fn wait_for_lock(tries: i32) -> bool {
    std::thread::sleep(BUSY_PAUSE);
    tries < BUSY_TRIES
}

/// Where a database lies.
#[derive(Clone, Debug)]
pub(in crate::source) struct Place {
    pub(in crate::source) directory: Arc<OwnedFd>,
    pub(in crate::source) name: Vec<u8>,
}

impl Place {
    /// Looks at the main file.
    pub(in crate::source) fn stat(&self) -> std::io::Result<Stat> {
        Ok(stat_at(&self.directory, &self.name)?)
    }

    /// A path of the main file, or of one beside it, that stays right however the tree above is moved.
    pub(super) fn path(&self, suffix: &[u8]) -> Vec<u8> {
        let mut path = format!("/proc/self/fd/{}/", self.directory.as_raw_fd()).into_bytes();
        path.extend_from_slice(&self.name);
        path.extend_from_slice(suffix);
        path
    }

    /// Looks at the files beside it.
    pub(in crate::source) fn companions(&self) -> Companions {
        let [log, index, journal] = super::COMPANION_SUFFIXES.map(|suffix| {
            let name = [&self.name, suffix].concat();
            stat_at(&self.directory, &name).ok().filter(|stat| stat.kind == FileType::RegularFile)
        });
        Companions { log: Companion(log), index: Companion(index), journal: Companion(journal) }
    }
}

/// What lies beside a database.
#[derive(Clone, Debug)]
pub(in crate::source) struct Companions {
    pub(in crate::source) log: Companion,
    pub(in crate::source) index: Companion,
    pub(in crate::source) journal: Companion,
}

/// A file beside a database, if it is there.
#[derive(Clone, Debug)]
pub(in crate::source) struct Companion(pub(in crate::source) Option<Stat>);

impl Companion {
    pub(in crate::source) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Whether it is there and holds anything.
    pub(in crate::source) fn has_content(&self) -> bool {
        self.0.as_ref().is_some_and(|stat| stat.size_bytes > 0)
    }
}

/// Why a database cannot be read through SQLite.
#[derive(Debug)]
pub(in crate::source) enum Trouble {
    /// It begins as a database does and is none that SQLite can read.
    NotReadable(String),
    /// Another program keeps it locked.
    Busy,
    /// A log or journal must be played back first, which needs a copy.
    NeedsRecovery,
    /// Something else failed.
    Io(std::io::Error),
}

impl Trouble {
    pub(super) fn of(error: &rusqlite::Error) -> Self {
        let Some(code) = error.sqlite_error().map(|error| error.extended_code) else {
            return Self::Io(std::io::Error::other(error.to_string()));
        };
        match (code, code & 0xff) {
            (ffi::SQLITE_READONLY_ROLLBACK | ffi::SQLITE_READONLY_RECOVERY | ffi::SQLITE_READONLY_CANTINIT, _)
            | (ffi::SQLITE_READONLY_CANTLOCK | ffi::SQLITE_READONLY_DIRECTORY | ffi::SQLITE_CANTOPEN, _)
            | (_, ffi::SQLITE_CANTOPEN | ffi::SQLITE_READONLY) => Self::NeedsRecovery,
            (_, ffi::SQLITE_NOTADB | ffi::SQLITE_CORRUPT | ffi::SQLITE_FORMAT | ffi::SQLITE_ERROR) => {
                Self::NotReadable(error.to_string())
            }
            (_, ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED) => Self::Busy,
            _ => Self::Io(std::io::Error::other(error.to_string())),
        }
    }

    pub(in crate::source) fn into_io(self) -> std::io::Error {
        match self {
            Self::NotReadable(why) => std::io::Error::other(why),
            Self::Busy => std::io::Error::other("another program keeps the database locked"),
            Self::NeedsRecovery => std::io::Error::other("the database must be recovered first"),
            Self::Io(error) => error,
        }
    }
}

/// A way to the pages of a database.
#[derive(Debug)]
pub(super) enum Way {
    /// A connection that takes part in the database's locks.
    Shared(Connection),
    /// A connection that trusts the file to stay as it is.
    Immutable(Connection),
    /// A private copy, whole in one file.
    Copy(Scratch),
}

/// Opens a database and looks whether it can be read. `header` is what its first bytes told, `None` where they may not be looked at.
pub(super) fn open(place: &Place, header: Option<Header>, may_be_immutable: bool) -> Result<Way, Trouble> {
    let companions = place.companions();
    let is_logged = header.is_some_and(|header| header.is_logged);
    if is_logged && !companions.log.has_content() && may_be_immutable && !companions.index.is_there() {
        return connect(place, "mode=ro&immutable=1").map(Way::Immutable);
    }
    if is_logged && companions.log.has_content() && !companions.index.is_there() {
        return copy::recover(place).map(Way::Copy);
    }
    match connect(place, "mode=ro") {
        Ok(connection) => Ok(Way::Shared(connection)),
        Err(Trouble::NeedsRecovery) if is_logged && !companions.log.has_content() && may_be_immutable => {
            connect(place, "mode=ro&immutable=1").map(Way::Immutable)
        }
        Err(Trouble::NeedsRecovery) => copy::recover(place).map(Way::Copy),
        Err(trouble) => Err(trouble),
    }
}

fn connect(place: &Place, parameters: &str) -> Result<Connection, Trouble> {
    let connection = connect_path(&place.path(b""), parameters).map_err(|error| Trouble::of(&error))?;
    look(&connection).map_err(|error| Trouble::of(&error))?;
    Ok(connection)
}

/// Opens the database at a path of any bytes.
pub(super) fn connect_path(path: &[u8], parameters: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let flags = match parameters.contains("mode=rw") {
        true => flags.difference(OpenFlags::SQLITE_OPEN_READ_ONLY).union(OpenFlags::SQLITE_OPEN_READ_WRITE),
        false => flags,
    };
    let mut connection = Connection::open_with_flags(uri(path, parameters), flags)?;
    connection.busy_handler(Some(wait_for_lock))?;
    Ok(connection)
}

/// Reads the schema, and with it the locks, logs and journals.
pub(super) fn look(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

/// A URI whose path may have any bytes: those with a meaning in URIs, and all beyond ASCII, are escaped.
pub(super) fn uri(path: &[u8], parameters: &str) -> String {
    let mut uri = "file:".to_owned();
    for &byte in path {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri.push('?');
    uri.push_str(parameters);
    uri
}
