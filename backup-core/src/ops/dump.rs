//! `dump`: one file, or a directory as tar, to a stream.

use std::collections::VecDeque;
use std::io::Write;

use super::list::walk_entry;
use crate::error::{Error, Result};
use crate::format::constants::*;
use crate::format::tree::{Content, Entry, Item};
use crate::path;
use crate::repository::fetch::Chunks;
use crate::repository::load::Loader;
use crate::repository::names::Place;
use crate::repository::nodes::{Items, OwnedEntry, Owners};
use crate::repository::{Repository, Snapshot};
use crate::words::printable;

/// Bytes of content, and items, that are loaded at a time.
const AHEAD_BYTES: u64 = 8 << 20;
const AHEAD_ITEMS: usize = 4096;

impl Repository {
    /// Writes a file's content to `out`, or a directory as a tar archive whose names are relative to it. Returns the bytes of content written.
    ///
    /// # Errors
    /// [`Error::PathNotFound`]; [`Error::Usage`] for what is neither file nor directory; damage ends the dump, so what came out is not whole.
    pub fn dump(&self, snapshot: &Snapshot, path: &[u8], out: &mut dyn Write) -> Result<u64> {
        let loader = Loader::new(self)?;
        let neither = || Error::Usage { what: format!("{} is neither a file nor a directory", printable(path)) };
        let Place::Entry(entry) = snapshot.find(&loader, path)? else { return Err(neither()) };
        match entry.0.content {
            _ if entry.0.is_file() => write_content(&loader, &entry.0, out, &failed),
            Content::Tree { .. } => write_tar(&loader, path, *entry, out),
            _ => Err(neither()),
        }
    }
}

fn failed(source: std::io::Error) -> Error {
    Error::File { action: "write", path: "standard output".into(), source }
}

/// Writes a file's content in order, holes as zeros. `failed` says where it could not be written.
pub(crate) fn write_content(
    loader: &Loader<'_>,
    entry: &Entry,
    out: &mut dyn Write,
    failed: &dyn Fn(std::io::Error) -> Error,
) -> Result<u64> {
    let mut ahead = Ahead::new(&entry.content);
    let mut written = 0;
    while let Some(item) = ahead.next(loader)? {
        written += item.length();
        match &item {
            Item::Chunk { id, .. } => out.write_all(ahead.chunks.of_item(&item, id)?).map_err(failed)?,
            Item::Inline { bytes } => out.write_all(bytes).map_err(failed)?,
            Item::Hole { length } | Item::Zeros { length } => write_zeros(*length, out).map_err(failed)?,
        }
    }
    Ok(written)
}

/// Items of a file in order, whose chunks are loaded many at a time.
struct Ahead {
    items: Items,
    queue: VecDeque<Item>,
    /// The chunks of the queue, and of the item that was taken out last.
    chunks: Chunks,
    /// Why no items follow the queue.
    end: Option<Error>,
}

impl Ahead {
    fn new(content: &Content) -> Self {
        Self { items: Items::new(content), queue: VecDeque::new(), chunks: Chunks::default(), end: None }
    }

    /// The next item; `None` at the end. What stands before damage comes before its error.
    fn next(&mut self, loader: &Loader<'_>) -> Result<Option<Item>> {
        if self.queue.is_empty() {
            if let Some(error) = self.end.take() {
                return Err(error);
            }
            self.fill(loader)?;
        }
        match (self.queue.pop_front(), self.end.take()) {
            (None, Some(error)) => Err(error),
            (item, end) => {
                self.end = end;
                Ok(item)
            }
        }
    }

    fn fill(&mut self, loader: &Loader<'_>) -> Result<()> {
        let mut bytes = 0;
        while bytes < AHEAD_BYTES && self.queue.len() < AHEAD_ITEMS {
            match self.items.next(loader) {
                Ok(None) => break,
                Ok(Some(item)) => {
                    bytes += if matches!(item, Item::Chunk { .. }) { item.length() } else { 0 };
                    self.queue.push_back(item);
                }
                Err(error) => {
                    self.end = Some(error);
                    break;
                }
            }
        }
        let ids = self.queue.iter().filter_map(|item| match item {
            Item::Chunk { id, .. } => Some(*id),
            _ => None,
        });
        self.chunks = loader.load_all(ids)?;
        Ok(())
    }
}

fn write_zeros(mut length: u64, out: &mut dyn Write) -> std::io::Result<()> {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    while length > 0 {
        let part = length.min(ZEROS.len() as u64);
        out.write_all(&ZEROS[..part as usize])?;
        length -= part;
    }
    Ok(())
}

