//! What the tests of this folder share: a medium in memory that can be copied, an environment without chance, and the comparison of snapshots with what they hold.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use backup_core::environment::{Environment, Surroundings};
use backup_core::id::EntryId;
use backup_core::keyring::{Key, KeyFile};
use backup_core::ops::backup::BackupOptions;
use backup_core::ops::check::{CheckOptions, CheckReport, ReadData};
use backup_core::progress::Silent;
use backup_core::repository::open::InitOptions;
use backup_core::repository::{RepositoryOptions, Snapshot};
use backup_core::storage::{Storage, StorageOptions};
use backup_core::time::Time;
use backup_core::{Repository, Result};
use opendal::{Operator, services};
use tempfile::TempDir;

use crate::source::Tree;

/// All objects of a medium.
pub(crate) type Objects = BTreeMap<String, Vec<u8>>;

/// A clock that steps, and randomness from a counter.
struct Steady(AtomicU64);

impl Surroundings for Steady {
    fn now(&self) -> Time {
        let steps = self.0.fetch_add(1, Ordering::Relaxed);
        Time::new(2_000_000_000 + (steps / 1000) as i64, (steps % 1000) as u32 * 1_000_000)
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        let seed = self.0.fetch_add(1, Ordering::Relaxed);
        bytes.copy_from_slice(&crate::source::noise(seed + 1, bytes.len()));
    }

    fn host(&self) -> String {
        "host".to_owned()
    }

    fn user(&self) -> String {
        "user".to_owned()
    }

    fn zone_offset_seconds(&self, _: Time) -> i32 {
        0
    }
}

/// An empty medium.
pub(crate) fn medium() -> Operator {
    Operator::new(services::Memory::default()).unwrap()
}

/// The storage over a medium, without waiting.
pub(crate) fn storage(medium: &Operator) -> Storage {
    Storage::new(medium.clone(), StorageOptions::new().pause_ms(0).attempts(1)).unwrap()
}

/// A medium that holds these objects.
pub(crate) fn medium_of(objects: &Objects) -> Operator {
    let medium = medium();
    let storage = storage(&medium);
    for (name, bytes) in objects {
        storage.write(name, bytes.clone()).unwrap();
    }
    medium
}

/// All that a medium holds.
pub(crate) fn objects(medium: &Operator) -> Objects {
    let storage = storage(medium);
    let mut names: Vec<String> = Vec::new();
    for area in ["keys/", "periods/", "ledger/", "packs/", "meta/", "index/"] {
        names.extend(storage.list(area).unwrap().into_iter().map(|info| info.name));
    }
    if storage.stat("repository").unwrap().is_some() {
        names.push("repository".to_owned());
    }
    let read = |name: String| (name.clone(), storage.read(&name, 1 << 28).unwrap());
    names.into_iter().map(read).collect()
}

/// Who uses the repository: key, environment, and perhaps lasting state.
pub(crate) struct World {
    key: String,
    environment: Environment,
    pub(crate) state: Option<TempDir>,
}

impl World {
    /// An installation that remembers its writer.
    pub(crate) fn lasting() -> Self {
        Self { state: Some(tempfile::tempdir().unwrap()), ..Self::ephemeral() }
    }

    /// An installation that remembers nothing.
    pub(crate) fn ephemeral() -> Self {
        let environment = Environment::new(Steady(AtomicU64::new(1)));
        let key = KeyFile::generate(&environment).to_text().to_string();
        Self { key, environment, state: None }
    }

    /// The same installation at another time: its state is a copy.
    pub(crate) fn copied(&self) -> Self {
        let state = self.state.as_ref().map(|from| {
            let to = tempfile::tempdir().unwrap();
            copy_directory(from.path(), to.path());
            to
        });
        Self { key: self.key.clone(), environment: self.environment.clone(), state }
    }

    /// The same user on a machine that remembers nothing.
    pub(crate) fn elsewhere(&self) -> Self {
        Self { state: None, ..self.copied() }
    }

    pub(crate) fn key(&self) -> Key {
        Key::File(KeyFile::parse(&self.key).unwrap())
    }

    pub(crate) fn new_key(&self) -> Key {
        Key::File(KeyFile::generate(&self.environment))
    }

    pub(crate) fn options(&self) -> RepositoryOptions {
        let options = RepositoryOptions::new().environment(self.environment.clone()).threads(2);
        match &self.state {
            Some(state) => options.state_dir(state.path()),
            None => options,
        }
    }

    /// Makes a repository of the smallest frames and packs, so that little content fills many.
    pub(crate) fn init(&self, medium: &Operator) -> Result<Repository> {
        let init = InitOptions::new().chunk_bytes_avg(4 << 10).frame_bytes(64 << 10).pack_bytes(64 << 10);
        Repository::init(storage(medium), &self.key(), &init, self.options())
    }

    pub(crate) fn open(&self, medium: &Operator) -> Result<Repository> {
        Repository::open(storage(medium), &self.key(), self.options())
    }
}

fn copy_directory(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// Backs a tree up, with a checkpoint after every few packs.
pub(crate) fn backup(repository: &mut Repository, tree: &Tree) -> Result<EntryId> {
    let options = BackupOptions::new().checkpoint_bytes(50_000);
    Ok(repository.backup(tree, &options, &Silent)?.snapshot_id.unwrap())
}

/// Checks everything, content included.
pub(crate) fn check(repository: &mut Repository) -> CheckReport {
    repository.check(&CheckOptions::new().read_data(ReadData::All), &Silent).unwrap()
}

/// What a snapshot holds, by listing and dumping it.
pub(crate) fn contents(repository: &Repository, id: EntryId) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let snapshot: &Snapshot = repository.snapshots().iter().find(|snapshot| snapshot.id == id).unwrap();
    let mut paths = Vec::new();
    repository.list(snapshot, None, &mut |listed| {
        paths.extend(listed.entry.is_file().then_some(listed.path));
        Ok(())
    })?;
    let dump = |path: Vec<u8>| {
        let mut bytes = Vec::new();
        repository.dump(snapshot, &path, &mut bytes)?;
        Ok((path, bytes))
    };
    paths.into_iter().map(dump).collect()
}

/// Fails unless a snapshot holds exactly a tree.
pub(crate) fn assert_holds(repository: &Repository, id: EntryId, tree: &Tree, when: &str) {
    let found = contents(repository, id).unwrap_or_else(|error| panic!("{when}: snapshot {id}: {error}"));
    assert!(found == tree.contents(), "{when}: snapshot {id} does not hold what was backed up");
}

/// The ids of all snapshots.
pub(crate) fn snapshot_ids(repository: &Repository) -> Vec<EntryId> {
    repository.snapshots().iter().map(|snapshot| snapshot.id).collect()
}
