//! Envelopes around bodies, and their padded form for sealing: sections 1.2 and 2 of `docs/format.md`.

use crate::codec::{self, Decode, Encode};
use crate::compress;
use crate::error::Error;
use crate::format::constants::{ENCODING_RAW, ENCODING_ZSTD, TAG_MUST_UNDERSTAND};
use crate::limits;

const ENVELOPE_BYTES: usize = 10;
const PADDED_HEADER_BYTES: usize = 8;

/// Why bytes are not what they should be. The caller knows where they came from, and adds it with [`Flaw::at`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// They break a rule of the format.
    Malformed(&'static str),
    /// They follow rules that this program does not know.
    Newer(&'static str),
}

impl Flaw {
    /// Makes the error of an object.
    pub fn at(self, object: impl Into<String>) -> Error {
        match self {
            Flaw::Malformed(what) => Error::Damaged { object: object.into(), what },
            Flaw::Newer(what) => Error::Newer { object: object.into(), what },
        }
    }
}

/// Fails with [`Flaw::Malformed`] unless a rule holds.
pub(crate) fn require(holds: bool, rule: &'static str) -> Result<(), Flaw> {
    if holds { Ok(()) } else { Err(Flaw::Malformed(rule)) }
}

/// The body of one kind of record.
#[allow(private_bounds)]
pub trait Body: Encode + Decode<()> {
    /// Its kind on disk.
    const KIND: u16;

    /// Checks what the layout alone does not say: maxima, order, agreement of parts.
    fn check(&self) -> Result<(), Flaw> {
        Ok(())
    }
}

/// What follows a body: an addition that readers may leave alone, unless the top bit of its tag says that they must understand it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Its tag.
    pub tag: u16,
    /// Its bytes.
    pub value: Vec<u8>,
}

/// Encodes a record around a body. Version 1, no flags, no extensions.
pub fn encode<B: Body>(body: &B) -> Vec<u8> {
    encode_extended(body, &[])
}

/// Encodes a record around a body with extensions, in whatever order they come. No two may have one tag.
pub fn encode_extended<B: Body>(body: &B, extensions: &[Extension]) -> Vec<u8> {
    let body = codec::encode(body);
    let length = u32::try_from(body.len()).expect("bodies are bounded by RECORD_BYTES_MAX");
    let mut record = Vec::with_capacity(ENVELOPE_BYTES + body.len());
    for value in [B::KIND, 1, 0] {
        record.extend_from_slice(&value.to_le_bytes());
    }
    record.extend_from_slice(&length.to_le_bytes());
    record.extend_from_slice(&body);
    let mut ordered: Vec<&Extension> = extensions.iter().collect();
    ordered.sort_by_key(|extension| extension.tag);
    for extension in ordered {
        let length = u32::try_from(extension.value.len()).expect("extensions are bounded by RECORD_BYTES_MAX");
        record.extend_from_slice(&extension.tag.to_le_bytes());
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(&extension.value);
    }
    record
}

/// The kind of a record, before it is decoded.
pub fn kind(record: &[u8]) -> Option<u16> {
    Some(u16::from_le_bytes(record.get(..2)?.try_into().ok()?))
}

/// Decodes a record that must be of the body's kind and fill the bytes. Extensions are left out.
pub fn decode<B: Body>(record: &[u8]) -> Result<B, Flaw> {
    decode_extended(record).map(|(body, _)| body)
}

/// Decodes a record with its extensions, those included that this program does not know and need not.
pub fn decode_extended<B: Body>(record: &[u8]) -> Result<(B, Vec<Extension>), Flaw> {
    require(record.len() as u64 <= limits::RECORD_BYTES_MAX, "the record is too long")?;
    let (header, rest) = record.split_at_checked(ENVELOPE_BYTES).ok_or(Flaw::Malformed("the record is cut short"))?;
    let field = |i: usize| u16::from_le_bytes([header[i], header[i + 1]]);
    require(field(0) == B::KIND, "the record is of another kind")?;
    if field(2) != 1 {
        return Err(Flaw::Newer("a version of a record"));
    }
    if field(4) != 0 {
        return Err(Flaw::Newer("a flag of a record"));
    }
    let length = u32::from_le_bytes([header[6], header[7], header[8], header[9]]) as usize;
    let (body, extensions) = rest.split_at_checked(length).ok_or(Flaw::Malformed("the record is cut short"))?;
    let extensions = split_extensions(extensions)?;
    let body: B = codec::decode(body).map_err(|_| Flaw::Malformed("the record does not decode"))?;
    body.check()?;
    Ok((body, extensions))
}

fn split_extensions(mut rest: &[u8]) -> Result<Vec<Extension>, Flaw> {
    let mut extensions = Vec::new();
    let mut previous = None;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at_checked(6).ok_or(Flaw::Malformed("an extension is cut short"))?;
        let tag = u16::from_le_bytes([head[0], head[1]]);
        let length = u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize;
        require(previous < Some(tag), "extensions are out of order")?;
        if tag & TAG_MUST_UNDERSTAND != 0 {
            return Err(Flaw::Newer("an extension"));
        }
        previous = Some(tag);
        let (value, behind) = tail.split_at_checked(length).ok_or(Flaw::Malformed("an extension is cut short"))?;
        extensions.push(Extension { tag, value: value.to_vec() });
        rest = behind;
    }
    Ok(extensions)
}

