//! Fetches objects below `ledger/` that are listed and not known yet, and takes their entries out. What the entries are worth is for [`super::read`] to say.
//!
//! Some objects repeat the entries of many smaller ones. They are read first, and of the smaller ones those need not be read whose names are the hashes of what was read already.

use std::collections::{BTreeMap, HashMap};

use crate::crypto::{Hasher, hash};
use crate::error::{Error, Result};
use crate::format::ledger::{RawEntry, split};
use crate::format::name::ObjectName;
use crate::id::{EntryId, RepositoryId, WriterId};
use crate::ledger::entry::Entry;
use crate::ledger::read::Problem;
use crate::limits::LEDGER_OBJECT_BYTES_MAX;
use crate::pipeline::Workers;
use crate::storage::Storage;
use crate::time::Time;

/// From so many bytes on an object may repeat smaller ones.
pub(crate) const REPEATING_BYTES_MIN: u64 = 4 << 10;
/// Most entries of a small object for which it is worth finding out whether it is repeated elsewhere.
const REPEATED_ENTRIES_MAX: usize = 16;

/// The name of an object below `ledger/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectKey {
    pub(crate) writer: WriterId,
    pub(crate) first: u64,
    pub(crate) hash: EntryId,
}

impl ObjectKey {
    /// Parses a name; `None` where it is that of something else.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match ObjectName::parse(name)? {
            ObjectName::Ledger(writer, first, hash) => Some(Self { writer, first, hash }),
            _ => None,
        }
    }

    /// The object's name.
    pub(crate) fn name(&self) -> String {
        ObjectName::Ledger(self.writer, self.first, self.hash).to_string()
    }
}

/// An object as a list has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listed {
    pub(crate) key: ObjectKey,
    pub(crate) length_bytes: u64,
    pub(crate) received: Option<Time>,
}

/// An entry that is not verified yet, and what speaks for it.
#[derive(Clone)]
pub(crate) struct Candidate {
    pub(crate) entry: Entry,
    pub(crate) proof: Proof,
}

/// What speaks for an entry.
#[derive(Clone)]
pub(crate) enum Proof {
    /// A signature over bytes, not verified yet.
    Signature { signed: Vec<u8>, signature: [u8; 64] },
    /// This machine verified it earlier, and remembers that under a seal.
    Remembered,
}

/// Where an object was had from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From the storage, by its name.
    Storage,
    /// This process wrote it.
    Written,
    /// It was verified earlier.
    Memory,
}

/// An object and what is in it.
#[derive(Clone)]
pub(crate) struct Fetched {
    pub(crate) key: ObjectKey,
    /// Those of its entries that no other object of the batch has given already.
    pub(crate) candidates: Vec<Candidate>,
    /// How many entries it holds.
    pub(crate) entries: u64,
    pub(crate) origin: Origin,
    pub(crate) received: Option<Time>,
}

/// Objects of one look at the storage.
#[derive(Clone, Default)]
pub(crate) struct Batch {
    pub(crate) objects: Vec<Fetched>,
    /// Objects that could not be parsed.
    pub(crate) unread: Vec<(ObjectKey, Problem)>,
    /// Something in an object that this program does not know and must understand.
    pub(crate) unknown: Option<String>,
}

impl Batch {
    /// Whether nothing was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.unread.is_empty()
    }

    /// Adds what a later look found.
    pub(crate) fn extend(&mut self, later: Batch) {
        self.objects.extend(later.objects);
        self.unread.extend(later.unread);
        self.unknown = self.unknown.take().or(later.unknown);
    }
}

/// Lists all objects of the ledger.
pub(crate) fn list(storage: &Storage) -> Result<Vec<Listed>> {
    let infos = storage.list("ledger/")?;
    let listed = infos.into_iter().filter_map(|info| {
        let key = ObjectKey::parse(&info.name)?;
        Some(Listed { key, length_bytes: info.length_bytes, received: info.modified })
    });
    Ok(listed.collect())
}

/// Reads objects.
///
/// # Errors
/// [`Error::Storage`]. What is wrong with an object is in the batch.
pub(crate) fn read(
    storage: &Storage,
    workers: &Workers,
    repository: RepositoryId,
    listed: Vec<Listed>,
) -> Result<Batch> {
    let (large, small): (Vec<_>, Vec<_>) =
        listed.into_iter().partition(|object| object.length_bytes >= REPEATING_BYTES_MIN);
    let mut batch = read_each(storage, workers, repository, large)?;
    let read = Entries::of(&batch);
    let (mut repeated, mut rest) = (Vec::new(), Vec::new());
    for object in small {
        match read.make_up(&object.key) {
            Some(candidates) => {
                repeated.push(Fetched::read(&object, candidates));
            }
            None => rest.push(object),
        }
    }
    batch.objects.extend(repeated);
    batch.extend(read_each(storage, workers, repository, rest)?);
    Ok(batch)
}

