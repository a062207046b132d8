//! `init` and `open`: the repository object, key slots, keys of periods. Sections 5, 6 and 13 of `docs/format.md`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use super::fold::State;
use super::{Repository, RepositoryOptions};
use crate::chunker::ChunkSizes;
use crate::crypto::{PasswordCost, Secret, hash, verify};
use crate::error::{Error, Result};
use crate::format::bodies::{ClassBody, PeriodBody};
use crate::format::constants::OBJECT_REPOSITORY;
use crate::format::header::{HEADER_BYTES, ObjectHeader};
use crate::format::keys::RepositoryBody;
use crate::format::ledger::SIGNATURE_BYTES;
use crate::format::name::{Domain, ObjectName, REPOSITORY};
use crate::format::record::{self, Flaw};
use crate::id::{ObjectId, PeriodId, RepositoryId, WriterId};
use crate::keyring::slot::RawSlot;
use crate::keyring::{Key, Keyring, PeriodKeys, period, slot};
use crate::ledger::chain::{Chain, Draft};
use crate::ledger::fetch;
use crate::ledger::memory::Memory;
use crate::ledger::read::{Ledger, Problem, Rights};
use crate::limits::{PAD_BYTES_MIN_DEFAULT, SMALL_OBJECT_BYTES_MAX};
use crate::pipeline::Workers;
use crate::storage::Storage;

const REPOSITORY_CONTEXT: &str = "holdfast v1 repository";
/// The class that every repository begins with.
pub const STANDARD_CLASS: &str = "standard";

/// What a new repository is made with. Every setter takes and returns the options by value.
#[derive(Clone, Debug)]
pub struct InitOptions {
    label: String,
    cost: PasswordCost,
    further: Vec<(Key, String)>,
    chunk_bytes_avg: u32,
    frame_bytes: u32,
    pack_bytes: u32,
    page_group_bytes: u32,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self {
            label: "first".to_owned(),
            cost: PasswordCost::default(),
            further: Vec::new(),
            chunk_bytes_avg: 64 << 10,
            frame_bytes: 3 << 20,
            pack_bytes: 16 << 20,
            page_group_bytes: 4 << 10,
        }
    }
}

impl InitOptions {
    /// Makes the defaults: chunks of 64 KiB on average, frames of 1 MiB, packs of 16 MiB.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the first key slot; `first` by default. The name is not secret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// What guessing a passphrase costs.
    pub fn password_cost(mut self, cost: PasswordCost) -> Self {
        self.cost = cost;
        self
    }

    /// Adds another key slot, such as a recovery sheet's.
    pub fn further_key(mut self, key: Key, label: impl Into<String>) -> Self {
        self.further.push((key, label.into()));
        self
    }

    /// Average length of chunks of content, in bytes: a power of two from 4 KiB to 4 MiB; 64 KiB by default.
    pub fn chunk_bytes_avg(mut self, bytes: u32) -> Self {
        self.chunk_bytes_avg = bytes;
        self
    }

    /// Bytes of a group of pages of a database; a group has at least one page, and is one chunk. 4 KiB by default: with larger ones a restore must decode much more.
    pub fn page_group_bytes(mut self, bytes: u32) -> Self {
        self.page_group_bytes = bytes;
        self
    }

    /// Plaintext bytes that share a frame, about: 64 KiB to 16 MiB; 3 MiB by default.
    pub fn frame_bytes(mut self, bytes: u32) -> Self {
        self.frame_bytes = bytes;
        self
    }

    /// Length from which on a pack is closed, once its padding would be small, in bytes: 64 KiB to 128 MiB; 16 MiB by default.
    pub fn pack_bytes(mut self, bytes: u32) -> Self {
        self.pack_bytes = bytes;
        self
    }

    fn check(&self) -> Result<()> {
        let chunks = self.chunk_bytes_avg.is_power_of_two() && (4 << 10..=4 << 20).contains(&self.chunk_bytes_avg);
        let frames = (64 << 10..=16 << 20).contains(&self.frame_bytes);
        let packs = (64 << 10..=128 << 20).contains(&self.pack_bytes);
        if chunks && frames && packs && self.cost.is_acceptable() {
            return Ok(());
        }
        Err(Error::Usage { what: "a size or the cost of guessing lies outside its limits".to_owned() })
    }
}

