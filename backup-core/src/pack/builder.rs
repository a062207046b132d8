//! Makes one pack: frames are compressed by workers, put in, sealed by workers, and a table closes it. Single-use, so no nonce can repeat.

use crate::buffers::Buffers;
use crate::compress;
use crate::crypto::{Hasher, NONCE_TAIL_BYTES, Sealer};
use crate::environment::Environment;
use crate::format::constants::{ENCODING_RAW, ENCODING_ZSTD, OBJECT_PACK};
use crate::format::header::{HEADER_BYTES, ObjectHeader, encode_trailer};
use crate::format::record;
use crate::format::table::{Row, TableBody};
use crate::id::{ChunkPrefix, PackId, WriterId};
use crate::keyring::PeriodKeys;
use crate::limits::{PACK_CHUNKS_MAX, SEAL_OVERHEAD_BYTES, TRAILER_BYTES};
use crate::pipeline::{Pending, Workers};

/// The ordinal of the table, which no frame can have.
pub(crate) const TABLE_ORDINAL: u64 = u64::MAX;

/// Chunks that will share a frame.
pub(crate) struct PlainFrame {
    kind: u8,
    rows: Vec<Row>,
    /// The payloads, behind [`NONCE_TAIL_BYTES`] free bytes, so that a frame can be sealed where it is; empty where there is no chunk.
    buffer: Vec<u8>,
    /// Where the buffer comes from, with room for a frame.
    buffers: Buffers,
}

