//! What is special to directories.

use std::os::unix::fs::PermissionsExt;

use super::*;

const NAME: &str = "packs/standard/00ff/aa11";

fn open(root: &Path) -> Storage {
    Storage::from_uri(root.to_str().unwrap(), StorageOptions::new()).unwrap()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn the_first_write_creates_and_opening_and_reading_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("not/yet/there");
    let storage = open(&root);
    assert!(storage.read(NAME, 1).is_err());
    assert!(storage.list("").unwrap().is_empty());
    storage.delete(NAME).unwrap();
    assert!(!directory.path().join("not").exists());
    storage.write(NAME, vec![1]).unwrap();
    assert_eq!(storage.local_root(), Some(root.as_path()));
    assert!(root.join(NAME).is_file());
}

#[test]
fn files_and_directories_are_the_owners_alone_and_no_temporary_name_stays() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("repository");
    open(&root).write(NAME, vec![1; 1000]).unwrap();
    assert_eq!(mode(&root.join(NAME)), 0o600);
    for parent in ["", "packs", "packs/standard", "packs/standard/00ff"] {
        assert_eq!(mode(&root.join(parent)), 0o700, "{parent}");
    }
    assert_eq!(std::fs::read_dir(root.join("packs/standard/00ff")).unwrap().count(), 1);
}

#[test]
fn a_failed_write_leaves_no_temporary_name() {
    let directory = tempfile::tempdir().unwrap();
    // A directory cannot be replaced by a file.
    std::fs::create_dir_all(directory.path().join(NAME).join("inside")).unwrap();
    let error = open(directory.path()).write(NAME, vec![1]).unwrap_err();
    assert!(matches!(error, Error::Storage { attempts: 1, action: "write", .. }), "{error:?}");
    assert_eq!(std::fs::read_dir(directory.path().join("packs/standard/00ff")).unwrap().count(), 1);
}

#[test]
fn a_directory_without_write_permission_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).write("keys/aa", vec![1]).unwrap();
    let keys = directory.path().join("keys");
    for (path, bits) in [(keys.join("aa"), 0o400), (keys.clone(), 0o500), (directory.path().to_owned(), 0o500)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).unwrap();
    }
    let storage = open(directory.path());
    assert_eq!(storage.read("keys/aa", 1).unwrap(), [1]);
    assert_eq!(storage.list("").unwrap().len(), 1);
    for path in [directory.path(), keys.as_path()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn a_write_notices_that_its_directory_was_removed_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let storage = open(&directory.path().join("repository"));
    storage.write(NAME, vec![1]).unwrap();
    std::fs::remove_dir_all(directory.path().join("repository")).unwrap();
    storage.write(NAME, vec![2]).unwrap();
    assert_eq!(storage.read(NAME, 1).unwrap(), [2]);
}

#[test]
fn only_old_temporary_files_of_ours_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let storage = open(directory.path());
    storage.write("packs/a/1", vec![1]).unwrap();
    let modified = storage.stat("packs/a/1").unwrap().unwrap().modified.unwrap();
    for name in ["1.0123456789abcdef.tmp", "2.0123456789abcdef.tmp", "theirs.tmp", "3.0123.tmp"] {
        std::fs::write(directory.path().join("packs/a").join(name), "torn").unwrap();
    }
    assert_eq!(storage.remove_stale_temporaries(Time::new(modified.seconds + 3_600, 0)).unwrap(), 0);
    assert_eq!(storage.remove_stale_temporaries(Time::new(modified.seconds + 90_000, 0)).unwrap(), 2);
    assert_eq!(std::fs::read_dir(directory.path().join("packs/a")).unwrap().count(), 3);
    assert_eq!(storage.read("packs/a/1", 1).unwrap(), [1]);
}

#[test]
fn links_are_followed_and_circles_of_them_end() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(elsewhere.path(), directory.path().join("packs")).unwrap();
    let storage = open(directory.path());
    storage.write("packs/a/1", vec![1]).unwrap();
    assert!(elsewhere.path().join("a/1").is_file());
    std::os::unix::fs::symlink("..", elsewhere.path().join("a/circle")).unwrap();
    std::os::unix::fs::symlink("nowhere", elsewhere.path().join("a/broken")).unwrap();
    assert_eq!(storage.list("packs/").unwrap()[0].name, "packs/a/1");
}

#[test]
fn an_operator_of_the_scheme_fs_lends_its_root_only() {
    let directory = tempfile::tempdir().unwrap();
    let service = opendal::services::Fs::default().root(directory.path().to_str().unwrap());
    let storage = Storage::new(opendal::Operator::new(service).unwrap(), StorageOptions::new()).unwrap();
    storage.write(NAME, vec![1]).unwrap();
    assert_eq!(mode(&directory.path().join(NAME)), 0o600);
    assert_eq!(storage.display(), storage.local_root().unwrap().to_str().unwrap());
}

#[test]
fn local_storage_is_not_cached() {
    let (directory, cached) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let storage = open(directory.path()).cached(Cache::open(cached.path(), 1 << 20));
    storage.write(NAME, vec![1]).unwrap();
    storage.read_cached(NAME, 1).unwrap();
    assert!(!storage.forget_cached(NAME, None));
    assert_eq!(std::fs::read_dir(cached.path()).unwrap().count(), 0);
}
