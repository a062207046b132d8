//! What golden repositories are made from: a world without chance, and a small tree that a source holds in memory.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use backup_core::Result;
use backup_core::environment::{Environment, Surroundings};
use backup_core::format::constants::*;
use backup_core::format::tree::{Attribute, Content, Entry};
use backup_core::progress::Warning;
use backup_core::source::{ContentReader, Finish, Handle, Owner, Source, SourceKind, Stretch, Visitor};
use backup_core::time::Time;

/// Where the tree stands in snapshots.
pub(crate) const ROOT: &[u8] = b"/srv/golden";

/// So many bytes that follow from a label, and do not compress.
pub(crate) fn noise(label: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(label.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

struct Fixed {
    drawn: AtomicU64,
    seconds: AtomicU64,
}

impl Surroundings for Fixed {
    fn now(&self) -> Time {
        let seconds = self.seconds.fetch_add(1, Ordering::Relaxed);
        Time::new(1_760_000_000 + i64::try_from(seconds).unwrap(), 0)
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        bytes.copy_from_slice(&noise(&format!("golden repository {number}"), bytes.len()));
    }

    fn host(&self) -> String {
        "golden-host".to_owned()
    }

    fn user(&self) -> String {
        "golden-user".to_owned()
    }

    fn zone_offset_seconds(&self, _: Time) -> i32 {
        3600
    }
}

/// An environment whose clock ticks once for each look at it.
pub(crate) fn environment() -> Environment {
    Environment::new(Fixed { drawn: AtomicU64::new(0), seconds: AtomicU64::new(0) })
}

/// A stretch of a file.
#[derive(Clone)]
pub(crate) enum Piece {
    Data(Vec<u8>),
    Hole(u64),
}

/// An entry with what it holds.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) entry: Entry,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) children: Vec<Node>,
}

fn node(kind: u8, name: &[u8], mode: u32) -> Node {
    let inode = u64::from_le_bytes(blake3::hash(name).as_bytes()[..8].try_into().unwrap());
    let time = Time::new(1_600_000_000 + i64::try_from(inode % 1_000_000).unwrap(), (inode % 1_000_000_000) as u32);
    let entry = Entry { mode, mtime: time, ctime: time, inode, ..Entry::new(kind, name) };
    Node { entry, pieces: Vec::new(), children: Vec::new() }
}

fn file(name: &[u8], pieces: Vec<Piece>) -> Node {
    Node { pieces, ..node(ENTRY_FILE, name, 0o640) }
}

fn link(name: &[u8], target: &[u8]) -> Node {
    let mut link = node(ENTRY_SYMLINK, name, 0o777);
    link.entry.content = Content::Link { target: target.to_vec() };
    link
}

fn directory(name: &[u8], mut children: Vec<Node>) -> Node {
    children.sort_by(|a, b| a.entry.name.cmp(&b.entry.name));
    Node { children, ..node(ENTRY_DIRECTORY, name, 0o755) }
}

/// Other names of one file.
fn named_again(node: &Node, name: &[u8]) -> Node {
    let mut again = node.clone();
    again.entry.name = name.to_vec();
    again
}

/// A stretch that does not compress, and one that does very well, of which no part is another's double.
fn large_part(number: usize) -> Vec<u8> {
    let line = |i: usize| format!("part {number}, line {i:05} {}\n", ".".repeat(200));
    [noise(&format!("large {number}"), 70_000), (0..6000).flat_map(|i| line(i).into_bytes()).collect()].concat()
}

/// A tree of one file, so that a repository has many packs and stays small.
pub(crate) fn small(number: usize) -> Node {
    let name = format!("small {number}");
    directory(b"golden", vec![file(name.as_bytes(), vec![Piece::Data(noise(&name, 3000))])])
}

/// The tree as it was first, or as it was when it had changed.
pub(crate) fn tree(is_changed: bool) -> Node {
    let data = |bytes: &[u8]| vec![Piece::Data(bytes.to_vec())];
    let mut linked = file(b"linked", data(&noise("linked", 9000)));
    linked.entry.link_group = 5;
    let mut attributed = file(b"attributed", data(b"with attributes"));
    attributed.entry.mtime = Time::new(-14_182_940, 123_456_789);
    let attribute = |name: &[u8], value: &[u8]| Attribute { name: name.to_vec(), value: value.to_vec() };
    attributed.entry.attributes = vec![attribute(b"user.comment", b"kept \xff"), attribute(b"user.empty", b"")];
    let sparse = vec![
        Piece::Data(noise("front", 5000)),
        Piece::Hole(3 << 20),
        Piece::Data([noise("middle", 4096), vec![0; 200_000], b"end".to_vec()].concat()),
    ];
    let mut large: Vec<u8> = (0..4).flat_map(large_part).collect();
    if is_changed {
        large.splice(2_500_000..2_500_010, *b"changed in the middle");
    }
    let mut changed = file(b"large", data(&large));
    changed.entry.ctime.seconds += i64::from(is_changed);
    let many = (0..1101).map(|i| file(format!("entry {i:04}").as_bytes(), data(format!("{i}").as_bytes())));
    let mut children = vec![
        named_again(&linked, b"another name"),
        linked,
        attributed,
        changed,
        directory(b"empty directory", Vec::new()),
        file(b"empty", Vec::new()),
        file(b"\xff not UTF-8 \n", data(b"still a name")),
        file(b"sparse", sparse),
        file(b"text", data(&b"all work and no play ".repeat(5000))),
        link(b"dangling", b"../no\xfe/where"),
        node(ENTRY_FIFO, b"pipe", 0o600),
        directory(b"many", many.collect()),
        directory(b"deep", vec![directory(b"er", vec![link(b"up", b"../..")])]),
    ];
    if is_changed {
        children.retain(|child| child.entry.name != b"text");
        children.push(file(b"new", data(&noise("new", 30_000))));
    }
    directory(b"golden", children)
}

/// A source that yields such a tree.
pub(crate) struct Tree(pub(crate) Node);

impl Source for Tree {
    fn kind(&self) -> SourceKind {
        SourceKind::Directories
    }

    fn roots(&self) -> Vec<Vec<u8>> {
        vec![ROOT.to_vec()]
    }

    fn walk(&self, visitor: &mut dyn Visitor) -> Result<()> {
        visitor.root(ROOT)?;
        visit(&self.0, visitor)?;
        let subject = [ROOT, b"/secret"].concat();
        visitor.warning(Warning { kind: "unreadable", subject, message: "permission denied".to_owned() });
        Ok(())
    }
}

fn visit(node: &Node, visitor: &mut dyn Visitor) -> Result<()> {
    let mut entry = node.entry.clone();
    entry.attributes = Vec::new();
    let handle = Box::new(Memory(node.clone()));
    match entry.kind {
        ENTRY_DIRECTORY => {
            visitor.enter(entry, Owner::default(), handle)?;
            node.children.iter().try_for_each(|child| visit(child, visitor))?;
            visitor.leave(false)
        }
        ENTRY_FILE => visitor.file(entry, Owner::default(), size(&node.pieces), handle),
        _ => visitor.other(entry, Owner::default(), handle),
    }
}

/// The length of a file.
pub(crate) fn size(pieces: &[Piece]) -> u64 {
    let length = |piece: &Piece| match piece {
        Piece::Data(bytes) => bytes.len() as u64,
        Piece::Hole(length) => *length,
    };
    pieces.iter().map(length).sum()
}

struct Memory(Node);

impl Handle for Memory {
    fn attributes(&self) -> io::Result<Vec<Attribute>> {
        Ok(self.0.entry.attributes.clone())
    }

    fn open(&self) -> io::Result<Box<dyn ContentReader>> {
        let Entry { mtime, ctime, .. } = self.0.entry;
        let left = usize::try_from(size(&self.0.pieces)).map_err(io::Error::other)?;
        Ok(Box::new(Reader { pieces: self.0.pieces.clone().into(), left, mtime, ctime }))
    }
}

struct Reader {
    pieces: std::collections::VecDeque<Piece>,
    left: usize,
    mtime: Time,
    ctime: Time,
}

impl ContentReader for Reader {
    fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> io::Result<Stretch> {
        // A slow source lets packs be stored while it is read, and so checkpoints name them.
        if limit < self.left {
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        match self.pieces.pop_front() {
            None => Ok(Stretch::End),
            Some(Piece::Hole(length)) => {
                self.left -= length as usize;
                Ok(Stretch::Hole(length))
            }
            Some(Piece::Data(mut bytes)) => {
                if bytes.len() > limit {
                    self.pieces.push_front(Piece::Data(bytes.split_off(limit)));
                }
                buffer.extend_from_slice(&bytes);
                self.left -= bytes.len();
                Ok(Stretch::Data(bytes.len()))
            }
        }
    }

    fn finish(&mut self) -> io::Result<Finish> {
        Ok(Finish { changed: false, mtime: self.mtime, ctime: self.ctime })
    }
}
