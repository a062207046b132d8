//! Who has a database open, and how to have it alone.
//!
//! SQLite's locks tell of connections that use a database, in whatever process; in rollback mode an idle connection holds none. So the descriptors of all processes that may be looked at
//! count as well, by device and inode. The invariant: a database that this very process has open is never opened as a plain file, because closing that would drop the locks of the
//! connection; [`holders`] looks without opening, and callers ask it first.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::process::{Flock, FlockType, fcntl_getlk};

use super::MAGIC;
use super::open::uri;

/// The first of the bytes that SQLite locks, and how many there are (section 3.0 of SQLite's page on file locking).
const LOCKED_FROM: u64 = 0x4000_0000;
const LOCKED_BYTES: u64 = 512;

/// SQLite opens no file with a longer path; it keeps some room for suffixes.
const PATH_BYTES_MAX: usize = 500;

/// How long a process may take from its making to its own program.
const STARTING: Duration = Duration::from_millis(20);

/// Device and inode of a file.
pub(crate) type Identity = (u64, u64);

/// Names those that have one of some files open, for people: `process 12 (sqlite3)`, or this program itself. Empty where nobody does, as far as the system tells: processes of others are seen
/// by the superuser only.
pub(crate) fn holders(files: &[Identity]) -> Vec<String> {
    let own = (!files.is_empty() && has_open("self", files)).then(|| "this process itself".to_owned());
    own.into_iter().chain(other_holders(files)).collect()
}

/// The same of processes other than this one.
pub(crate) fn other_holders(files: &[Identity]) -> Vec<String> {
    if files.is_empty() || look_at_others(files).is_empty() {
        return Vec::new();
    }
    // A process that is just being started has all that its parent has open, until it runs its own program: a second look tells.
    std::thread::sleep(STARTING);
    look_at_others(files)
}

fn look_at_others(files: &[Identity]) -> Vec<String> {
    let mut found = Vec::new();
    let own = std::process::id();
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = process.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if number != own && has_open(&number.to_string(), files) {
            let program = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.push(match program.trim_end() {
                "" => format!("process {number}"),
                program => format!("process {number} ({program})"),
            });
        }
    }
    found
}

/// Whether a process has one of the files open. What may not be looked at has nothing open.
fn has_open(process: &str, files: &[Identity]) -> bool {
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    // The links lead to what is open, whatever became of its name. Those of sockets and pipes lead to no path, and need no look.
    let leads_to_path = |link: &Path| std::fs::read_link(link).is_ok_and(|target| target.is_absolute());
    let mut links = descriptors.map(|descriptor| descriptor.path()).filter(|link| leads_to_path(link));
    links.any(|link| std::fs::metadata(&link).is_ok_and(|found| files.contains(&(found.dev(), found.ino()))))
}

/// Whether another process holds one of SQLite's locks on a file. The answer is `false` where the system does not tell.
pub(crate) fn is_locked(file: &File) -> bool {
    let mut lock = Flock::from(FlockType::WriteLock);
    (lock.start, lock.length) = (LOCKED_FROM, LOCKED_BYTES);
    matches!(fcntl_getlk(file, &lock), Ok(Some(_)))
}

/// What came of taking a database.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Its file is whole without log and journal, and nobody else can use it.
    Alone(#[allow(dead_code, reason = "it is there to be dropped")] Alone),
    /// Somebody uses it.
    InUse,
    /// SQLite cannot open it; nothing was changed. What lies beside it may belong to it all the same.
    NotOpened,
}

/// An exclusive lock on a database, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Alone {
    _connection: Connection,
}

/// Takes a database for this process alone: a hot journal is rolled back, the write-ahead log is written into the file and emptied, both synced, as any program does that opens it. The
/// modes of the database stay as they are. Nobody can read or write it until the lock is dropped, and dropping it touches no file under the database's names: they may be
/// another's by then.
pub(crate) fn take(path: &Path) -> Taken {
    // SQLite applies and removes what lies beside any file before it looks whether that is a database.
    if !begins_as_database(path) {
        return Taken::NotOpened;
    }
    match try_take(path) {
        Ok(connection) => Taken::Alone(Alone { _connection: connection }),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
                Taken::InUse
            }
            _ => Taken::NotOpened,
        },
    }
}

/// Whether a file begins as databases do; an empty one is a database, too.
fn begins_as_database(path: &Path) -> bool {
    let mut beginning = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut beginning));
    read.is_ok() && (beginning.is_empty() || beginning == MAGIC)
}

fn try_take(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // Neither failure nor success may touch the log when the connection is closed: by then it may be another's.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(Duration::ZERO)?;
    // In this mode a lock that was taken is kept, and the log is read without the shared memory beside it.
    let _: String = connection.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |row| row.get(0))?;
    connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")?;
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy != 0 {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(code, None));
    }
    connection.execute_batch("BEGIN EXCLUSIVE")?;
    Ok(connection)
}

/// Opens a database that nothing writes to, without locks and without making anything beside it. Its schema is not trusted.
pub(super) fn open_immutable(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri(path.as_os_str().as_encoded_bytes(), "immutable=1"), flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    Ok(connection)
}

/// Whether a path is short enough for SQLite.
pub(crate) fn has_room_for(path: &Path) -> bool {
    path.as_os_str().len() <= PATH_BYTES_MAX
}

/// Says why the schema of a database that nothing writes to cannot be read; `None` if it can.
pub(crate) fn flaw_of_schema(path: &Path) -> Option<String> {
    let read = |connection: Connection| -> rusqlite::Result<()> {
        let _: i64 = connection.query_row("SELECT count(*) FROM main.sqlite_schema", [], |row| row.get(0))?;
        Ok(())
    };
    open_immutable(path).and_then(read).err().map(|error| error.to_string())
}

#[cfg(test)]
mod tests;
