//! Names that change hands: renaming, linking and unlinking in one directory, made durable, and pieces of files that are taken over from others.
//!
//! What must be durable before what is decided by the verbs; here every call returns when the system has done it, and [`Directory::sync`] when it will not be forgotten.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use super::directory::{Directory, check};
use crate::error::{Error, Result};

impl Directory {
    /// Where the directory is now, without links on the way, for those who must have a path. Where the system does not tell it is the path that the directory was opened by.
    pub(crate) fn present_path(&self) -> PathBuf {
        let link = format!("/proc/self/fd/{}", self.fd().as_raw_fd());
        std::fs::read_link(link).ok().filter(|path| path.is_absolute()).unwrap_or_else(|| self.path().to_owned())
    }

    /// Makes all names in it durable, as far as the file system does that for directories.
    pub(crate) fn sync(&self) -> Result<()> {
        match rustix::fs::fsync(self.fd()) {
            Ok(()) | Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(Error::file("sync", self.path())(error.into())),
        }
    }

    /// Gives something another name, in the place of what has that.
    pub(crate) fn rename(&self, from: &[u8], to: &[u8]) -> Result<()> {
        check(from)?;
        check(to)?;
        rustix::fs::renameat(self.fd(), from, self.fd(), to).map_err(|error| self.failed("rename", from, error))
    }

    /// Lets two names change hands in one step. `false` where the file system cannot.
    pub(crate) fn exchange(&self, one: &[u8], other: &[u8]) -> Result<bool> {
        check(one)?;
        check(other)?;
        match rustix::fs::renameat_with(self.fd(), one, self.fd(), other, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
            Err(error) => Err(self.failed("exchange", one, error)),
        }
    }

    /// Gives a file one more name, which must be free. `false` where the file system or the system's rules do not allow it.
    pub(crate) fn add_name(&self, name: &[u8], further: &[u8]) -> Result<bool> {
        check(name)?;
        check(further)?;
        match rustix::fs::linkat(self.fd(), name, self.fd(), further, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::PERM | Errno::ACCESS | Errno::MLINK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::XDEV) => {
                Ok(false)
            }
            Err(error) => Err(self.failed("link", further, error)),
        }
    }

    /// Takes a name away from whatever has it but a directory. It is no error if nothing does.
    pub(crate) fn remove_name(&self, name: &[u8]) -> Result<()> {
        check(name)?;
        self.unlink(name)
    }
}

/// Copies a stretch from one file to the same place of another; where the file system can, both share it.
pub(crate) fn copy_range(from: &File, to: &File, offset: u64, length: u64) -> io::Result<()> {
    let mut done = 0;
    while done < length {
        let (mut read_at, mut write_at) = (offset + done, offset + done);
        let rest = usize::try_from(length - done).unwrap_or(usize::MAX).min(1 << 30);
        match rustix::fs::copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), rest) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(copied) => done += copied as u64,
            Err(Errno::INTR) => {}
            // Not between these two file systems, or not at all.
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::TXTBSY) => {
                return copy_by_hand(from, to, offset + done, length - done);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn copy_by_hand(from: &File, to: &File, offset: u64, length: u64) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    while done < length {
        let part = (length - done).min(buffer.len() as u64) as usize;
        from.read_exact_at(&mut buffer[..part], offset + done)?;
        to.write_all_at(&buffer[..part], offset + done)?;
        done += part as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;

    fn target() -> (tempfile::TempDir, Directory) {
        let folder = tempfile::tempdir().unwrap();
        let directory = Target::create(folder.path()).unwrap().root();
        (folder, directory)
    }

    #[test]
    fn names_change_hands() {
        let (folder, directory) = target();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).ok();
        std::fs::write(folder.path().join("a"), "one").unwrap();
        std::fs::write(folder.path().join("b"), "two").unwrap();
        assert!(directory.add_name(b"a", b"kept").unwrap());
        assert!(directory.add_name(b"b", b"kept").is_err(), "a name that is taken was given away");
        assert!(directory.exchange(b"a", b"b").unwrap());
        assert_eq!((read("a"), read("b")), (Some("two".into()), Some("one".into())));
        directory.rename(b"a", b"b").unwrap();
        assert_eq!((read("a"), read("b"), read("kept")), (None, Some("two".into()), Some("one".into())));
        directory.remove_name(b"b").unwrap();
        directory.remove_name(b"b").unwrap();
        directory.sync().unwrap();
        assert!(directory.rename(b"../x", b"y").is_err() && directory.remove_name(b"..").is_err());
    }

    #[test]
    fn a_directory_knows_where_it_is() {
        let (folder, directory) = target();
        let inner = directory.enter(b"inner", false).unwrap();
        directory.rename(b"inner", b"moved").unwrap();
        assert_eq!(inner.present_path(), folder.path().canonicalize().unwrap().join("moved"));
    }

    #[test]
    fn a_stretch_is_copied_to_its_place() {
        let (_folder, directory) = target();
        let (from, to) = (directory.create_file(b"from").unwrap(), directory.create_file(b"to").unwrap());
        let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i / 7) as u8).collect();
        from.write_all_at(&bytes, 0).unwrap();
        copy_range(&from, &to, 1000, 2_500_000).unwrap();
        let mut found = vec![0; 2_501_000];
        to.read_exact_at(&mut found, 0).unwrap();
        assert!(found[..1000].iter().all(|byte| *byte == 0) && found[1000..] == bytes[1000..2_501_000]);
        assert!(copy_range(&from, &to, 2_999_000, 2000).is_err(), "the end was passed");
        copy_by_hand(&from, &to, 0, 1000).unwrap();
        to.read_exact_at(&mut found, 0).unwrap();
        assert!(found == bytes[..2_501_000]);
    }
}
