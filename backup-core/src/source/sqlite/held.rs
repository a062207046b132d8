//! Which files this process has open, and which databases it reads right now.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, StatxFlags};

use super::Header;
use crate::source::files::Identity;

/// Databases that backups of this process read right now. SQLite shares its locks within a process, so each of them may open the database through SQLite, but none may open
/// the file in another way.
static READING: Mutex<Option<HashMap<Identity, Shared>>> = Mutex::new(None);

/// A database that is being read.
struct Shared {
    readers: usize,
    /// What its first bytes told the first of them, who could look at them.
    header: Option<Header>,
}

/// The list of databases being read. While it is held, no reading begins or ends: a file may be opened, looked at and closed.
pub(in crate::source) struct Readings(MutexGuard<'static, Option<HashMap<Identity, Shared>>>);

impl Readings {
    pub(in crate::source) fn lock() -> Self {
        Self(READING.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known of the header of a database that a backup of this process reads; the outer `None` if none does.
    pub(in crate::source) fn find(&self, identity: Identity) -> Option<Option<Header>> {
        self.0.as_ref()?.get(&identity).map(|shared| shared.header)
    }

    /// Notes that a reading begins; it ends when the mark is dropped.
    pub(in crate::source) fn begin(mut self, identity: Identity, header: Option<Header>) -> ReadingMark {
        let readings = self.0.get_or_insert_default();
        readings.entry(identity).or_insert(Shared { readers: 0, header }).readers += 1;
        ReadingMark(identity)
    }
}

/// A reading under way.
#[derive(Debug)]
pub(in crate::source) struct ReadingMark(Identity);

impl Drop for ReadingMark {
    fn drop(&mut self) {
        let mut readings = Readings::lock();
        if let Some(readings) = readings.0.as_mut()
            && let Some(shared) = readings.get_mut(&self.0)
        {
            shared.readers -= 1;
            if shared.readers == 0 {
                readings.remove(&self.0);
            }
        }
    }
}

/// Device and inode of every file that this process has open, standard input and output left out: SQLite uses none of those three. Empty where the system does not tell.
pub(crate) fn open_files() -> HashSet<Identity> {
    let mut found = HashSet::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(directory) = rustix::fs::openat(CWD, "/proc/self/fd", flags, Mode::empty()) else { return found };
    let mut room = Vec::with_capacity(8 << 10);
    let mut entries = RawDir::new(&directory, room.spare_capacity_mut());
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b".." | b"0" | b"1" | b"2") {
            continue;
        }
        // The links below lead to what is open, whatever became of its name.
        if let Ok(stat) = rustix::fs::statx(&directory, name, AtFlags::empty(), StatxFlags::INO) {
            found.insert(Identity { device: (stat.stx_dev_major, stat.stx_dev_minor), inode: stat.stx_ino });
        }
    }
    found
}
