//! A split-block Bloom filter (Putze, Sanders and Singler, 2007; the constants are those of Parquet): one key sets eight bits in 32 bytes, so that a look costs one line of the processor's cache.
//!
//! The block of a key is chosen by its highest bits. So a filter is made in the order of keys, a block after the other, and need not lie in memory meanwhile.

/// A block: eight words with a bit for each key in each.
pub(super) type Block = [u32; 8];

/// With so many bits a key, one of about a hundred keys that are not there seems to be.
const BITS_PER_KEY: u64 = 10;

/// How many blocks a filter of so many keys has.
pub(super) fn blocks(keys: u64) -> u64 {
    (keys * BITS_PER_KEY).div_ceil(8 * size_of::<Block>() as u64).max(1)
}

/// The block that a key belongs to.
pub(super) fn block_of(key: u64, blocks: u64) -> u64 {
    ((u128::from(key) * u128::from(blocks)) >> 64) as u64
}

/// The bits of a key in its block.
fn mask(key: u64) -> Block {
    const SALTS: Block =
        [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];
    SALTS.map(|salt| 1 << ((key as u32).wrapping_mul(salt) >> 27))
}

/// Adds a key.
pub(super) fn add(block: &mut Block, key: u64) {
    block.iter_mut().zip(mask(key)).for_each(|(word, bit)| *word |= bit);
}

/// Whether a key may have been added.
pub(super) fn may_have(block: &Block, key: u64) -> bool {
    block.iter().zip(mask(key)).all(|(word, bit)| word & bit != 0)
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
            add(&mut filter[block_of(*key, count) as usize], *key);
        }
        let has = |key: u64| may_have(&filter[block_of(key, count) as usize], key);
        assert!(keys.iter().all(|key| has(*key)));
        let wrong = (0..100_000).filter(|_| has(next())).count();
        assert!((200..2000).contains(&wrong), "{wrong} of 100,000");
    }
}
