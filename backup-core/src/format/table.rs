//! Tables of packs, and index segments that gather them: sections 7 and 10 of `docs/format.md`.
//!
//! On disk a table is columns; [`Table`] keeps those columns and adds where each payload lies in its frame, so that a row costs 24 bytes and no allocation. They lie in memory, or in a file that
//! was mapped: whoever has that one is a [`TableSource`].

use std::sync::Arc;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::constants::*;
use super::record::{Body, Flaw, check_row_version, require};
use crate::codec::{Decode, Encode};
use crate::id::{ChunkPrefix, PackId, WriterId};
use crate::limits;

/// Body of a pack's table, as columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct TableBody {
    /// 1.
    pub row_version: u16,
    /// u32 for each frame: the length of its blob.
    pub frame_stored: Vec<u8>,
    /// u32 for each frame: the length of its payloads.
    pub frame_payload: Vec<u8>,
    /// u32 for each frame: how many chunks it holds.
    pub frame_chunks: Vec<u8>,
    /// One of the `ENCODING_` constants for each frame.
    pub frame_encoding: Vec<u8>,
    /// One of the `FRAME_` constants for each frame.
    pub frame_kind: Vec<u8>,
    /// 16 bytes for each chunk.
    pub row_prefix: Vec<u8>,
    /// u32 for each chunk: the length of its payload.
    pub row_payload: Vec<u8>,
    /// u8 for each chunk.
    pub row_depth: Vec<u8>,
    /// u32 for each patch: the length of its plaintext.
    pub patch_plain: Vec<u8>,
    /// 16 bytes for each patch: its base.
    pub patch_base: Vec<u8>,
}

impl Body for TableBody {
    const KIND: u16 = RECORD_TABLE;
}

/// What a writer tells of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Frame {
    /// Where its blob begins in the pack.
    pub offset: u64,
    /// Length of its blob.
    pub stored: u32,
    /// Length of its payloads.
    pub payload: u32,
    /// Number of its first row in the table.
    pub first_row: u32,
    /// How many rows it has.
    pub rows: u32,
    /// One of the `ENCODING_` constants.
    pub encoding: u8,
    /// One of the `FRAME_` constants.
    pub kind: u8,
    reserved: [u8; 6],
}

/// One chunk, as a table tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Prefix of its id.
    pub prefix: ChunkPrefix,
    /// Length of its payload.
    pub payload: u32,
    /// Length of its plaintext.
    pub plain: u32,
    /// 0, or the number of patches below and including this one.
    pub depth: u8,
    /// Prefix of its base, if it is a patch.
    pub base: Option<ChunkPrefix>,
}

impl TableBody {
    /// Adds a frame and its rows.
    pub fn push_frame(&mut self, stored: u32, encoding: u8, kind: u8, rows: &[Row]) {
        self.row_version = ROW_VERSION;
        let payload: u32 = rows.iter().map(|row| row.payload).sum();
        self.frame_stored.extend_from_slice(&stored.to_le_bytes());
        self.frame_payload.extend_from_slice(&payload.to_le_bytes());
        self.frame_chunks.extend_from_slice(&(rows.len() as u32).to_le_bytes());
        self.frame_encoding.push(encoding);
        self.frame_kind.push(kind);
        for row in rows {
            self.row_prefix.extend_from_slice(&row.prefix);
            self.row_payload.extend_from_slice(&row.payload.to_le_bytes());
            self.row_depth.push(row.depth);
            if let Some(base) = row.base {
                self.patch_plain.extend_from_slice(&row.plain.to_le_bytes());
                self.patch_base.extend_from_slice(&base);
            }
        }
    }
}

/// A table that was checked.
#[derive(Clone)]
pub struct Table(Form);

#[derive(Clone)]
enum Form {
    Owned(Box<Owned>),
    /// Columns that a source has, by the number of the table there.
    Elsewhere(Arc<dyn TableSource>, u32),
}

#[derive(Clone, Default)]
struct Owned {
    frames: Vec<Frame>,
    prefixes: Vec<ChunkPrefix>,
    rows: Vec<PlacedRow>,
    patches: Vec<PlacedPatch>,
}

/// The columns of a table, wherever they lie.
#[derive(Clone, Copy, Default)]
pub(crate) struct Columns<'a> {
    pub(crate) frames: &'a [Frame],
    pub(crate) prefixes: &'a [ChunkPrefix],
    pub(crate) rows: &'a [PlacedRow],
    pub(crate) patches: &'a [PlacedPatch],
}

/// Who has the columns of many tables that were checked before.
pub(crate) trait TableSource: Send + Sync {
    /// The columns of a table; no rows where they cannot be had any more.
    fn columns(&self, number: u32) -> Columns<'_>;
    /// The writer and the salt in the header of the table's pack.
    fn header(&self, number: u32) -> (WriterId, [u8; 32]);
}

