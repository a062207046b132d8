//! Every number that stands for something on disk, in one place.
//!
//! The same names and numbers stand in the tables of `docs/format.md`; a test holds the two against each other.

macro_rules! numbers {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $value:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: $type = $value;)+

        /// All of them by name, for the test that compares them with the specification.
        pub const ALL: &[(&str, u64)] = &[$((stringify!($name), $value)),+];
    };
}

/// Begins every object, and ends every pack.
pub const MAGIC: [u8; 8] = *b"HOLDFAST";
/// The version of the format that this program writes.
pub const FORMAT_VERSION: u16 = 1;
/// The suite of algorithms that this program knows.
pub const SUITE: u16 = 1;
/// The version of rows that this program knows.
pub const ROW_VERSION: u16 = 1;
/// The top bit of a tag: an extension that must be understood.
pub const TAG_MUST_UNDERSTAND: u16 = 0x8000;

numbers! {
    /// The repository object.
    OBJECT_REPOSITORY: u16 = 1;
    /// A key slot.
    OBJECT_SLOT: u16 = 2;
    /// A period's secrets.
    OBJECT_PERIOD: u16 = 3;
    /// A ledger entry.
    OBJECT_ENTRY: u16 = 4;
    /// A pack.
    OBJECT_PACK: u16 = 5;
    /// An index segment.
    OBJECT_INDEX: u16 = 6;

    /// Body of the repository object.
    RECORD_REPOSITORY: u16 = 1;
    /// Clear part of a key slot.
    RECORD_SLOT: u16 = 2;
    /// What a key slot holds.
    RECORD_KEYRING: u16 = 3;
    /// What a period object holds.
    RECORD_PERIOD_SECRETS: u16 = 4;
    /// Clear part of a ledger entry.
    RECORD_ENTRY_HEADER: u16 = 5;
    /// What makes a writer.
    RECORD_ENROLMENT: u16 = 6;
    /// A pack's table.
    RECORD_TABLE: u16 = 7;
    /// What an index segment holds.
    RECORD_INDEX: u16 = 8;
    /// A leaf of a tree.
    RECORD_TREE_LEAF: u16 = 16;
    /// An inner node of a tree.
    RECORD_TREE_INNER: u16 = 17;
    /// A leaf of a chunk list.
    RECORD_LIST_LEAF: u16 = 18;
    /// An inner node of a chunk list.
    RECORD_LIST_INNER: u16 = 19;
    /// The warnings of a backup.
    RECORD_WARNINGS: u16 = 20;
    /// What probes of databases found.
    RECORD_PROBES: u16 = 21;
    /// Entry: a writer begins.
    RECORD_ENROL: u16 = 32;
    /// Entry: a class.
    RECORD_CLASS: u16 = 33;
    /// Entry: a period.
    RECORD_PERIOD: u16 = 34;
    /// Entry: a snapshot.
    RECORD_SNAPSHOT: u16 = 35;
    /// Entry: packs of a backup that goes on.
    RECORD_CHECKPOINT: u16 = 36;
    /// Entry, reserved: a snapshot may go.
    RECORD_FORGET: u16 = 37;
    /// Entry, reserved: a legal hold.
    RECORD_HOLD: u16 = 38;
    /// Entry, reserved: its end.
    RECORD_RELEASE: u16 = 39;
    /// Entry, reserved: packs that nobody may rely on any more.
    RECORD_RETIRE: u16 = 40;
    /// Entry, reserved: the opposite.
    RECORD_UNRETIRE: u16 = 41;
    /// Entry, reserved: packs that go.
    RECORD_DELETE: u16 = 42;
    /// Entry: locations found bad.
    RECORD_VOID: u16 = 43;
    /// Entry, reserved: a writer shut out.
    RECORD_FENCE: u16 = 44;
    /// Entry: a check.
    RECORD_CHECK: u16 = 45;
    /// Entry: a restore.
    RECORD_RESTORE: u16 = 46;
    /// Entry, reserved: a restore drill.
    RECORD_DRILL: u16 = 47;
    /// Entry, reserved: a copy brought up to date.
    RECORD_MIRROR: u16 = 48;
    /// Entry: a key slot added or removed.
    RECORD_KEY: u16 = 49;
    /// Entry, reserved: an outside witness.
    RECORD_WITNESS: u16 = 50;
    /// Entry, reserved: a rolled-back storage accepted.
    RECORD_RECOVER: u16 = 51;

    /// Bytes as they are.
    ENCODING_RAW: u8 = 0;
    /// One zstd frame with its content size.
    ENCODING_ZSTD: u8 = 1;

    /// A slot for a passphrase.
    HOLDER_PASSPHRASE: u8 = 1;
    /// A slot for a key file.
    HOLDER_KEY_FILE: u8 = 2;
    /// Reserved: a slot for a public key.
    HOLDER_PUBLIC_KEY: u8 = 3;

    /// May do everything.
    ROLE_ADMIN: u8 = 1;
    /// Reserved: backs up.
    ROLE_WRITER: u8 = 2;
    /// Reserved: restores.
    ROLE_READER: u8 = 3;
    /// Reserved: looks at some classes for some time.
    ROLE_EXAMINER: u8 = 4;
    /// Reserved: keeps bytes, without keys.
    ROLE_CUSTODIAN: u8 = 5;

    /// A frame of file content.
    FRAME_CONTENT: u8 = 1;
    /// A frame of nodes.
    FRAME_NODE: u8 = 2;

    /// A regular file.
    ENTRY_FILE: u8 = 1;
    /// A directory.
    ENTRY_DIRECTORY: u8 = 2;
    /// A symbolic link.
    ENTRY_SYMLINK: u8 = 3;
    /// A named pipe.
    ENTRY_FIFO: u8 = 4;
    /// A character device.
    ENTRY_CHARACTER_DEVICE: u8 = 5;
    /// A block device.
    ENTRY_BLOCK_DEVICE: u8 = 6;

    /// Nothing.
    CONTENT_NONE: u8 = 0;
    /// The whole content.
    CONTENT_INLINE: u8 = 1;
    /// A few items.
    CONTENT_ITEMS: u8 = 2;
    /// A chunk list.
    CONTENT_LIST: u8 = 3;
    /// A directory.
    CONTENT_TREE: u8 = 4;
    /// A link's target.
    CONTENT_LINK: u8 = 5;
    /// A device's numbers.
    CONTENT_DEVICE: u8 = 6;

    /// A stored chunk.
    ITEM_CHUNK: u8 = 1;
    /// A hole.
    ITEM_HOLE: u8 = 2;
    /// Allocated zeros.
    ITEM_ZEROS: u8 = 3;
    /// Bytes in place.
    ITEM_INLINE: u8 = 4;

    /// Extension of an entry: the file is a SQLite database.
    EXTENSION_DATABASE: u16 = 1;
    /// Read within one transaction.
    DATABASE_WHOLE: u8 = 1;
    /// A raw copy of its file, whole only if nothing wrote to it.
    DATABASE_RAW: u8 = 2;

    /// Extension of a manifest: the node with what probes of databases found.
    EXTENSION_PROBES: u16 = 1;
    /// No check of a database's structure.
    INTEGRITY_NONE: u8 = 0;
    /// SQLite's `quick_check`.
    INTEGRITY_QUICK: u8 = 1;
    /// SQLite's `integrity_check`.
    INTEGRITY_FULL: u8 = 2;
    /// A table that was read to its end.
    TABLE_READ: u8 = 1;
    /// No table of that name.
    TABLE_MISSING: u8 = 2;
    /// A table that is damaged.
    TABLE_DAMAGED: u8 = 3;
    /// A table that this SQLite cannot read.
    TABLE_UNREADABLE: u8 = 4;

    /// Value of a digest: NULL.
    VALUE_NULL: u8 = 0;
    /// An integer.
    VALUE_INTEGER: u8 = 1;
    /// A floating-point number.
    VALUE_REAL: u8 = 2;
    /// A text.
    VALUE_TEXT: u8 = 3;
    /// A blob.
    VALUE_BLOB: u8 = 4;

    /// A pack in `packs/`.
    AREA_PACKS: u8 = 1;
    /// A pack in `meta/`.
    AREA_META: u8 = 2;
}
