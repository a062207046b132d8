//! Golden repositories: written once for each version of the format, committed, and opened, restored and checked by every later program.
//!
//! `vN` is the repository, `vN.key` and `vN.password` open it, `vN.expected.json` says what is in it, in the layout that `compare.py` documents. With `HOLDFAST_GOLDEN_WRITE=1`
//! they are written anew from the fixed tree in [`world`], which is for a version that is not released yet. The tests work on a copy.
#![allow(clippy::unwrap_used)]

mod expected;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use backup_core::Repository;
use backup_core::keyring::{Key, KeyFile};
use backup_core::ops::backup::BackupOptions;
use backup_core::ops::check::{CheckOptions, ReadData};
use backup_core::ops::restore::RestoreOptions;
use backup_core::ops::verify::verify_ledger;
use backup_core::progress::Silent;
use backup_core::repository::RepositoryOptions;
use backup_core::repository::open::InitOptions;
use backup_core::storage::{Storage, StorageOptions};
use serde_json::Value;

/// The versions that this program reads.
const VERSIONS: [&str; 1] = ["v1"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name)
}

fn storage(path: &Path) -> Storage {
    let operator = opendal::Operator::new(opendal::services::Fs::default().root(path.to_str().unwrap())).unwrap();
    Storage::new(operator, StorageOptions::new().pause_ms(0)).unwrap()
}

fn key(version: &str) -> Key {
    Key::File(KeyFile::parse(&fs::read_to_string(golden(&format!("{version}.key"))).unwrap()).unwrap())
}

/// Writes the repository of the present version, if that is asked for. Once, before any test reads it.
fn prepare() {
    static WRITTEN: OnceLock<()> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        if std::env::var_os("HOLDFAST_GOLDEN_WRITE").is_some_and(|value| value == "1") {
            write("v1");
        }
    });
}

fn write(version: &str) {
    let path = golden(version);
    if path.exists() {
        fs::remove_dir_all(&path).unwrap();
    }
    fs::create_dir(&path).unwrap();
    let environment = world::environment();
    let file = KeyFile::generate(&environment);
    let password = "golden password";
    fs::write(golden(&format!("{version}.key")), file.to_text().as_bytes()).unwrap();
    fs::write(golden(&format!("{version}.password")), format!("{password}\n")).unwrap();
    let init = InitOptions::new()
        .chunk_bytes_avg(4 << 10)
        .frame_bytes(64 << 10)
        .pack_bytes(64 << 10)
        .label("key file")
        .further_key(Key::passphrase(password), "password");
    let options = RepositoryOptions::new().environment(environment).threads(1);
    let mut repository = Repository::init(storage(&path), &Key::File(file), &init, options).unwrap();
    let mut expected = Vec::new();
    let small = (0..4).map(|number| ("small", world::small(number)));
    for (tag, tree) in [("first", world::tree(false)), ("changed", world::tree(true))].into_iter().chain(small) {
        let backup = BackupOptions::new().tag(tag).content_hash(true).checkpoint_bytes(1);
        let report = repository.backup(&world::Tree(tree.clone()), &backup, &Silent).unwrap();
        assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
        expected.push(expected::snapshot(tag, &tree));
    }
    repository.repair_index(&Silent).unwrap();
    let text = Value::Array(expected).to_string();
    fs::write(golden(&format!("{version}.expected.json")), text + "\n").unwrap();
}

/// A copy of a golden repository, which may be written to.
fn copy(version: &str) -> tempfile::TempDir {
    prepare();
    let folder = tempfile::tempdir().unwrap();
    copy_tree(&golden(version), &folder.path().join("repository"));
    folder
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn open(folder: &tempfile::TempDir, key: &Key) -> Repository {
    Repository::open(storage(&folder.path().join("repository")), key, RepositoryOptions::new()).unwrap()
}

fn expectations(version: &str) -> Vec<Value> {
    prepare();
    serde_json::from_slice(&fs::read(golden(&format!("{version}.expected.json"))).unwrap()).unwrap()
}

#[test]
fn every_golden_repository_is_of_a_version_that_is_tested() {
    prepare();
    let entries = fs::read_dir(golden("")).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir()).map(|entry| entry.file_name());
    let mut versions: Vec<String> = folders.map(|name| name.into_string().unwrap()).collect();
    versions.retain(|name| !name.starts_with("__"));
    versions.sort();
    assert_eq!(versions, VERSIONS);
}

#[test]
fn a_golden_repository_has_what_it_should_show() {
    let folder = copy("v1");
    let root = folder.path().join("repository");
    let count = |area: &str| storage(&root).list(area).unwrap().len();
    assert_eq!(count("keys/"), 2);
    let packs = count("packs/") + count("meta/");
    // Beside an entry that enrols and one that is the snapshot, a chain with a checkpoint has a third.
    let chains = fs::read_dir(root.join("ledger")).unwrap();
    let longest = chains.map(|chain| fs::read_dir(chain.unwrap().path()).unwrap().count()).max();
    assert!(packs >= 8 && count("index/") >= 1 && longest >= Some(3), "{packs} packs, {longest:?} objects of a chain");
    assert_eq!(storage(&root).list("").unwrap().iter().map(|info| info.length_bytes).sum::<u64>() >> 20, 0);
}

#[test]
fn every_snapshot_lists_as_it_was() {
    for version in VERSIONS {
        let folder = copy(version);
        let repository = open(&folder, &key(version));
        let expected = expectations(version);
        assert_eq!(repository.snapshots().len(), expected.len());
        for (snapshot, expected) in repository.snapshots().iter().zip(&expected) {
            assert_eq!(serde_json::json!(snapshot.manifest.tags), expected["tags"]);
            expected::compare_list(&repository, snapshot, &expected["entries"]);
        }
    }
}

#[test]
fn every_snapshot_is_restored_as_it_was() {
    for version in VERSIONS {
        let folder = copy(version);
        let password = fs::read_to_string(golden(&format!("{version}.password"))).unwrap();
        let mut repository = open(&folder, &Key::passphrase(password.trim_end()));
        let snapshots: Vec<_> = repository.snapshots().iter().map(|snapshot| snapshot.id).collect();
        for (number, (snapshot, expected)) in snapshots.into_iter().zip(expectations(version)).enumerate() {
            let target = folder.path().join(format!("restored {number}"));
            let options = RestoreOptions::new().ownership(false);
            let report = repository.restore(snapshot, None, &target, &options, &Silent).unwrap();
            assert!(report.files_damaged.is_empty(), "{:?}", report.files_damaged);
            expected::compare_restored(&target, &expected["entries"]);
        }
    }
}

#[test]
fn a_check_of_all_data_and_of_the_ledger_finds_nothing() {
    for version in VERSIONS {
        let folder = copy(version);
        let mut repository = open(&folder, &key(version));
        let report = repository.check(&CheckOptions::new().read_data(ReadData::All), &Silent).unwrap();
        assert!(report.damage.is_empty() && report.read_bytes > 0, "{:?}", report.damage);
        let storage = storage(&folder.path().join("repository"));
        for key in [None, Some(key(version))] {
            let report = verify_ledger(&storage, key.as_ref(), &[], RepositoryOptions::new()).unwrap();
            assert!(report.problems.is_empty() && report.entries > 0, "{:?}", report.problems);
        }
    }
}