/// Where a row's payload begins in its frame, how long it is, and the row's depth.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct PlacedRow {
    offset: u32,
    /// The length in the lower bits, the depth above.
    shape: u32,
}

/// A length of at most `CHUNK_BYTES_MAX` has so many bits; seven are left for the depth.
const PAYLOAD_BITS: u32 = 25;
const _: () = assert!(limits::CHUNK_BYTES_MAX < 1 << PAYLOAD_BITS && limits::PATCH_DEPTH_MAX < 1 << 7);

impl PlacedRow {
    fn new(offset: u32, payload: u32, depth: u8) -> Self {
        Self { offset, shape: payload | u32::from(depth) << PAYLOAD_BITS }
    }

    fn payload(self) -> u32 {
        self.shape & ((1 << PAYLOAD_BITS) - 1)
    }

    fn depth(self) -> u8 {
        (self.shape >> PAYLOAD_BITS) as u8
    }
}

/// What a patch has beside its row.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct PlacedPatch {
    row: u32,
    plain: u32,
    base: ChunkPrefix,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("frames", &self.frames().len()).field("rows", &self.len()).finish()
    }
}

impl Default for Table {
    fn default() -> Self {
        Self(Form::Owned(Box::default()))
    }
}

impl Table {
    /// Checks a body against the rules of the format and against where the table begins.
    pub fn new(body: &TableBody, table_offset: u64) -> Result<Self, Flaw> {
        check_row_version(body.row_version)?;
        let count = body.frame_encoding.len();
        let columns = [&body.frame_stored, &body.frame_payload, &body.frame_chunks];
        require(columns.iter().all(|column| column.len() == 4 * count), "columns of frames differ in length")?;
        require(body.frame_kind.len() == count, "columns of frames differ in length")?;
        let rows = body.row_depth.len();
        require(rows as u64 <= limits::PACK_CHUNKS_MAX, "there are too many chunks")?;
        let agree = body.row_prefix.len() == 16 * rows && body.row_payload.len() == 4 * rows;
        require(agree, "columns of rows differ in length")?;
        let mut owned = Owned {
            prefixes: body.row_prefix.as_chunks().0.to_vec(),
            rows: Vec::with_capacity(rows),
            ..Owned::default()
        };
        owned.place_patches(body)?;
        owned.place_frames(body, table_offset)?;
        Ok(Self(Form::Owned(Box::new(owned))))
    }

    /// Takes the table of a number that a source has.
    pub(crate) fn elsewhere(source: Arc<dyn TableSource>, number: u32) -> Self {
        Self(Form::Elsewhere(source, number))
    }

    /// The writer and the salt in the header of the table's pack, where its source has them.
    pub(crate) fn header(&self) -> Option<(WriterId, [u8; 32])> {
        match &self.0 {
            Form::Owned(_) => None,
            Form::Elsewhere(source, number) => Some(source.header(*number)),
        }
    }

    /// All columns.
    pub(crate) fn columns(&self) -> Columns<'_> {
        match &self.0 {
            Form::Owned(owned) => {
                Columns { frames: &owned.frames, prefixes: &owned.prefixes, rows: &owned.rows, patches: &owned.patches }
            }
            Form::Elsewhere(source, number) => source.columns(*number),
        }
    }

    /// All frames, in order.
    pub fn frames(&self) -> &[Frame] {
        self.columns().frames
    }

    /// How many chunks there are.
    pub fn len(&self) -> usize {
        self.columns().rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Prefixes of all chunks, in order of rows.
    pub fn prefixes(&self) -> &[ChunkPrefix] {
        self.columns().prefixes
    }

    /// The depth of a row; 0 where there is none.
    pub fn depth(&self, number: u32) -> u8 {
        self.columns().rows.get(number as usize).map_or(0, |row| row.depth())
    }

    /// The base and the chunk of every patch, in order of rows.
    pub fn patches(&self) -> impl Iterator<Item = (ChunkPrefix, ChunkPrefix)> + '_ {
        let columns = self.columns();
        columns.patches.iter().filter_map(move |patch| Some((patch.base, *columns.prefixes.get(patch.row as usize)?)))
    }

    /// The body that the table was read from.
    pub fn to_body(&self) -> TableBody {
        let mut body = TableBody { row_version: ROW_VERSION, ..TableBody::default() };
        for frame in self.frames() {
            let rows = (frame.first_row..frame.first_row + frame.rows).filter_map(|row| Some(self.row(row)?.0));
            body.push_frame(frame.stored, frame.encoding, frame.kind, &rows.collect::<Vec<_>>());
        }
        body
    }

    /// The row of a number, the number of its frame, and where its payload begins in there.
    pub fn row(&self, number: u32) -> Option<(Row, u32, u32)> {
        let columns = self.columns();
        let placed = columns.rows.get(number as usize)?;
        let patch = match placed.depth() {
            0 => None,
            _ => columns.patches.binary_search_by_key(&number, |patch| patch.row).ok().map(|i| &columns.patches[i]),
        };
        let row = Row {
            prefix: *columns.prefixes.get(number as usize)?,
            payload: placed.payload(),
            plain: patch.map_or(placed.payload(), |patch| patch.plain),
            depth: placed.depth(),
            base: patch.map(|patch| patch.base),
        };
        // Frames without rows begin where the next one does: the last that begins there has the row.
        let frame = columns.frames.partition_point(|frame| frame.first_row <= number).checked_sub(1)?;
        Some((row, frame as u32, placed.offset))
    }
}

