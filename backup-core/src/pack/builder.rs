//! Makes one pack: frames are sealed by workers in any order, put in by ordinal, and a table closes it. Single-use, so no nonce can repeat.

use std::sync::Arc;

use crate::compress;
use crate::crypto::{Hasher, NONCE_TAIL_BYTES, Sealer};
use crate::environment::Environment;
use crate::format::constants::{ENCODING_RAW, ENCODING_ZSTD, OBJECT_PACK};
use crate::format::header::{HEADER_BYTES, ObjectHeader, encode_trailer};
use crate::format::record;
use crate::format::table::{Row, TableBody};
use crate::id::{ChunkPrefix, PackId, WriterId};
use crate::keyring::PeriodKeys;
use crate::limits::{SEAL_OVERHEAD_BYTES, TRAILER_BYTES};

/// The ordinal of the table, which no frame can have.
pub(crate) const TABLE_ORDINAL: u64 = u64::MAX;

/// Chunks that will share a frame.
pub(crate) struct PlainFrame {
    kind: u8,
    rows: Vec<Row>,
    /// The payloads, behind [`NONCE_TAIL_BYTES`] free bytes, so that a frame can be sealed where it is; empty where there is no chunk.
    buffer: Vec<u8>,
    /// Bytes of payload that there will be, about.
    bytes_expected: usize,
}

impl PlainFrame {
    /// Begins a frame of one of the `FRAME_` kinds; there is room for so many bytes, and more if need be.
    pub(crate) fn new(kind: u8, bytes_expected: usize) -> Self {
        Self { kind, rows: Vec::new(), buffer: Vec::new(), bytes_expected }
    }

    /// Adds a chunk as it is.
    pub(crate) fn push(&mut self, prefix: ChunkPrefix, plaintext: &[u8]) {
        let length = u32::try_from(plaintext.len()).expect("chunks are bounded by CHUNK_BYTES_MAX");
        self.extend(plaintext);
        self.rows.push(Row { prefix, payload: length, plain: length, depth: 0, base: None });
    }

    /// Adds a chunk of `plain` bytes as a patch against a base.
    pub(crate) fn push_patch(
        &mut self,
        prefix: ChunkPrefix,
        plain: usize,
        depth: u8,
        base: ChunkPrefix,
        payload: &[u8],
    ) {
        let length = |bytes: usize| u32::try_from(bytes).expect("chunks are bounded by CHUNK_BYTES_MAX");
        self.extend(payload);
        self.rows.push(Row { prefix, payload: length(payload.len()), plain: length(plain), depth, base: Some(base) });
    }

    fn extend(&mut self, payload: &[u8]) {
        if self.buffer.is_empty() {
            self.buffer.reserve_exact(self.bytes_expected + payload.len() + SEAL_OVERHEAD_BYTES as usize);
            self.buffer.resize(NONCE_TAIL_BYTES, 0);
        }
        self.buffer.extend_from_slice(payload);
    }

    /// Bytes of payload so far.
    pub(crate) fn len(&self) -> usize {
        self.payloads().len()
    }

    fn payloads(&self) -> &[u8] {
        self.buffer.get(NONCE_TAIL_BYTES..).unwrap_or_default()
    }