impl Repository {
    /// Makes a repository at a storage that has none, with the class `standard` and one period without end, and opens it.
    ///
    /// # Errors
    /// [`Error::RepositoryExists`] if there is one; [`Error::Usage`] for sizes outside their limits; [`Error::Storage`].
    pub fn init(storage: Storage, key: &Key, init: &InitOptions, options: RepositoryOptions) -> Result<Self> {
        init.check()?;
        let storage = storage.with_cancel(options.cancel.clone());
        require_free(&storage)?;
        let environment = &options.environment;
        let keyring = Keyring::create(RepositoryId(environment.random()), Secret::new(environment.random()));
        let keys = std::iter::once((key, init.label.as_str()));
        for (key, label) in keys.chain(init.further.iter().map(|(key, label)| (key, label.as_str()))) {
            let object = slot::wrap(&keyring, key, init.cost, label, environment)?;
            storage.write(&ObjectName::Slot(ObjectId(hash(&object))).to_string(), object)?;
        }
        let domain = Domain { class: STANDARD_CLASS.to_owned(), period: PeriodId(environment.random()) };
        let (period, object) = period::create(&keyring, &domain, environment);
        storage.write(&ObjectName::Period(domain.clone(), period).to_string(), object)?;
        let mut chain = Chain::begin(&keyring, options.state_dir.as_deref(), environment)?;
        let drafts = vec![
            Draft::new("", record::encode(&standard_class())),
            Draft {
                closes: !chain.is_lasting(),
                ..Draft::new(STANDARD_CLASS, record::encode(&init.period_body(&domain, period, &options)))
            },
        ];
        chain.commit(&storage, drafts)?;
        drop(chain);
        let object = encode_repository(&keyring, &options);
        storage.write(REPOSITORY, object.clone())?;
        if storage.read(REPOSITORY, SMALL_OBJECT_BYTES_MAX)? != object {
            return Err(Error::RepositoryExists { uri: storage.display() });
        }
        Self::open(storage, key, options)
    }

    /// Opens a repository.
    ///
    /// # Errors
    /// [`Error::NoRepository`], [`Error::Newer`], [`Error::WrongKey`], [`Error::Damaged`], [`Error::Storage`]. Damage in the ledger is no error: see [`Repository::problems`].
    pub fn open(storage: Storage, key: &Key, options: RepositoryOptions) -> Result<Self> {
        Self::find(&storage.with_cancel(options.cancel.clone()))?.open(key, options)
    }

    /// Finds the repository that lies at a storage, without a key: to know that there is one before a key is asked for, and which, for a place in a cache.
    ///
    /// # Errors
    /// [`Error::NoRepository`], [`Error::Newer`], [`Error::Damaged`], [`Error::Storage`].
    pub fn find(storage: &Storage) -> Result<FoundRepository> {
        Ok(FoundRepository { storage: storage.clone(), body: read_repository(storage)? })
    }

    /// Says which repository lies at a storage, without a key.
    ///
    /// # Errors
    /// As for [`Repository::find`].
    pub fn identify(storage: &Storage) -> Result<RepositoryId> {
        Ok(Self::find(storage)?.id())
    }

