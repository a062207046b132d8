//! What this machine verified of the ledger before, so that neither objects are fetched nor signatures verified twice.
//!
//! One file in the cache: parts that are only appended, each sealed under a key of the keyring. It says which entries verified and what they hold; which objects there *are*,
//! the storage's list says. So an old, cut, damaged or deleted file costs time and nothing else, and nobody without the key can make one that says something wrong.

use std::collections::{HashMap, HashSet};

use crate::codec::{self, Decode, Encode};
use crate::crypto::{Sealer, hash};
use crate::format::ledger::EntryHeader;
use crate::format::record;
use crate::id::{EntryId, WriterId, encode_hex};
use crate::keyring::Keyring;
use crate::ledger::entry::Entry;
use crate::ledger::fetch::{Candidate, Fetched, Listed, ObjectKey, Origin, Proof};
use crate::ledger::read::{Ledger, Taken};
use crate::pipeline::Workers;
use crate::storage::Cache;

const MAGIC: &[u8; 8] = b"HFMEMOR1";
const HEAD_BYTES: usize = 12;
/// A part has about so many bytes, so that workers can open several side by side.
const PART_BYTES: usize = 1 << 20;
/// From so many new objects on it is worth remembering those of a local storage.
const LOCAL_OBJECTS_MIN: usize = 64;

#[derive(Encode, Decode)]
struct Part {
    entries: Vec<RememberedEntry>,
    objects: Vec<RememberedObject>,
}

#[derive(Encode, Decode)]
struct RememberedEntry {
    id: EntryId,
    writer: WriterId,
    header: Vec<u8>,
    record: Vec<u8>,
}

#[derive(Encode, Decode)]
struct RememberedObject {
    writer: WriterId,
    first: u64,
    hash: EntryId,
    entries: Vec<EntryId>,
}

/// The file, and what stands in it.
pub(crate) struct Memory {
    cache: Cache,
    name: String,
    sealer: Sealer,
    /// Small numbers of objects are not worth a write.
    objects_min: usize,
    entries: HashSet<EntryId>,
    objects: HashSet<ObjectKey>,
    /// Parts that opened, where something else stands in the file that should go.
    to_replace: Option<Vec<u8>>,
}

/// What is remembered of objects.
#[derive(Default)]
pub(crate) struct Recalled {
    entries: HashMap<EntryId, Entry>,
    objects: HashMap<ObjectKey, Vec<EntryId>>,
}

impl Memory {
    /// Takes the file in a cache that belongs to a keyring.
    pub(crate) fn new(cache: Cache, keyring: &Keyring, is_local: bool) -> Self {
        let key = keyring.memory_key();
        // Keyrings of different roles remember apart.
        let name = format!("ledger-{}", encode_hex(&hash(key.derive("holdfast v1 memory name", b"").expose())[..8]));
        Self {
            cache,
            name,
            sealer: Sealer::new(&key),
            objects_min: if is_local { LOCAL_OBJECTS_MIN } else { 1 },
            entries: HashSet::new(),
            objects: HashSet::new(),
            to_replace: None,
        }
    }

    /// Reads what is remembered.
    pub(crate) fn recall(&mut self, workers: &Workers) -> Recalled {
        let file = self.cache.read_file(&self.name).unwrap_or_default();
        let parts = divide(&file);
        let divided_bytes: usize = parts.iter().map(|part| part.len()).sum();
        let opened = workers.map(parts, |part| (part, open_part(&self.sealer, part)));
        let mut recalled = Recalled::default();
        let (mut good, mut kept_bytes) = (Vec::new(), 0);
        for (bytes, part) in opened {
            let before = recalled.objects.len() + recalled.entries.len();
            if let Some((entries, objects)) = part {
                recalled.entries.extend(entries.into_iter().map(|entry| (entry.id, entry)));
                recalled.objects.extend(objects);
            }
            // What two processes appended both is kept once.
            if recalled.objects.len() + recalled.entries.len() > before {
                good.push(bytes);
                kept_bytes += bytes.len();
            }
        }
        let is_torn = divided_bytes < file.len();
        if is_torn || kept_bytes < file.len() / 2 {
            self.to_replace = Some(good.concat());
        }
        self.entries = recalled.entries.keys().copied().collect();
        self.objects = recalled.objects.keys().copied().collect();
        recalled
    }

