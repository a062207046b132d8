//! Every number that names a kind, a tag or a role on disk, in one place.
//!
//! The same numbers stand in the tables of `docs/format.md`; a test in `tests/tidy` holds the two against each other. Nothing here does anything: encoders write
//! these numbers, decoders compare with them. A number is never given to something else once it was released.

macro_rules! numbers {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $value:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: $type = $value;)+

        /// All of them by name, for the test that compares them with the specification.
        pub const ALL: &[(&str, u64)] = &[$((stringify!($name), $value)),+];
    };
}

// Object kinds (section 1.3), record kinds (1.3), encodings (2), holders and roles (5), frame kinds (7), entry kinds and content tags (8), item tags (9), areas (10).
numbers! {
    /// The object `repository`.
    OBJECT_REPOSITORY: u16 = 1;
    /// A key slot.
    OBJECT_SLOT: u16 = 2;
    /// A period's secrets.
    OBJECT_PERIOD: u16 = 3;
    /// An entry of the ledger.
    OBJECT_ENTRY: u16 = 4;
    /// A pack.
    OBJECT_PACK: u16 = 5;
    /// An index segment.
    OBJECT_INDEX: u16 = 6;

    /// The repository's identity.
    RECORD_REPOSITORY: u16 = 1;
    /// The clear part of a key slot.
    RECORD_SLOT: u16 = 2;
    /// A keyring.
    RECORD_KEYRING: u16 = 3;
    /// The secrets of a period.
    RECORD_PERIOD_SECRETS: u16 = 4;
    /// The clear header of a ledger entry.
    RECORD_ENTRY_HEADER: u16 = 5;
    /// The admin's statement that begins a writer's chain.
    RECORD_ENROLMENT: u16 = 6;
    /// The table of a pack.
    RECORD_TABLE: u16 = 7;
    /// The tables of several packs, gathered.
    RECORD_INDEX: u16 = 8;

    /// A node of a tree that holds entries.
    RECORD_TREE_LEAF: u16 = 16;
    /// A node of a tree that holds nodes.
    RECORD_TREE_INNER: u16 = 17;
    /// A node of a chunk list that holds items.
    RECORD_LIST_LEAF: u16 = 18;
    /// A node of a chunk list that holds nodes.
    RECORD_LIST_INNER: u16 = 19;
    /// The warnings of a snapshot.
    RECORD_WARNINGS: u16 = 20;

    /// Body of a ledger entry: a writer's first words.
    RECORD_ENROL: u16 = 32;
    /// Body of a ledger entry: a retention class.
    RECORD_CLASS: u16 = 33;
    /// Body of a ledger entry: a period begins.
    RECORD_PERIOD: u16 = 34;
    /// Body of a ledger entry: a snapshot's manifest.
    RECORD_SNAPSHOT: u16 = 35;
    /// Body of a ledger entry: a long backup has come so far.
    RECORD_CHECKPOINT: u16 = 36;
    /// Body of a ledger entry, reserved: snapshots are no longer wanted.
    RECORD_FORGET: u16 = 37;
    /// Body of a ledger entry, reserved: a legal hold begins.
    RECORD_HOLD: u16 = 38;
    /// Body of a ledger entry, reserved: a legal hold ends.
    RECORD_RELEASE: u16 = 39;
    /// Body of a ledger entry, reserved: packs are about to be deleted.
    RECORD_RETIRE: u16 = 40;
    /// Body of a ledger entry, reserved: retired packs are needed after all.
    RECORD_UNRETIRE: u16 = 41;
    /// Body of a ledger entry, reserved: packs are deleted.
    RECORD_DELETE: u16 = 42;
    /// Body of a ledger entry: frames that must not be relied on.
    RECORD_VOID: u16 = 43;
    /// Body of a ledger entry, reserved: a silent writer is shut out.
    RECORD_FENCE: u16 = 44;
    /// Body of a ledger entry: a check and what it found.
    RECORD_CHECK: u16 = 45;
    /// Body of a ledger entry: a restore and what it found.
    RECORD_RESTORE: u16 = 46;
    /// Body of a ledger entry, reserved: a rehearsed recovery.
    RECORD_DRILL: u16 = 47;
    /// Body of a ledger entry, reserved: another copy was brought up to date.
    RECORD_MIRROR: u16 = 48;
    /// Body of a ledger entry: a key slot was added or removed.
    RECORD_KEY: u16 = 49;
    /// Body of a ledger entry, reserved: somebody else attests to the heads.
    RECORD_WITNESS: u16 = 50;
    /// Body of a ledger entry, reserved: an admin accepts a storage that was rolled back.
    RECORD_RECOVER: u16 = 51;

    /// Stored bytes are as they were.
    ENCODING_RAW: u8 = 0;
    /// Stored bytes are one zstd frame.
    ENCODING_ZSTD: u8 = 1;

    /// A key slot for a passphrase.
    HOLDER_PASSPHRASE: u8 = 1;
    /// A key slot for a key file.
    HOLDER_KEY_FILE: u8 = 2;
    /// A key slot for a public key, reserved.
    HOLDER_PUBLIC_KEY: u8 = 3;

    /// May do everything.
    ROLE_ADMIN: u8 = 1;
    /// May add snapshots to its classes.
    ROLE_WRITER: u8 = 2;
    /// May read its classes.
    ROLE_READER: u8 = 3;
    /// May read what an examination needs.
    ROLE_EXAMINER: u8 = 4;
    /// Has no keys; may scrub and copy.
    ROLE_CUSTODIAN: u8 = 5;

    /// A frame whose chunks are file content.
    FRAME_CONTENT: u8 = 1;
    /// A frame whose chunks are nodes.
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

    /// An entry without content.
    CONTENT_NONE: u8 = 0;
    /// Content that stands in the entry.
    CONTENT_INLINE: u8 = 1;
    /// Content as a few items.
    CONTENT_ITEMS: u8 = 2;
    /// Content as a chunk list of nodes.
    CONTENT_LIST: u8 = 3;
    /// A directory's tree.
    CONTENT_TREE: u8 = 4;
    /// The target of a symbolic link.
    CONTENT_LINK: u8 = 5;
    /// The numbers of a device.
    CONTENT_DEVICE: u8 = 6;

    /// An item that is a chunk.
    ITEM_CHUNK: u8 = 1;
    /// An item that is a hole of a sparse file.
    ITEM_HOLE: u8 = 2;
    /// An item of zero bytes that were allocated.
    ITEM_ZEROS: u8 = 3;
    /// An item whose bytes stand in the list.
    ITEM_INLINE: u8 = 4;

    /// The pack lies in `packs/`.
    AREA_PACKS: u8 = 1;
    /// The pack lies in `meta/`.
    AREA_META: u8 = 2;
}
