//! Cut points: where content is divided, so that equal stretches give equal chunks wherever they lie.
//!
//! FastCDC under a secret gear table (section 6.1 of `docs/format.md`); the owner of `fastcdc`. Golden vectors pin the cut points, whatever that crate's versions do.

use crate::crypto::{Secret, extend};

/// The public parameters of chunking, as periods record them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSizes {
    /// Shortest chunk but for the last of a stretch, in bytes; even.
    pub bytes_min: u32,
    /// Length at which cut points become likelier, in bytes; even.
    pub bytes_avg: u32,
    /// Longest chunk, in bytes; even.
    pub bytes_max: u32,
    /// Bits that must be zero before `bytes_avg`.
    pub mask_small: u64,
    /// Bits that must be zero behind it.
    pub mask_large: u64,
}

impl ChunkSizes {
    /// Makes parameters around an average, a power of two: a quarter and four times of it as bounds, FastCDC's own masks at normalisation level 1.
    pub fn around(bytes_avg: u32) -> Self {
        let level = fastcdc::v2020::Normalization::Level1;
        let (mask_small, mask_large) = fastcdc::v2020::select_masks(bytes_avg as usize, level);
        Self { bytes_min: bytes_avg / 4, bytes_avg, bytes_max: bytes_avg * 4, mask_small, mask_large }
    }

    /// Whether cutting with them is defined, and stays within the format's maxima.
    pub fn is_acceptable(&self) -> bool {
        let even = [self.bytes_min, self.bytes_avg, self.bytes_max].iter().all(|size| size % 2 == 0);
        let ordered = 64 <= self.bytes_min && self.bytes_min <= self.bytes_avg && self.bytes_avg <= self.bytes_max;
        even && ordered && u64::from(self.bytes_max) <= crate::limits::CHUNK_BYTES_MAX
    }
}

/// Finds cut points under one gear key.
pub(crate) struct Chunker {
    sizes: ChunkSizes,
    gear: Box<[u64; 256]>,
    gear_shifted: Box<[u64; 256]>,
}

impl Chunker {
    pub(crate) fn new(gear_key: &Secret, sizes: ChunkSizes) -> Self {
        let mut bytes = [0; 2048];
        extend(gear_key, b"holdfast v1 gear table", &mut bytes);
        let mut gear = Box::new([0; 256]);
        for (value, bytes) in gear.iter_mut().zip(bytes.chunks_exact(8)) {
            *value = u64::from_le_bytes(bytes.try_into().expect("chunks of eight bytes"));
        }
        let gear_shifted = Box::new(gear.map(|value: u64| value << 1));
        Self { sizes, gear, gear_shifted }
    }

    /// Bytes that must be at hand for a cut point to be final.
    pub(crate) fn bytes_max(&self) -> usize {
        self.sizes.bytes_max as usize
    }

    /// The length of the first chunk of `data`, which must go on for [`Chunker::bytes_max`] or to the end of the stretch.
    pub(crate) fn cut(&self, data: &[u8]) -> usize {
        let sizes = &self.sizes;
        let (_, length) = fastcdc::v2020::cut_gear(
            data,
            sizes.bytes_min as usize,
            sizes.bytes_avg as usize,
            sizes.bytes_max as usize,
            sizes.mask_small,
            sizes.mask_large,
            sizes.mask_small << 1,
            sizes.mask_large << 1,
            &*self.gear,
            &*self.gear_shifted,
        );
        length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts(chunker: &Chunker, mut data: &[u8]) -> Vec<usize> {
        let mut lengths = Vec::new();
        while !data.is_empty() {
            let length = chunker.cut(data);
            lengths.push(length);
            data = &data[length..];
        }
        lengths
    }

    #[test]
    fn cut_points_find_themselves_again_behind_an_insertion_of_odd_length() {
        let chunker = Chunker::new(&Secret::new([1; 32]), ChunkSizes::around(4096));
        let mut data = vec![0; 300_000];
        extend(&Secret::new([2; 32]), b"data", &mut data);
        let before = cuts(&chunker, &data);
        let after = cuts(&chunker, &[&b"odd"[..], &data].concat());
        let equal = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
        assert!(equal + 8 > before.len(), "only {equal} of {} chunks are equal", before.len());
        assert_eq!(before.iter().sum::<usize>(), data.len());
    }

    #[test]
    fn another_key_cuts_elsewhere() {
        let mut data = vec![0; 100_000];
        extend(&Secret::new([2; 32]), b"data", &mut data);
        let sizes = ChunkSizes::around(4096);
        let one = cuts(&Chunker::new(&Secret::new([1; 32]), sizes), &data);
        assert_ne!(one, cuts(&Chunker::new(&Secret::new([3; 32]), sizes), &data));
    }
}
