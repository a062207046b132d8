//! Nodes of trees and chunk lists: sections 8 and 9 of `docs/format.md`.
//!
//! [`Entry`] is also the metadata that sources yield and targets apply.

use super::constants::*;
use super::record::{Body, Flaw, check_row_version, require};
use super::rules::{check_entry, check_inner, check_item};
use crate::codec::{Decode, Encode, tagged};
use crate::id::ChunkId;
use crate::time::Time;

/// Totals below a node. They inform; nothing relies on them for safety.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, serde::Serialize)]
pub struct Sums {
    /// Entries of directories, all levels below.
    pub entries: u64,
    /// Bytes of file content, holes and zeros included.
    pub plaintext_bytes: u64,
    /// Bytes that reading all of it decodes.
    pub decode_bytes: u64,
}

impl Sums {
    /// Adds another subtree.
    pub fn add(&mut self, other: &Sums) {
        self.entries = self.entries.saturating_add(other.entries);
        self.plaintext_bytes = self.plaintext_bytes.saturating_add(other.plaintext_bytes);
        self.decode_bytes = self.decode_bytes.saturating_add(other.decode_bytes);
    }
}

/// An extended attribute; ACLs are some of them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Attribute {
    /// Its full name, `user.comment` say.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// What an extension of a row carries.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RowExtension {
    /// Its tag; the top bit says must-understand.
    pub tag: u16,
    /// Its bytes.
    pub value: Vec<u8>,
}

/// A piece of a file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A stored chunk.
    Chunk {
        /// Bytes of plaintext.
        length: u32,
        /// Bytes of plaintext of the chunk and of all its bases.
        decode_bytes: u32,
        /// Its full id.
        id: ChunkId,
    },
    /// A hole of a sparse file.
    Hole {
        /// Bytes.
        length: u64,
    },
    /// Zero bytes that were allocated.
    Zeros {
        /// Bytes.
        length: u64,
    },
    /// Bytes that stand here.
    Inline {
        /// The bytes.
        bytes: Vec<u8>,
    },
}

tagged!(Item {
    1 => Chunk { length: u32, decode_bytes: u32, id: ChunkId },
    2 => Hole { length: u64 },
    3 => Zeros { length: u64 },
    4 => Inline { bytes: Vec<u8> },
});

impl Item {
    /// Bytes of plaintext.
    pub fn length(&self) -> u64 {
        match self {
            Item::Chunk { length, .. } => u64::from(*length),
            Item::Hole { length } | Item::Zeros { length } => *length,
            Item::Inline { bytes } => bytes.len() as u64,
        }
    }

    /// Bytes that reading it decodes.
    pub fn decode_bytes(&self) -> u64 {
        match self {
            Item::Chunk { decode_bytes, .. } => u64::from(*decode_bytes),
            _ => 0,
        }
    }
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing: fifos, and metadata whose content is not known yet.
    None {},
    /// A file's whole content.
    Inline {
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A file's content as a few items.
    Items {
        /// In order, none empty.
        items: Vec<Item>,
    },
    /// A file's content as a tree of chunk-list nodes.
    List {
        /// Its root node.
        root: ChunkId,
        /// Its totals.
        sums: Sums,
    },
    /// A directory.
    Tree {
        /// Its root node.
        root: ChunkId,
        /// Its totals.
        sums: Sums,
    },
    /// The target of a symbolic link.
    Link {
        /// As it stands in the link.
        target: Vec<u8>,
    },
    /// A device's number.
    Device {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

tagged!(Content {
    0 => None {},
    1 => Inline { bytes: Vec<u8> },
    2 => Items { items: Vec<Item> },
    3 => List { root: ChunkId, sums: Sums },
    4 => Tree { root: ChunkId, sums: Sums },
    5 => Link { target: Vec<u8> },
    6 => Device { major: u32, minor: u32 },
});

impl Content {
    /// Totals of what it holds, itself not counted as an entry.
    pub fn sums(&self) -> Sums {
        match self {
            Content::Inline { bytes } => Sums { plaintext_bytes: bytes.len() as u64, ..Sums::default() },
            Content::Items { items } => items.iter().fold(Sums::default(), |mut sums, item| {
                sums.add(&Sums { entries: 0, plaintext_bytes: item.length(), decode_bytes: item.decode_bytes() });
                sums
            }),
            Content::List { sums, .. } | Content::Tree { sums, .. } => *sums,
            _ => Sums::default(),
        }
    }
}

/// One entry of a directory, with all its metadata.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// One component of a path.
    pub name: Vec<u8>,
    /// One of the `ENTRY_` constants.
    pub kind: u8,
    /// The low 12 bits of POSIX's mode.
    pub mode: u32,
    /// Owner's number.
    pub uid: u32,
    /// Group's number.
    pub gid: u32,
    /// Time of the last change of content.
    pub mtime: Time,
    /// Time of the last change of content or metadata.
    pub ctime: Time,
    /// Time of creation, where it is known.
    pub birth: Option<Time>,
    /// Number of the file on its file system; 0 if unknown.
    pub inode: u64,
    /// 0, or the same number for all names of one file.
    pub link_group: u64,
    /// Extended attributes, sorted by name.
    pub attributes: Vec<Attribute>,
    /// What it holds.
    pub content: Content,
    /// Plain BLAKE3 of a file's whole content.
    pub content_hash: Option<[u8; 32]>,
    /// What later versions add.
    pub extensions: Vec<RowExtension>,
}

impl Entry {
    /// Makes an entry of a kind and name, with nothing else known.
    pub fn new(kind: u8, name: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            kind,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            ctime: Time::default(),
            birth: None,
            inode: 0,
            link_group: 0,
            attributes: Vec::new(),
            content: Content::None {},
            content_hash: None,
            extensions: Vec::new(),
        }
    }

    /// Whether it may stand in a tree: readers refuse what does not pass.
    pub(crate) fn check(&self) -> Result<(), Flaw> {
        check_entry(self)
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == ENTRY_DIRECTORY
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == ENTRY_FILE
    }

    /// Bytes of content of a file, or of all files below a directory.
    pub fn size_bytes(&self) -> u64 {
        match &self.content {
            Content::Link { target } => target.len() as u64,
            content => content.sums().plaintext_bytes,
        }
    }
}

/// A number and the name it has on the machine.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OwnerName {
    /// User or group number.
    pub id: u32,
    /// Its name.
    pub name: String,
}

