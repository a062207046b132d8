//! A file tree that exists only in a test, as a [`Source`].
//!
//! Paths are lists of components below one root, so that the map's order is the order of the walk. What a test chooses (times, inodes, faults) is in the
//! map; what the library did is counted beside it, and shared by clones.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use backup_core::Result;
use backup_core::format::constants::{ENTRY_DIRECTORY, ENTRY_FIFO, ENTRY_FILE, ENTRY_SYMLINK};
use backup_core::format::tree::{Attribute, Content, Entry};
use backup_core::path;
use backup_core::progress::Cancel;
use backup_core::source::{ContentReader, Finish, Handle, Owner, Source, SourceKind, Stretch, Visitor};
use backup_core::time::Time;

/// Components of a path below the root; none for the root itself.
pub(crate) type Place = Vec<Vec<u8>>;

/// A stretch of a file.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Bytes(Arc<[u8]>),
    Hole(u64),
    /// The bytes again and again, up to a length.
    Repeat(Arc<[u8]>, u64),
}

impl Part {
    fn length(&self) -> u64 {
        match self {
            Part::Bytes(bytes) => bytes.len() as u64,
            Part::Hole(length) | Part::Repeat(_, length) => *length,
        }
    }
}

/// What stands at a place.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Directory,
    File(Vec<Part>),
    Link(Vec<u8>),
    Fifo,
}

/// What goes wrong when a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// It cannot be opened.
    Unreadable(io::ErrorKind),
    /// It breaks off in the middle.
    BreaksOff,
    /// It is another one after it was read.
    Changes,
}

/// A node with its metadata.
#[derive(Clone, Debug)]
pub(crate) struct ModelEntry {
    pub(crate) node: Node,
    pub(crate) mode: u32,
    pub(crate) mtime: Time,
    pub(crate) ctime: Time,
    pub(crate) inode: u64,
    pub(crate) link_group: u64,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) mishap: Option<Mishap>,
}

impl ModelEntry {
    fn new(node: Node, inode: u64) -> Self {
        let mode = if matches!(node, Node::Directory) { 0o755 } else { 0o644 };
        let (mtime, ctime) = (Time::new(1_700_000_000, 5), Time::new(1_700_000_001, 7));
        Self { node, mode, mtime, ctime, inode, link_group: 0, attributes: Vec::new(), mishap: None }
    }

    fn size_bytes(&self) -> u64 {
        match &self.node {
            Node::File(parts) => parts.iter().map(Part::length).sum(),
            _ => 0,
        }
    }
}

/// Counts what the library asked of a source.
#[derive(Default)]
struct Asked {
    opened: Mutex<Vec<Place>>,
    read_bytes: AtomicU64,
}

/// The tree. Clones go their own ways, but share what is counted.
#[derive(Clone)]
pub(crate) struct ModelSource {
    root: Vec<u8>,
    entries: BTreeMap<Place, ModelEntry>,
    inodes: u64,
    asked: Arc<Asked>,
    cancel: Option<(u64, Cancel)>,
}

impl ModelSource {
    /// Makes an empty directory that stands at `root` in snapshots.
    pub(crate) fn new(root: &str) -> Self {
        let entries = BTreeMap::from([(Vec::new(), ModelEntry::new(Node::Directory, 1))]);
        Self { root: root.as_bytes().to_vec(), entries, inodes: 1, asked: Arc::default(), cancel: None }
    }

    /// Puts a file, and the directories above it.
    pub(crate) fn file(mut self, path: &str, content: &[u8]) -> Self {
        self.put(path, Node::File(vec![Part::Bytes(content.into())]));
        self
    }

    /// Puts anything, and the directories above it. What stood there is replaced under a new inode.
    pub(crate) fn put(&mut self, path: &str, node: Node) -> &mut ModelEntry {
        let place = place(path);
        for depth in 1..place.len() {
            let above = place[..depth].to_vec();
            if !self.entries.contains_key(&above) {
                self.put_at(above, Node::Directory);
            }
        }
        self.put_at(place, node)
    }

