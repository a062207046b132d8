//! Opens and lists directories, relative to open ones.
//!
//! No path longer than one component reaches the system, so depth and length of paths have no limit here, and no link is followed.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::metadata::{Identity, stat_open};

/// Room for one answer of the system.
const ANSWER_BYTES: usize = 64 << 10;

/// A name in a directory, with its kind where the file system tells it at once.
pub(super) struct Listed {
    pub(super) name: Vec<u8>,
    pub(super) kind: FileType,
}

/// Opens a directory for reading.
pub(super) fn open(parent: &OwnedFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Opens a directory that must be the one that was seen before.
pub(super) fn open_again(parent: &OwnedFd, name: &[u8], seen: Identity) -> rustix::io::Result<OwnedFd> {
    let directory = open(parent, name)?;
    if stat_open(&directory)?.identity == seen { Ok(directory) } else { Err(Errno::STALE) }
}

/// Opens the directory that holds the last component of an absolute path, which it returns besides: `.` for `/`. Links before the last component are followed.
pub(in crate::source) fn open_parent(path: &[u8]) -> rustix::io::Result<(OwnedFd, &[u8])> {
    // For a lookup alone no permission to list is needed.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut directory = rustix::fs::openat(CWD, "/", flags, Mode::empty())?;
    let mut components = path.split(|&b| b == b'/').filter(|name| !name.is_empty());
    let mut last: &[u8] = b".";
    if let Some(first) = components.next() {
        last = first;
    }
    for name in components {
        directory = rustix::fs::openat(&directory, last, flags, Mode::empty())?;
        last = name;
    }
    Ok((directory, last))
}

/// Lists a directory that was just opened, sorted by name. What was read before an error is kept beside it.
pub(super) fn list(directory: &OwnedFd, answer: &mut Vec<u8>) -> (Vec<Listed>, rustix::io::Result<()>) {
    answer.clear();
    answer.reserve(ANSWER_BYTES);
    let mut listed = Vec::new();
    let mut entries = RawDir::new(directory, answer.spare_capacity_mut());
    let mut outcome = Ok(());
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) => {
                let name = entry.file_name().to_bytes();
                if name != b"." && name != b".." {
                    listed.push(Listed { name: name.to_vec(), kind: entry.file_type() });
                }
            }
            Err(Errno::INTR) => {}
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    // A directory that changes while it is listed may show a name twice.
    listed.dedup_by(|a, b| a.name == b.name);
    (listed, outcome)
}
