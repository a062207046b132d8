//! A real directory, read into a map that can be compared.
//!
//! Everything that a restore promises is looked at: kinds, content, modes, times to the nanosecond, owners, attributes, and which names are one file.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// What stands at a path below the directory; the directory itself has an empty path.
pub(crate) type Tree = BTreeMap<Vec<u8>, Seen>;

/// What is compared of an entry.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    /// Seconds and nanoseconds.
    pub(crate) mtime: (i64, i64),
    /// The first path of the same file.
    pub(crate) first_name: Vec<u8>,
    pub(crate) attributes: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Kind and content.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File(Vec<u8>),
    Link(Vec<u8>),
    Fifo,
    Device(u64),
    Other,
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kind::Directory => f.write_str("directory"),
            Kind::File(content) => {
                let beginning = content[..content.len().min(24)].escape_ascii();
                write!(f, "file of {} bytes \"{beginning}\"", content.len())
            }
            Kind::Link(target) => write!(f, "link to \"{}\"", target.escape_ascii()),
            Kind::Fifo => f.write_str("fifo"),
            Kind::Device(number) => write!(f, "device {number:x}"),
            Kind::Other => f.write_str("something else"),
        }
    }
}

/// Reads a directory and all below it.
pub(crate) fn tree_of(directory: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut first_names = HashMap::new();
    read(directory, Vec::new(), &mut tree, &mut first_names);
    tree
}

fn read(at: &Path, path: Vec<u8>, tree: &mut Tree, first_names: &mut HashMap<(u64, u64), Vec<u8>>) {
    let metadata = fs::symlink_metadata(at).expect("what was listed is there");
    let first_name = first_names.entry((metadata.dev(), metadata.ino())).or_insert_with(|| path.clone()).clone();
    let seen = Seen {
        kind: kind(at, &metadata),
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        first_name,
        attributes: attributes(at),
    };
    tree.insert(path.clone(), seen);
    if metadata.is_dir() {
        let mut names: Vec<_> = fs::read_dir(at)
            .expect("it can be listed")
            .map(|entry| entry.expect("it can be read").file_name())
            .collect();
        names.sort();
        for name in names {
            let mut below = path.clone();
            if !below.is_empty() {
                below.push(b'/');
            }
            below.extend_from_slice(name.as_bytes());
            read(&at.join(&name), below, tree, first_names);
        }
    }
}

fn kind(at: &Path, metadata: &Metadata) -> Kind {
    let kind = metadata.file_type();
    if kind.is_dir() {
        Kind::Directory
    } else if kind.is_file() {
        Kind::File(fs::read(at).expect("it can be read"))
    } else if kind.is_symlink() {
        Kind::Link(fs::read_link(at).expect("it can be read").as_os_str().as_bytes().to_vec())
    } else if kind.is_fifo() {
        Kind::Fifo
    } else if kind.is_block_device() || kind.is_char_device() {
        Kind::Device(metadata.rdev())
    } else {
        Kind::Other
    }
}

fn attributes(at: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 1 << 16];
    let Ok(length) = rustix::fs::llistxattr(at, &mut names[..]) else { return BTreeMap::new() };
    let names = names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 1 << 16];
        let length = rustix::fs::lgetxattr(at, name, &mut value[..]).ok()?;
        value.truncate(length);
        Some((name.to_vec(), value))
    };
    names.filter_map(value).collect()
}

/// Says what differs, one line a path.
pub(crate) fn differences(expected: &Tree, found: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, expected) in expected {
        let path_shown = path.escape_ascii();
        match found.get(path) {
            None => lines.push(format!("{path_shown}: is missing")),
            Some(found) => lines.extend(describe(expected, found).map(|line| format!("{path_shown}: {line}"))),
        }
    }
    let more = found.keys().filter(|path| !expected.contains_key(*path));
    lines.extend(more.map(|path| format!("{}: was not expected", path.escape_ascii())));
    lines
}

fn describe(expected: &Seen, found: &Seen) -> impl Iterator<Item = String> {
    let first = |seen: &Seen| seen.first_name.escape_ascii().to_string();
    let (expected_names, found_names) = (first(expected), first(found));
    let pairs = [
        (expected.kind == found.kind, format!("{:?} became {:?}", expected.kind, found.kind)),
        (expected.mode == found.mode, format!("mode {:o} became {:o}", expected.mode, found.mode)),
        (expected.owner == found.owner, format!("owner {:?} became {:?}", expected.owner, found.owner)),
        (expected.mtime == found.mtime, format!("mtime {:?} became {:?}", expected.mtime, found.mtime)),
        (expected_names == found_names, format!("is one file with {found_names}, not with {expected_names}")),
        (
            expected.attributes == found.attributes,
            format!("attributes {:?} became {:?}", expected.attributes, found.attributes),
        ),
    ];
    pairs.into_iter().filter(|(same, _)| !same).map(|(_, line)| line)
}

/// Fails with all differences at once.
pub(crate) fn assert_same(expected: &Tree, found: &Tree) {
    let lines = differences(expected, found);
    assert!(lines.is_empty(), "{} differences:\n  {}", lines.len(), lines.join("\n  "));
}