    /// Puts anything under components that no path could have.
    pub(crate) fn put_at(&mut self, place: Place, node: Node) -> &mut ModelEntry {
        self.inodes += 1;
        let entry = ModelEntry::new(node, self.inodes);
        self.entries.insert(place.clone(), entry);
        self.at(&place)
    }

    /// What stands at a path.
    pub(crate) fn entry(&mut self, path: &str) -> &mut ModelEntry {
        self.at(&place(path))
    }

    fn at(&mut self, place: &Place) -> &mut ModelEntry {
        self.entries.get_mut(place).expect("something stands there")
    }

    /// Replaces content in place, and moves the times on.
    pub(crate) fn write(&mut self, path: &str, content: &[u8]) {
        let entry = self.entry(path);
        entry.node = Node::File(vec![Part::Bytes(content.into())]);
        self.touch(path);
    }

    /// Moves the times of a path on.
    pub(crate) fn touch(&mut self, path: &str) {
        let entry = self.entry(path);
        entry.mtime.seconds += 10;
        entry.ctime.seconds += 10;
    }

    /// Removes a path and all below it.
    pub(crate) fn remove(&mut self, path: &str) {
        let place = place(path);
        self.entries.retain(|candidate, _| !candidate.starts_with(&place));
    }

    /// Cancels when so many files were opened.
    pub(crate) fn cancel_after(mut self, files: u64, cancel: Cancel) -> Self {
        self.cancel = Some((files, cancel));
        self
    }

    /// Absolute paths of what was opened since the last call, sorted.
    pub(crate) fn take_opened(&self) -> Vec<Vec<u8>> {
        let mut opened = std::mem::take(&mut *self.asked.opened.lock().expect("no reader panics"));
        opened.sort();
        opened.iter().map(|place| self.absolute(place)).collect()
    }

    /// Bytes that were read so far.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.asked.read_bytes.load(Ordering::SeqCst)
    }

    /// All absolute paths with the content of files, holes as zeros.
    pub(crate) fn contents(&self) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        let content = |entry: &ModelEntry| match &entry.node {
            Node::File(parts) => Some(parts.iter().flat_map(part_bytes).collect()),
            _ => None,
        };
        self.entries.iter().map(|(place, entry)| (self.absolute(place), content(entry))).collect()
    }

    fn absolute(&self, place: &Place) -> Vec<u8> {
        place.iter().fold(self.root.clone(), |path, name| path::join(&path, name))
    }

    fn visit(&self, place: &Place, model: &ModelEntry, visitor: &mut dyn Visitor) -> Result<()> {
        let name = place.last().map_or_else(|| path::name(&self.root), Vec::as_slice);
        let kind = match model.node {
            Node::Directory => ENTRY_DIRECTORY,
            Node::File(_) => ENTRY_FILE,
            Node::Link(_) => ENTRY_SYMLINK,
            Node::Fifo => ENTRY_FIFO,
        };
        let mut entry = Entry::new(kind, name);
        (entry.mode, entry.mtime, entry.ctime) = (model.mode, model.mtime, model.ctime);
        (entry.inode, entry.link_group) = (model.inode, model.link_group);
        (entry.uid, entry.gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let handle = Box::new(ModelHandle {
            place: place.clone(),
            model: model.clone(),
            asked: Arc::clone(&self.asked),
            cancel: self.cancel.clone(),
        });
        let owner = Owner::default();
        match &model.node {
            Node::Directory => visitor.enter(entry, owner, handle),
            Node::File(_) => visitor.file(entry, owner, model.size_bytes(), handle),
            Node::Link(target) => {
                entry.content = Content::Link { target: target.clone() };
                visitor.other(entry, owner, handle)
            }
            Node::Fifo => visitor.other(entry, owner, handle),
        }
    }
}

impl Source for ModelSource {
    fn kind(&self) -> SourceKind {
        SourceKind::Other
    }

