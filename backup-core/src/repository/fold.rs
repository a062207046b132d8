//! The state of a repository: the fold of its ledger. Nothing else holds state.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::error::Error;
use crate::format::bodies::{CheckBody, ClassBody, PeriodBody, VoidBody};
use crate::format::constants::*;
use crate::format::ledger::Enrolment;
use crate::format::manifest::Manifest;
use crate::format::name::{Area, Domain};
use crate::format::probes;
use crate::format::record::{self, Extension, Flaw};
use crate::id::{ChunkId, EntryId, PackId, WriterId};
use crate::index::Voids;
use crate::keyring::Keyring;
use crate::ledger::entry::Entry;
use crate::ledger::read::{BEYOND_ENROLMENT, Ledger, Problem};
use crate::pack::reader::PackPlace;
use crate::pipeline::Workers;
use crate::time::Time;

/// A snapshot that the ledger holds.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its id: that of its entry.
    pub id: EntryId,
    /// The writer that made it.
    pub writer: WriterId,
    /// What it is.
    pub manifest: Manifest,
    /// What follows the manifest in its record, what this program does not know included.
    pub extensions: Vec<Extension>,
}

impl Snapshot {
    /// The node with what probes of its databases found, if there were any.
    pub fn probes(&self) -> Option<ChunkId> {
        probes::node_of(&self.extensions)
    }
}

/// What all entries together say.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) classes: BTreeMap<String, ClassBody>,
    /// By domain; of two entries about one period the later counts.
    pub(crate) periods: BTreeMap<Arc<Domain>, PeriodBody>,
    /// By time of content, then by id.
    pub(crate) snapshots: Vec<Snapshot>,
    pub(crate) packs: HashMap<PackId, PackPlace>,
    pub(crate) voids: Voids,
    /// When each pack was last read whole and found good.
    pub(crate) packs_read: HashMap<PackId, Time>,
    /// What is wrong with what entries say; the ledger has its own.
    pub(crate) problems: Vec<Problem>,
    /// An entry holds what this program does not know and must understand: it must not write.
    pub(crate) unknown: Option<String>,
}

/// What further entries changed, for those who hold copies of it.
pub(crate) struct News {
    /// Packs that were not known.
    pub(crate) packs: Vec<PackPlace>,
    /// Whether there are locations that were relied on and must not be.
    pub(crate) has_voids: bool,
}

enum Body {
    /// It does not count, for this reason.
    Refused(&'static str),
    Class(ClassBody),
    Period(PeriodBody),
    Snapshot(Box<Manifest>, Vec<Extension>),
    Void(VoidBody),
    Check(CheckBody),
    Other,
}

impl State {
    /// Opens the bodies of all entries and folds them.
    pub(crate) fn fold(ledger: &Ledger, keyring: &Keyring, workers: &Workers) -> Self {
        let mut state = Self { unknown: ledger.unknown.clone(), ..Self::default() };
        for (entry, body) in open_all(ledger, |_| true, keyring, workers) {
            state.apply(ledger, entry, body);
        }
        state.snapshots.sort_by_key(|snapshot| (snapshot.manifest.time, snapshot.id));
        state
    }

    /// Adds what entries say that the ledger did not have before. `None`, and nothing done, where only folding anew tells what counts.
    pub(crate) fn extend(
        &mut self,
        ledger: &Ledger,
        entries: &HashSet<EntryId>,
        keyring: &Keyring,
        workers: &Workers,
    ) -> Option<News> {
        let opened = open_all(ledger, |id| entries.contains(id), keyring, workers);
        // Which entry about a class or a period counts depends on all of them.
        if opened.iter().any(|(_, body)| matches!(body, Ok(Body::Class(_) | Body::Period(_)))) {
            return None;
        }
        let mut added = Self::default();
        for (entry, body) in opened {
            added.apply(ledger, entry, body);
        }
        let mut news = News { packs: Vec::new(), has_voids: !added.voids.without(&self.voids).is_empty() };
        for (id, place) in added.packs {
            if self.packs.insert(id, place.clone()).is_none() {
                news.packs.push(place);
            }
        }
        for (pack, frames) in added.voids.iter() {
            self.voids.add(pack, frames.map(|frames| frames.iter().copied()));
        }
        for (pack, time) in added.packs_read {
            let known = self.packs_read.entry(pack).or_insert(time);
            *known = time.max(*known);
        }
        added.snapshots.into_iter().for_each(|snapshot| self.insert_snapshot(snapshot));
        self.problems.extend(added.problems);
        self.unknown = self.unknown.take().or(added.unknown).or_else(|| ledger.unknown.clone());
        Some(news)
    }

    fn add_packs(&mut self, entry: &Entry) {
        let domains: Vec<Arc<Domain>> = (0..entry.header.domains.len())
            .filter_map(|i| entry.header.domain(u16::try_from(i).ok()?).map(Arc::new))
            .collect();
        for pack in &entry.header.packs_added {
            let (Some(area), Some(domain)) = (Area::from_number(pack.area), domains.get(usize::from(pack.domain)))
            else {
                continue;
            };
            let place = PackPlace {
                id: pack.pack,
                area,
                domain: Arc::clone(domain),
                length: pack.length,
                table_offset: pack.table_offset,
                table_length: pack.table_length,
            };
            self.packs.insert(pack.pack, place);
        }
    }

