//! A repository over a line in trouble: backups go on, and what they cannot do they say.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use backup_core::keyring::{Key, KeyFile};
use backup_core::ops::backup::{BackupOptions, BackupReport};
use backup_core::progress::Silent;
use backup_core::repository::RepositoryOptions;
use backup_core::repository::open::InitOptions;
use backup_core::storage::{Storage, StorageOptions};
use backup_core::{Error, Repository, Result};

use crate::kit::model_source::ModelSource;
use crate::kit::noise;
use crate::kit::world::check_clean;
use crate::servers::proxy::{Asked, Deed, Proxy};
use crate::servers::s3::S3Server;

/// A repository on S3 behind a proxy, and an installation with lasting state.
struct World {
    server: S3Server,
    proxy: Proxy,
    key: Key,
    state: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let server = S3Server::start();
        let proxy = Proxy::start(server.address());
        let key = Key::File(KeyFile::generate(&Default::default()));
        let world = Self { server, proxy, key, state: tempfile::tempdir().unwrap() };
        let init = InitOptions::new().pack_bytes(64 << 10).frame_bytes(64 << 10);
        drop(Repository::init(world.storage(), &world.key, &init, world.options("first")).unwrap());
        world
    }

    fn storage(&self) -> Storage {
        let options = StorageOptions::new().pause_ms(1).deadline_seconds(20);
        Storage::from_uri(&S3Server::uri_at(self.proxy.address), options).unwrap()
    }

    fn options(&self, installation: &str) -> RepositoryOptions {
        let state: PathBuf = self.state.path().join(installation);
        RepositoryOptions::new().state_dir(state).threads(2)
    }

    fn open(&self, installation: &str) -> Repository {
        Repository::open(self.storage(), &self.key, self.options(installation)).unwrap()
    }

    fn backup(&self, repository: &mut Repository, seed: u64) -> Result<BackupReport> {
        let source = (0..20).fold(ModelSource::new("/data"), |source, number| {
            source.file(&format!("{seed}/{number}"), &noise(seed * 100 + number, 50_000))
        });
        repository.backup(&source, &BackupOptions::new(), &Silent)
    }

    /// Opens what lies on the server without the proxy, and expects so many snapshots and no damage.
    fn expect_snapshots(&self, number: usize) {
        let storage = Storage::from_uri(&self.server.uri(), StorageOptions::new()).unwrap();
        let mut repository = Repository::open(storage, &self.key, self.options("examiner")).unwrap();
        assert_eq!(repository.snapshots().len(), number);
        check_clean(&mut repository);
    }
}

#[test]
fn a_backup_whose_storage_is_gone_for_a_while_goes_on() {
    let world = World::new();
    let mut repository = world.open("first");
    // Each object that is written finds nobody there for more attempts than a bound of six would stand.
    let asked_for = Mutex::new(HashMap::new());
    world.proxy.does(move |asked: &Asked| {
        let mut asked_for = asked_for.lock().unwrap();
        let times = asked_for.entry(asked.target.clone()).or_insert(0);
        *times += u64::from(asked.is_write());
        if (1..9).contains(times) { Deed::Gone } else { Deed::Pass }
    });
    let report = world.backup(&mut repository, 1).unwrap();
    assert!(report.warnings.is_empty(), "{report:?}");
    let counts = repository.storage().counts();
    assert!(counts.writes >= 18 && counts.retries == counts.writes / 9 * 8, "{counts:?}");
    world.expect_snapshots(1);
}

#[test]
fn a_backup_whose_storage_stays_gone_says_so_and_the_next_one_succeeds() {
    let world = World::new();
    let options = StorageOptions::new().pause_ms(1).deadline_seconds(1);
    let storage = Storage::from_uri(&S3Server::uri_at(world.proxy.address), options).unwrap();
    let mut repository = Repository::open(storage, &world.key, world.options("first")).unwrap();
    world.proxy.does(|asked: &Asked| if asked.is_write() { Deed::Gone } else { Deed::Pass });
    let error = world.backup(&mut repository, 1).unwrap_err();
    assert!(matches!(error, Error::Storage { attempts: 5.., .. }), "{error:?}");
    drop(repository);
    world.proxy.does(|_| Deed::Pass);
    world.expect_snapshots(0);
    world.backup(&mut world.open("first"), 1).unwrap();
    world.expect_snapshots(1);
}

#[test]
fn writes_whose_answers_are_lost_are_done_once_as_far_as_anybody_sees() {
    let world = World::new();
    let mut repository = world.open("first");
    let known = Mutex::new(HashSet::new());
    world.proxy.does(move |asked: &Asked| {
        let is_new = asked.is_write() && known.lock().unwrap().insert(asked.target.clone());
        if is_new { Deed::DropAnswer } else { Deed::Pass }
    });
    world.backup(&mut repository, 1).unwrap();
    let counts = repository.storage().counts();
    assert!(counts.retries >= 3 && counts.retries == counts.writes / 2, "{counts:?}");
    world.expect_snapshots(1);
}

#[test]
fn a_slow_line_that_is_throttled_now_and_then_is_no_failure() {
    let world = World::new();
    let mut repository = world.open("first");
    world.proxy.does(|asked: &Asked| match asked.ordinal % 4 {
        0 => Deed::Answer(503, ""),
        1 => Deed::CutRequest,
        _ => Deed::Delay(Duration::from_millis(5)),
    });
    assert!(world.backup(&mut repository, 1).unwrap().warnings.is_empty());
    world.expect_snapshots(1);
}

#[test]
fn lists_that_lag_hide_snapshots_for_a_while_and_lose_none() {
    let world = World::new();
    // From here on every list is as it was when it was first asked for.
    world.proxy.does(|asked: &Asked| if asked.is_list() { Deed::Lag } else { Deed::Pass });
    for seed in 1..4 {
        // The writer finds its own last entry by name, whatever a list says.
        let report = world.backup(&mut world.open("first"), seed).unwrap();
        assert!(report.snapshot_id.is_some());
        world.backup(&mut world.open("second"), seed).unwrap();
    }
    world.expect_snapshots(6);
}

#[test]
fn a_storage_with_another_clock_is_as_good() {
    let world = World::new();
    world.proxy.does(|_| Deed::Clock("Thu, 01 Jan 1970 00:00:01 GMT"));
    world.backup(&mut world.open("first"), 1).unwrap();
    world.backup(&mut world.open("first"), 2).unwrap();
    world.expect_snapshots(2);
}
