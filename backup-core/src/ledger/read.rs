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

/// What is said of an entry that its writer had no right to.
pub(crate) const BEYOND_ENROLMENT: &str = "its writer's enrolment does not allow it; it is ignored";

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
    pub(crate) enrolments: HashMap<WriterId, Enrolment>,
    /// Entries beyond their writer's enrolment, as far as that shows without a key: they stand in their chain, and say nothing.
    pub(crate) refused: HashSet<EntryId>,
    /// Something follows rules that this program does not know and must understand: it must not write.
    pub(crate) unknown: Option<String>,
    pub(crate) objects: u64,
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
                ledger.problems.push(Problem { object: error.object().unwrap_or_default(), what: error.to_string() });
            }
            Err(Error::Newer { object, what }) => ledger.note_newer(object, what),
            Err(error) => return Err(error),
        }
    }
    candidates.sort_by_key(|candidate| (candidate.entry.writer, candidate.entry.header.sequence, candidate.entry.id));
    candidates.dedup_by_key(|candidate| candidate.entry.id);
    ledger.collect_enrolments(&candidates, admin_key);
    ledger.verify_signatures(candidates, workers);
    ledger.refuse();
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
    // What an `init` left that was cut off belongs to no repository here.
    if raw.iter().all(|raw| raw.header.repository != repository) {
        return Ok(Vec::new());
    }
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

    fn note_newer(&mut self, object: String, what: &'static str) {
        self.problem(object.clone(), format!("{what} that this program does not know"));
        self.unknown.get_or_insert(format!("{object}: {what}"));
    }

    /// Takes the enrolment of each writer: the one of its first entry that carries one, since all must be the same.
    fn collect_enrolments(&mut self, candidates: &[Candidate], admin_key: &[u8; 32]) {
        for Candidate { entry, .. } in
            candidates.iter().filter(|candidate| !candidate.entry.header.enrolment.is_empty())
        {
            match verify_enrolment(&entry.header.enrolment, admin_key) {
                Ok(enrolment)
                    if enrolment.writer == entry.writer && enrolment.repository == entry.header.repository =>
                {
                    let known = self.enrolments.entry(entry.writer).or_insert_with(|| enrolment.clone());
                    if *known != enrolment {
                        self.problem(entry.describe(), "the writer has two different enrolments");
                    }
                }
                Ok(_) => self.problem(entry.describe(), "the enrolment is another writer's"),
                Err(Flaw::Malformed(what)) => self.problem(entry.describe(), what),
                Err(Flaw::Newer(what)) => self.note_newer(entry.describe(), what),
            }
        }
    }

    fn verify_signatures(&mut self, candidates: Vec<Candidate>, workers: &Workers) {
        let verdicts = workers.map(candidates, |candidate| {
            let enrolment = self.enrolments.get(&candidate.entry.writer);
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

    /// Finds the entries that an enrolment's classes or time do not allow.
    fn refuse(&mut self) {
        let refused = self.entries.iter().filter(|entry| {
            self.enrolments.get(&entry.writer).is_some_and(|enrolment| !enrolment.allows(&entry.header))
        });
        let refused: Vec<(EntryId, String)> = refused.map(|entry| (entry.id, entry.describe())).collect();
        for (id, object) in refused {
            self.refused.insert(id);
            self.problem(object, BEYOND_ENROLMENT);
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

    /// Adds entries that this process committed.
    pub(crate) fn extend(&mut self, entries: Vec<Entry>) {
        for entry in &entries {
            self.insert_head(entry);
        }
        self.entries.extend(entries);
    }

    fn insert_head(&mut self, entry: &Entry) {
        let (writer, sequence) = (entry.writer, entry.header.sequence);
        self.heads.insert(writer, Head { writer, sequence, entry_id: entry.id, closed: entry.header.last });
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
