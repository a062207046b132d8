//! What stands where in a mapped segment. Numbers are in this machine's byte order: a file of another kind of machine has another magic.
//!
//! | part | what |
//! |---|---|
//! | head | a block: magic, repository, counts, and a keyed hash of all that and of the tags |
//! | directory | a [`PackRecord`] for each pack, by id |
//! | filter | which keys there are, and where their entries begin: see [`super::filter`] |
//! | entries | an [`Entry`] for each row, by key |
//! | frames, prefixes, rows, patches | the columns of all tables, in the order of the directory |
//! | tags | 16 bytes of keyed hash for each block of all parts between head and tags |
//!
//! Each part begins with a block of its own; what is left of its last one is zero.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::filter;
use crate::format::table::{Frame, PlacedPatch, PlacedRow};
use crate::id::ChunkPrefix;

/// Bytes that are verified together: as many as BLAKE3 hashes side by side on wide cores.
pub(super) const BLOCK_BYTES: usize = 16 << 10;
/// Bytes of a block's tag.
pub(super) const TAG_BYTES: usize = 16;
/// Magic and version in one number, so that its bytes differ where the byte order does.
pub(super) const MAGIC: u64 = u64::from_be_bytes(*b"HFINDEX1");

/// The first bytes of a file.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Head {
    pub(super) magic: u64,
    pub(super) repository: [u8; 32],
    pub(super) counts: Counts,
    /// Keyed hash of the fields above and of all tags.
    pub(super) tag: [u8; 32],
}

/// How much a segment holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Counts {
    pub(super) packs: u64,
    pub(super) frames: u64,
    pub(super) rows: u64,
    pub(super) patches: u64,
}

/// A pack: its place, its header, and where its columns are.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct PackRecord {
    pub(super) pack: [u8; 32],
    pub(super) salt: [u8; 32],
    pub(super) writer: [u8; 16],
    /// Names class and period.
    pub(super) domain: [u8; 16],
    pub(super) length: u64,
    pub(super) table_offset: u64,
    pub(super) first_frame: u64,
    pub(super) first_row: u64,
    pub(super) first_patch: u64,
    pub(super) frames: u32,
    pub(super) rows: u32,
    pub(super) patches: u32,
    pub(super) table_length: u32,
    pub(super) area: u32,
    pub(super) reserved: u32,
}

/// A row, to be found by its chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Entry {
    /// The first eight bytes of the prefix: see [`key`].
    pub(super) key: u64,
    /// Number of the pack in the directory.
    pub(super) pack: u32,
    /// Number of the row in the pack's table.
    pub(super) row: u32,
}

/// The number by which entries are sorted.
pub(super) fn key(prefix: &ChunkPrefix) -> u64 {
    let (first, _) = prefix.split_first_chunk().expect("a prefix has 16 bytes");
    u64::from_be_bytes(*first)
}

/// The parts between head and tags.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Directory,
    Filter,
    Entries,
    Frames,
    Prefixes,
    Rows,
    Patches,
}

/// Where the parts are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// The first block of each part, counted behind the head, and at last their number.
    first_blocks: [u64; 8],
    /// Blocks of the filter.
    pub(super) filter_blocks: u64,
}

impl Layout {
    /// Places parts for so much; `None` where that is too much for one file.
    pub(super) fn new(counts: &Counts) -> Option<Self> {
        const COUNT_MAX: u64 = u32::MAX as u64;
        if [counts.packs, counts.frames, counts.rows, counts.patches].iter().any(|count| *count > COUNT_MAX) {
            return None;
        }
        let filter_blocks = filter::blocks(counts.rows);
        let bytes = [
            counts.packs * size_of::<PackRecord>() as u64,
            (filter_blocks + 1) * size_of::<filter::Block>() as u64,
            counts.rows * size_of::<Entry>() as u64,
            counts.frames * size_of::<Frame>() as u64,
            counts.rows * size_of::<ChunkPrefix>() as u64,
            counts.rows * size_of::<PlacedRow>() as u64,
            counts.patches * size_of::<PlacedPatch>() as u64,
        ];
        let mut first_blocks = [0; 8];
        for (part, bytes) in bytes.iter().enumerate() {
            first_blocks[part + 1] = first_blocks[part] + bytes.div_ceil(BLOCK_BYTES as u64);
        }
        Some(Self { first_blocks, filter_blocks })
    }

    /// Number of the first block of a part.
    pub(super) fn first_block(&self, part: Part) -> u64 {
        self.first_blocks[part as usize]
    }

    /// How many blocks a part has.
    pub(super) fn part_blocks(&self, part: Part) -> u64 {
        self.first_blocks[part as usize + 1] - self.first_blocks[part as usize]
    }

    /// How many blocks there are between head and tags.
    pub(super) fn blocks(&self) -> u64 {
        self.first_blocks[7]
    }

    /// Where a block begins in the file.
    pub(super) fn offset(block: u64) -> u64 {
        (1 + block) * BLOCK_BYTES as u64
    }

    /// Where the tags begin.
    pub(super) fn tags_offset(&self) -> u64 {
        Self::offset(self.blocks())
    }

    /// Length of the file.
    pub(super) fn length(&self) -> u64 {
        self.tags_offset() + self.blocks() * TAG_BYTES as u64
    }
}
