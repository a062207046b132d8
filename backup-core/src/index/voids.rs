//! Locations that entries of the ledger exclude, because they were found bad.

use std::collections::{BTreeSet, HashMap};

use crate::id::PackId;

/// Locations that must not be relied on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Voids(HashMap<PackId, Option<BTreeSet<u32>>>);

impl Voids {
    /// Excludes frames of a pack, or all of it for `None`.
    pub(crate) fn add(&mut self, pack: PackId, frames: Option<impl IntoIterator<Item = u32>>) {
        let known = self.0.entry(pack).or_insert_with(|| Some(BTreeSet::new()));
        match (frames, known.as_mut()) {
            (Some(frames), Some(known)) => known.extend(frames),
            _ => *known = None,
        }
    }

    /// Excludes what others exclude, too.
    pub(crate) fn extend(&mut self, others: &Voids) {
        for (pack, frames) in others.iter() {
            self.add(pack, frames.map(|frames| frames.iter().copied()));
        }
    }

    /// Whether a frame is excluded.
    pub(crate) fn contains(&self, pack: PackId, frame: u32) -> bool {
        self.0.get(&pack).is_some_and(|frames| frames.as_ref().is_none_or(|frames| frames.contains(&frame)))
    }

    /// Whether a pack is excluded whole.
    pub(crate) fn contains_pack(&self, pack: PackId) -> bool {
        matches!(self.0.get(&pack), Some(None))
    }

    /// Whether something of a pack is excluded.
    pub(crate) fn concerns(&self, pack: PackId) -> bool {
        self.0.contains_key(&pack)
    }

    /// Whether nothing is excluded.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of it, by pack; `None` is the whole pack.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PackId, Option<&BTreeSet<u32>>)> {
        self.0.iter().map(|(pack, frames)| (*pack, frames.as_ref()))
    }

    /// What is in `self` and not yet in `other`.
    pub(crate) fn without(&self, other: &Voids) -> Voids {
        let mut rest = Voids::default();
        for (pack, frames) in self.iter().filter(|(pack, _)| !other.contains_pack(*pack)) {
            match frames {
                None => rest.add(pack, None::<[u32; 0]>),
                Some(frames) => {
                    let new: Vec<u32> = frames.iter().copied().filter(|frame| !other.contains(pack, *frame)).collect();
                    if !new.is_empty() {
                        rest.add(pack, Some(new));
                    }
                }
            }
        }
        rest
    }
}
