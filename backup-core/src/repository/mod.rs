//! A repository: opened, folded, and ready for verbs. Chunks are loaded and saved here; what verbs do with them is in [`crate::ops`].
//!
//! The state is the fold of the ledger ([`fold`]). Loading ([`load`], [`nodes`]) verifies every chunk by its full id; saving ([`save`]) dedups, frames, packs and uploads;
//! nothing is in the repository before [`Repository::commit`] wrote the entry that names it. What others commit meanwhile is found by [`news`].

pub mod base;
pub mod build;
#[cfg(test)]
pub(crate) mod by_hand;
pub mod fetch;
pub mod fold;
pub mod frames;
pub mod load;
pub mod names;
pub mod news;
pub mod nodes;
pub mod old;
pub mod open;
pub mod recent;
pub mod rehash;
pub mod save;
pub mod wal;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::format::bodies::{VoidBody, VoidRow};
use crate::format::name::Domain;
use crate::format::record;
use crate::id::{EntryId, RepositoryId, WriterId};
use crate::index::{Index, LocalIndex, Reading, Voids};
use crate::keyring::{Keyring, PeriodKeys};
use crate::ledger::chain::{Chain, Draft, TakenUp};
use crate::ledger::memory::Memory;
use crate::ledger::read::{Head, Ledger, Problem};
use crate::pack::reader::{OpenPack, PackPlace};
use crate::pipeline::Workers;
use crate::progress::{Cancel, Warning};
use crate::storage::Storage;
use crate::time::Time;

pub use fold::Snapshot;
use fold::State;

/// How a repository is opened. Every setter takes and returns the options by value.
#[derive(Clone, Debug, Default)]
pub struct RepositoryOptions {
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) cache: Option<crate::storage::Cache>,
    pub(crate) environment: Environment,
    pub(crate) threads: Option<usize>,
    pub(crate) cancel: Cancel,
    pub(crate) storage: crate::storage::StorageOptions,
}

impl RepositoryOptions {
    /// Makes the defaults: no lasting state, no cache, all cores.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where this installation remembers its writers between processes; it is not a cache. Without it every process enrols a writer of its own, and closes its chain with its commit.
    pub fn state_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(directory.into());
        self
    }

    /// Keeps on local disk what was verified of the ledger, and of a remote storage tables, nodes and small objects. What the tables of many packs say is kept there in files that are mapped, so that
    /// memory does not grow with the number of chunks. By default nothing is kept.
    pub fn cache(mut self, cache: crate::storage::Cache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Clock, randomness and host; by default the system's.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Worker threads; by default one for each core.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// A token by which running verbs can be stopped.
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// Attempts, deadline and concurrency of requests.
    pub fn storage(mut self, storage: crate::storage::StorageOptions) -> Self {
        self.storage = storage;
        self
    }
}

/// An open repository.
pub struct Repository {
    pub(crate) storage: Storage,
    pub(crate) keyring: Keyring,
    pub(crate) workers: Arc<Workers>,
    pub(crate) options: RepositoryOptions,
    pub(crate) ledger: Ledger,
    pub(crate) state: State,
    pub(crate) keys: HashMap<Arc<Domain>, Arc<PeriodKeys>>,
    /// Periods whose keys could not be had, and why.
    pub(crate) lost_keys: Vec<Problem>,
    /// What is remembered of the ledger in the cache, if there is one.
    memory: Option<Memory>,
    /// When the ledger was read first.
    opened: Time,
    /// When a backup looked last which packs are there and what others committed.
    pub(crate) looked: Option<Time>,
    /// What backups opened that trust what this process saw.
    pub(crate) remembered: base::Remembered,
    chain: Mutex<Option<Chain>>,
    index: OnceLock<LoadedIndex>,
}

/// For so long what was read of the storage need not be asked for again.
const JUST_READ_SECONDS: u64 = 60;

#[derive(Default)]
struct LoadedIndex {
    index: Index,
    unreadable: Vec<PackPlace>,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository").field("storage", &self.storage).field("id", &self.id()).finish_non_exhaustive()
    }
}