    /// How many chunks it holds.
    pub(crate) fn chunks(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Whether it has no chunks.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// A frame that is ready to be put into its pack.
pub(crate) struct SealedFrame {
    blob: Vec<u8>,
    encoding: u8,
    kind: u8,
    rows: Vec<Row>,
}

/// Seals the frames of one pack; shared with workers.
pub(crate) struct PackSealer {
    header: [u8; HEADER_BYTES],
    sealer: Sealer,
}

impl PackSealer {
    /// Draws a salt for a new pack.
    pub(crate) fn new(keys: &PeriodKeys, writer: WriterId, environment: &Environment) -> Arc<Self> {
        let salt = environment.random();
        let header = ObjectHeader { kind: OBJECT_PACK, writer, salt }.encode();
        Arc::new(Self { header, sealer: keys.pack_sealer(&salt) })
    }

    /// Compresses a frame where a level is given and it helps, and seals it under its ordinal.
    pub(crate) fn seal(&self, ordinal: u64, frame: PlainFrame, level: Option<i32>) -> SealedFrame {
        let compressed = level.and_then(|level| {
            compress::with_scratch(level, frame.payloads(), |compressed| {
                (compressed.len() < frame.len()).then(|| {
                    let mut buffer = Vec::with_capacity(compressed.len() + SEAL_OVERHEAD_BYTES as usize);
                    buffer.resize(NONCE_TAIL_BYTES, 0);
                    buffer.extend_from_slice(compressed);
                    buffer
                })
            })
        });
        let (encoding, mut blob) = match compressed {
            Some(buffer) => (ENCODING_ZSTD, buffer),
            None => (ENCODING_RAW, frame.buffer),
        };
        self.sealer.seal_in_place(&self.header, ordinal, &mut blob);
        SealedFrame { blob, encoding, kind: frame.kind, rows: frame.rows }
    }
}

/// Gathers the frames of one pack.
pub(crate) struct PackBuilder {
    sealer: Arc<PackSealer>,
    /// The header, and the blob of each frame.
    parts: Vec<Vec<u8>>,
    /// Where each begins.
    offsets: Vec<u64>,
    /// Bytes of all parts.
    length: u64,
    table: TableBody,
}

/// A pack that is ready to be written.
pub(crate) struct FinishedPack {
    /// The header, the blob of each frame, the sealed table with the trailer.
    pub(crate) parts: Vec<Vec<u8>>,
    offsets: Vec<u64>,
    pub(crate) length: u64,
    pub(crate) table_offset: u64,
    pub(crate) table_length: u32,
}

impl PackBuilder {
    pub(crate) fn new(sealer: Arc<PackSealer>) -> Self {
        let header = sealer.header.to_vec();
        Self { length: header.len() as u64, parts: vec![header], offsets: vec![0], sealer, table: TableBody::default() }
    }

    /// Puts the next frame in; it must have been sealed under the ordinal that is next.
    pub(crate) fn push(&mut self, frame: SealedFrame) {
        let stored = u32::try_from(frame.blob.len()).expect("frames are bounded by FRAME_PAYLOAD_BYTES_MAX");
        self.table.push_frame(stored, frame.encoding, frame.kind, &frame.rows);
        self.offsets.push(self.length);
        self.length += u64::from(stored);
        self.parts.push(frame.blob);
    }

    /// Bytes of header and frames so far.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// Closes the pack: table, padding, trailer.
    pub(crate) fn finish(self, pad_bytes_min: u64) -> FinishedPack {
        let (mut parts, mut offsets, table_offset) = (self.parts, self.offsets, self.length);
        let record = record::encode(&self.table);
        let padded = record::encode_padded(&record, table_offset + SEAL_OVERHEAD_BYTES + TRAILER_BYTES, pad_bytes_min);
        let mut end = self.sealer.sealer.seal(&self.sealer.header, TABLE_ORDINAL, &padded);
        let table_length = u32::try_from(end.len()).expect("records are bounded by RECORD_BYTES_MAX");
        end.extend_from_slice(&encode_trailer(&self.sealer.header, table_length));
        let length = table_offset + end.len() as u64;
        parts.push(end);
        offsets.push(table_offset);
        FinishedPack { parts, offsets, length, table_offset, table_length }
    }
}

impl FinishedPack {
    /// Names the pack.
    pub(crate) fn id(&self) -> PackId {
        let mut hasher = Hasher::default();
        for part in &self.parts {
            hasher.update(part);
        }
        PackId(hasher.finish())
    }

    /// What is at an offset, if it is one of the parts.
    pub(crate) fn part(&self, offset: u64, length: u64) -> Option<&[u8]> {
        let number = self.offsets.binary_search(&offset).ok()?;
        self.parts.get(number).map(Vec::as_slice).filter(|part| part.len() as u64 == length)
    }

    /// The sealed table and the trailer.
    pub(crate) fn end(&self) -> &[u8] {
        self.parts.last().expect("a pack is closed by its table")
    }
}
