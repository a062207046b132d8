//! Verifies the ledger, as far as that needs no key: chains, enrolments, signatures, parents. It can grow: what is fetched later is taken in.
//!
//! What does not verify is a [`Problem`], never a silent gap, and never stops the reading of the rest.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::crypto::verify;
use crate::error::Result;
use crate::format::ledger::Enrolment;
use crate::format::record::Flaw;
use crate::id::{EntryId, RepositoryId, WriterId};
use crate::keyring::Keyring;
use crate::ledger::entry::{ENTRY_CONTEXT, Entry, decode_enrolment, verify_enrolment};
use crate::ledger::fetch::{self, Batch, Candidate, ObjectKey, Origin, Proof};
use crate::ledger::state::LastEntry;
use crate::pipeline::Workers;
use crate::storage::Storage;
use crate::time::Time;

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

/// Who decides what verifies, and what opens.
#[derive(Clone, Copy)]
pub(crate) struct Rights<'a> {
    pub(crate) admin_key: &'a [u8; 32],
    /// Opens bodies, so that they need not be opened later.
    pub(crate) keyring: Option<&'a Keyring>,
}

/// How an installation's own chain stands in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody else wrote to it.
    Own,
    /// It goes on behind the entry that this installation remembers as its last.
    Ahead,
    /// Somewhere two entries stand at one place.
    Forked,
}

/// All entries that verified.
#[derive(Default)]
pub(crate) struct Ledger {
    /// By writer and sequence.
    pub(crate) entries: Vec<Entry>,
    pub(crate) problems: Vec<Problem>,
    /// Places where two entries of one writer stand: both count.
    pub(crate) forks: Vec<Problem>,
    pub(crate) heads: BTreeMap<WriterId, Head>,
    /// Writers all of whose enrolments are lost: their entries count only where their bodies open.
    pub(crate) orphaned: HashSet<WriterId>,
    pub(crate) enrolments: HashMap<WriterId, Enrolment>,
    /// Entries beyond their writer's enrolment, as far as that shows without a key: they stand in their chain, and say nothing.
    pub(crate) refused: HashSet<EntryId>,
    /// Something follows rules that this program does not know and must understand: it must not write.
    pub(crate) unknown: Option<String>,
    /// Whether an enrolment arrived after entries that were taken in without one: only reading anew tells what they are worth.
    pub(crate) is_outdated: bool,
    /// With the number of entries in each.
    objects: HashMap<ObjectKey, u64>,
    /// The last object of each writer that was read from storage, rather than remembered.
    read: HashMap<WriterId, (ObjectKey, Option<Time>)>,
    known: HashSet<EntryId>,
    /// Entries that others name as parents.
    named: HashSet<EntryId>,
    forked: HashSet<WriterId>,
    /// Problems of objects that could not be parsed: they may yet be.
    unread: BTreeMap<ObjectKey, Problem>,
    /// Problems of entries.
    found: Vec<Problem>,
}

/// What became known.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) entries: HashSet<EntryId>,
    /// Those of them that verified and opened: nothing that comes later can change that.
    pub(crate) lasting: HashSet<EntryId>,
    /// Objects that were read, and what is in them.
    pub(crate) objects: Vec<(ObjectKey, Vec<EntryId>)>,
}

/// Reads every object below `ledger/`, and remembers nothing.
pub(crate) fn load(
    storage: &Storage,
    workers: &Workers,
    repository: RepositoryId,
    rights: Rights<'_>,
) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    let batch = fetch::read(storage, workers, repository, fetch::list(storage)?)?;
    ledger.take_in(batch, rights, workers);
    Ok(ledger)
}

impl Ledger {
    /// An empty ledger for entries that stand beside these: it knows the same writers.
    pub(crate) fn beside(&self) -> Self {
        Self { enrolments: self.enrolments.clone(), ..Self::default() }
    }

    /// Whether an object was taken in.
    pub(crate) fn has(&self, key: &ObjectKey) -> bool {
        self.objects.contains_key(key)
    }

    /// How many objects were found, those included that could not be parsed.
    pub(crate) fn count_objects(&self) -> u64 {
        (self.objects.len() + self.unread.len()) as u64
    }

    /// The objects of one writer, with the number of entries in each.
    pub(crate) fn objects_of(&self, writer: WriterId) -> impl Iterator<Item = (ObjectKey, u64)> {
        self.objects.iter().filter(move |(key, _)| key.writer == writer).map(|(key, entries)| (*key, *entries))
    }

