//! What is on disk: bytes to structs and back, without I/O, clock or threads.
//!
//! One module for each object of `docs/format.md`. Every decoder consumes everything, checks every count against [`crate::limits`], and never panics on
//! hostile bytes. Sealing and signing happen elsewhere; here lie only the layouts.

pub mod bodies;
pub mod constants;
pub mod database;
pub mod header;
pub mod keys;
pub mod ledger;
pub mod manifest;
pub mod name;
pub mod probes;
pub mod record;
mod rules;
pub mod table;
pub mod tree;

#[cfg(test)]
mod tests;

use crate::codec::{Decode, DecodeError, Decoder, Encode, EncodeError, Encoder, impl_borrow_decode, transparent};
use crate::id::{ChunkId, EntryId, ObjectId, PackId, PeriodId, RepositoryId, RunId, WriterId};
use crate::time::Time;

transparent!(ChunkId, EntryId, ObjectId, PackId, PeriodId, RepositoryId, RunId, WriterId);

impl Encode for Time {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.seconds.encode(encoder)?;
        self.nanoseconds.encode(encoder)
    }
}

impl<Context> Decode<Context> for Time {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let seconds = Decode::<Context>::decode(decoder)?;
        let nanoseconds = Decode::<Context>::decode(decoder)?;
        if nanoseconds >= 1_000_000_000 {
            return Err(DecodeError::Other("nanoseconds beyond a second"));
        }
        Ok(Time { seconds, nanoseconds })
    }
}

impl_borrow_decode!(Time);