    /// Remembers what verified, where that is possible.
    pub(crate) fn remember(&mut self, taken: &Taken, ledger: &Ledger) {
        let is_kept = |id: &EntryId| self.entries.contains(id) || taken.lasting.contains(id);
        let new = taken.objects.iter().filter(|(key, ids)| !self.objects.contains(key) && ids.iter().all(is_kept));
        let new: Vec<&(ObjectKey, Vec<EntryId>)> = new.collect();
        if new.len() < self.objects_min && self.to_replace.is_none() {
            return;
        }
        let wanted: HashSet<EntryId> =
            new.iter().flat_map(|(_, ids)| ids).filter(|id| !self.entries.contains(*id)).copied().collect();
        let entries = ledger.entries.iter().filter(|entry| wanted.contains(&entry.id));
        let mut appended = Vec::new();
        let mut part = Part { entries: Vec::new(), objects: Vec::new() };
        let mut part_bytes = 0;
        for entry in entries {
            let Some(record) = entry.record() else { continue };
            let (header, record) = (record::encode(&entry.header), record.to_vec());
            part_bytes += header.len() + record.len();
            part.entries.push(RememberedEntry { id: entry.id, writer: entry.writer, header, record });
            if part_bytes >= PART_BYTES {
                appended.extend_from_slice(&self.seal_part(&part));
                part.entries.clear();
                part_bytes = 0;
            }
        }
        // Objects come behind all entries in them: of a file that was cut short, none is remembered without its entries.
        part.objects.extend(new.iter().map(|(key, ids)| RememberedObject {
            writer: key.writer,
            first: key.first,
            hash: key.hash,
            entries: ids.clone(),
        }));
        appended.extend_from_slice(&self.seal_part(&part));
        let written = match self.to_replace.take() {
            Some(good) => self.cache.write_file(&self.name, &[good, appended].concat()),
            None => self.cache.append_to_file(&self.name, &appended),
        };
        if written {
            self.objects.extend(new.iter().map(|(key, _)| *key));
            self.entries.extend(wanted);
        }
    }

    fn seal_part(&self, part: &Part) -> Vec<u8> {
        let blob = self.sealer.seal(MAGIC, 0, &codec::encode(part));
        let length = u32::try_from(blob.len()).expect("parts are far shorter than 4 GiB");
        [&MAGIC[..], &length.to_le_bytes(), &blob].concat()
    }
}

/// Divides the file into parts, up to the first that is none.
fn divide(mut file: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((head, _)) = file.split_first_chunk::<HEAD_BYTES>()
        && head.starts_with(MAGIC)
    {
        let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        let Some((part, rest)) = file.split_at_checked(HEAD_BYTES.saturating_add(length)) else { break };
        parts.push(part);
        file = rest;
    }
    parts
}

type OpenedPart = (Vec<Entry>, Vec<(ObjectKey, Vec<EntryId>)>);

fn open_part(sealer: &Sealer, part: &[u8]) -> Option<OpenedPart> {
    let mut blob = part[HEAD_BYTES..].to_vec();
    let opened = sealer.open(MAGIC, 0, &mut blob).ok()?;
    let part: Part = codec::decode(opened).ok()?;
    let entry = |entry: RememberedEntry| {
        let header: EntryHeader = record::decode(&entry.header).ok()?;
        Some(Entry::remembered(entry.id, entry.writer, header, entry.record))
    };
    let entries = part.entries.into_iter().map(entry).collect::<Option<Vec<_>>>()?;
    let object = |object: RememberedObject| {
        (ObjectKey { writer: object.writer, first: object.first, hash: object.hash }, object.entries)
    };
    Some((entries, part.objects.into_iter().map(object).collect()))
}

impl Recalled {
    /// Takes out the objects of a list that are remembered whole, and returns them with the rest of the list.
    pub(crate) fn pick(mut self, listed: Vec<Listed>) -> (Vec<Fetched>, Vec<Listed>) {
        let (mut found, mut rest) = (Vec::new(), Vec::new());
        let mut given = HashSet::new();
        for object in listed {
            let ids = self.objects.remove(&object.key);
            let is_whole = |id: &EntryId| self.entries.contains_key(id) || given.contains(id);
            let Some(ids) = ids.filter(|ids| ids.iter().all(is_whole)) else {
                rest.push(object);
                continue;
            };
            // An entry may stand in two objects.
            let candidates = ids.iter().filter_map(|id| self.entries.remove(id)).map(|entry| {
                given.insert(entry.id);
                Candidate { entry, proof: Proof::Remembered }
            });
            let candidates = candidates.collect();
            let entries = ids.len() as u64;
            let (key, received) = (object.key, object.received);
            found.push(Fetched { key, candidates, entries, origin: Origin::Memory, received });
        }
        (found, rest)
    }
}
