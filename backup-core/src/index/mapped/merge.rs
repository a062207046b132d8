//! Merges segments as they grow, so that there are few, and a row is written a number of times that grows with the logarithm of all rows.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::layout::{Entry, PackRecord, Part};
use super::{LocalIndex, Segment, UNUSED, write};
use crate::environment::Environment;

/// A segment is merged with smaller ones that have, all together, at least this part of its rows.
const GROWTH: u64 = 4;
/// Entries that are looked at together.
const WINDOW: u64 = 1024;

/// The segment and the number of the pack in it that the index takes a pack from.
pub(in crate::index) type Claim = (u32, u32);

/// Which segments should become one: the smallest, up to the last one that has at most [`GROWTH`] times as many rows as all before it. One alone is written anew where most of it is not used.
///
/// `sizes` are for each segment the rows that are used and all rows.
pub(super) fn choose(sizes: &[(u64, u64)]) -> Vec<u32> {
    let mut ascending: Vec<u32> = (0..sizes.len() as u32).collect();
    ascending.sort_by_key(|number| sizes[*number as usize]);
    let (mut sum, mut last) = (0u64, 0);
    for (place, number) in ascending.iter().enumerate() {
        let (used, _) = sizes[*number as usize];
        if sum + used > u64::from(u32::MAX) {
            break;
        }
        if place > 0 && used <= GROWTH * sum {
            last = place + 1;
        }
        sum += used;
    }
    ascending.truncate(last);
    if ascending.is_empty() {
        // The least useful one.
        let wasteful =
            (0..sizes.len() as u32).filter(|number| sizes[*number as usize].0 * 2 <= sizes[*number as usize].1);
        ascending.extend(wasteful.min_by_key(|number| sizes[*number as usize]));
    }
    ascending
}

/// Writes one segment of the packs that are used of those chosen, by `claims` in the order of packs' ids. Returns its name.
pub(super) fn merge(
    local: &LocalIndex,
    environment: &Environment,
    segments: &[Arc<Segment>],
    chosen: &[u32],
    claims: &[Option<Claim>],
) -> Option<String> {
    let mut renumbered: Vec<Vec<u32>> =
        segments.iter().map(|segment| vec![UNUSED; segment.counts.packs as usize]).collect();
    let mut order: Vec<Claim> = Vec::new();
    for claim in claims.iter().flatten().filter(|claim| chosen.contains(&claim.0)) {
        *renumbered.get_mut(claim.0 as usize)?.get_mut(claim.1 as usize)? = order.len() as u32;
        order.push(*claim);
    }
    let record = |claim: &Claim| segments.get(claim.0 as usize)?.record(claim.1).copied();
    let mut records: Vec<PackRecord> = order.iter().map(record).collect::<Option<_>>()?;
    let counts = write::place(&mut records);
    if !local.has_room(write::bytes_of(&counts), true) {
        return None;
    }
    let columns = |number: usize| {
        let (segment, pack) = *order.get(number)?;
        segments.get(segment as usize)?.kept_columns(pack)
    };
    let sources = chosen.iter().map(|number| Source {
        segment: &segments[*number as usize],
        renumbered: &renumbered[*number as usize],
        next: 0,
        window: [].iter(),
    });
    write::write(local, environment, counts, &records, columns, Merged::new(sources.collect()))
}

/// The entries of one segment, renumbered.
struct Source<'s> {
    segment: &'s Segment,
    renumbered: &'s [u32],
    /// Number of the first entry behind the window.
    next: u64,
    window: std::slice::Iter<'s, Entry>,
}

impl Source<'_> {
    /// The next entry of a pack that is used; `Err` where it is not as it was written.
    fn next(&mut self) -> Result<Option<Entry>, ()> {
        loop {
            for entry in self.window.by_ref() {
                let pack = *self.renumbered.get(entry.pack as usize).ok_or(())?;
                if pack != UNUSED {
                    return Ok(Some(Entry { pack, ..*entry }));
                }
            }
            let end = (self.next + WINDOW).min(self.segment.counts.rows);
            if self.next == end {
                return Ok(None);
            }
            self.window = self.segment.slice::<Entry>(Part::Entries, self.next..end).ok_or(())?.iter();
            self.next = end;
        }
    }
}

/// The entries of all sources, by key; `None` in between ends what cannot be read.
struct Merged<'s> {
    sources: Vec<Source<'s>>,
    /// The next entry of each source that has one.
    heap: BinaryHeap<Reverse<(Entry, usize)>>,
    is_broken: bool,
}

impl<'s> Merged<'s> {
    fn new(sources: Vec<Source<'s>>) -> Self {
        let mut merged = Self { sources, heap: BinaryHeap::new(), is_broken: false };
        (0..merged.sources.len()).for_each(|number| merged.refill(number));
        merged
    }

    fn refill(&mut self, number: usize) {
        match self.sources[number].next() {
            Ok(Some(entry)) => self.heap.push(Reverse((entry, number))),
            Ok(None) => {}
            Err(()) => self.is_broken = true,
        }
    }
}

impl Iterator for Merged<'_> {
    type Item = Option<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_broken {
            return Some(None);
        }
        let Reverse((entry, number)) = self.heap.pop()?;
        self.refill(number);
        Some(Some(entry))
    }
}