    fn apply(&mut self, ledger: &Ledger, entry: &Entry, body: Result<Body, Error>) {
        let body = match body {
            Ok(body) => body,
            Err(Error::Newer { object, what }) => {
                self.add_packs(entry);
                self.unknown.get_or_insert(format!("{object}: {what}"));
                return;
            }
            Err(error) => {
                self.problems.push(Problem { object: entry.describe(), what: error.to_string() });
                // Of a chain without an enrolment only what the key authenticates counts.
                if !ledger.orphaned.contains(&entry.writer) {
                    self.add_packs(entry);
                }
                return;
            }
        };
        if let Body::Refused(what) = body {
            self.problems.push(Problem { object: entry.describe(), what: what.to_owned() });
            return;
        }
        self.add_packs(entry);
        match body {
            Body::Class(class) => drop(self.classes.insert(class.name.clone(), class)),
            Body::Period(period) => self.apply_period(entry, period),
            Body::Snapshot(manifest, extensions) => {
                self.snapshots.push(Snapshot { id: entry.id, writer: entry.writer, manifest: *manifest, extensions });
            }
            Body::Void(body) => {
                for row in body.voids {
                    self.voids.add(row.pack, (!row.whole).then_some(row.frames));
                }
            }
            Body::Check(check) => {
                for pack in check.packs_read {
                    let time = self.packs_read.entry(pack).or_insert(entry.header.time);
                    *time = entry.header.time.max(*time);
                }
            }
            Body::Other | Body::Refused(_) => {}
        }
    }

    /// Only the first entry of a period names its object: another object would be other keys for what is stored.
    fn apply_period(&mut self, entry: &Entry, period: PeriodBody) {
        let domain = Domain { class: period.class.clone(), period: period.period };
        match self.periods.get(&domain) {
            Some(known) if known.object != period.object => {
                let what = "it names another object for a period that has one; it is ignored".to_owned();
                self.problems.push(Problem { object: entry.describe(), what });
            }
            _ => drop(self.periods.insert(Arc::new(domain), period)),
        }
    }

    /// Adds a snapshot in its place, unless it is known.
    pub(crate) fn insert_snapshot(&mut self, snapshot: Snapshot) {
        let key = |snapshot: &Snapshot| (snapshot.manifest.time, snapshot.id);
        if let Err(place) = self.snapshots.binary_search_by_key(&key(&snapshot), key) {
            self.snapshots.insert(place, snapshot);
        }
    }

    /// The period of a class that new data goes to: the one that started last and has not ended.
    pub(crate) fn current_period(&self, class: &str, now: Time) -> Option<&PeriodBody> {
        let open = |period: &&PeriodBody| period.ends.is_none_or(|ends| now < ends) && period.class == class;
        self.periods.values().filter(open).max_by_key(|period| (period.starts, period.period))
    }
}

/// Opens the bodies of entries, in the order in which they count: where entries speak of one thing, the later one does, in whatever order their chains were read.
fn open_all<'l>(
    ledger: &'l Ledger,
    is_wanted: impl Fn(&EntryId) -> bool,
    keyring: &Keyring,
    workers: &Workers,
) -> Vec<(&'l Entry, Result<Body, Error>)> {
    let entries = ledger.entries.iter();
    let wanted = entries.filter(|entry| is_wanted(&entry.id) && !ledger.refused.contains(&entry.id));
    let mut wanted: Vec<&Entry> = wanted.collect();
    wanted.sort_by_key(|entry| (entry.header.time, entry.id));
    workers.map(wanted, |entry| (entry, open(entry, keyring, ledger.enrolments.get(&entry.writer))))
}

fn open(entry: &Entry, keyring: &Keyring, enrolment: Option<&Enrolment>) -> Result<Body, Error> {
    const OTHER_CLASS: Body = Body::Refused("its body is of another class than its header");
    let record = entry.open(keyring)?;
    let at = |flaw: Flaw| flaw.at(entry.describe());
    let kind = record::kind(&record);
    if kind.is_some_and(|kind| enrolment.is_some_and(|enrolment| !enrolment.allows_kind(kind))) {
        return Ok(Body::Refused(BEYOND_ENROLMENT));
    }
    let class = &entry.header.class;
    let body = match kind {
        Some(RECORD_CLASS) => Body::Class(record::decode(&record).map_err(at)?),
        Some(RECORD_PERIOD) => Body::Period(record::decode(&record).map_err(at)?),
        Some(RECORD_SNAPSHOT) => {
            let (manifest, extensions) = record::decode_extended(&record).map_err(at)?;
            Body::Snapshot(Box::new(manifest), extensions)
        }
        Some(RECORD_VOID) => Body::Void(record::decode(&record).map_err(at)?),
        Some(RECORD_CHECK) => Body::Check(record::decode(&record).map_err(at)?),
        Some(RECORD_ENROL | RECORD_CHECKPOINT | RECORD_RESTORE | RECORD_KEY) => Body::Other,
        _ => return Err(Error::Newer { object: entry.describe(), what: "a kind of entry" }),
    };
    Ok(match body {
        Body::Period(period) if period.class != *class => OTHER_CLASS,
        Body::Snapshot(manifest, _) if manifest.class != *class => OTHER_CLASS,
        body => body,
    })
}

#[cfg(test)]
mod tests;