/// Rows of a version other than 1 are not known to this program.
pub(crate) fn check_row_version(version: u16) -> Result<(), Flaw> {
    if version == super::constants::ROW_VERSION { Ok(()) } else { Err(Flaw::Newer("a version of rows")) }
}

/// The padded length of an object of `length` bytes (Padmé), at least `minimum`.
pub fn padded_length(length: u64, minimum: u64) -> u64 {
    if length < 2 {
        return length.max(minimum);
    }
    let e = length.ilog2();
    let s = e.checked_ilog2().map_or(0, |s| s + 1);
    let unit = 1u64 << e.saturating_sub(s);
    length.next_multiple_of(unit).max(minimum)
}

/// Encodes a padded record, compressed where that helps. `object_bytes` is what else the object holds; together they get a padded length.
pub fn encode_padded(record: &[u8], object_bytes: u64, pad_bytes_min: u64) -> Vec<u8> {
    let mut compressed = Vec::new();
    compress::compress(3, record, &mut compressed);
    let (encoding, stored) =
        if compressed.len() < record.len() { (ENCODING_ZSTD, &compressed[..]) } else { (ENCODING_RAW, record) };
    let length = u32::try_from(stored.len()).expect("records are bounded by RECORD_BYTES_MAX");
    let mut padded = Vec::with_capacity(PADDED_HEADER_BYTES + stored.len() + stored.len() / 8);
    padded.extend_from_slice(&[encoding, 0, 0, 0]);
    padded.extend_from_slice(&length.to_le_bytes());
    padded.extend_from_slice(stored);
    let object = object_bytes + padded.len() as u64;
    let zeros = padded_length(object, pad_bytes_min) - object;
    padded.resize(padded.len() + usize::try_from(zeros).expect("padding is a fraction of an object"), 0);
    padded
}

/// How long a padded record is without its zeros, as this program would write it.
pub fn unpadded_length(record: &[u8]) -> u64 {
    let mut compressed = Vec::new();
    compress::compress(3, record, &mut compressed);
    (PADDED_HEADER_BYTES + compressed.len().min(record.len())) as u64
}

/// Takes the record out of a padded one.
pub fn decode_padded(padded: &[u8]) -> Result<Vec<u8>, Flaw> {
    let (header, rest) =
        padded.split_at_checked(PADDED_HEADER_BYTES).ok_or(Flaw::Malformed("the padded record is cut short"))?;
    require(header[1..4] == [0; 3], "reserved bytes are not zero")?;
    let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
    let (stored, padding) = rest.split_at_checked(length).ok_or(Flaw::Malformed("the padded record is cut short"))?;
    require(padding.iter().all(|&byte| byte == 0), "the padding is not zero")?;
    match header[0] {
        ENCODING_RAW => Ok(stored.to_vec()),
        ENCODING_ZSTD => {
            let length = compress::announced_length(stored).ok_or(Flaw::Malformed("no length is announced"))?;
            require(length <= limits::RECORD_BYTES_MAX, "the record is too long")?;
            let length = usize::try_from(length).map_err(|_| Flaw::Malformed("the record is too long"))?;
            compress::decompress(stored, length).map_err(|_| Flaw::Malformed("the record does not decompress"))
        }
        _ => Err(Flaw::Newer("an encoding")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_padme_with_a_minimum() {
        for (length, padded) in [(0, 256), (256, 256), (257, 272), (1000, 1024), (1_000_000, 1_015_808)] {
            assert_eq!(padded_length(length, 256), padded, "of {length}");
        }
    }

    #[test]
    fn extensions_come_back_in_the_order_of_their_tags() {
        use crate::format::bodies::CheckpointBody;
        let body = CheckpointBody { run: crate::id::RunId([3; 16]) };
        let extension = |tag, value: &[u8]| Extension { tag, value: value.to_vec() };
        let (first, last) = (extension(1, b"one"), extension(0x7fff, b""));
        let record = encode_extended(&body, &[last.clone(), first.clone()]);
        assert_eq!(decode_extended(&record), Ok((body.clone(), vec![first.clone(), last])));
        assert_eq!(decode(&record), Ok(body.clone()));
        let needed = encode_extended(&body, &[extension(TAG_MUST_UNDERSTAND | 1, b"")]);
        assert_eq!(decode::<CheckpointBody>(&needed), Err(Flaw::Newer("an extension")));
        let twice = encode_extended(&body, &[first.clone(), first]);
        assert!(decode::<CheckpointBody>(&twice).is_err());
        assert!(decode::<CheckpointBody>(&record[..record.len() - 1]).is_err());
    }

    #[test]
    fn a_padded_record_comes_back_and_non_zero_padding_is_refused() {
        for record in [b"short".to_vec(), vec![7; 100_000]] {
            let mut padded = encode_padded(&record, 128, 256);
            assert_eq!(padded_length(padded.len() as u64 + 128, 256), padded.len() as u64 + 128);
            assert_eq!(decode_padded(&padded), Ok(record));
            *padded.last_mut().unwrap() = 1;
            assert!(decode_padded(&padded).is_err());
        }
    }
}