    fn roots(&self) -> Vec<Vec<u8>> {
        vec![self.root.clone()]
    }

    fn walk(&self, visitor: &mut dyn Visitor) -> Result<()> {
        visitor.root(&self.root)?;
        let mut depth = 0;
        for (place, entry) in &self.entries {
            for _ in place.len()..depth {
                visitor.leave(false)?;
            }
            self.visit(place, entry, visitor)?;
            depth = place.len() + usize::from(matches!(entry.node, Node::Directory));
        }
        (0..depth).try_for_each(|_| visitor.leave(false))
    }
}

struct ModelHandle {
    place: Place,
    model: ModelEntry,
    asked: Arc<Asked>,
    cancel: Option<(u64, Cancel)>,
}

impl Handle for ModelHandle {
    fn attributes(&self) -> io::Result<Vec<Attribute>> {
        Ok(self.model.attributes.clone())
    }

    fn open(&self) -> io::Result<Box<dyn ContentReader>> {
        let mut opened = self.asked.opened.lock().expect("no reader panics");
        opened.push(self.place.clone());
        if let Some((files, cancel)) = &self.cancel
            && opened.len() as u64 >= *files
        {
            cancel.cancel();
        }
        if let Some(Mishap::Unreadable(kind)) = self.model.mishap {
            return Err(kind.into());
        }
        let Node::File(parts) = &self.model.node else { return Err(io::ErrorKind::IsADirectory.into()) };
        let (parts, model, asked) = (parts.clone().into_iter(), self.model.clone(), Arc::clone(&self.asked));
        Ok(Box::new(ModelReader { parts, rest: None, model, asked }))
    }
}

struct ModelReader {
    parts: std::vec::IntoIter<Part>,
    /// A part that was begun, and how far.
    rest: Option<(Part, u64)>,
    model: ModelEntry,
    asked: Arc<Asked>,
}

impl ContentReader for ModelReader {
    fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> io::Result<Stretch> {
        let start = buffer.len();
        while buffer.len() - start < limit {
            let Some((part, offset)) = self.rest.take().or_else(|| self.parts.next().map(|part| (part, 0))) else {
                break;
            };
            if offset == part.length() {
                continue;
            }
            if self.model.mishap == Some(Mishap::BreaksOff) && offset > 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Part::Hole(length) = part {
                if buffer.len() == start {
                    return Ok(Stretch::Hole(length));
                }
                self.rest = Some((part, offset));
                break;
            }
            let room = (limit - (buffer.len() - start)) as u64;
            let length = room.min(part.length() - offset).min(1 << 16);
            append(&part, offset, length as usize, buffer);
            self.rest = Some((part, offset + length));
        }
        let length = buffer.len() - start;
        self.asked.read_bytes.fetch_add(length as u64, Ordering::SeqCst);
        Ok(if length == 0 { Stretch::End } else { Stretch::Data(length) })
    }

    fn finish(&mut self) -> io::Result<Finish> {
        let changed = self.model.mishap == Some(Mishap::Changes);
        Ok(Finish { changed, mtime: self.model.mtime, ctime: self.model.ctime })
    }
}

fn append(part: &Part, offset: u64, length: usize, buffer: &mut Vec<u8>) {
    match part {
        Part::Bytes(bytes) => buffer.extend_from_slice(&bytes[offset as usize..][..length]),
        Part::Hole(_) => buffer.resize(buffer.len() + length, 0),
        Part::Repeat(pattern, _) => {
            let mut place = (offset % pattern.len() as u64) as usize;
            let end = buffer.len() + length;
            while buffer.len() < end {
                let step = (pattern.len() - place).min(end - buffer.len());
                buffer.extend_from_slice(&pattern[place..place + step]);
                place = 0;
            }
        }
    }
}

fn part_bytes(part: &Part) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(part, 0, part.length() as usize, &mut bytes);
    bytes
}

/// Takes a path below the root apart.
fn place(path: &str) -> Place {
    path::components(path.as_bytes()).map(<[u8]>::to_vec).collect()
}
