//! Loads the ledger and verifies what needs no key: names, chains, enrolments, signatures, parents.
//!
//! What does not verify is a [`Problem`], never a silent gap, and never stops the reading of the rest.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::crypto::{hash, verify};
use crate::error::{Error, Result};
use crate::format::ledger::{Enrolment, RawEntry, split};
use crate::format::name::ObjectName;
use crate::format::record::Flaw;
use crate::id::{EntryId, RepositoryId, WriterId};
use crate::ledger::entry::{ENTRY_CONTEXT, Entry, verify_enrolment};
use crate::limits::LEDGER_OBJECT_BYTES_MAX;
use crate::pipeline::Workers;
use crate::storage::Storage;

/// Something in the ledger that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The object or entry.
    pub object: String,
    /// What does not hold.
    pub what: String,
}

/// The newest entry of a writer's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Head {
    /// The writer.
    pub writer: WriterId,
    /// Its place in the chain.
    pub sequence: u64,
    /// Its id.
    pub entry_id: EntryId,
    /// Whether it closes the chain.
    #[serde(skip)]
    pub closed: bool,
}

/// All entries that verified.
#[derive(Default)]
pub(crate) struct Ledger {
    /// By writer and sequence.
    pub(crate) entries: Vec<Entry>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) heads: BTreeMap<WriterId, Head>,
    /// Writers all of whose enrolments are lost: their entries count only where their bodies open.
    pub(crate) orphaned: HashSet<WriterId>,
    pub(crate) objects: u64,
    /// An object that needs a newer program: what it says is not known, so nothing may be written.
    pub(crate) unknown: Option<String>,
}

/// Reads every object below `ledger/`.
pub(crate) fn load(
    storage: &Storage,
    workers: &Workers,
    repository: RepositoryId,
    admin_key: &[u8; 32],
) -> Result<Ledger> {
    let names: Vec<String> = storage.list("ledger/")?.into_iter().map(|info| info.name).collect();
    let objects = names.len() as u64;
    let loaded = workers.map(names, |name| load_object(storage, repository, &name));
    let mut ledger = Ledger { objects, ..Ledger::default() };
    let mut candidates: Vec<Candidate> = Vec::new();
    for result in loaded {
        match result {
            Ok(entries) => candidates.extend(entries),
            Err(error) if error.is_damage() => {
                ledger.problems.push(Problem { object: error.object().unwrap_or_default(), what: error.to_string() })
            }
            Err(Error::Newer { object, what }) => drop(ledger.unknown.get_or_insert(format!("{object}: {what}"))),
            Err(error) => return Err(error),
        }
    }
    candidates.sort_by_key(|candidate| (candidate.entry.writer, candidate.entry.header.sequence, candidate.entry.id));
    candidates.dedup_by_key(|candidate| candidate.entry.id);
    let enrolments = ledger.collect_enrolments(&candidates, admin_key);
    ledger.verify_signatures(candidates, &enrolments, workers);
    ledger.link();
    Ok(ledger)
}

struct Candidate {
    entry: Entry,
    signed: Vec<u8>,
    signature: [u8; 64],
}

fn load_object(storage: &Storage, repository: RepositoryId, name: &str) -> Result<Vec<Candidate>> {
    let Some(ObjectName::Ledger(writer, first, id)) = ObjectName::parse(name) else { return Ok(Vec::new()) };
    let mut bytes = storage.read_cached(name, LEDGER_OBJECT_BYTES_MAX)?;
    if hash(&bytes) != id.0 {
        storage.forget_cached(name, None);
        bytes = storage.read(name, LEDGER_OBJECT_BYTES_MAX)?;
        if hash(&bytes) != id.0 {
            return Err(Error::damaged(name, "its bytes do not hash to its name"));
        }
    }
    let raw = split(&bytes).map_err(|flaw| flaw.at(name))?;
    let fits = |(i, raw): (u64, &RawEntry<'_>)| {
        raw.object.writer == writer && raw.header.repository == repository && raw.header.sequence == first + i
    };
    if !(0u64..).zip(&raw).all(fits) {
        return Err(Error::damaged(name, "an entry belongs elsewhere"));
    }
    let candidate = |raw: &RawEntry<'_>| Candidate {
        entry: Entry::from_raw(raw),
        signed: raw.signed.to_vec(),
        signature: raw.signature,
    };
    Ok(raw.iter().map(candidate).collect())
}

