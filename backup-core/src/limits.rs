//! Every maximum and fixed size of the format, in one place.
//!
//! The same numbers stand in section 14 of `docs/format.md`; a test holds the two against each other. Nothing here does anything:
//! the decoders in [`crate::format`] enforce the numbers.

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident = $value:expr;)+) => {
        $($(#[doc = $doc])+ pub const $name: u64 = $value;)+

        /// All of them by name, for the test that compares them with the specification.
        pub const ALL: &[(&str, u64)] = &[$((stringify!($name), $name)),+];
    };
}

limits! {
    /// Bytes of the clear header that begins every object.
    OBJECT_HEADER_BYTES = 96;
    /// Bytes of the clear trailer that ends every pack.
    TRAILER_BYTES = 112;
    /// Bytes that sealing adds: half a nonce and the authentication tag.
    SEAL_OVERHEAD_BYTES = 32;
    /// Smallest padded length of an object, in bytes, where its class says nothing.
    PAD_BYTES_MIN_DEFAULT = 256;
    /// Largest minimum that a class may ask for, in bytes.
    PAD_BYTES_MIN_MAX = 1 << 20;
    /// Largest record, in bytes, after decompression.
    RECORD_BYTES_MAX = 64 << 20;
    /// Largest repository object, key slot or period object, in bytes.
    SMALL_OBJECT_BYTES_MAX = 1 << 20;
    /// Largest ledger entry, in bytes.
    ENTRY_BYTES_MAX = 16 << 20;
    /// Largest object of gathered ledger entries, in bytes.
    LEDGER_OBJECT_BYTES_MAX = 256 << 20;
    /// Most packs that one entry names.
    ENTRY_PACKS_MAX = 4096;
    /// Most parents of one entry.
    ENTRY_PARENTS_MAX = 4096;
    /// Largest pack, in bytes.
    PACK_BYTES_MAX = 256 << 20;
    /// Most chunks in one pack.
    PACK_CHUNKS_MAX = 1 << 20;
    /// Largest frame, in bytes of payload after decompression.
    FRAME_PAYLOAD_BYTES_MAX = 32 << 20;
    /// Largest chunk, in bytes of plaintext.
    CHUNK_BYTES_MAX = 16 << 20;
    /// Most patches that may lie between a chunk and its last base, itself included.
    PATCH_DEPTH_MAX = 32;
    /// Largest index segment, in bytes.
    INDEX_BYTES_MAX = 256 << 20;
    /// Most levels of a Merkle tree of nodes.
    NODE_HEIGHT_MAX = 16;
    /// Fewest rows after which a writer ends a node at a boundary.
    NODE_ROWS_MIN = 32;
    /// Most rows that a writer puts into a node.
    NODE_ROWS_MAX = 1024;
    /// Bytes at which a writer ends a node, whatever its rows.
    NODE_BYTES_TARGET = 1 << 20;
    /// Longest name of an entry, in bytes.
    NAME_BYTES_MAX = 4096;
    /// Longest path, in bytes.
    PATH_BYTES_MAX = 64 << 10;
    /// Longest target of a symbolic link, in bytes.
    LINK_BYTES_MAX = 64 << 10;
    /// Most extended attributes of one entry.
    ATTRIBUTES_MAX = 4096;
    /// Most bytes of extended attributes of one entry, names and values together.
    ATTRIBUTES_BYTES_MAX = 4 << 20;
    /// Largest content that stands in an entry itself, in bytes.
    INLINE_BYTES_MAX = 4096;
    /// Most chunk-list items that stand in an entry itself.
    ITEMS_DIRECT_MAX = 64;
    /// Shortest run of zero bytes stored as such; runs are aligned to it within the file.
    ZERO_RUN_BYTES_MIN = 64 << 10;
    /// Most directories in one another.
    TREE_DEPTH_MAX = 4096;
    /// Longest text (host, tag, message), in bytes.
    TEXT_BYTES_MAX = 64 << 10;
    /// Most tags of one snapshot.
    TAGS_MAX = 256;
    /// Most roots of one snapshot.
    ROOTS_MAX = 4096;
    /// Most warnings that are recorded with a snapshot; all are counted.
    WARNINGS_MAX = 10_000;
    /// Most results of probes that are recorded with a snapshot.
    PROBES_MAX = 1024;
    /// Most tables of one probe.
    PROBE_TABLES_MAX = 1024;
    /// Most complaints of a check that one probe records.
    PROBE_COMPLAINTS_MAX = 100;
    /// Longest name of a class, in bytes.
    CLASS_NAME_BYTES_MAX = 32;
    /// Most classes that an enrolment or keyring names.
    CLASSES_MAX = 1024;
    /// Least memory of Argon2id, in KiB.
    ARGON2_MEMORY_KIB_MIN = 64 << 10;
    /// Most memory of Argon2id that a reader accepts, in KiB.
    ARGON2_MEMORY_KIB_MAX = 2 << 20;
    /// Fewest passes of Argon2id.
    ARGON2_PASSES_MIN = 3;
    /// Most passes of Argon2id that a reader accepts.
    ARGON2_PASSES_MAX = 64;
    /// Most lanes of Argon2id that a reader accepts.
    ARGON2_LANES_MAX = 16;
}
