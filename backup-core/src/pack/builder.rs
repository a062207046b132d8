//! Makes one pack: frames are sealed by workers in any order, put in by ordinal, and a table closes it. Single-use, so no nonce can repeat.

use std::sync::Arc;

use crate::compress;
use crate::crypto::{NONCE_TAIL_BYTES, Sealer, hash};
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
    payloads: Vec<u8>,
}

impl PlainFrame {
    /// Begins a frame of one of the `FRAME_` kinds.
    pub(crate) fn new(kind: u8) -> Self {
        Self { kind, rows: Vec::new(), payloads: Vec::new() }
    }

    /// Adds a chunk as it is.
    pub(crate) fn push(&mut self, prefix: ChunkPrefix, plaintext: &[u8]) {
        let length = u32::try_from(plaintext.len()).expect("chunks are bounded by CHUNK_BYTES_MAX");
        self.payloads.extend_from_slice(plaintext);
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
        self.payloads.extend_from_slice(payload);
        self.rows.push(Row { prefix, payload: length(payload.len()), plain: length(plain), depth, base: Some(base) });
    }

    /// Bytes of payload so far.
    pub(crate) fn len(&self) -> usize {
        self.payloads.len()
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
        let mut buffer = vec![0; NONCE_TAIL_BYTES];
        if let Some(level) = level {
            compress::compress(level, &frame.payloads, &mut buffer);
        }
        let compressed = buffer.len() - NONCE_TAIL_BYTES;
        let encoding = if level.is_some() && compressed < frame.payloads.len() {
            ENCODING_ZSTD
        } else {
            buffer.truncate(NONCE_TAIL_BYTES);
            buffer.reserve_exact(frame.payloads.len() + NONCE_TAIL_BYTES);
            buffer.extend_from_slice(&frame.payloads);
            ENCODING_RAW
        };
        self.sealer.seal_in_place(&self.header, ordinal, &mut buffer);
        SealedFrame { blob: buffer, encoding, kind: frame.kind, rows: frame.rows }
    }
}

/// Gathers the frames of one pack.
pub(crate) struct PackBuilder {
    sealer: Arc<PackSealer>,
    bytes: Vec<u8>,
    table: TableBody,
}

/// A pack that is ready to be written.
pub(crate) struct FinishedPack {
    pub(crate) bytes: Vec<u8>,
    pub(crate) table_offset: u64,
    pub(crate) table_length: u32,
}

impl PackBuilder {
    pub(crate) fn new(sealer: Arc<PackSealer>) -> Self {
        Self { bytes: sealer.header.to_vec(), sealer, table: TableBody::default() }
    }

    /// Puts the next frame in; it must have been sealed under the ordinal that is next.
    pub(crate) fn push(&mut self, frame: SealedFrame) {
        let stored = u32::try_from(frame.blob.len()).expect("frames are bounded by FRAME_PAYLOAD_BYTES_MAX");
        self.table.push_frame(stored, frame.encoding, frame.kind, &frame.rows);
        self.bytes.extend_from_slice(&frame.blob);
    }

    /// Bytes of header and frames so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Closes the pack: table, padding, trailer.
    pub(crate) fn finish(self, pad_bytes_min: u64) -> FinishedPack {
        let mut bytes = self.bytes;
        let table_offset = bytes.len() as u64;
        let record = record::encode(&self.table);
        let padded = record::encode_padded(&record, table_offset + SEAL_OVERHEAD_BYTES + TRAILER_BYTES, pad_bytes_min);
        let blob = self.sealer.sealer.seal(&self.sealer.header, TABLE_ORDINAL, &padded);
        let table_length = u32::try_from(blob.len()).expect("records are bounded by RECORD_BYTES_MAX");
        bytes.extend_from_slice(&blob);
        bytes.extend_from_slice(&encode_trailer(&self.sealer.header, table_length));
        FinishedPack { bytes, table_offset, table_length }
    }
}

impl FinishedPack {
    /// Names the pack.
    pub(crate) fn id(&self) -> PackId {
        PackId(hash(&self.bytes))
    }
}
