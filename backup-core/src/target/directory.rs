//! A directory that is open, and all that can be made in it by name; metadata and removal of whole trees are left to the siblings.
//!
//! Its invariant: no call follows a link, and every name is checked before the system sees it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::format::constants::*;
use crate::format::tree::{Content, Entry};
use crate::path::is_safe_name;
use crate::time::Time;

/// How often something is made anew after what stood in its place was taken away; more means that somebody puts it back.
const ATTEMPTS_MAX: u32 = 4;

const OPEN_DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// A directory in a target. Clones are one directory.
#[derive(Clone)]
pub(crate) struct Directory(Arc<Open>);

struct Open {
    fd: OwnedFd,
    /// For messages only: nothing is looked up by it.
    path: PathBuf,
    /// Whether this process made it, so that there is nothing in it but what this process puts there.
    is_made: bool,
    /// What the first file that was made in it began with.
    newborn: OnceLock<Newborn>,
}

/// What the system gives to every file that this process makes in one directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Newborn {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Whether there are attributes that an entry without any does not have, such as an access list that the directory passes on.
    pub(super) has_attributes: bool,
}

/// What stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// One of the `ENTRY_` constants; 0 for anything else.
    pub(crate) kind: u8,
    /// Bytes of content.
    pub(crate) size_bytes: u64,
    /// The low 12 bits of its mode.
    pub(crate) mode: u32,
    /// Owner's number.
    pub(crate) uid: u32,
    /// Group's number.
    pub(crate) gid: u32,
    /// Time of the last change of content.
    pub(crate) mtime: Time,
    /// Number on its file system.
    pub(crate) inode: u64,
    /// Number of its file system.
    pub(crate) device: u64,
    /// How many names it has.
    pub(crate) links: u64,
}

impl Directory {
    /// Wraps a descriptor of a directory.
    pub(super) fn new(fd: OwnedFd, path: PathBuf) -> Self {
        Self::open(fd, path, false)
    }

    fn open(fd: OwnedFd, path: PathBuf, is_made: bool) -> Self {
        Self(Arc::new(Open { fd, path, is_made, newborn: OnceLock::new() }))
    }

    /// The descriptor.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }

    /// Where it was when it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// Whether this process made it when it opened it: then nothing was in it.
    pub(crate) fn is_made(&self) -> bool {
        self.0.is_made
    }

    /// What files that are made in it begin with, once that is known.
    pub(super) fn newborn(&self) -> &OnceLock<Newborn> {
        &self.0.newborn
    }

    /// The path of an entry, for messages.
    pub(super) fn path_of(&self, name: &[u8]) -> PathBuf {
        self.path().join(OsStr::from_bytes(name))
    }

