//! Removal of whole trees, without recursion and with one open directory at a time, however deep they are.
//!
//! Its invariant: the way up through `..` is taken only to the directory that it came from, and no other file system is entered.

use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::directory::{Directory, Found, check};
use crate::error::{Error, Result};
use crate::format::constants::ENTRY_DIRECTORY;

/// A directory on the way down.
struct Level {
    /// Its name in the level above.
    name: Vec<u8>,
    /// Its file system and its number there.
    identity: (u64, u64),
    /// The directories in it that are still to be removed; all else is gone.
    waiting: Vec<Vec<u8>>,
}

impl Directory {
    /// Removes what stands under a name, with all below it. It is no error if nothing does.
    ///
    /// # Errors
    /// What cannot be removed; also a directory of another file system, which is left alone.
    pub(crate) fn remove(&self, name: &[u8]) -> Result<()> {
        check(name)?;
        if self.remove_unless_directory(name)? {
            return Ok(());
        }
        let (mut place, top) = self.descend(name.to_vec(), None)?;
        let mut levels = vec![top];
        while let Some(level) = levels.last_mut() {
            if let Some(name) = level.waiting.pop() {
                let (below, level) = place.descend(name, Some(level.identity.0))?;
                place = below;
                levels.push(level);
                continue;
            }
            let parent = match levels.len() {
                1 => self.clone(),
                depth => place.ascend(levels[depth - 2].identity)?,
            };
            if let Some(level) = levels.pop() {
                parent.remove_empty(&level.name)?;
            }
            place = parent;
        }
        Ok(())
    }

    /// Opens a directory below and removes all in it but directories.
    fn descend(&self, name: Vec<u8>, device: Option<u64>) -> Result<(Directory, Level)> {
        let Some(below) = self.open_directory(&name)? else {
            return Err(self.failed("remove", &name, Errno::NOTDIR));
        };
        let identity = below.identity()?;
        let own_device = match device {
            Some(device) => device,
            None => self.identity()?.0,
        };
        if identity.0 != own_device {
            return Err(self.failed("remove", &name, Errno::XDEV));
        }
        let mut waiting = Vec::new();
        for entry in below.names()? {
            if !below.remove_unless_directory(&entry)? {
                waiting.push(entry);
            }
        }
        Ok((below, Level { name, identity, waiting }))
    }

    /// Opens the directory above, if it is still the one that it was.
    fn ascend(&self, identity: (u64, u64)) -> Result<Directory> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let failed = |error: Errno| Error::file("remove", self.path())(error.into());
        let fd = rustix::fs::openat(self.fd(), "..", flags, Mode::empty()).map_err(failed)?;
        let parent = Directory::new(fd, self.path().parent().unwrap_or(Path::new("/")).to_owned());
        // Somebody moved the directory while it was emptied: what lies above it now is none of ours.
        if parent.identity()? != identity {
            return Err(failed(Errno::STALE));
        }
        Ok(parent)
    }

    fn identity(&self) -> Result<(u64, u64)> {
        let stat = rustix::fs::fstat(self.fd()).map_err(|error| Error::file("examine", self.path())(error.into()))?;
        let found = Found::new(&stat);
        Ok((found.device, found.inode))
    }

    /// Whether the name is free now; `false` where there is a directory.
    fn remove_unless_directory(&self, name: &[u8]) -> Result<bool> {
        match rustix::fs::unlinkat(self.fd(), name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::ISDIR) => Ok(false),
            // POSIX's answer for a directory, and anybody's for what must not be removed.
            Err(Errno::PERM) if self.look(name)?.is_some_and(|found| found.kind == ENTRY_DIRECTORY) => Ok(false),
            Err(error) => Err(self.failed("remove", name, error)),
        }
    }

    fn remove_empty(&self, name: &[u8]) -> Result<()> {
        match rustix::fs::unlinkat(self.fd(), name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed("remove", name, error)),
        }
    }
}