impl Ledger {
    fn problem(&mut self, object: String, what: impl Into<String>) {
        self.problems.push(Problem { object, what: what.into() });
    }

    fn collect_enrolments(&mut self, candidates: &[Candidate], admin_key: &[u8; 32]) -> HashMap<WriterId, Enrolment> {
        let mut enrolments: HashMap<WriterId, Enrolment> = HashMap::new();
        for Candidate { entry, .. } in
            candidates.iter().filter(|candidate| !candidate.entry.header.enrolment.is_empty())
        {
            match verify_enrolment(&entry.header.enrolment, admin_key) {
                Ok(enrolment)
                    if enrolment.writer == entry.writer && enrolment.repository == entry.header.repository =>
                {
                    let known = enrolments.entry(entry.writer).or_insert_with(|| enrolment.clone());
                    if *known != enrolment {
                        self.problem(entry.describe(), "the writer has two different enrolments");
                    }
                }
                Ok(_) => self.problem(entry.describe(), "the enrolment is another writer's"),
                Err(Flaw::Malformed(what) | Flaw::Newer(what)) => self.problem(entry.describe(), what),
            }
        }
        enrolments
    }

    fn verify_signatures(
        &mut self,
        candidates: Vec<Candidate>,
        enrolments: &HashMap<WriterId, Enrolment>,
        workers: &Workers,
    ) {
        let verdicts = workers.map(candidates, |candidate| {
            let enrolment = enrolments.get(&candidate.entry.writer);
            let valid = enrolment
                .map(|enrolment| verify(&enrolment.key, ENTRY_CONTEXT, &candidate.signed, &candidate.signature));
            (candidate.entry, valid)
        });
        for (entry, valid) in verdicts {
            match valid {
                Some(true) => self.entries.push(entry),
                Some(false) => self.problem(entry.describe(), "the signature is not its writer's"),
                None => {
                    if self.orphaned.insert(entry.writer) {
                        self.problem(format!("ledger/{}", entry.writer), "the writer's enrolment is missing");
                    }
                    self.entries.push(entry);
                }
            }
        }
    }

    /// Looks for gaps, forks and missing parents, and finds the heads.
    fn link(&mut self) {
        let known: HashSet<EntryId> = self.entries.iter().map(|entry| entry.id).collect();
        let mut problems = Vec::new();
        let mut report = |entry: &Entry, what: String| problems.push(Problem { object: entry.describe(), what });
        let mut previous: Option<&Entry> = None;
        for entry in &self.entries {
            let sequence = entry.header.sequence;
            let before = previous.filter(|previous| previous.writer == entry.writer);
            match before.map(|previous| previous.header.sequence) {
                Some(last) if last == sequence => report(entry, "the chain forks here".to_owned()),
                Some(last) if last + 1 == sequence => {}
                None if sequence == 0 => {}
                last => {
                    let missing = sequence - last.map_or(0, |last| last + 1);
                    report(entry, format!("{missing} entries before it are missing"));
                }
            }
            if let Some(parent) = entry.header.parents.iter().find(|parent| !known.contains(parent)) {
                report(entry, format!("its parent {parent} is missing"));
            }
            let head = Head { writer: entry.writer, sequence, entry_id: entry.id, closed: entry.header.last };
            self.heads.insert(entry.writer, head);
            previous = Some(entry);
        }
        self.problems.extend(problems);
    }

    /// The newest entries of other chains that `own` does not reach yet, ascending.
    pub(crate) fn unseen_heads(&self, own: Option<(WriterId, EntryId)>) -> Vec<EntryId> {
        let by_id: HashMap<EntryId, usize> = self.entries.iter().enumerate().map(|(i, entry)| (entry.id, i)).collect();
        let mut reached: HashSet<EntryId> = HashSet::new();
        let mut to_visit: Vec<EntryId> = own.iter().map(|(_, id)| *id).collect();
        while let Some(id) = to_visit.pop() {
            if reached.insert(id)
                && let Some(&i) = by_id.get(&id)
            {
                to_visit.extend(&self.entries[i].header.parents);
            }
        }
        let others = self.heads.values().filter(|head| own.is_none_or(|(writer, _)| writer != head.writer));
        let mut unseen: Vec<EntryId> = others.map(|head| head.entry_id).filter(|id| !reached.contains(id)).collect();
        unseen.sort();
        unseen
    }
}
