//! A tree of files in memory, made from a seed: a [`Source`] for backups, and what snapshots of it must give back.

use std::collections::BTreeMap;
use std::sync::Arc;

use backup_core::Result;
use backup_core::format::constants::{ENTRY_DIRECTORY, ENTRY_FILE};
use backup_core::format::tree::{Attribute, Entry};
use backup_core::source::{ContentReader, Finish, Handle, Owner, Source, SourceKind, Stretch, Visitor};
use backup_core::time::Time;

/// The root that all files lie below.
pub(crate) const ROOT: &[u8] = b"/data";

/// Files by their path below the root, `/` between components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    files: BTreeMap<String, File>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    bytes: Arc<Vec<u8>>,
    mtime_seconds: i64,
}

/// Bytes that do not compress.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes()
    };
    let words = std::iter::repeat_with(next).take(length.div_ceil(8));
    let mut bytes: Vec<u8> = words.flatten().collect();
    bytes.truncate(length);
    bytes
}

impl Tree {
    /// Adds a file, or replaces one: its times change with it.
    pub(crate) fn with(mut self, path: &str, bytes: Vec<u8>) -> Self {
        let mtime_seconds = self.files.get(path).map_or(1_000_000_000, |file| file.mtime_seconds + 1);
        self.files.insert(path.to_owned(), File { bytes: Arc::new(bytes), mtime_seconds });
        self
    }

    /// Makes small and large files in several directories: a chunk list that needs nodes, text, an empty file, one that stands in its entry.
    pub(crate) fn sample(seed: u64, large_bytes: usize) -> Self {
        let mut tree = Self::default()
            .with("empty", Vec::new())
            .with("inline", b"short".to_vec())
            .with("large", noise(seed, large_bytes))
            .with("sub/medium", noise(seed + 1, 30_000))
            .with("sub/zeros", vec![0; 150_000]);
        for number in 0..12 {
            let text = format!("line {number} of seed {seed}\n").repeat(40 + 13 * number);
            tree = tree.with(&format!("texts/deep/{number:02}.txt"), text.into_bytes());
        }
        tree
    }

    /// The absolute paths in a snapshot, and their content.
    pub(crate) fn contents(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let absolute = |path: &String| [ROOT, b"/", path.as_bytes()].concat();
        self.files.iter().map(|(path, file)| (absolute(path), file.bytes.to_vec())).collect()
    }

    fn walk_below(&self, above: &str, visitor: &mut dyn Visitor) -> Result<()> {
        let below = || self.files.iter().filter_map(|(path, file)| Some((path.strip_prefix(above)?, file)));
        let mut names: Vec<&str> = below().filter_map(|(rest, _)| rest.split('/').next()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let path = format!("{above}{name}");
            match self.files.get(&path) {
                Some(file) => {
                    let entry = entry(ENTRY_FILE, &path, file.mtime_seconds);
                    let handle = Box::new(MemoryHandle(file.clone()));
                    visitor.file(entry, Owner::default(), file.bytes.len() as u64, handle)?;
                }
                None => {
                    let entry = entry(ENTRY_DIRECTORY, &path, 1_000_000_000);
                    visitor.enter(entry, Owner::default(), Box::new(MemoryHandle::nothing()))?;
                    self.walk_below(&format!("{path}/"), visitor)?;
                    visitor.leave(false)?;
                }
            }
        }
        Ok(())
    }
}

fn entry(kind: u8, path: &str, mtime_seconds: i64) -> Entry {
    let name = path.rsplit('/').next().unwrap();
    let mut entry = Entry::new(kind, name.as_bytes());
    entry.mode = if kind == ENTRY_FILE { 0o640 } else { 0o750 };
    entry.mtime = Time::new(mtime_seconds, 5);
    entry.ctime = entry.mtime;
    entry.inode = path.bytes().fold(17, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    entry
}

impl Source for Tree {
    fn kind(&self) -> SourceKind {
        SourceKind::Other
    }

    fn roots(&self) -> Vec<Vec<u8>> {
        vec![ROOT.to_vec()]
    }

    fn walk(&self, visitor: &mut dyn Visitor) -> Result<()> {
        visitor.root(ROOT)?;
        let root = entry(ENTRY_DIRECTORY, "data", 1_000_000_000);
        visitor.enter(root, Owner::default(), Box::new(MemoryHandle::nothing()))?;
        self.walk_below("", visitor)?;
        visitor.leave(false)
    }
}

struct MemoryHandle(File);

impl MemoryHandle {
    fn nothing() -> Self {
        Self(File { bytes: Arc::default(), mtime_seconds: 0 })
    }
}

impl Handle for MemoryHandle {
    fn attributes(&self) -> std::io::Result<Vec<Attribute>> {
        Ok(Vec::new())
    }

    fn open(&self) -> std::io::Result<Box<dyn ContentReader>> {
        Ok(Box::new(MemoryReader { file: self.0.clone(), place: 0 }))
    }
}

struct MemoryReader {
    file: File,
    place: usize,
}

impl ContentReader for MemoryReader {
    fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> std::io::Result<Stretch> {
        let rest = &self.file.bytes[self.place..];
        let part = &rest[..rest.len().min(limit)];
        buffer.extend_from_slice(part);
        self.place += part.len();
        Ok(if part.is_empty() { Stretch::End } else { Stretch::Data(part.len()) })
    }

    fn finish(&mut self) -> std::io::Result<Finish> {
        let time = Time::new(self.file.mtime_seconds, 5);
        Ok(Finish { changed: false, mtime: time, ctime: time })
    }
}
