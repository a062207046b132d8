//! Bodies of records: the only user of `bincode`, in the one configuration that is frozen into the format.
//!
//! Little-endian, fixed width, nothing left over (section 1.1 of `docs/format.md`). With these settings a value has exactly one encoding, so what decodes
//! re-encodes to the same bytes. Memory is bounded by a small multiple of the input: a length that the input cannot back is refused before anything is allocated.

pub(crate) use bincode::de::{Decoder, read::Reader};
pub(crate) use bincode::enc::{Encoder, write::Writer};
pub(crate) use bincode::error::{DecodeError, EncodeError};
pub(crate) use bincode::{Decode, Encode, impl_borrow_decode};

use bincode::config::{Configuration, Fixint, Limit, LittleEndian, NoLimit};

/// A body could not be decoded; where it came from is known to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

type Config<L> = Configuration<LittleEndian, Fixint, L>;

fn config<L>() -> Config<L>
where
    Config<L>: Default,
{
    Config::default()
}

/// Encodes a body.
pub(crate) fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, config::<NoLimit>()).expect("encoding to memory fails only where memory ends")
}

/// Decodes a body that must fill `bytes` exactly.
pub(crate) fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, Malformed> {
    // bincode's limit is a constant of the type, and counts the size of values in memory, which is a few times that on disk.
    // One limit for each class of lengths keeps what a decoder may allocate in proportion to its input.
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    match bytes.len() {
        0..KIB => decode_within::<T, { 32 * KIB }>(bytes),
        KIB..0x1_0000 => decode_within::<T, { MIB }>(bytes),
        0x1_0000..MIB => decode_within::<T, { 16 * MIB }>(bytes),
        MIB..0x100_0000 => decode_within::<T, { 256 * MIB }>(bytes),
        _ => decode_within::<T, { 1024 * MIB }>(bytes),
    }
}

fn decode_within<T: Decode<()>, const LIMIT: usize>(bytes: &[u8]) -> Result<T, Malformed> {
    match bincode::decode_from_slice(bytes, config::<Limit<LIMIT>>()) {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        _ => Err(Malformed),
    }
}

/// Implements the body of an enum by hand: a `u8` tag and then the fields, because bincode's own tags are not part of the format.
macro_rules! tagged {
    ($name:ident { $($tag:literal => $variant:ident { $($field:ident : $type:ty),* }),+ $(,)? }) => {
        impl $crate::codec::Encode for $name {
            fn encode<E: $crate::codec::Encoder>(&self, encoder: &mut E) -> Result<(), $crate::codec::EncodeError> {
                match self {
                    $(Self::$variant { $($field),* } => {
                        $crate::codec::Encode::encode(&($tag as u8), encoder)?;
                        $($crate::codec::Encode::encode($field, encoder)?;)*
                    })+
                }
                Ok(())
            }
        }

        impl<Context> $crate::codec::Decode<Context> for $name {
            fn decode<D: $crate::codec::Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, $crate::codec::DecodeError> {
                match <u8 as $crate::codec::Decode<Context>>::decode(decoder)? {
                    $($tag => Ok(Self::$variant { $($field: <$type as $crate::codec::Decode<Context>>::decode(decoder)?),* }),)+
                    _ => Err($crate::codec::DecodeError::Other("unknown tag")),
                }
            }
        }

        $crate::codec::impl_borrow_decode!($name);
    };
}
pub(crate) use tagged;

/// Implements the body of a newtype over its one field.
macro_rules! transparent {
    ($($name:ty),+) => {
        $(impl $crate::codec::Encode for $name {
            fn encode<E: $crate::codec::Encoder>(&self, encoder: &mut E) -> Result<(), $crate::codec::EncodeError> {
                $crate::codec::Writer::write($crate::codec::Encoder::writer(encoder), &self.0)
            }
        }

        impl<Context> $crate::codec::Decode<Context> for $name {
            fn decode<D: $crate::codec::Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, $crate::codec::DecodeError> {
                let mut bytes = [0; <$name>::BYTES];
                decoder.claim_bytes_read(bytes.len())?;
                $crate::codec::Reader::read($crate::codec::Decoder::reader(decoder), &mut bytes)?;
                Ok(Self(bytes))
            }
        }

        $crate::codec::impl_borrow_decode!($name);)+
    };
}
pub(crate) use transparent;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_the_input_cannot_back_is_refused() {
        let mut bytes = encode(&vec![1u64, 2, 3]);
        assert_eq!(decode::<Vec<u64>>(&bytes), Ok(vec![1, 2, 3]));
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(decode::<Vec<u64>>(&bytes), Err(Malformed));
    }

    #[test]
    fn bytes_left_over_are_refused() {
        let mut bytes = encode(&7u32);
        bytes.push(0);
        assert_eq!(decode::<u32>(&bytes), Err(Malformed));
    }
}
