//! Private copies of databases: to recover one that its own directory does not allow to, or where no table of pages is at hand.
//!
//! A copy lies in a directory that only this user can enter, and goes with it.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use rustix::fs::{Mode, OFlags};

use super::open::{Place, Trouble, connect_path, look};
use crate::source::files::Stat;

/// How often a copy is tried of files that change meanwhile.
const ATTEMPTS: u32 = 3;
/// How long a copy by the backup interface waits for locks in all.
const BUSY_WAIT: Duration = Duration::from_secs(30);

/// A private directory that holds one database, whole in one file.
#[derive(Debug)]
pub(super) struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    fn new() -> io::Result<Self> {
        let alone = Permissions::from_mode(0o700);
        let directory = tempfile::Builder::new().prefix("holdfast-database-").permissions(alone).tempdir()?;
        Ok(Self { directory })
    }

    /// The main file of the copy.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("copy")
    }

    /// Opens the copy for looking into it.
    pub(super) fn connect(&self) -> rusqlite::Result<Connection> {
        connect_path(self.path().as_os_str().as_encoded_bytes(), "mode=ro&immutable=1")
    }
}

/// Copies main file, log and journal, and plays back there what is left in them.
pub(super) fn recover(place: &Place) -> Result<Scratch, Trouble> {
    for _ in 0..ATTEMPTS {
        let scratch = Scratch::new().map_err(Trouble::Io)?;
        if !copy_files(place, &scratch).map_err(Trouble::Io)? {
            continue;
        }
        let path = scratch.path();
        let connection = connect_path(path.as_os_str().as_encoded_bytes(), "mode=rw").map_err(|e| Trouble::of(&e))?;
        // Reading plays back a journal; closing the last connection moves the log's content into the main file.
        look(&connection).map_err(|error| Trouble::of(&error))?;
        connection.close().map_err(|(_, error)| Trouble::of(&error))?;
        return Ok(scratch);
    }
    Err(Trouble::Busy)
}

/// Says whether nothing changed while it was copied.
fn copy_files(place: &Place, scratch: &Scratch) -> io::Result<bool> {
    let look = || -> io::Result<_> {
        let companions = place.companions();
        let beside = [&companions.log, &companions.journal].map(|companion| companion.0.as_ref().map(Stat::looks));
        Ok((place.stat()?.looks(), beside))
    };
    let before = look()?;
    copy_file(place, b"", scratch)?;
    for (suffix, is_there) in [b"-wal".as_slice(), b"-journal"].into_iter().zip(before.1.map(|stat| stat.is_some())) {
        if is_there {
            match copy_file(place, suffix, scratch) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                copied => copied?,
            }
        }
    }
    Ok(look()? == before)
}

fn copy_file(place: &Place, suffix: &[u8], scratch: &Scratch) -> io::Result<()> {
    let name = [&place.name, suffix].concat();
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let from: OwnedFd = rustix::fs::openat(&place.directory, name, flags, Mode::empty())?;
    let mut path = scratch.path().into_os_string();
    path.push(std::str::from_utf8(suffix).expect("suffixes are ASCII"));
    let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    io::copy(&mut File::from(from), &mut to).map(drop)
}

/// Copies a database by SQLite's backup interface: in one step, so that it is one committed state. Returns how long writers may have been kept waiting, besides.
pub(super) fn by_interface(connection: &Connection) -> Result<(Scratch, Duration), Trouble> {
    let scratch = Scratch::new().map_err(Trouble::Io)?;
    let fail = |error: rusqlite::Error| Trouble::of(&error);
    let mut target = Connection::open(scratch.path()).map_err(fail)?;
    // Nobody needs the copy after a crash.
    target.pragma_update(None, "synchronous", "off").map_err(fail)?;
    let until = Instant::now() + BUSY_WAIT;
    let held = {
        let backup = Backup::new(connection, &mut target).map_err(fail)?;
        loop {
            let started = Instant::now();
            match backup.step(-1).map_err(fail)? {
                StepResult::Done => break started.elapsed(),
                _ if Instant::now() > until => return Err(Trouble::Busy),
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    };
    // A copy of a database in log mode is in log mode: leaving the last connection leaves one file.
    target.close().map_err(|(_, error)| fail(error))?;
    Ok((scratch, held))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_may_look_at_a_copy_and_it_does_not_stay() {
        let scratch = Scratch::new().unwrap();
        let directory = scratch.path().parent().unwrap().to_owned();
        assert_eq!(std::fs::metadata(&directory).unwrap().permissions().mode() & 0o7777, 0o700);
        drop(scratch);
        assert!(!directory.exists());
    }
}
