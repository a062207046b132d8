//! The user's data on its way out: entries are written below a directory, never outside it and never through a link.
//!
//! [`Directory`] makes things, [`apply`] gives them their metadata, [`remove`] takes them away. What is written where, and in which order, is decided by the verbs.
//! Its invariant: every call goes through the descriptor of a directory and *one* name that is checked, and no call follows a link that stands there. So neither a
//! name of a forged snapshot nor a link that somebody plants meanwhile leads out of the target.

mod apply;
mod directory;
mod remove;
mod scratch;
mod swap;
mod temporary;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};

pub(crate) use apply::{Applying, apply_to_file};
pub(crate) use directory::{Directory, Found};
pub(crate) use scratch::Scratch;
pub(crate) use swap::copy_range;
pub(crate) use temporary::Temporary;

/// A directory that the user named to be written to.
pub(crate) struct Target {
    root: Directory,
}

impl Target {
    /// Opens the directory, and makes it and those above it where they are missing. Here alone links are followed: the user typed the path.
    ///
    /// # Errors
    /// [`Error::Input`] if there is something else, or something else stands in its way.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                Error::Input { what: format!("{} is not a directory", path.display()) }
            }
            _ => Error::file("create", path)(error),
        };
        std::fs::create_dir_all(path).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        Ok(Self { root: Directory::new(fd, path.to_owned()) })
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> Directory {
        self.root.clone()
    }

    /// Bytes that can still be written to its file system.
    pub(crate) fn free_bytes(&self) -> Result<u64> {
        let found = rustix::fs::fstatvfs(self.root.fd());
        let found = found.map_err(|error| Error::file("examine", self.root.path())(error.into()))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

/// Whether this process may give files to others.
pub(crate) fn may_set_owners() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes a stretch of a file read as zeros and, where the file system can, take no room. The file's size stays.
pub(crate) fn punch_hole(file: &File, offset: u64, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, length) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(file, offset, length),
        answer => Ok(answer?),
    }
}

fn write_zeros(file: &File, offset: u64, length: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let end = offset.saturating_add(length).min(file.metadata()?.len());
    let mut place = offset;
    while place < end {
        let step = (end - place).min(ZEROS.len() as u64);
        file.write_all_at(&ZEROS[..step as usize], place)?;
        place += step;
    }
    Ok(())
}