    /// Opens the objects of periods that are not open yet.
    pub(super) fn load_keys(&mut self) -> Result<()> {
        self.lost_keys.clear();
        for (domain, parameters) in &self.state.periods {
            if self.keys.contains_key(domain) {
                continue;
            }
            let name = ObjectName::Period((**domain).clone(), parameters.object).to_string();
            let open = |object| PeriodKeys::open(&self.keyring, parameters, object);
            let keys = match self.storage.read_cached(&name, SMALL_OBJECT_BYTES_MAX).and_then(open) {
                Err(error) if error.is_damage() && self.storage.forget_cached(&name, None) => {
                    self.storage.read(&name, SMALL_OBJECT_BYTES_MAX).and_then(open)
                }
                keys => keys,
            };
            match keys {
                Ok(keys) => drop(self.keys.insert(Arc::clone(domain), Arc::new(keys))),
                Err(error) if error.is_damage() => {
                    self.lost_keys.push(Problem { object: name, what: error.to_string() });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A repository that was found and not opened yet.
#[derive(Clone, Debug)]
pub struct FoundRepository {
    storage: Storage,
    body: RepositoryBody,
}

impl FoundRepository {
    /// Its id.
    pub fn id(&self) -> RepositoryId {
        self.body.repository
    }

    /// The storage it lies in.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Opens it.
    ///
    /// # Errors
    /// As for [`Repository::open`].
    pub fn open(self, key: &Key, options: RepositoryOptions) -> Result<Repository> {
        let mut storage = self.storage.with_cancel(options.cancel.clone());
        if let Some(cache) = &options.cache {
            storage = storage.cached(cache.clone());
        }
        let keyring = open_keyring(&storage, key, &self.body)?;
        let workers = Arc::new(Workers::new(options.threads));
        let is_local = storage.local_root().is_some();
        let mut memory = options.cache.clone().map(|cache| Memory::new(cache, &keyring, is_local));
        let opened = options.environment.now();
        let mut listed = fetch::list(&storage)?;
        let mut known = Vec::new();
        if let Some(memory) = &mut memory {
            (known, listed) = memory.recall(&workers).pick(listed);
        }
        let mut batch = fetch::read(&storage, &workers, self.body.repository, listed)?;
        batch.objects.extend(known);
        let mut ledger = Ledger::default();
        let admin_key = keyring.admin_key();
        let rights = Rights { admin_key: &admin_key, keyring: Some(&keyring) };
        let taken = ledger.take_in(batch, rights, &workers);
        if let Some(memory) = &mut memory {
            memory.remember(&taken, &ledger);
        }
        let state = State::fold(&ledger, &keyring, &workers);
        let mut repository = Repository {
            storage,
            keyring,
            workers,
            options,
            ledger,
            state,
            keys: HashMap::new(),
            lost_keys: Vec::new(),
            memory,
            opened,
            looked: None,
            remembered: Default::default(),
            chain: Mutex::new(None),
            index: OnceLock::new(),
        };
        repository.load_keys()?;
        Ok(repository)
    }
}

impl InitOptions {
    fn period_body(&self, domain: &Domain, object: ObjectId, options: &RepositoryOptions) -> PeriodBody {
        let sizes = ChunkSizes::around(self.chunk_bytes_avg);
        PeriodBody {
            class: domain.class.clone(),
            period: domain.period,
            object,
            starts: options.environment.now(),
            ends: None,
            chunk_bytes_min: sizes.bytes_min,
            chunk_bytes_avg: sizes.bytes_avg,
            chunk_bytes_max: sizes.bytes_max,
            mask_small: sizes.mask_small,
            mask_large: sizes.mask_large,
            frame_bytes: self.frame_bytes,
            pack_bytes: self.pack_bytes,
            page_group_bytes: self.page_group_bytes,
        }
    }
}

/// Fails unless a repository can be made here: there is none, or only the torn beginning of one that never held a pack.
fn require_free(storage: &Storage) -> Result<()> {
    match read_repository(storage) {
        Err(Error::NoRepository { .. }) => Ok(()),
        Err(error) if error.is_damage() && storage.list("packs/")?.is_empty() && storage.list("meta/")?.is_empty() => {
            Ok(())
        }
        Err(error) if !error.is_damage() && !matches!(error, Error::Newer { .. }) => Err(error),
        _ => Err(Error::RepositoryExists { uri: storage.display() }),
    }
}

fn standard_class() -> ClassBody {
    ClassBody {
        name: STANDARD_CLASS.to_owned(),
        description: "kept until it is forgotten".to_owned(),
        pad_bytes_min: PAD_BYTES_MIN_DEFAULT as u32,
    }
}

fn encode_repository(keyring: &Keyring, options: &RepositoryOptions) -> Vec<u8> {
    let body = RepositoryBody {
        repository: keyring.repository(),
        admin_key: keyring.admin_key(),
        created: options.environment.now(),
    };
    let record = record::encode(&body);
    let header = ObjectHeader { kind: OBJECT_REPOSITORY, writer: WriterId([0; 16]), salt: [0; 32] };
    let mut object = header.encode().to_vec();
    object.extend_from_slice(&(record.len() as u32).to_le_bytes());
    object.extend_from_slice(&record);
    let signature = keyring.admin_signing_key().sign(REPOSITORY_CONTEXT, &object);
    object.extend_from_slice(&signature);
    object
}

/// Reads and verifies the repository object. Its admin key is only pinned once a keyring confirms it.
pub(crate) fn read_repository(storage: &Storage) -> Result<RepositoryBody> {
    let object = match storage.read(REPOSITORY, SMALL_OBJECT_BYTES_MAX) {
        Err(Error::Missing { .. }) => return Err(Error::NoRepository { uri: storage.display() }),
        result => result?,
    };
    decode_repository(&object).map_err(|flaw| flaw.at(REPOSITORY))
}

fn decode_repository(object: &[u8]) -> Result<RepositoryBody, Flaw> {
    let cut_short = Flaw::Malformed("it is cut short");
    ObjectHeader::decode(object, OBJECT_REPOSITORY)?;
    let (signed, signature) = object.split_last_chunk::<SIGNATURE_BYTES>().ok_or(cut_short)?;
    let length = signed.get(HEADER_BYTES..HEADER_BYTES + 4).ok_or(cut_short)?;
    let record = &signed[HEADER_BYTES + 4..];
    record::require(length == (record.len() as u32).to_le_bytes(), "its lengths disagree")?;
    let body: RepositoryBody = record::decode(record)?;
    record::require(verify(&body.admin_key, REPOSITORY_CONTEXT, signed, signature), "its signature is wrong")?;
    Ok(body)
}

/// Reads all key slots. Those that are damaged come as errors, so that the others can still be used.
pub(crate) fn read_slots(storage: &Storage) -> Result<Vec<Result<RawSlot>>> {
    each_slot(storage, |name, id| {
        storage.read(name, SMALL_OBJECT_BYTES_MAX).and_then(|bytes| RawSlot::decode(id, bytes))
    })
}

/// As [`read_slots`], but through the cache. Which slots there are, the storage says.
fn read_slots_cached(storage: &Storage) -> Result<Vec<Result<RawSlot>>> {
    each_slot(storage, |name, id| {
        let decode = |bytes| RawSlot::decode(id, bytes);
        match storage.read_cached(name, SMALL_OBJECT_BYTES_MAX).and_then(decode) {
            Err(error) if error.is_damage() && storage.forget_cached(name, None) => {
                storage.read(name, SMALL_OBJECT_BYTES_MAX).and_then(decode)
            }
            slot => slot,
        }
    })
}

fn each_slot(storage: &Storage, read: impl Fn(&str, ObjectId) -> Result<RawSlot>) -> Result<Vec<Result<RawSlot>>> {
    let names = storage.list("keys/")?.into_iter().map(|info| info.name);
    let slots = names.filter_map(|name| match ObjectName::parse(&name) {
        Some(ObjectName::Slot(id)) => Some(read(&name, id)),
        _ => None,
    });
    Ok(slots.collect())
}

/// Opens the first slot that the key fits. A slot of another repository, left by an `init` that was cut off, is passed over.
fn open_keyring(storage: &Storage, key: &Key, body: &RepositoryBody) -> Result<Keyring> {
    let slots = read_slots_cached(storage)?;
    let count = slots.len();
    let mut damage = None;
    for slot in slots {
        match slot.and_then(|slot| slot.open(key)) {
            Ok(Some(keyring)) if (keyring.repository(), keyring.admin_key()) == (body.repository, body.admin_key) => {
                return Ok(keyring);
            }
            Ok(Some(_)) => {
                damage = Some(Error::damaged(REPOSITORY, "it is another's: the keyring belongs to another repository"));
            }
            Ok(None) => {}
            Err(error) if error.is_damage() || matches!(error, Error::Newer { .. }) => damage = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(damage.unwrap_or(Error::WrongKey { slots: count }))
}
