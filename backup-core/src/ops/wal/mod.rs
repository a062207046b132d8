//! `wal push` and `wal fetch`: PostgreSQL's write-ahead log, file by file, as its `archive_command` and `restore_command` want it.
//!
//! Every file is a snapshot of its own, see [`crate::repository::wal`]. It is stored whole, and its packs are named by its own entry alone: so neither verb reads the index.
//! A push costs the opening, one pack and one entry, a fetch the opening and that pack, however many files there are.
//!
//! Nothing is locked, so two writers that do not know of each other can commit one name. The *first version* counts: the one whose entry has the earlier time, and of two
//! with one time the smaller id. A writer looks again after its commit, so at least the later of the two finds out and fails where the bytes differ.

mod fetch;
mod push;

pub use fetch::FetchReport;
pub use push::PushReport;

use crate::error::{Error, Result};
use crate::format::tree::Entry;
use crate::index::{Index, Voids};
use crate::pack::reader::PackPlace;
use crate::repository::load::Loader;
use crate::repository::names::Place;
use crate::repository::open::STANDARD_CLASS;
use crate::repository::wal::{WAL_CLUSTER, WalFile};
use crate::repository::{Repository, Snapshot};
use crate::words::printable;

/// Whose log it is, and how a file of it is stored. Every setter takes and returns the options by value.
#[derive(Clone, Debug)]
pub struct WalOptions {
    cluster: String,
    class: String,
    level: i32,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self { cluster: WAL_CLUSTER.to_owned(), class: STANDARD_CLASS.to_owned(), level: 3 }
    }
}

impl WalOptions {
    /// Makes the defaults: cluster `main`, class `standard`, zstd level 3.
    pub fn new() -> Self {
        Self::default()
    }

    /// The cluster whose log it is; `main` by default. Files of one name in two clusters have nothing to do with each other.
    pub fn cluster(mut self, cluster: impl Into<String>) -> Self {
        self.cluster = cluster.into();
        self
    }

    /// The class that a pushed file belongs to; `standard` by default. A file is known by its name whatever its class.
    pub fn class(mut self, class: impl Into<String>) -> Self {
        self.class = class.into();
        self
    }

    /// zstd's level for a pushed file, 1 to 19; 3 by default.
    pub fn level(mut self, level: i32) -> Self {
        self.level = level;
        self
    }
}

impl Repository {
    /// All snapshots of a WAL file, the first version first.
    fn wal_versions(&self, file: &WalFile) -> Vec<&Snapshot> {
        let mut versions: Vec<&Snapshot> =
            self.snapshots().iter().filter(|snapshot| snapshot.wal_file().as_ref() == Some(file)).collect();
        if versions.len() > 1 {
            versions.sort_by_key(|snapshot| (self.entry_of(snapshot).map(|entry| entry.header.time), snapshot.id));
        }
        versions
    }

    fn entry_of(&self, snapshot: &Snapshot) -> Option<&crate::ledger::entry::Entry> {
        self.ledger.entries.iter().find(|entry| entry.id == snapshot.id)
    }

    /// Reads a WAL file from the packs that its own entry names; where that fails for damage, once more from wherever the index knows its chunks.
    fn read_wal<T>(
        &self,
        snapshot: &Snapshot,
        file: &WalFile,
        read: &mut dyn FnMut(&Loader<'_>, &Entry) -> Result<T>,
    ) -> Result<T> {
        let mut read = |loader: &Loader<'_>| {
            let path = file.path();
            match snapshot.find(loader, &path)? {
                Place::Entry(entry) if entry.0.is_file() => read(loader, &entry.0),
                _ => Err(Error::damaged(format!("snapshot {}", snapshot.id.short()), "it holds no WAL file")),
            }
        };
        let own = self.own_index(snapshot).and_then(|index| read(&Loader::over(self, &index)));
        match own {
            Err(error) if error.is_damage() => read(&Loader::new(self)?),
            own => own,
        }
    }

    /// The index of the packs that a snapshot's own entry names.
    fn own_index(&self, snapshot: &Snapshot) -> Result<Index> {
        let mut index = Index::default();
        let added = self.entry_of(snapshot).map(|entry| &entry.header.packs_added);
        let places = added.into_iter().flatten().filter_map(|pack| self.state.packs.get(&pack.pack));
        let packs: Vec<_> = places.map(|place| self.open_table(place)).collect::<Result<_>>()?;
        index.extend(packs, true, &Voids::default());
        Ok(index)
    }

    fn open_table(&self, place: &PackPlace) -> Result<crate::pack::reader::OpenPack> {
        let keys = self.keys.get(&place.domain);
        let keys = keys.ok_or_else(|| Error::damaged(place.name(), "the keys of its period are missing"))?;
        place.read_table(keys, &self.storage)
    }
}

/// How messages call a file.
fn describe(file: &WalFile) -> String {
    format!("WAL file {} of cluster {}", file.name, printable(file.cluster.as_bytes()))
}
