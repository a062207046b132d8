//! Identifiers, each its own type, so that no pack is ever looked up as a chunk.
//!
//! All are `Copy`; [`std::fmt::Display`] prints full lower-case hex, `short` the first eight digits. What the program wrote is parsed by `from_hex`
//! (exact); what a user typed is matched as a prefix by the one who knows the candidates. See section 1 of `docs/format.md`.

use std::fmt;

macro_rules! id {
    ($(#[doc = $doc:literal])+ $name:ident, $bytes:literal) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// Bytes of one id.
            pub const BYTES: usize = $bytes;

            /// Parses exactly the hex that [`fmt::Display`] prints; `None` for anything else.
            pub fn from_hex(text: &str) -> Option<Self> {
                let mut bytes = [0; $bytes];
                decode_hex(text, &mut bytes).then_some(Self(bytes))
            }

            /// Returns the first eight hex digits, for people.
            pub fn short(&self) -> String {
                encode_hex(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&encode_hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

id!(
    /// Names a chunk of content, or a node: keyed BLAKE3 of its plaintext.
    ChunkId, 32
);
id!(
    /// Names a pack: BLAKE3 of its bytes.
    PackId, 32
);
id!(
    /// Names a ledger entry: BLAKE3 of its bytes. The id of a snapshot is its entry's.
    EntryId, 32
);
id!(
    /// Names any other object by BLAKE3 of its bytes: key slots, period objects, index segments.
    ObjectId, 32
);
id!(
    /// Names a repository: random, drawn at `init`.
    RepositoryId, 32
);
id!(
    /// Names a writer, the owner of one chain of the ledger: random.
    WriterId, 16
);
id!(
    /// Names a period of a class: random.
    PeriodId, 16
);
id!(
    /// Names one run of a backup, in its checkpoints and its snapshot: random.
    RunId, 16
);

/// The first 16 bytes of a [`ChunkId`], by which tables and indexes name chunks.
pub type ChunkPrefix = [u8; 16];

impl ChunkId {
    /// Returns the prefix by which tables name this chunk.
    pub fn prefix(&self) -> ChunkPrefix {
        let mut prefix = [0; 16];
        prefix.copy_from_slice(&self.0[..16]);
        prefix
    }
}

/// Prints bytes as lower-case hex.
pub fn encode_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Fills `bytes` from exactly as many pairs of lower-case hex digits; says whether it could.
pub fn decode_hex(text: &str, bytes: &mut [u8]) -> bool {
    let text = text.as_bytes();
    if text.len() != bytes.len() * 2 {
        return false;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        match (hex_digit(pair[0]), hex_digit(pair[1])) {
            (Some(high), Some(low)) => *byte = high << 4 | low,
            _ => return false,
        }
    }
    true
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}
