//! Notes about locations: a bit for each row of the packs that anything was noted of.

use std::collections::HashMap;

use super::{Index, Location};

/// A set of locations. A pack that has one in it costs an eighth of a byte for each of its rows.
#[derive(Default)]
pub(crate) struct Marks(HashMap<u32, Box<[u64]>>);

impl Marks {
    /// Adds a location. Says whether it was not there before.
    pub(crate) fn insert(&mut self, location: Location, index: &Index) -> bool {
        let words = || vec![0; index.pack(location.pack).table.len().div_ceil(64)].into_boxed_slice();
        let marks = self.0.entry(location.pack).or_insert_with(words);
        let Some(word) = marks.get_mut(location.row as usize / 64) else { return false };
        let bit = 1 << (location.row % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Whether a location was added.
    pub(crate) fn contains(&self, location: Location) -> bool {
        let word = self.0.get(&location.pack).and_then(|marks| marks.get(location.row as usize / 64));
        word.is_some_and(|word| word & (1 << (location.row % 64)) != 0)
    }
}