impl Owned {
    fn place_patches(&mut self, body: &TableBody) -> Result<(), Flaw> {
        let patched: Vec<u32> =
            (0u32..).zip(&body.row_depth).filter(|(_, depth)| **depth > 0).map(|(row, _)| row).collect();
        let agree = body.patch_plain.len() == 4 * patched.len() && body.patch_base.len() == 16 * patched.len();
        require(agree, "columns of patches differ in length")?;
        let deep = body.row_depth.iter().any(|depth| u64::from(*depth) > limits::PATCH_DEPTH_MAX);
        require(!deep, "a chunk is too deep")?;
        let plain = numbers(&body.patch_plain);
        require(plain.clone().all(|plain| u64::from(plain) <= limits::CHUNK_BYTES_MAX), "a chunk is too long")?;
        let bases = body.patch_base.as_chunks().0;
        self.patches = patched
            .into_iter()
            .zip(plain)
            .zip(bases)
            .map(|((row, plain), base)| PlacedPatch { row, plain, base: *base })
            .collect();
        Ok(())
    }

    fn place_frames(&mut self, body: &TableBody, table_offset: u64) -> Result<(), Flaw> {
        let mut offset = limits::OBJECT_HEADER_BYTES;
        let lengths = numbers(&body.frame_stored).zip(numbers(&body.frame_payload)).zip(numbers(&body.frame_chunks));
        let mut payloads = numbers(&body.row_payload).zip(&body.row_depth);
        for (number, ((stored, payload), rows)) in lengths.enumerate() {
            let (encoding, kind) = (body.frame_encoding[number], body.frame_kind[number]);
            if encoding > ENCODING_ZSTD || ![FRAME_CONTENT, FRAME_NODE].contains(&kind) {
                return Err(Flaw::Newer("a kind of frame"));
            }
            require(u64::from(payload) <= limits::FRAME_PAYLOAD_BYTES_MAX, "a frame is too long")?;
            let raw_fits =
                encoding != ENCODING_RAW || u64::from(stored) == u64::from(payload) + limits::SEAL_OVERHEAD_BYTES;
            require(raw_fits && u64::from(stored) >= limits::SEAL_OVERHEAD_BYTES, "a frame's lengths disagree")?;
            let first_row = self.rows.len() as u32;
            let mut place = 0u64;
            for _ in 0..rows {
                let (length, depth) = payloads.next().ok_or(Flaw::Malformed("frames have more chunks than rows"))?;
                require(u64::from(length) <= limits::CHUNK_BYTES_MAX, "a chunk is too long")?;
                let offset = u32::try_from(place).map_err(|_| Flaw::Malformed("a frame's payloads disagree"))?;
                self.rows.push(PlacedRow::new(offset, length, *depth));
                place += u64::from(length);
            }
            require(place == u64::from(payload), "a frame's payloads disagree")?;
            self.frames.push(Frame { offset, stored, payload, first_row, rows, encoding, kind, reserved: [0; 6] });
            offset += u64::from(stored);
        }
        require(payloads.next().is_none(), "there are rows beyond the frames")?;
        require(offset == table_offset, "the frames do not end where the table begins")
    }
}

fn numbers(column: &[u8]) -> impl Iterator<Item = u32> + Clone {
    column.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes))
}

/// One pack's table in an index segment.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct IndexedPack {
    /// The pack.
    pub pack: PackId,
    /// Where it lies: one of the `AREA_` constants.
    pub area: u8,
    /// Its length.
    pub length: u64,
    /// Where its table begins.
    pub table_offset: u64,
    /// Length of its sealed table.
    pub table_length: u32,
    /// The writer in its header.
    pub writer: WriterId,
    /// The salt in its header.
    pub salt: [u8; 32],
    /// Its table's record.
    pub table: Vec<u8>,
}

/// Body of an index segment.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct IndexBody {
    /// 1.
    pub row_version: u16,
    /// The packs.
    pub packs: Vec<IndexedPack>,
}

impl Body for IndexBody {
    const KIND: u16 = RECORD_INDEX;

    fn check(&self) -> Result<(), Flaw> {
        check_row_version(self.row_version)
    }
}