    /// When the storage received an object, if the storage tells; the outer `None` where this process has not read it by name.
    pub(crate) fn received(&self, key: &ObjectKey) -> Option<Option<Time>> {
        self.read.get(&key.writer).filter(|(read, _)| read == key).map(|(_, received)| *received)
    }

    /// Verifies what was fetched and makes it part of the ledger.
    pub(crate) fn take_in(&mut self, batch: Batch, rights: Rights<'_>, workers: &Workers) -> Taken {
        if let Some(unknown) = batch.unknown {
            self.unknown.get_or_insert(unknown);
        }
        let mut candidates = Vec::new();
        let mut taken = Taken::default();
        for object in batch.objects {
            self.objects.insert(object.key, object.entries);
            self.unread.remove(&object.key);
            if object.origin == Origin::Storage {
                let last = self.read.entry(object.key.writer).or_insert((object.key, object.received));
                if last.0.first <= object.key.first {
                    *last = (object.key, object.received);
                }
            }
            if object.origin != Origin::Memory {
                let ids = object.candidates.iter().map(|candidate| candidate.entry.id).collect();
                taken.objects.push((object.key, ids));
            }
            candidates.extend(object.candidates);
        }
        self.unread.extend(batch.unread);
        candidates
            .sort_by_key(|candidate| (candidate.entry.writer, candidate.entry.header.sequence, candidate.entry.id));
        candidates.dedup_by_key(|candidate| candidate.entry.id);
        candidates.retain(|candidate| !self.known.contains(&candidate.entry.id));
        self.collect_enrolments(&candidates, rights.admin_key);
        self.verify_signatures(candidates, rights, workers, &mut taken);
        self.link();
        taken
    }

    fn problem(&mut self, object: String, what: impl Into<String>) {
        self.found.push(Problem { object, what: what.into() });
    }

    /// Takes the enrolment of each writer: the one of its first entry that carries one, since all must be the same.
    fn collect_enrolments(&mut self, candidates: &[Candidate], admin_key: &[u8; 32]) {
        // Writers repeat their enrolment, which need not be verified as often.
        let mut verified: HashMap<WriterId, &[u8]> = HashMap::new();
        for Candidate { entry, proof } in candidates {
            let bytes = &entry.header.enrolment;
            if bytes.is_empty() || verified.get(&entry.writer).is_some_and(|known| known == bytes) {
                continue;
            }
            let enrolment = match proof {
                Proof::Remembered => decode_enrolment(bytes),
                Proof::Signature { .. } => verify_enrolment(bytes, admin_key),
            };
            match enrolment {
                Ok(enrolment)
                    if enrolment.writer == entry.writer && enrolment.repository == entry.header.repository =>
                {
                    self.is_outdated |= self.orphaned.contains(&entry.writer);
                    let known = self.enrolments.entry(entry.writer).or_insert_with(|| enrolment.clone());
                    if *known == enrolment {
                        verified.insert(entry.writer, bytes);
                    } else {
                        self.problem(entry.describe(), "the writer has two different enrolments");
                    }
                }
                Ok(_) => self.problem(entry.describe(), "the enrolment is another writer's"),
                Err(Flaw::Malformed(what)) => self.problem(entry.describe(), what),
                Err(Flaw::Newer(what)) => {
                    self.problem(entry.describe(), format!("{what} that this program does not know"));
                    self.unknown.get_or_insert(format!("{}: {what}", entry.describe()));
                }
            }
        }
    }

