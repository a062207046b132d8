//! The clear header that begins every object, and the trailer that ends packs: sections 1.3 and 7 of `docs/format.md`.

use super::constants::{FORMAT_VERSION, MAGIC, SUITE};
use super::record::{Flaw, require};
use crate::id::WriterId;
use crate::limits::{OBJECT_HEADER_BYTES, TRAILER_BYTES};

/// Length of a header as a `usize`.
pub const HEADER_BYTES: usize = OBJECT_HEADER_BYTES as usize;

/// What a header says that differs between objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectHeader {
    /// One of the `OBJECT_` constants.
    pub kind: u16,
    /// The writer, or zeros.
    pub writer: WriterId,
    /// The salt, or zeros where nothing is sealed.
    pub salt: [u8; 32],
}

impl ObjectHeader {
    /// Encodes it.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        for (i, value) in [self.kind, FORMAT_VERSION, FORMAT_VERSION, SUITE].into_iter().enumerate() {
            bytes[8 + 2 * i..10 + 2 * i].copy_from_slice(&value.to_le_bytes());
        }
        bytes[24..40].copy_from_slice(&self.writer.0);
        bytes[40..72].copy_from_slice(&self.salt);
        bytes
    }

    /// Decodes the header at the beginning of an object that must be of `kind`, and returns it with its exact bytes.
    pub fn decode(object: &[u8], kind: u16) -> Result<(Self, [u8; HEADER_BYTES]), Flaw> {
        let bytes: [u8; HEADER_BYTES] = object
            .get(..HEADER_BYTES)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(Flaw::Malformed("the header is cut short"))?;
        let field = |i: usize| u16::from_le_bytes([bytes[i], bytes[i + 1]]);
        require(bytes[..8] == MAGIC, "the magic is wrong")?;
        if field(12) > FORMAT_VERSION {
            return Err(Flaw::Newer("the format's version"));
        }
        require(field(10) >= field(12) && field(12) >= 1, "the versions are wrong")?;
        if field(14) != SUITE {
            return Err(Flaw::Newer("the suite of algorithms"));
        }
        if bytes[16..20] != [0; 4] {
            return Err(Flaw::Newer("a flag"));
        }
        require(field(8) == kind, "the object is of another kind")?;
        require(bytes[20..24] == [0; 4] && bytes[72..] == [0; 24], "reserved bytes are not zero")?;
        let mut header = Self { kind, writer: WriterId([0; 16]), salt: [0; 32] };
        header.writer.0.copy_from_slice(&bytes[24..40]);
        header.salt.copy_from_slice(&bytes[40..72]);
        Ok((header, bytes))
    }
}

/// Encodes the trailer of a pack whose sealed table is so long.
pub fn encode_trailer(table_length: u32) -> [u8; TRAILER_BYTES as usize] {
    let mut bytes = [0; TRAILER_BYTES as usize];
    bytes[..4].copy_from_slice(&table_length.to_le_bytes());
    bytes[8..].copy_from_slice(&MAGIC);
    bytes
}

/// Decodes a trailer: the length of the sealed table before it.
pub fn decode_trailer(bytes: &[u8]) -> Result<u32, Flaw> {
    let bytes: &[u8; TRAILER_BYTES as usize] =
        bytes.try_into().map_err(|_| Flaw::Malformed("the trailer is cut short"))?;
    require(bytes[4..8] == [0; 4] && bytes[8..] == MAGIC, "the trailer is wrong")?;
    Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}
