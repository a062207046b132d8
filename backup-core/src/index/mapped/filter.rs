//! A split-block Bloom filter (Putze, Sanders and Singler, 2007; the constants are those of Parquet) that says where to look, too: a block of 32 bytes has a bit for each key in seven of its words, and in the
//! eighth where the entries of its keys begin. So a look at a chunk that is not there costs one line of the processor's cache, and at one that is there about three.
//!
//! The block of a key is chosen by its highest bits. So a filter is made in the order of keys, a block after the other, and need not lie in memory meanwhile.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Words of a block that are a filter.
const WORDS: usize = 7;

/// A block of the filter.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Block {
    /// Number of the first entry whose key belongs to this block or a later one.
    pub(super) first: u32,
    words: [u32; WORDS],
}

/// With so many bits a key, one of about a hundred keys that are not there seems to be.
const BITS_PER_KEY: u64 = 10;

/// How many blocks a filter of so many keys has. Behind the last stands one without keys, to say where its entries end.
pub(super) fn blocks(keys: u64) -> u64 {
    (keys * BITS_PER_KEY).div_ceil(32 * WORDS as u64).max(1)
}

/// The block that a key belongs to, and its place among the keys of that block, as a fraction of 2^64.
pub(super) fn block_of(key: u64, blocks: u64) -> (u64, u64) {
    let place = u128::from(key) * u128::from(blocks);
    ((place >> 64) as u64, place as u64)
}

/// The bits of a key in its block.
fn mask(key: u64) -> [u32; WORDS] {
    const SALTS: [u32; WORDS] =
        [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947];
    SALTS.map(|salt| 1 << ((key as u32).wrapping_mul(salt) >> 27))
}

impl Block {
    /// Begins a block whose entries begin at a number.
    pub(super) fn new(first: u32) -> Self {
        Self { first, words: [0; WORDS] }
    }

    /// Adds a key.
    pub(super) fn add(&mut self, key: u64) {
        self.words.iter_mut().zip(mask(key)).for_each(|(word, bit)| *word |= bit);
    }

    /// Whether a key may have been added.
    pub(super) fn may_have(&self, key: u64) -> bool {
        self.words.iter().zip(mask(key)).all(|(word, bit)| word & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_were_added_are_found_and_of_others_one_in_a_hundred() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            state ^ (state >> 29)
        };
        let keys: Vec<u64> = (0..100_000).map(|_| next()).collect();
        let count = blocks(keys.len() as u64);
        let mut filter = vec![Block::default(); count as usize];
        for key in &keys {
            filter[block_of(*key, count).0 as usize].add(*key);
        }
        let has = |key: u64| filter[block_of(key, count).0 as usize].may_have(key);
        assert!(keys.iter().all(|key| has(*key)));
        let wrong = (0..100_000).filter(|_| has(next())).count();
        assert!((200..2000).contains(&wrong), "{wrong} of 100,000");
    }
}
