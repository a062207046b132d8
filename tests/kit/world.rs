//! A repository in memory, with everything that is needed to open it again.

use std::path::Path;

use backup_core::Repository;
use backup_core::id::EntryId;
use backup_core::keyring::{Key, KeyFile};
use backup_core::ops::backup::{BackupOptions, BackupReport};
use backup_core::ops::check::{CheckOptions, CheckReport, ReadData};
use backup_core::ops::restore::{RestoreOptions, RestoreReport};
use backup_core::progress::Silent;
use backup_core::repository::open::InitOptions;
use backup_core::repository::{RepositoryOptions, Snapshot};
use backup_core::source::Source;
use backup_core::storage::{Storage, StorageOptions};
use opendal::{Operator, services};

use super::faulty::Faults;
use super::surroundings::TestSurroundings;

/// Storage that survives the processes of a test, a clock, and a key. Clones share them.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) medium: Operator,
    pub(crate) surroundings: TestSurroundings,
    pub(crate) key: Key,
}

impl World {
    /// Makes empty storage.
    pub(crate) fn new() -> Self {
        let surroundings = TestSurroundings::new(1);
        let key = Key::File(KeyFile::generate(&surroundings.environment()));
        let medium = Operator::new(services::Memory::default()).expect("memory needs nothing");
        Self { medium, surroundings, key }
    }

    /// A new handle on the storage, whose counts begin at zero.
    pub(crate) fn storage(&self) -> Storage {
        storage_over(self.medium.clone())
    }

    /// The same storage with faults.
    pub(crate) fn faulty(&self, faults: &Faults) -> Storage {
        storage_over(self.medium.clone().layer(faults.layer()))
    }

    /// Options of a process without lasting state.
    pub(crate) fn options(&self) -> RepositoryOptions {
        RepositoryOptions::new().environment(self.surroundings.environment()).threads(2)
    }

    /// Options of a process that remembers its writer.
    pub(crate) fn lasting(&self, state: &Path) -> RepositoryOptions {
        self.options().state_dir(state)
    }

    /// Makes a repository with the defaults.
    pub(crate) fn init(&self) -> Repository {
        self.init_with(&InitOptions::new(), self.options())
    }

    /// Makes a repository.
    pub(crate) fn init_with(&self, init: &InitOptions, options: RepositoryOptions) -> Repository {
        Repository::init(self.storage(), &self.key, init, options).expect("a repository can be made in memory")
    }

    /// Opens it as another process does.
    pub(crate) fn open(&self) -> Repository {
        self.open_with(self.options())
    }

    /// Opens it as another process does.
    pub(crate) fn open_with(&self, options: RepositoryOptions) -> Repository {
        Repository::open(self.storage(), &self.key, options).expect("the repository opens")
    }

    /// Names of all objects below a prefix.
    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        self.storage().list(prefix).expect("memory can be listed").into_iter().map(|info| info.name).collect()
    }
}

fn storage_over(operator: Operator) -> Storage {
    let options = StorageOptions::new().pause_ms(0).attempts(3);
    Storage::new(operator, options).expect("memory can be read and listed")
}

/// Backs up with the defaults, and expects a snapshot.
pub(crate) fn backup(repository: &mut Repository, source: &dyn Source) -> BackupReport {
    backup_with(repository, source, &BackupOptions::new())
}

/// Backs up, and expects a snapshot.
pub(crate) fn backup_with(repository: &mut Repository, source: &dyn Source, options: &BackupOptions) -> BackupReport {
    repository.backup(source, options, &Silent).expect("the backup succeeds")
}

/// The snapshot with an id.
pub(crate) fn snapshot(repository: &Repository, id: EntryId) -> Snapshot {
    repository.snapshots().iter().find(|snapshot| snapshot.id == id).expect("the snapshot is there").clone()
}

/// The snapshot that a backup made.
pub(crate) fn made(repository: &Repository, report: &BackupReport) -> Snapshot {
    snapshot(repository, report.snapshot_id.expect("it was no dry run"))
}

/// Restores, and expects that it succeeds without a warning.
pub(crate) fn restore(
    repository: &mut Repository,
    id: Option<EntryId>,
    path: Option<&[u8]>,
    target: &Path,
    options: &RestoreOptions,
) -> RestoreReport {
    let id = id.expect("it was no dry run");
    let report = repository.restore(id, path, target, options, &Silent).expect("the restore succeeds");
    assert_eq!((&report.warnings[..], &report.files_damaged[..]), (&[][..], &[][..]));
    report
}

/// What a file holds in a snapshot.
pub(crate) fn dump(repository: &Repository, snapshot: &Snapshot, path: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    let written = repository.dump(snapshot, path, &mut content).expect("the file can be dumped");
    assert_eq!(written, content.len() as u64);
    content
}

/// All paths of a snapshot, in the order in which they are listed.
pub(crate) fn paths(repository: &Repository, snapshot: &Snapshot) -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    let mut each = |listed: backup_core::ops::list::Listed| {
        paths.push(listed.path);
        Ok(())
    };
    repository.list(snapshot, None, &mut each).expect("the snapshot can be listed");
    paths
}

/// Checks everything, and expects no damage.
pub(crate) fn check_clean(repository: &mut Repository) -> CheckReport {
    let options = CheckOptions::new().read_data(ReadData::All);
    let report = repository.check(&options, &Silent).expect("the check ends");
    assert_eq!((&report.damage[..], &report.warnings[..]), (&[][..], &[][..]));
    report
}