fn read_each(storage: &Storage, workers: &Workers, repository: RepositoryId, listed: Vec<Listed>) -> Result<Batch> {
    let mut batch = Batch::default();
    let results = workers.map(listed, |object| (object, read_one(storage, repository, &object.key)));
    for (object, result) in results {
        let key = object.key;
        match result {
            Ok(candidates) => batch.objects.push(Fetched::read(&object, candidates)),
            Err(error) if error.is_damage() => {
                let problem = Problem { object: error.object().unwrap_or_default(), what: error.to_string() };
                batch.unread.push((key, problem));
            }
            Err(Error::Newer { object, what }) => {
                let problem =
                    Problem { object: object.clone(), what: format!("{what} that this program does not know") };
                batch.unread.push((key, problem));
                batch.unknown.get_or_insert(format!("{object}: {what}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(batch)
}

fn read_one(storage: &Storage, repository: RepositoryId, key: &ObjectKey) -> Result<Vec<Candidate>> {
    let name = key.name();
    let bytes = storage.read(&name, LEDGER_OBJECT_BYTES_MAX)?;
    if hash(&bytes) != key.hash.0 {
        return Err(Error::damaged(name, "its bytes do not hash to its name"));
    }
    let raw = split(&bytes).map_err(|flaw| flaw.at(&name))?;
    // What an `init` left that was cut off belongs to no repository here.
    if raw.iter().all(|raw| raw.header.repository != repository) {
        return Ok(Vec::new());
    }
    let fits = |(i, raw): (u64, &RawEntry<'_>)| {
        raw.object.writer == key.writer && raw.header.repository == repository && raw.header.sequence == key.first + i
    };
    if !(0u64..).zip(&raw).all(fits) {
        return Err(Error::damaged(name, "an entry belongs elsewhere"));
    }
    Ok(raw.iter().map(Candidate::from_raw).collect())
}

impl Candidate {
    fn from_raw(raw: &RawEntry<'_>) -> Self {
        let proof = Proof::Signature { signed: raw.signed.to_vec(), signature: raw.signature };
        Self { entry: Entry::from_raw(raw), proof }
    }
}

impl Fetched {
    /// Takes an object that this process wrote.
    pub(crate) fn written(key: ObjectKey, bytes: &[u8]) -> Result<Self> {
        let raw = split(bytes).map_err(|flaw| flaw.at(key.name()))?;
        let listed = Listed { key, length_bytes: bytes.len() as u64, received: None };
        let read = Self::read(&listed, raw.iter().map(Candidate::from_raw).collect());
        Ok(Self { origin: Origin::Written, ..read })
    }

    fn read(listed: &Listed, candidates: Vec<Candidate>) -> Self {
        let entries = candidates.len() as u64;
        Self { key: listed.key, candidates, entries, origin: Origin::Storage, received: listed.received }
    }
}

/// The entries of objects that were read, by writer and sequence.
#[derive(Default)]
struct Entries<'a>(HashMap<WriterId, BTreeMap<u64, Vec<&'a Candidate>>>);

impl<'a> Entries<'a> {
    fn of(batch: &'a Batch) -> Self {
        let mut entries = Self::default();
        for candidate in batch.objects.iter().flat_map(|object| &object.candidates) {
            let chain = entries.0.entry(candidate.entry.writer).or_default();
            chain.entry(candidate.entry.header.sequence).or_default().push(candidate);
        }
        entries
    }

    /// The entries of an object that holds nothing but some of these: its name is their hash, one after another.
    fn make_up(&self, key: &ObjectKey) -> Option<Vec<Candidate>> {
        let chain = self.0.get(&key.writer)?;
        let (mut hasher, mut inside) = (Hasher::default(), Vec::new());
        for (sequence, (known, candidates)) in (key.first..).zip(chain.range(key.first..)).take(REPEATED_ENTRIES_MAX) {
            // Where the chain forks, it is simpler to read.
            let ([candidate], true) = (&candidates[..], sequence == *known) else { return None };
            let Proof::Signature { signed, signature } = &candidate.proof else { return None };
            inside.push((*candidate).clone());
            if hasher.update(signed).update(signature).finish() == key.hash.0 {
                return Some(inside);
            }
        }
        None
    }
}
