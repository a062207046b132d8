//! Which pages of a database changed, and since when.

use std::collections::BTreeMap;
use std::time::Instant;

/// Page numbers. Pages that lie together cost a bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PageSet(BTreeMap<u32, u64>);

impl PageSet {
    fn insert(&mut self, page: u32) {
        *self.0.entry(page / 64).or_default() |= 1 << (page % 64);
    }

    pub(super) fn len(&self) -> u64 {
        self.0.values().map(|bits| u64::from(bits.count_ones())).sum()
    }

    /// The first page with this number or a higher one.
    pub(super) fn first_from(&self, page: u32) -> Option<u32> {
        self.0.range(page / 64..).find_map(|(&block, &bits)| {
            let bits = if block == page / 64 { bits & (u64::MAX << (page % 64)) } else { bits };
            (bits != 0).then(|| block * 64 + bits.trailing_zeros())
        })
    }

    fn extend(&mut self, other: &Self) {
        for (&block, &bits) in &other.0 {
            *self.0.entry(block).or_default() |= bits;
        }
    }
}

/// What was committed in a stretch of time: at least the pages that changed in it, maybe more.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    pub(super) pages: PageSet,
    /// The fewest pages that the database had after any commit. What lies behind them may have changed without being in the log: pages without content are not written to it.
    pub(super) pages_min: Option<u32>,
    /// When the first of them was noticed; `None` if there is none.
    pub(super) since: Option<Instant>,
}

impl Changes {
    pub(super) fn add(&mut self, pages: &[u32], database_pages: u32) {
        pages.iter().for_each(|page| self.pages.insert(*page));
        self.pages_min = Some(self.pages_min.map_or(database_pages, |before| before.min(database_pages)));
        self.note();
    }

    /// Notes that something changed, whatever it was.
    pub(super) fn note(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// Adds what another stretch of time brought.
    pub(super) fn merge(&mut self, other: &Self) {
        self.pages.extend(&other.pages);
        self.pages_min = self.pages_min.into_iter().chain(other.pages_min).min();
        self.since = self.since.into_iter().chain(other.since).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_found_from_any_number_on() {
        let mut changes = Changes::default();
        changes.add(&[200, 1, 63, 64, 200], 300);
        let found: Vec<_> = [0, 1, 2, 64, 65, 201].iter().map(|page| changes.pages.first_from(*page)).collect();
        assert_eq!(found, [Some(1), Some(1), Some(63), Some(64), Some(200), None]);
        assert_eq!(changes.pages.len(), 4);
    }

    #[test]
    fn merging_keeps_the_fewest_pages_and_the_earliest_moment() {
        let (mut first, mut second) = (Changes::default(), Changes::default());
        first.add(&[5], 50);
        second.add(&[6], 40);
        let since = first.since;
        second.merge(&first);
        assert_eq!((second.pages.len(), second.pages_min, second.since), (2, Some(40), since));
        second.merge(&Changes::default());
        assert_eq!((second.pages_min, second.since), (Some(40), since));
    }
}
