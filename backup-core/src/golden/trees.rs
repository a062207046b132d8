//! Nodes for the vectors: every kind of entry, every tag of content and of items.

use super::fixture::{TIME, bytes, id};
use crate::format::constants::*;
use crate::format::database::{DatabaseState, LogState};
use crate::format::manifest::{WarningRow, Warnings};
use crate::format::tree::*;
use crate::id::ChunkId;
use crate::time::Time;

pub(super) fn sums(entries: u64) -> Sums {
    Sums { entries, plaintext_bytes: 1 << 40, decode_bytes: (1 << 40) + 5 }
}

/// One item of each kind.
pub(super) fn items() -> Vec<Item> {
    vec![
        Item::Chunk { length: 16_777_216, decode_bytes: 50_331_648, id: ChunkId(id("chunk 1")) },
        Item::Hole { length: 1 << 42 },
        Item::Zeros { length: 65_536 },
        Item::Inline { bytes: b"tail".to_vec() },
        Item::Chunk { length: 1, decode_bytes: 1, id: ChunkId(id("chunk 2")) },
    ]
}

fn attribute(name: &str, value: &[u8]) -> Attribute {
    Attribute { name: name.as_bytes().to_vec(), value: value.to_vec() }
}

fn entry(kind: u8, name: &[u8], content: Content) -> Entry {
    Entry { mode: 0o644, uid: 1000, gid: 100, mtime: TIME, ctime: TIME, content, ..Entry::new(kind, name) }
}

fn rows() -> Vec<Entry> {
    let file = |name: &[u8], content| entry(ENTRY_FILE, name, content);
    let tree = Content::Tree { root: ChunkId(id("tree")), sums: sums(77) };
    let list = Content::List { root: ChunkId(id("list")), sums: sums(0) };
    let mut rows = vec![
        Entry {
            mode: 0o7777,
            mtime: Time { seconds: -14_182_940, nanoseconds: 999_999_999 },
            birth: Some(Time { seconds: i64::MIN, nanoseconds: 0 }),
            inode: u64::MAX,
            link_group: 1,
            attributes: vec![attribute("security.capability", &[1, 0, 0, 2]), attribute("user.empty", b"")],
            content_hash: Some(id("content")),
            ..file(b"a file", Content::Items { items: items() })
        },
        entry(ENTRY_DIRECTORY, b"directory", tree),
        file(b"empty", Content::Items { items: Vec::new() }),
        Entry {
            extensions: vec![RowExtension { tag: 1, value: b"later".to_vec() }, RowExtension { tag: 9, value: vec![] }],
            ..file(b"extended", Content::Inline { bytes: bytes("inline", 4096) })
        },
        entry(ENTRY_FIFO, b"fifo", Content::None {}),
        Entry { link_group: 1, ..file(b"large", list) },
        entry(ENTRY_SYMLINK, b"link", Content::Link { target: b"../\xff\xfe/nowhere".to_vec() }),
        entry(ENTRY_BLOCK_DEVICE, b"sda", Content::Device { major: 8, minor: 0 }),
        entry(ENTRY_CHARACTER_DEVICE, b"tty", Content::Device { major: u32::MAX, minor: 1 << 20 }),
        entry(77, b"unknown", Content::Inline { bytes: Vec::new() }),
        file(b"\xff not UTF-8\n", Content::Inline { bytes: b"x".to_vec() }),
    ];
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    rows
}

fn owner(id: u32, name: &str) -> OwnerName {
    OwnerName { id, name: name.to_owned() }
}

pub(super) fn leaf() -> TreeLeaf {
    TreeLeaf {
        row_version: ROW_VERSION,
        owners: vec![owner(0, "root"), owner(1000, "göldi")],
        groups: vec![owner(100, "users")],
        rows: rows(),
    }
}

pub(super) fn empty_leaf() -> TreeLeaf {
    TreeLeaf { row_version: ROW_VERSION, owners: Vec::new(), groups: Vec::new(), rows: Vec::new() }
}

/// Databases: read within a transaction with a log beside it and without, and a raw copy.
pub(super) fn databases_leaf() -> TreeLeaf {
    let whole = DatabaseState {
        reading: DATABASE_WHOLE,
        page_bytes: 65_536,
        file_bytes: 1 << 33,
        change_counter: u32::MAX,
        log: Some(LogState { bytes: 4_152, inode: u64::MAX, mtime: TIME, ctime: TIME }),
    };
    let at_rest = DatabaseState { page_bytes: 512, log: None, ..whole.clone() };
    let raw = DatabaseState { reading: DATABASE_RAW, page_bytes: 0, change_counter: 0, log: None, ..whole.clone() };
    let row = |name: &[u8], state: &DatabaseState| Entry {
        extensions: vec![state.to_extension()],
        ..entry(ENTRY_FILE, name, Content::List { root: ChunkId(id("list")), sums: sums(0) })
    };
    let rows = vec![row(b"live.db", &whole), row(b"raw.db", &raw), row(b"rest.db", &at_rest)];
    TreeLeaf { rows, ..empty_leaf() }
}

pub(super) fn inner() -> TreeInner {
    let child =
        |name: &[u8], entries| TreeChild { first_name: name.to_vec(), id: ChunkId(id("node")), sums: sums(entries) };
    TreeInner {
        row_version: ROW_VERSION,
        height: 16,
        children: vec![child(b"a", 1), child(b"b", 2), child(b"\xff", 3)],
    }
}

pub(super) fn list_leaf() -> ListLeaf {
    ListLeaf { row_version: ROW_VERSION, items: items() }
}

pub(super) fn list_inner() -> ListInner {
    let child = |name: &str| ListChild { id: ChunkId(id(name)), sums: sums(0) };
    ListInner { row_version: ROW_VERSION, height: 1, children: vec![child("one"), child("two")] }
}

pub(super) fn warnings() -> Warnings {
    let row = |kind: &str, path: &[u8]| WarningRow {
        kind: kind.to_owned(),
        path: path.to_vec(),
        message: "permission denied".to_owned(),
    };
    Warnings { row_version: ROW_VERSION, rows: vec![row("unreadable", b"/srv/a"), row("changed", b"/srv/\xff")] }
}