/// Body of a leaf of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TreeLeaf {
    /// 1.
    pub row_version: u16,
    /// Names of the users in `rows`, sorted by number.
    pub owners: Vec<OwnerName>,
    /// Names of the groups in `rows`, sorted by number.
    pub groups: Vec<OwnerName>,
    /// Entries, strictly ascending by name.
    pub rows: Vec<Entry>,
}

impl Body for TreeLeaf {
    const KIND: u16 = RECORD_TREE_LEAF;

    fn check(&self) -> Result<(), Flaw> {
        check_row_version(self.row_version)?;
        require(self.rows.is_sorted_by(|a, b| a.name < b.name), "entries are out of order")?;
        let by_id = |names: &[OwnerName]| names.is_sorted_by(|a, b| a.id < b.id);
        require(by_id(&self.owners) && by_id(&self.groups), "owners are out of order")?;
        self.rows.iter().try_for_each(Entry::check)
    }
}

/// A child of an inner node of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TreeChild {
    /// The smallest name below.
    pub first_name: Vec<u8>,
    /// The child node.
    pub id: ChunkId,
    /// Its totals.
    pub sums: Sums,
}

/// Body of an inner node of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TreeInner {
    /// 1.
    pub row_version: u16,
    /// 1 above leaves, and so on.
    pub height: u8,
    /// Children, strictly ascending.
    pub children: Vec<TreeChild>,
}

impl Body for TreeInner {
    const KIND: u16 = RECORD_TREE_INNER;

    fn check(&self) -> Result<(), Flaw> {
        check_row_version(self.row_version)?;
        require(self.children.is_sorted_by(|a, b| a.first_name < b.first_name), "children are out of order")?;
        check_inner(self.height, self.children.len())
    }
}

/// Body of a leaf of a chunk list.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ListLeaf {
    /// 1.
    pub row_version: u16,
    /// Items in order, none empty.
    pub items: Vec<Item>,
}

impl Body for ListLeaf {
    const KIND: u16 = RECORD_LIST_LEAF;

    fn check(&self) -> Result<(), Flaw> {
        check_row_version(self.row_version)?;
        require(!self.items.is_empty(), "a leaf of a chunk list has no items")?;
        self.items.iter().try_for_each(check_item)
    }
}

/// A child of an inner node of a chunk list.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ListChild {
    /// The child node.
    pub id: ChunkId,
    /// Its totals.
    pub sums: Sums,
}

/// Body of an inner node of a chunk list.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ListInner {
    /// 1.
    pub row_version: u16,
    /// 1 above leaves, and so on.
    pub height: u8,
    /// Children in order.
    pub children: Vec<ListChild>,
}

impl Body for ListInner {
    const KIND: u16 = RECORD_LIST_INNER;

    fn check(&self) -> Result<(), Flaw> {
        check_row_version(self.row_version)?;
        check_inner(self.height, self.children.len())
    }
}