    fn verify_signatures(
        &mut self,
        candidates: Vec<Candidate>,
        rights: Rights<'_>,
        workers: &Workers,
        taken: &mut Taken,
    ) {
        let verdicts = workers.map(candidates, |Candidate { mut entry, proof }| {
            let enrolment = self.enrolments.get(&entry.writer);
            let valid = enrolment.map(|enrolment| match &proof {
                Proof::Remembered => true,
                Proof::Signature { signed, signature } => verify(&enrolment.key, ENTRY_CONTEXT, signed, signature),
            });
            if let (Some(true) | None, Some(keyring)) = (valid, rights.keyring) {
                entry.unseal(keyring);
            }
            (entry, valid)
        });
        for (entry, valid) in verdicts {
            match valid {
                Some(true) if entry.record().is_some() => drop(taken.lasting.insert(entry.id)),
                Some(true) => {}
                Some(false) => {
                    self.problem(entry.describe(), "the signature is not its writer's");
                    continue;
                }
                None if self.orphaned.insert(entry.writer) => {
                    self.problem(format!("ledger/{}", entry.writer), "the writer's enrolment is missing");
                }
                None => {}
            }
            if self.enrolments.get(&entry.writer).is_some_and(|enrolment| !enrolment.allows(&entry.header)) {
                self.refused.insert(entry.id);
                self.problem(entry.describe(), BEYOND_ENROLMENT);
            }
            self.known.insert(entry.id);
            self.named.extend(&entry.header.parents);
            taken.entries.insert(entry.id);
            self.entries.push(entry);
        }
    }

    /// Looks for gaps, forks and missing parents, and finds the heads.
    fn link(&mut self) {
        // Almost all of them are in order already, which this sort makes use of.
        self.entries.sort_by_key(|entry| (entry.writer, entry.header.sequence, entry.id));
        let (mut problems, mut forks) = (Vec::new(), Vec::new());
        let problem = |entry: &Entry, what: String| Problem { object: entry.describe(), what };
        let mut previous: Option<&Entry> = None;
        self.heads.clear();
        for entry in &self.entries {
            let sequence = entry.header.sequence;
            let before = previous.filter(|previous| previous.writer == entry.writer);
            match before.map(|previous| previous.header.sequence) {
                Some(last) if last == sequence => {
                    self.forked.insert(entry.writer);
                    forks
                        .push(problem(entry, "the chain forks here: copies of one installation wrote both".to_owned()));
                }
                Some(last) if last + 1 == sequence => {}
                None if sequence == 0 => {}
                last => {
                    let missing = sequence - last.map_or(0, |last| last + 1);
                    problems.push(problem(entry, format!("{missing} entries before it are missing")));
                }
            }
            if let Some(parent) = entry.header.parents.iter().find(|parent| !self.known.contains(parent)) {
                problems.push(problem(entry, format!("its parent {parent} is missing")));
            }
            let head = Head { writer: entry.writer, sequence, entry_id: entry.id, closed: entry.header.last };
            self.heads.insert(entry.writer, head);
            previous = Some(entry);
        }
        self.forks = forks;
        self.problems = self.unread.values().chain(&self.found).cloned().chain(problems).collect();
    }

    /// How a chain stands whose last entry is known.
    pub(crate) fn standing(&self, writer: WriterId, last: &LastEntry) -> Standing {
        let head = self.heads.get(&writer);
        let is_other = head.is_some_and(|head| head.sequence == last.sequence && head.entry_id != last.id);
        if is_other || self.forked.contains(&writer) {
            return Standing::Forked;
        }
        let is_ahead = head.is_some_and(|head| head.sequence > last.sequence);
        if is_ahead { Standing::Ahead } else { Standing::Own }
    }

    /// Entries that no other names as a parent, `own` left out, ascending: every entry can be reached from one of them, or from `own`.
    pub(crate) fn unnamed(&self, own: Option<EntryId>) -> Vec<EntryId> {
        let ids = self.entries.iter().map(|entry| entry.id);
        let mut unnamed: Vec<EntryId> = ids.filter(|id| Some(*id) != own && !self.named.contains(id)).collect();
        unnamed.sort();
        unnamed
    }

    /// All newest entries: of every chain one, of one that forks all that nothing follows in it.
    pub(crate) fn tips(&self) -> Vec<Head> {
        let mut tips: Vec<Head> = self.heads.values().copied().collect();
        if self.forked.is_empty() {
            return tips;
        }
        let followed: HashSet<EntryId> =
            self.entries.iter().filter_map(|entry| entry.header.parents.first().copied()).collect();
        for entry in self.entries.iter().filter(|entry| self.forked.contains(&entry.writer)) {
            let is_head = self.heads.get(&entry.writer).is_some_and(|head| head.entry_id == entry.id);
            if !is_head && !followed.contains(&entry.id) {
                let (writer, sequence) = (entry.writer, entry.header.sequence);
                tips.push(Head { writer, sequence, entry_id: entry.id, closed: entry.header.last });
            }
        }
        tips.sort_by_key(|head| (head.writer, head.sequence, head.entry_id));
        tips
    }
}
