//! One file of a restore: what of it is there already, and how the rest is written.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::format::constants::ENTRY_DIRECTORY;
use crate::format::tree::{Entry, Item};
use crate::id::ChunkId;
use crate::keyring::PeriodKeys;
use crate::repository::load::Loader;
use crate::target::{Applying, Directory, Temporary, apply_to_file, punch_hole};

/// A piece of a file, and where it lies.
#[derive(Clone, Debug)]
pub(super) struct PlacedItem {
    pub(super) offset: u64,
    pub(super) item: Item,
}

/// Where a file goes.
pub(super) struct Destination {
    pub(super) directory: Directory,
    pub(super) name: Vec<u8>,
    pub(super) entry: Entry,
    /// The path in the snapshot.
    pub(super) path: Vec<u8>,
    pub(super) size_bytes: u64,
    /// Whether it is a database in one file.
    pub(super) is_database: bool,
}

/// A long file that several batches write; the last one to end makes it visible.
pub(super) struct LongFile {
    pub(super) destination: Destination,
    pub(super) temporary: Temporary,
    /// The file that is there, of which equal pieces are taken.
    pub(super) existing: Option<File>,
    pub(super) damaged: AtomicBool,
    pub(super) written_bytes: AtomicU64,
}

/// What a worker does for one file.
pub(super) enum Job {
    /// Write it whole.
    Whole { destination: Box<Destination>, items: Vec<PlacedItem>, existing: bool },
    /// Write a part of it.
    Part { file: Arc<LongFile>, items: Vec<PlacedItem> },
}

impl Job {
    pub(super) fn items(&self) -> &[PlacedItem] {
        match self {
            Job::Whole { items, .. } | Job::Part { items, .. } => items,
        }
    }
}

/// The keys by which content of a snapshot is named, to compare what is there.
pub(super) struct Comparer {
    keys: Vec<Arc<PeriodKeys>>,
}

impl Comparer {
    pub(super) fn new(loader: &Loader<'_>) -> Self {
        Self { keys: loader.repository.keys.values().cloned().collect() }
    }

    fn is(&self, id: &ChunkId, plaintext: &[u8]) -> bool {
        self.keys.iter().any(|keys| keys.content_id(plaintext) == *id)
    }

    /// Whether a file holds an item at its place.
    pub(super) fn holds(&self, file: &File, placed: &PlacedItem, buffer: &mut Vec<u8>) -> std::io::Result<bool> {
        match &placed.item {
            Item::Chunk { id, length, .. } => {
                buffer.resize(*length as usize, 0);
                Ok(read_exactly(file, buffer, placed.offset)? && self.is(id, buffer))
            }
            Item::Inline { bytes } => {
                buffer.resize(bytes.len(), 0);
                Ok(read_exactly(file, buffer, placed.offset)? && buffer == bytes)
            }
            Item::Hole { length } | Item::Zeros { length } => holds_zeros(file, placed.offset, *length, buffer),
        }
    }
}

fn read_exactly(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<bool> {
    match file.read_exact_at(buffer, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn holds_zeros(file: &File, mut offset: u64, mut length: u64, buffer: &mut Vec<u8>) -> std::io::Result<bool> {
    while length > 0 {
        let part = length.min(1 << 20);
        buffer.resize(part as usize, 0);
        if !read_exactly(file, buffer, offset)? || buffer.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        offset += part;
        length -= part;
    }
    Ok(true)
}

/// Writes a hole into a file that may have data there.
pub(super) fn write_gap(file: &File, placed: &PlacedItem, is_new: bool) -> std::io::Result<()> {
    match placed.item {
        Item::Hole { length } if !is_new => punch_hole(file, placed.offset, length),
        Item::Zeros { length } => {
            static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
            let mut done = 0;
            while done < length {
                let part = (length - done).min(ZEROS.len() as u64);
                file.write_all_at(&ZEROS[..part as usize], placed.offset + done)?;
                done += part;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

impl Destination {
    /// Makes the error of a failed call on the file.
    pub(super) fn failed(&self, action: &'static str) -> impl FnOnce(std::io::Error) -> Error + '_ {
        use std::os::unix::ffi::OsStrExt;
        move |error| Error::file(action, self.directory.path().join(std::ffi::OsStr::from_bytes(&self.name)))(error)
    }

    /// Makes the file, which was not there when the walk came by.
    pub(super) fn create(&self) -> Result<File> {
        let (directory, name) = (&self.directory, &self.name);
        match directory.create_file(name) {
            // In a directory that tells no `a` from `A`, this may be the second of them.
            Err(_) if directory.look(name)?.is_some_and(|found| found.kind == ENTRY_DIRECTORY) => {
                directory.remove(name)?;
                directory.create_file(name)
            }
            created => created,
        }
    }

    /// Sets everything but the content, through the open file.
    pub(super) fn apply(&self, file: &File, applying: &Applying) -> Vec<String> {
        apply_to_file(file, &self.entry, applying)
    }
}

impl LongFile {
    pub(super) fn mark_damaged(&self) {
        self.damaged.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }
}
