//! The state of a repository: the fold of its ledger. Nothing else holds state.

use std::collections::{BTreeMap, HashMap};
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
    pub(crate) problems: Vec<Problem>,
    /// An entry holds what this program does not know and must understand: it must not write.
    pub(crate) unknown: Option<String>,
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
        let mut state = Self { problems: ledger.problems.clone(), unknown: ledger.unknown.clone(), ..Self::default() };
        let mut entries: Vec<&Entry> =
            ledger.entries.iter().filter(|entry| !ledger.refused.contains(&entry.id)).collect();
        // Where entries speak of one thing, the later one counts, in whatever order their chains were read.
        entries.sort_by_key(|entry| (entry.header.time, entry.id));
        let bodies = workers.map(entries, |entry| (entry, open(entry, keyring, ledger.enrolments.get(&entry.writer))));
        for (entry, body) in bodies {
            match body {
                Ok(body) => state.apply(entry, body),
                Err(Error::Newer { object, what }) => {
                    state.add_packs(entry);
                    state.unknown.get_or_insert(format!("{object}: {what}"));
                }
                Err(error) => {
                    state.problems.push(Problem { object: entry.describe(), what: error.to_string() });
                    // Of a chain without an enrolment only what the key authenticates counts.
                    if !ledger.orphaned.contains(&entry.writer) {
                        state.add_packs(entry);
                    }
                }
            }
        }
        state.snapshots.sort_by_key(|snapshot| (snapshot.manifest.time, snapshot.id));
        state
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

    fn apply(&mut self, entry: &Entry, body: Body) {
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

    /// Adds a snapshot that was just committed, in its place.
    pub(crate) fn insert_snapshot(&mut self, snapshot: Snapshot) {
        let key = (snapshot.manifest.time, snapshot.id);
        let place = self.snapshots.partition_point(|other| (other.manifest.time, other.id) < key);
        self.snapshots.insert(place, snapshot);
    }

    /// The period of a class that new data goes to: the one that started last and has not ended.
    pub(crate) fn current_period(&self, class: &str, now: Time) -> Option<&PeriodBody> {
        let open = |period: &&PeriodBody| period.ends.is_none_or(|ends| now < ends) && period.class == class;
        self.periods.values().filter(open).max_by_key(|period| (period.starts, period.period))
    }
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