impl PlainFrame {
    /// Begins a frame of one of the `FRAME_` kinds, in a buffer that has room for most.
    pub(crate) fn new(kind: u8, buffers: &Buffers) -> Self {
        Self { kind, rows: Vec::new(), buffer: Vec::new(), buffers: buffers.clone() }
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
            self.buffer = self.buffers.take();
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

    /// Whether it has no chunks.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// A frame that is ready to be put into a pack.
pub(crate) struct CompressedFrame {
    /// The frame's bytes behind [`NONCE_TAIL_BYTES`] free ones.
    buffer: Vec<u8>,
    encoding: u8,
    kind: u8,
    rows: Vec<Row>,
}

impl PlainFrame {
    /// Compresses the frame where a level is given and it helps.
    pub(crate) fn compress(self, level: Option<i32>) -> CompressedFrame {
        let compressed = level.and_then(|level| {
            compress::with_scratch(level, self.payloads(), |compressed| {
                (compressed.len() < self.len()).then(|| {
                    let mut buffer = Vec::with_capacity(compressed.len() + SEAL_OVERHEAD_BYTES as usize);
                    buffer.resize(NONCE_TAIL_BYTES, 0);
                    buffer.extend_from_slice(compressed);
                    buffer
                })
            })
        });
        let (encoding, buffer) = match compressed {
            Some(buffer) => {
                self.buffers.give(self.buffer);
                (ENCODING_ZSTD, buffer)
            }
            None => (ENCODING_RAW, self.buffer),
        };
        CompressedFrame { buffer, encoding, kind: self.kind, rows: self.rows }
    }
}

/// Gathers the frames of one pack.
pub(crate) struct PackBuilder {
    header: [u8; HEADER_BYTES],
    sealer: Sealer,
    /// The blobs of frames.
    frames: Vec<Pending<Vec<u8>>>,
    /// Bytes of the header and of all frames, once they are sealed.
    length: u64,
    table: TableBody,
    pad_bytes_min: u64,
}

/// A pack that is ready to be written.
pub(crate) struct FinishedPack {
    /// BLAKE3 of all parts.
    pub(crate) id: PackId,
    /// The header, the blob of each frame, the sealed table with the trailer.
    pub(crate) parts: Vec<Vec<u8>>,
    pub(crate) length: u64,
    pub(crate) table_offset: u64,
    pub(crate) table_length: u32,
}

impl PackBuilder {
    /// Draws a salt for a new pack.
    pub(crate) fn new(keys: &PeriodKeys, writer: WriterId, pad_bytes_min: u64, environment: &Environment) -> Self {
        let salt = environment.random();
        let header = ObjectHeader { kind: OBJECT_PACK, writer, salt }.encode();
        let (sealer, length) = (keys.pack_sealer(&salt), header.len() as u64);
        Self { header, sealer, frames: Vec::new(), length, table: TableBody::default(), pad_bytes_min }
    }

    /// Puts the next frame in, and lets a worker seal it.
    pub(crate) fn push(&mut self, frame: CompressedFrame, workers: &Workers) {
        let stored = frame.buffer.len() + SEAL_OVERHEAD_BYTES as usize - NONCE_TAIL_BYTES;
        let stored = u32::try_from(stored).expect("frames are bounded by FRAME_PAYLOAD_BYTES_MAX");
        self.table.push_frame(stored, frame.encoding, frame.kind, &frame.rows);
        self.length += u64::from(stored);
        let (header, sealer, ordinal) = (self.header, self.sealer.clone(), self.frames.len() as u64);
        let mut buffer = frame.buffer;
        self.frames.push(workers.submit(move || {
            sealer.seal_in_place(&header, ordinal, &mut buffer);
            buffer
        }));
    }

    /// Bytes of header and frames so far.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// Whether the pack should be closed: it has `pack_bytes`, and its padding would be small now. What counts as small grows, and half of `pack_bytes` later it is closed in any case.
    pub(crate) fn is_full(&self, pack_bytes: u64) -> bool {
        if self.table.row_depth.len() as u64 >= PACK_CHUNKS_MAX / 2 {
            return true;
        }
        let Some(over) = self.length.checked_sub(pack_bytes) else { return false };
        let patience = pack_bytes / 2;
        if over >= patience {
            return true;
        }
        let others = SEAL_OVERHEAD_BYTES + TRAILER_BYTES;
        let length = self.length + others + record::unpadded_length(&record::encode(&self.table));
        let padding = record::padded_length(length, self.pad_bytes_min) - length;
        // From 0.4 % to four times that: without a choice it is 1.6 % on average.
        padding <= length / 256 * (patience + 3 * over) / patience
    }

    /// Waits until the frames are sealed, and closes the pack: table, padding, trailer.
    pub(crate) fn finish(self) -> FinishedPack {
        let table_offset = self.length;
        let mut parts = vec![self.header.to_vec()];
        let mut hasher = Hasher::default();
        hasher.update(&self.header);
        for blob in self.frames {
            let blob = blob.wait();
            hasher.update(&blob);
            parts.push(blob);
        }
        let record = record::encode(&self.table);
        let others = table_offset + SEAL_OVERHEAD_BYTES + TRAILER_BYTES;
        let padded = record::encode_padded(&record, others, self.pad_bytes_min);
        let mut end = self.sealer.seal(&self.header, TABLE_ORDINAL, &padded);
        let table_length = u32::try_from(end.len()).expect("records are bounded by RECORD_BYTES_MAX");
        end.extend_from_slice(&encode_trailer(&self.header, table_length));
        let length = table_offset + end.len() as u64;
        hasher.update(&end);
        parts.push(end);
        FinishedPack { id: PackId(hasher.finish()), parts, length, table_offset, table_length }
    }
}

impl FinishedPack {
    /// What is at an offset, if it is one of the parts.
    pub(crate) fn part(&self, offset: u64, length: u64) -> Option<&[u8]> {
        let mut start = 0;
        let part = self.parts.iter().find(|part| {
            let is_it = start == offset;
            start += part.len() as u64;
            is_it
        });
        part.map(Vec::as_slice).filter(|part| part.len() as u64 == length)
    }

    /// The sealed table and the trailer.
    pub(crate) fn end(&self) -> &[u8] {
        self.parts.last().expect("a pack is closed by its table")
    }
}
