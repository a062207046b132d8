//! Reads the content and the extended attributes of one entry, on whatever thread wants them.
//!
//! A [`Place`] keeps its directory open, so that what it leads to is found again however the tree above was moved.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::attributes;
use super::database::{Candidate, Databases};
use super::metadata::{Identity, Stat, stat_open};
use crate::format::database::DatabaseState;
use crate::format::tree::Attribute;
use crate::source::{ContentReader, Finish, Handle, Stretch};

/// From this size on the system is told that a file is read from its beginning to its end.
const ADVISE_BYTES_MIN: u64 = 4 << 20;
/// Bytes asked for beyond the size that a file had when it was opened.
const GROWTH_BYTES: usize = 64 << 10;

/// A name in an open directory; without a name, the directory itself.
pub(super) struct Place {
    pub(super) directory: Arc<OwnedFd>,
    pub(super) name: Vec<u8>,
    pub(super) identity: Identity,
    pub(super) size_bytes: u64,
    /// Whether files lie beside it that would be a database's.
    pub(super) has_companions: bool,
    pub(super) databases: Arc<Databases>,
}

impl Place {
    fn candidate(&self) -> Candidate<'_> {
        let Self { directory, name, identity, size_bytes, has_companions, .. } = self;
        Candidate { directory, name, identity: *identity, size_bytes: *size_bytes, has_companions: *has_companions }
    }
}

impl Handle for Place {
    fn attributes(&self) -> io::Result<Vec<Attribute>> {
        if self.name.is_empty() {
            return attributes::read(&attributes::Open(&self.directory));
        }
        // There are no calls on attributes relative to a directory; its link in /proc does the same without opening the file.
        let mut path = format!("/proc/self/fd/{}/", self.directory.as_raw_fd()).into_bytes();
        path.extend_from_slice(&self.name);
        match attributes::read(&attributes::Named(&path)) {
            // Without /proc, a regular file can still be opened.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                attributes::read(&attributes::Open(&open_file(&self.directory, &self.name)?))
            }
            read => read,
        }
    }

    fn open(&self) -> io::Result<Box<dyn ContentReader>> {
        self.databases.open(&self.candidate())
    }

    fn is_logged(&self) -> bool {
        self.databases.is_logged(&self.candidate())
    }

    fn is_same_database(&self, before: &DatabaseState, settled_seconds: i64) -> bool {
        self.databases.is_same(&self.candidate(), before, settled_seconds)
    }
}

/// Opens without waiting for a fifo's other end, without following a link, and without leaving a time of access where that is allowed.
fn open_file(directory: &OwnedFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(directory, name, flags, Mode::empty()),
        opened => opened,
    }
}

/// Reads the beginning of a regular file, at most `limit` bytes.
pub(in crate::source) fn read_beginning(directory: &OwnedFd, name: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    Reader::open(directory, name)?.beginning(limit)
}

/// Reads a regular file by offset.
pub(super) struct Reader {
    file: OwnedFd,
    /// As it was when it was opened.
    stat: Stat,
    offset_bytes: u64,
    /// Where a hole may begin; `None` if holes are not looked for.
    data_end: Option<u64>,
    is_at_end: bool,
}

impl Reader {
    pub(super) fn open(directory: &OwnedFd, name: &[u8]) -> io::Result<Self> {
        let file = open_file(directory, name)?;
        let stat = stat_open(&file)?;
        if stat.kind != FileType::RegularFile {
            return Err(io::Error::other("it is no longer a regular file"));
        }
        if stat.size_bytes > ADVISE_BYTES_MIN {
            // Advice only: where it is not taken, reading works as well.
            let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
        }
        let data_end = (stat.allocated_bytes < stat.size_bytes).then_some(0);
        Ok(Self { file, stat, offset_bytes: 0, data_end, is_at_end: false })
    }

    /// Reads the first bytes, at most `limit`.
    pub(super) fn beginning(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        let mut beginning = Vec::new();
        self.read(&mut beginning, limit)?;
        Ok(beginning)
    }