impl Repository {
    /// The repository's id.
    pub fn id(&self) -> RepositoryId {
        self.keyring.repository()
    }

    /// The storage it lies in.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// All snapshots, oldest content first.
    pub fn snapshots(&self) -> &[Snapshot] {
        &self.state.snapshots
    }

    /// The newest entry of every writer's chain: to be noted elsewhere, so that a later check can prove that history was only extended. A chain that forks may have several.
    pub fn heads(&self) -> Vec<Head> {
        self.ledger.tips()
    }

    /// Places where copies of one installation wrote two entries: both count, and nothing is lost.
    pub fn forks(&self) -> &[Problem] {
        &self.ledger.forks
    }

    /// What is wrong with the ledger or with keys of periods, found when the repository was opened.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.ledger.problems.iter().chain(&self.state.problems).chain(&self.lost_keys)
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.options.environment
    }

    /// The index of all chunks, read at the first use.
    pub(crate) fn index(&self) -> Result<&Index> {
        Ok(&self.loaded_index()?.index)
    }

    /// Packs whose tables could not be read.
    pub(crate) fn unreadable_packs(&self) -> Result<&[PackPlace]> {
        Ok(&self.loaded_index()?.unreadable)
    }

    fn loaded_index(&self) -> Result<&LoadedIndex> {
        if let Some(loaded) = self.index.get() {
            return Ok(loaded);
        }
        let places: Vec<PackPlace> = self.state.packs.values().cloned().collect();
        let (local, voids) = (self.local_index(), &self.state.voids);
        let (index, unreadable) = Index::load(self.reading(), local.as_ref(), self.environment(), places, voids)?;
        Ok(self.index.get_or_init(|| LoadedIndex { index, unreadable }))
    }

    /// The folder of mapped segments, where there is a cache.
    pub(crate) fn local_index(&self) -> Option<LocalIndex> {
        self.options.cache.as_ref().map(|cache| LocalIndex::new(cache, &self.keyring))
    }

    /// What reading tables needs.
    pub(crate) fn reading(&self) -> Reading<'_> {
        Reading { storage: &self.storage, workers: &self.workers, keys: &self.keys }
    }

    /// Runs a verb that neither looks for what is stored nor reads any table for it: it finds the index empty.
    pub(crate) fn without_index<T>(&mut self, verb: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.index = OnceLock::from(LoadedIndex::default());
        let result = verb(self);
        self.index = OnceLock::new();
        result
    }

    /// How many chunks the index holds, over all packs.
    ///
    /// # Errors
    /// [`Error::Storage`] where tables cannot be read.
    pub fn count_chunks(&self) -> Result<u64> {
        Ok(self.index()?.len() as u64)
    }

    /// Fails unless this program may write here.
    pub(crate) fn require_writable(&self) -> Result<()> {
        match &self.state.unknown {
            Some(object) => {
                Err(Error::Newer { object: object.clone(), what: "it must be understood before anything is written" })
            }
            None => Ok(()),
        }
    }

    /// Takes up this installation's chain, so that entries can be written. Returns what should be said about it.
    pub(crate) fn take_up_chain(&self) -> Result<Option<Warning>> {
        self.require_writable()?;
        let environment = self.environment();
        let was_just_read = environment.now().seconds_apart(self.opened) <= JUST_READ_SECONDS;
        let mut slot = self.chain();
        let taken_up = match slot.as_mut() {
            Some(chain) => chain.go_on(&self.ledger, &self.storage, was_just_read)?,
            None => {
                let directory = self.options.state_dir.as_deref();
                let (chain, taken_up) =
                    Chain::take_up(&self.keyring, directory, environment, &self.ledger, &self.storage, was_just_read)?;
                *slot = Some(chain);
                taken_up
            }
        };
        Ok(match taken_up {
            TakenUp::Same | TakenUp::Enrolled => None,
            TakenUp::Cloned => Some(news::shared(false)),
            TakenUp::Forked => Some(news::shared(true)),
        })
    }

    /// Enrols the writer whose chain was taken up, if it is new: who relies on what is stored must be known before.
    pub(crate) fn enrol_writer(&self) -> Result<()> {
        self.chain().as_mut().map_or(Ok(()), |chain| chain.enrol(&self.storage))
    }

    fn chain(&self) -> MutexGuard<'_, Option<Chain>> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer whose chain was taken up; zeros if none was.
    pub(crate) fn writer(&self) -> WriterId {
        self.chain().as_ref().map_or(WriterId([0; 16]), Chain::writer)
    }

    /// Writes entries, after all that they name is durable. Closes the chain of a writer that nothing remembers when `last` says so.
    pub(crate) fn commit(&self, mut drafts: Vec<Draft>, last: bool) -> Result<Vec<EntryId>> {
        let mut slot = self.chain();
        let chain = slot.as_mut().expect("verbs that write take the chain up first");
        if let (true, false, Some(draft)) = (last, chain.is_lasting(), drafts.last_mut()) {
            draft.closes = true;
        }
        chain.commit(&self.storage, drafts)
    }

    /// Records locations found bad, so that nobody relies on them and the next backup stores their chunks anew.
    pub(crate) fn void(&mut self, bad: &Voids, reason: &str) -> Result<()> {
        if let Some(draft) = self.void_draft(bad, reason) {
            self.commit(vec![draft], false)?;
            self.apply_voids(bad);
        }
        Ok(())
    }

    /// The entry that records locations found bad; `None` where all of them are known.
    pub(crate) fn void_draft(&self, bad: &Voids, reason: &str) -> Option<Draft> {
        let new = bad.without(&self.state.voids);
        let row = |(pack, frames): (_, Option<&BTreeSet<u32>>)| VoidRow {
            pack,
            frames: frames.map(|frames| frames.iter().copied().collect()).unwrap_or_default(),
            whole: frames.is_none(),
        };
        let mut voids: Vec<VoidRow> = new.iter().map(row).collect();
        voids.sort_by_key(|row| row.pack);
        let body = VoidBody { voids, reason: reason.to_owned() };
        (!new.is_empty()).then(|| Draft::new("", record::encode(&body)))
    }

    /// Takes locations that were recorded as bad out of what this process knows.
    pub(crate) fn apply_voids(&mut self, bad: &Voids) {
        if bad.without(&self.state.voids).is_empty() {
            return;
        }
        for (pack, frames) in bad.iter() {
            self.state.voids.add(pack, frames.map(|frames| frames.iter().copied()));
        }
        self.index = OnceLock::new();
    }

    /// Makes packs that were just committed known to this process: those of checkpoints, and those of the last entry.
    pub(crate) fn adopt(&mut self, named: Index, packs: Vec<OpenPack>) {
        let places = named.packs().iter().map(|pack| &pack.place).chain(packs.iter().map(|pack| &pack.place));
        self.state.packs.extend(places.map(|place| (place.id, place.clone())));
        if let Some(loaded) = self.index.get_mut() {
            loaded.index.absorb(named);
        }
        self.grow_index(packs, Vec::new());
    }

    /// Adds packs to the index, if it was loaded. Where it would grow with their rows beyond what an opening leaves in memory, it is loaded anew when it is needed next. `unreadable` are packs whose
    /// tables could not be read.
    fn grow_index(&mut self, packs: Vec<OpenPack>, unreadable: Vec<PackPlace>) {
        let (local, rows) = (self.local_index(), packs.iter().map(|pack| pack.table.len()).sum());
        let Some(loaded) = self.index.get_mut() else { return };
        if local.is_some_and(|local| loaded.index.is_overgrown(&local, rows)) {
            self.index = OnceLock::new();
            return;
        }
        loaded.index.extend(packs, unreadable.is_empty(), &self.state.voids);
        loaded.unreadable.extend(unreadable);
    }
}
