//! The segments of a folder, as an index finds, uses and tidies them.

use std::collections::HashMap;
use std::sync::Arc;

use super::merge::{self, Claim};
use super::{LocalIndex, Reread, Segment, agrees, domain_tag};
use crate::environment::Environment;
use crate::format::name::Domain;
use crate::keyring::PeriodKeys;
use crate::pack::reader::PackPlace;

/// All segments that could be opened.
pub(in crate::index) struct Segments<'a> {
    local: &'a LocalIndex,
    reread: &'a Arc<Reread>,
    segments: Vec<Arc<Segment>>,
    domains: HashMap<Arc<Domain>, [u8; 16]>,
}

impl<'a> Segments<'a> {
    /// Opens what there is, and removes what is not whole, was left behind by a killed process, or belongs to nobody. Where segments may not have so much room any more, all go.
    pub(in crate::index) fn open(
        local: &'a LocalIndex,
        keys: &HashMap<Arc<Domain>, Arc<PeriodKeys>>,
        reread: &'a Arc<Reread>,
    ) -> Self {
        local.folder.sweep();
        let mut segments = Self::of(local, keys, reread, Vec::new());
        let names: Vec<String> = local.folder.list().into_iter().map(|(name, _)| name).collect();
        if local.has_room(0, true) {
            segments.add(names);
        } else {
            names.iter().for_each(|name| local.folder.remove(name));
        }
        segments
    }

    /// Takes segments that were opened before, but for those that turned out not to be as they were written.
    pub(in crate::index) fn of(
        local: &'a LocalIndex,
        keys: &HashMap<Arc<Domain>, Arc<PeriodKeys>>,
        reread: &'a Arc<Reread>,
        mut segments: Vec<Arc<Segment>>,
    ) -> Self {
        segments.retain(|segment| !segment.is_damaged());
        sort(&mut segments);
        let domains = keys.keys().map(|domain| (Arc::clone(domain), domain_tag(domain))).collect();
        Self { local, reread, segments, domains }
    }

    /// Opens more.
    pub(in crate::index) fn add(&mut self, names: Vec<String>) {
        for name in names {
            match Segment::open(self.local, &name, self.reread) {
                Some(segment) => self.segments.push(Arc::new(segment)),
                None => self.local.folder.remove(&name),
            }
        }
        sort(&mut self.segments);
    }

    /// Finds for each place, in the order of ids, a segment that has the very pack.
    pub(in crate::index) fn claim(&self, places: &[PackPlace]) -> Vec<Option<Claim>> {
        let mut claims = vec![None; places.len()];
        for (number, segment) in (0u32..).zip(&self.segments) {
            let mut next = 0;
            for (pack, record) in (0u32..).zip(segment.records()) {
                while places.get(next).is_some_and(|place| place.id.0 < record.pack) {
                    next += 1;
                }
                let Some(place) = places.get(next) else { break };
                let is_claimed = claims[next].is_some();
                if !is_claimed && self.domains.get(&place.domain).is_some_and(|tag| agrees(record, place, tag)) {
                    claims[next] = Some((number, pack));
                }
            }
        }
        claims
    }

    /// Removes segments of which nothing is used, and merges those that should be one. Says whether anything changed, so that claims must be made anew.
    pub(in crate::index) fn tidy(&mut self, claims: &[Option<Claim>], environment: &Environment) -> bool {
        let mut sizes: Vec<(u64, u64)> = self.segments.iter().map(|segment| (0, segment.counts.rows)).collect();
        for (segment, pack) in claims.iter().flatten() {
            let rows = self.segments[*segment as usize].record(*pack).map_or(0, |record| record.rows);
            sizes[*segment as usize].0 += u64::from(rows);
        }
        let chosen = merge::choose(&sizes);
        let used = chosen.iter().any(|number| sizes[*number as usize].0 > 0);
        let merged = match used {
            true => merge::merge(self.local, environment, &self.segments, &chosen, claims),
            false => None,
        };
        let is_done = |number: usize| {
            let is_merged = merged.is_some() && chosen.contains(&(number as u32));
            is_merged || sizes[number].0 == 0
        };
        let gone: Vec<Arc<Segment>> = (0..sizes.len())
            .filter(|number| is_done(*number))
            .map(|number| Arc::clone(&self.segments[number]))
            .collect();
        for segment in gone.iter().filter(|segment| merged.as_ref() != Some(&segment.name)) {
            self.local.folder.remove(&segment.name);
        }
        self.segments.retain(|segment| !gone.iter().any(|gone| Arc::ptr_eq(gone, segment)));
        let changed = !gone.is_empty();
        self.add(merged.into_iter().collect());
        changed
    }

    /// The segments that claims name by number.
    pub(in crate::index) fn into_all(self) -> Vec<Arc<Segment>> {
        self.segments
    }
}

/// Of two that have a pack the larger one counts.
fn sort(segments: &mut [Arc<Segment>]) {
    segments.sort_by_key(|segment| std::cmp::Reverse(segment.counts.rows));
}