fn write_tar(loader: &Loader<'_>, directory: &[u8], entry: OwnedEntry, out: &mut dyn Write) -> Result<u64> {
    let mut archive = tar::Builder::new(out);
    let mut written = 0;
    walk_entry(loader, directory.to_vec(), entry, &mut |path, (entry, owners)| {
        let name = path::below(&path, directory).unwrap_or_default();
        let name = if name.is_empty() { b"." } else { name };
        written += append(loader, &mut archive, name, &entry, &owners)?;
        Ok(())
    })?;
    archive.into_inner().and_then(Write::flush).map_err(failed)?;
    Ok(written)
}

fn append(
    loader: &Loader<'_>,
    archive: &mut tar::Builder<&mut dyn Write>,
    name: &[u8],
    entry: &Entry,
    owners: &Owners,
) -> Result<u64> {
    use std::os::unix::ffi::OsStrExt;
    let name = std::path::Path::new(std::ffi::OsStr::from_bytes(name));
    let mut header = tar_header(entry, owners);
    match &entry.content {
        Content::Link { target } => {
            let target = std::path::Path::new(std::ffi::OsStr::from_bytes(target));
            header.set_size(0);
            archive.append_link(&mut header, name, target).map_err(failed)?;
            Ok(0)
        }
        _ if entry.is_file() => {
            header.set_size(entry.size_bytes());
            let reader = ContentReader {
                loader,
                ahead: Ahead::new(&entry.content),
                chunk: Vec::new(),
                place: 0,
                zeros: 0,
                error: None,
            };
            append_file(archive, header, name, reader, entry.size_bytes())
        }
        _ => {
            header.set_size(0);
            archive.append_data(&mut header, name, std::io::empty()).map_err(failed)?;
            Ok(0)
        }
    }
}

fn append_file(
    archive: &mut tar::Builder<&mut dyn Write>,
    mut header: tar::Header,
    name: &std::path::Path,
    mut reader: ContentReader<'_, '_>,
    size_bytes: u64,
) -> Result<u64> {
    let appended = archive.append_data(&mut header, name, &mut reader);
    if let Some(error) = reader.error.take() {
        return Err(error);
    }
    appended.map_err(failed)?;
    Ok(size_bytes)
}

fn tar_header(entry: &Entry, owners: &Owners) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_uid(u64::from(entry.uid));
    header.set_gid(u64::from(entry.gid));
    header.set_mtime(u64::try_from(entry.mtime.seconds).unwrap_or(0));
    header.set_entry_type(match entry.kind {
        ENTRY_DIRECTORY => tar::EntryType::Directory,
        ENTRY_SYMLINK => tar::EntryType::Symlink,
        ENTRY_FIFO => tar::EntryType::Fifo,
        ENTRY_CHARACTER_DEVICE => tar::EntryType::Char,
        ENTRY_BLOCK_DEVICE => tar::EntryType::Block,
        _ => tar::EntryType::Regular,
    });
    // Names that do not fit tar's fields are left to the numbers.
    if let Some(user) = owners.user(entry.uid) {
        let _ = header.set_username(user);
    }
    if let Some(group) = owners.group(entry.gid) {
        let _ = header.set_groupname(group);
    }
    if let Content::Device { major, minor } = entry.content {
        let _ = header.set_device_major(major);
        let _ = header.set_device_minor(minor);
    }
    header
}

/// A file's content as a reader, for tar. What fails is kept, because a reader's error cannot carry it.
struct ContentReader<'c, 'l> {
    loader: &'c Loader<'l>,
    ahead: Ahead,
    chunk: Vec<u8>,
    place: usize,
    zeros: u64,
    error: Option<Error>,
}

impl ContentReader<'_, '_> {
    /// Fetches the next item; `false` at the end.
    fn advance(&mut self) -> Result<bool> {
        let Some(item) = self.ahead.next(self.loader)? else { return Ok(false) };
        self.place = 0;
        self.chunk.clear();
        match &item {
            Item::Chunk { id, .. } => self.chunk.extend_from_slice(self.ahead.chunks.of_item(&item, id)?),
            Item::Inline { bytes } => self.chunk.extend_from_slice(bytes),
            Item::Hole { length } | Item::Zeros { length } => self.zeros = *length,
        }
        Ok(true)
    }
}

impl std::io::Read for ContentReader<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let rest = &self.chunk[self.place..];
            if !rest.is_empty() {
                let length = rest.len().min(buffer.len());
                buffer[..length].copy_from_slice(&rest[..length]);
                self.place += length;
                return Ok(length);
            }
            if self.zeros > 0 {
                let length = usize::try_from(self.zeros).unwrap_or(usize::MAX).min(buffer.len());
                buffer[..length].fill(0);
                self.zeros -= length as u64;
                return Ok(length);
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return Ok(0),
                Err(error) => {
                    let message = error.to_string();
                    self.error = Some(error);
                    return Err(std::io::Error::other(message));
                }
            }
        }
    }
}