    /// Finds where data begins and ends at the offset. `Some` is a hole or the end.
    fn look_for_hole(&mut self) -> io::Result<Option<Stretch>> {
        let Some(data_end) = self.data_end else { return Ok(None) };
        if self.offset_bytes < data_end {
            return Ok(None);
        }
        let data_start = match rustix::fs::seek(&self.file, SeekFrom::Data(self.offset_bytes)) {
            Ok(start) => start,
            // No data follows: all that is left is a hole.
            Err(Errno::NXIO) => rustix::fs::seek(&self.file, SeekFrom::End(0))?,
            Err(Errno::INVAL | Errno::NOTSUP) => {
                self.data_end = None;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        if data_start > self.offset_bytes {
            let length = data_start - self.offset_bytes;
            self.offset_bytes = data_start;
            return Ok(Some(Stretch::Hole(length)));
        }
        match rustix::fs::seek(&self.file, SeekFrom::Hole(self.offset_bytes)) {
            Ok(end) if end > self.offset_bytes => {
                self.data_end = Some(end);
                Ok(None)
            }
            Ok(_) | Err(Errno::NXIO) => Ok(Some(Stretch::End)),
            Err(error) => Err(error.into()),
        }
    }

    /// How many bytes to ask for at once: one more than the size shows the end without another call.
    fn wanted_bytes(&self, limit: usize) -> usize {
        let known = match self.data_end {
            Some(data_end) => Some(data_end.saturating_sub(self.offset_bytes)),
            None => (self.stat.size_bytes >= self.offset_bytes).then(|| self.stat.size_bytes - self.offset_bytes + 1),
        };
        known.map_or(GROWTH_BYTES, |bytes| usize::try_from(bytes).unwrap_or(limit)).min(limit)
    }
}

impl ContentReader for Reader {
    fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> io::Result<Stretch> {
        if self.is_at_end {
            return Ok(Stretch::End);
        }
        if let Some(stretch) = self.look_for_hole()? {
            return Ok(stretch);
        }
        let start = buffer.len();
        while buffer.len() - start < limit {
            let wanted = self.wanted_bytes(limit - (buffer.len() - start));
            if wanted == 0 {
                break;
            }
            let count = read_at(&self.file, buffer, wanted, self.offset_bytes)?;
            self.offset_bytes += count as u64;
            if count == 0 || (count < wanted && self.offset_bytes == self.stat.size_bytes) {
                self.is_at_end = true;
                break;
            }
        }
        match buffer.len() - start {
            0 if limit > 0 => Ok(Stretch::End),
            count => Ok(Stretch::Data(count)),
        }
    }

    fn attributes(&self) -> Option<io::Result<Vec<Attribute>>> {
        Some(attributes::read(&attributes::Open(&self.file)))
    }

    fn finish(&mut self) -> io::Result<Finish> {
        let (before, now) = (&self.stat, stat_open(&self.file)?);
        let is_same = |stat: &Stat| (stat.size_bytes, stat.mtime, stat.ctime);
        let changed = is_same(before) != is_same(&now) || self.offset_bytes != now.size_bytes;
        Ok(Finish { changed, mtime: before.mtime, ctime: before.ctime })
    }
}

/// Appends up to `wanted` bytes, into memory that nobody zeroed before where the buffer's room is about that much.
fn read_at(file: &OwnedFd, buffer: &mut Vec<u8>, wanted: usize, offset_bytes: u64) -> io::Result<usize> {
    let start = buffer.len();
    if buffer.capacity() - start < wanted {
        buffer.reserve_exact(wanted);
    }
    let fits = buffer.capacity() - start <= wanted + wanted / 8;
    if !fits {
        buffer.resize(start + wanted, 0);
    }
    let count = loop {
        let read = match fits {
            true => rustix::io::pread(file, spare_capacity(buffer), offset_bytes),
            false => rustix::io::pread(file, &mut buffer[start..], offset_bytes),
        };
        match read {
            Err(Errno::INTR) => {}
            Err(error) => {
                buffer.truncate(start);
                return Err(error.into());
            }
            // What was read beyond the wish is read again later: offsets are explicit.
            Ok(count) => break count.min(wanted),
        }
    };
    buffer.truncate(start + count);
    Ok(count)
}