    /// Opens a directory, and makes it (for its owner alone) where there is none. With `replace` it takes the place of whatever else stands there.
    pub(crate) fn enter(&self, name: &[u8], replace: bool) -> Result<Directory> {
        check(name)?;
        for _ in 0..ATTEMPTS_MAX {
            let is_made = match rustix::fs::mkdirat(self.fd(), name, Mode::RWXU) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(error) => return Err(self.failed("create", name, error)),
            };
            match self.open_made(name, is_made) {
                Ok(Some(directory)) => return Ok(directory),
                Ok(None) if replace => self.unlink(name)?,
                Ok(None) => return Err(self.failed("create", name, Errno::NOTDIR)),
                Err(error) => return Err(error),
            }
        }
        Err(self.failed("create", name, Errno::EXIST))
    }

    /// Opens a directory; `None` where there is none, or something else.
    pub(crate) fn open_directory(&self, name: &[u8]) -> Result<Option<Directory>> {
        self.open_made(name, false)
    }

    fn open_made(&self, name: &[u8], is_made: bool) -> Result<Option<Directory>> {
        check(name)?;
        match rustix::fs::openat(self.fd(), name, OPEN_DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Some(Self::open(fd, self.path_of(name), is_made))),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(self.failed("open", name, error)),
        }
    }

    /// Tells what stands under a name.
    pub(crate) fn look(&self, name: &[u8]) -> Result<Option<Found>> {
        check(name)?;
        match rustix::fs::statat(self.fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Found::new(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed("examine", name, error)),
        }
    }

    /// Lists the names in it, sorted bytewise.
    pub(crate) fn names(&self) -> Result<Vec<Vec<u8>>> {
        let failed = |error: Errno| Error::file("list", self.path())(error.into());
        let mut names = Vec::new();
        for found in Dir::read_from(self.fd()).map_err(failed)? {
            let found = found.map_err(failed)?;
            let name = found.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Makes an empty file, for its owner alone, in the place of whatever is there; only a directory is not replaced.
    pub(crate) fn create_file(&self, name: &[u8]) -> Result<File> {
        self.make(name, || self.open_new(name))
    }

    /// Opens a file that is not there yet.
    pub(super) fn open_new(&self, name: &[u8]) -> rustix::io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self.fd(), name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Opens a regular file for reading and writing in place; `None` where there is none that may be: something else, a file with more names (which would change
    /// with it), one that runs, or one that denies it.
    pub(crate) fn open_existing(&self, name: &[u8]) -> Result<Option<File>> {
        let may_be = |found: &Found| found.kind == ENTRY_FILE && found.links == 1;
        // Merely opening a device can have effects, so it is looked at before, too.
        if !self.look(name)?.as_ref().is_some_and(may_be) {
            return Ok(None);
        }
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(self.fd(), name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Ok(None),
            Err(Errno::ACCESS | Errno::PERM | Errno::TXTBSY) => return Ok(None),
            Err(error) => return Err(self.failed("open", name, error)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|error| self.failed("examine", name, error))?;
        Ok(may_be(&Found::new(&stat)).then(|| fd.into()))
    }

    /// Makes a symbolic link.
    pub(crate) fn symlink(&self, name: &[u8], target: &[u8]) -> Result<()> {
        self.make(name, || rustix::fs::symlinkat(target, self.fd(), name))
    }

    /// Makes a fifo or a device, for its owner alone.
    pub(crate) fn special(&self, name: &[u8], entry: &Entry) -> Result<()> {
        let (kind, device) = match (entry.kind, &entry.content) {
            (ENTRY_FIFO, _) => (FileType::Fifo, 0),
            (ENTRY_CHARACTER_DEVICE, Content::Device { major, minor }) => {
                (FileType::CharacterDevice, rustix::fs::makedev(*major, *minor))
            }
            (ENTRY_BLOCK_DEVICE, Content::Device { major, minor }) => {
                (FileType::BlockDevice, rustix::fs::makedev(*major, *minor))
            }
            _ => return Err(Error::damaged("an entry", "it is neither a fifo nor a device")),
        };
        self.make(name, || rustix::fs::mknodat(self.fd(), name, kind, Mode::RUSR | Mode::WUSR, device))
    }

    /// Makes one more name of what stands under another, a link itself included.
    pub(crate) fn hard_link(&self, name: &[u8], from: &Directory, from_name: &[u8]) -> Result<()> {
        check(from_name)?;
        let same = |a: Found, b: Found| (a.device, a.inode) == (b.device, b.inode);
        // What is a name of it already must stay: unlinking could take its last one.
        if let (Some(here), Some(there)) = (self.look(name)?, from.look(from_name)?)
            && same(here, there)
        {
            return Ok(());
        }
        self.make(name, || rustix::fs::linkat(from.fd(), from_name, self.fd(), name, AtFlags::empty()))
    }

    /// Makes something under a name, and takes away what stands there before; only a directory stays, and is an error.
    fn make<T>(&self, name: &[u8], make: impl Fn() -> rustix::io::Result<T>) -> Result<T> {
        check(name)?;
        for _ in 0..ATTEMPTS_MAX {
            match make() {
                Ok(made) => return Ok(made),
                Err(Errno::EXIST) => self.unlink(name)?,
                Err(error) => return Err(self.failed("create", name, error)),
            }
        }
        Err(self.failed("create", name, Errno::EXIST))
    }

    pub(super) fn unlink(&self, name: &[u8]) -> Result<()> {
        match rustix::fs::unlinkat(self.fd(), name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed("replace", name, error)),
        }
    }

    /// Makes the error of a failed call on an entry.
    pub(super) fn failed(&self, action: &'static str, name: &[u8], error: Errno) -> Error {
        Error::File { action, path: self.path_of(name), source: io::Error::from(error) }
    }
}

/// Refuses a name that a lookup would treat specially.
pub(super) fn check(name: &[u8]) -> Result<()> {
    if is_safe_name(name) { Ok(()) } else { Err(Error::damaged("a name", "it is not one component of a path")) }
}

impl Found {
    // The fields have other widths on other processors.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    pub(super) fn new(stat: &Stat) -> Self {
        Self {
            kind: kind_of(FileType::from_raw_mode(stat.st_mode)),
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: Time::new(i64::from(stat.st_mtime), stat.st_mtime_nsec as u32),
            inode: stat.st_ino as u64,
            device: stat.st_dev as u64,
            links: stat.st_nlink as u64,
        }
    }
}

fn kind_of(kind: FileType) -> u8 {
    match kind {
        FileType::RegularFile => ENTRY_FILE,
        FileType::Directory => ENTRY_DIRECTORY,
        FileType::Symlink => ENTRY_SYMLINK,
        FileType::Fifo => ENTRY_FIFO,
        FileType::CharacterDevice => ENTRY_CHARACTER_DEVICE,
        FileType::BlockDevice => ENTRY_BLOCK_DEVICE,
        _ => 0,
    }
}
