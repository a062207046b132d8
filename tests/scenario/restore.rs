//! Restoring: what is asked for, onto what is there, and never outside the target.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

use backup_core::id::EntryId;
use backup_core::ops::restore::{Overwrite, RestoreOptions};
use backup_core::progress::Silent;
use backup_core::{Error, Repository};

use crate::kit::model_source::{ModelSource, Node};
use crate::kit::noise;
use crate::kit::tree::{Kind, Tree, tree_of};
use crate::kit::world::{World, backup, restore};

/// A repository with one snapshot of a small tree.
fn stored() -> (Repository, Option<EntryId>, ModelSource) {
    let mut source = ModelSource::new("/data")
        .file("a.txt", b"first")
        .file("below/b.rs", &noise(1, 300_000))
        .file("below/deeper/c.txt", b"third")
        .file("long", &noise(2, 20 << 20));
    source.put("link", Node::Link(b"a.txt".to_vec()));
    let mut repository = World::new().init();
    let report = backup(&mut repository, &source);
    (repository, report.snapshot_id, source)
}

/// All below a directory, but not itself: a target that was there before is not the snapshot's to describe.
fn below(directory: &Path) -> Tree {
    let mut tree = tree_of(directory);
    tree.remove(&b""[..]);
    tree
}

/// Paths of everything but directories below one.
fn files_below(directory: &Path) -> BTreeSet<String> {
    let tree = tree_of(directory);
    let files = tree.into_iter().filter(|(_, seen)| seen.kind != Kind::Directory);
    files.map(|(path, _)| String::from_utf8(path).unwrap()).collect()
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

#[test]
fn a_directory_is_restored_into_the_target_and_a_file_to_it_or_into_it() {
    let (mut repository, id, _) = stored();
    let directory = tempfile::tempdir().unwrap();
    let target = |name: &str| directory.path().join(name);
    let options = RestoreOptions::new();
    restore(&mut repository, id, Some(b"/data/below"), &target("one"), &options);
    assert_eq!(files_below(&target("one")), set(["b.rs", "deeper/c.txt"]));
    restore(&mut repository, id, Some(b"/data/a.txt"), &target("two"), &options);
    assert_eq!(fs::read(target("two")).unwrap(), b"first");
    restore(&mut repository, id, Some(b"/data/a.txt"), &target("one"), &options);
    assert_eq!(fs::read(target("one/a.txt")).unwrap(), b"first");
    restore(&mut repository, id, Some(b"/"), &target("three"), &options);
    assert!(target("three/data/below/deeper/c.txt").exists());
    restore(&mut repository, id, None, &target("four"), &options);
    assert!(target("four/data/below/deeper/c.txt").exists());
}

#[test]
fn a_path_or_snapshot_that_is_not_there_is_named_and_nothing_written() {
    let (mut repository, id, _) = stored();
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("target");
    let mut attempt = |id, path| repository.restore(id, path, &target, &RestoreOptions::new(), &Silent).unwrap_err();
    let missing = attempt(id.unwrap(), Some(&b"/data/nowhere"[..]));
    assert!(matches!(&missing, Error::PathNotFound { path, .. } if path == "/data/nowhere"), "{missing:?}");
    assert!(matches!(attempt(id.unwrap(), Some(&b"/data/a.txt/x"[..])), Error::PathNotFound { .. }));
    assert!(matches!(attempt(EntryId([7; 32]), None), Error::SnapshotName { matches: 0, .. }));
    assert!(!target.exists());
}

#[test]
fn onto_what_is_there_only_what_differs_is_written() {
    let (mut repository, id, _) = stored();
    let directory = tempfile::tempdir().unwrap();
    let options = RestoreOptions::new();
    let root = Some(&b"/data"[..]);
    let first = restore(&mut repository, id, root, directory.path(), &options);
    assert_eq!((first.files_written, first.restored_bytes), (4, 5 + 300_000 + 5 + (20 << 20)));
    let whole = below(directory.path());
    let again = restore(&mut repository, id, root, directory.path(), &options);
    assert_eq!((again.files_written, again.files_unchanged, again.restored_bytes), (0, 4, 0));
    let long = fs::OpenOptions::new().write(true).open(directory.path().join("long")).unwrap();
    long.write_all_at(b"spoilt", 10 << 20).unwrap();
    drop(long);
    fs::write(directory.path().join("a.txt"), "another").unwrap();
    let mended = restore(&mut repository, id, root, directory.path(), &options);
    assert_eq!((mended.files_written, mended.files_unchanged), (2, 2));
    assert!((5..2 << 20).contains(&mended.restored_bytes), "{}", mended.restored_bytes);
    crate::kit::tree::assert_same(&whole, &below(directory.path()));
}

#[test]
fn files_that_are_too_long_or_too_short_are_mended() {
    let (mut repository, id, _) = stored();
    let directory = tempfile::tempdir().unwrap();
    let root = Some(&b"/data"[..]);
    restore(&mut repository, id, root, directory.path(), &RestoreOptions::new());
    let whole = below(directory.path());
    for (name, length) in [("long", (20 << 20) + 5), ("below/b.rs", 299_999), ("a.txt", 0)] {
        fs::OpenOptions::new().write(true).open(directory.path().join(name)).unwrap().set_len(length).unwrap();
    }
    let report = restore(&mut repository, id, root, directory.path(), &RestoreOptions::new());
    assert_eq!((report.files_written, report.files_unchanged), (3, 1));
    crate::kit::tree::assert_same(&whole, &below(directory.path()));
}

#[test]
fn the_overwrite_mode_decides_over_what_is_there() {
    let (mut repository, id, _) = stored();
    let root = Some(&b"/data"[..]);
    let content_after = |repository: &mut Repository, overwrite, keep_time: bool| {
        let directory = tempfile::tempdir().unwrap();
        restore(repository, id, root, directory.path(), &RestoreOptions::new());
        let path = directory.path().join("a.txt");
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "FIRST").unwrap();
        if keep_time {
            fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        }
        fs::remove_file(directory.path().join("below/b.rs")).unwrap();
        restore(repository, id, root, directory.path(), &RestoreOptions::new().overwrite(overwrite));
        assert!(directory.path().join("below/b.rs").exists());
        fs::read_to_string(path).unwrap()
    };
    assert_eq!(content_after(&mut repository, Overwrite::Always, true), "first");
    assert_eq!(content_after(&mut repository, Overwrite::IfChanged, true), "FIRST");
    assert_eq!(content_after(&mut repository, Overwrite::IfChanged, false), "first");
    assert_eq!(content_after(&mut repository, Overwrite::Never, false), "FIRST");
}

#[test]
fn delete_removes_what_the_snapshot_does_not_have() {
    let (mut repository, id, _) = stored();
    let directory = tempfile::tempdir().unwrap();
    let root = Some(&b"/data"[..]);
    fs::create_dir_all(directory.path().join("below/more/of/it")).unwrap();
    fs::write(directory.path().join("below/more/of/it/file"), "x").unwrap();
    fs::write(directory.path().join("top"), "x").unwrap();
    restore(&mut repository, id, root, directory.path(), &RestoreOptions::new());
    assert!(directory.path().join("top").exists() && directory.path().join("below/more/of/it/file").exists());
    let report = restore(&mut repository, id, root, directory.path(), &RestoreOptions::new().delete(true));
    assert_eq!(report.deleted, 2);
    assert_eq!(files_below(directory.path()), set(["a.txt", "below/b.rs", "below/deeper/c.txt", "link", "long"]));
}

#[test]
fn what_stands_in_the_way_is_replaced() {
    let (mut repository, id, _) = stored();
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("a.txt/was/a/directory")).unwrap();
    fs::write(directory.path().join("below"), "was a file").unwrap();
    fs::create_dir(directory.path().join("link")).unwrap();
    restore(&mut repository, id, Some(b"/data"), directory.path(), &RestoreOptions::new());
    assert_eq!(files_below(directory.path()), set(["a.txt", "below/b.rs", "below/deeper/c.txt", "link", "long"]));
}

#[test]
fn globs_choose_what_is_restored() {
    let (mut repository, id, _) = stored();
    let mut restored = |options: RestoreOptions| {
        let directory = tempfile::tempdir().unwrap();
        restore(&mut repository, id, Some(b"/data"), directory.path(), &options);
        files_below(directory.path())
    };
    assert_eq!(restored(RestoreOptions::new().include("*.txt")), set(["a.txt", "below/deeper/c.txt"]));
    assert_eq!(restored(RestoreOptions::new().include("/data/below")), set(["below/b.rs", "below/deeper/c.txt"]));
    assert_eq!(restored(RestoreOptions::new().exclude("below")), set(["a.txt", "link", "long"]));
    let both = RestoreOptions::new().include("*.txt").exclude("deeper");
    assert_eq!(restored(both), set(["a.txt"]));
}

#[test]
fn a_dry_run_counts_and_writes_nothing() {
    let (mut repository, id, _) = stored();
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("target");
    let report = restore(&mut repository, id, None, &target, &RestoreOptions::new().dry_run(true));
    assert_eq!((report.files_written, target.exists()), (4, false));
}

#[test]
fn a_planted_link_never_leads_out_of_the_target() {
    let (mut repository, id, _) = stored();
    let directory = tempfile::tempdir().unwrap();
    let (target, outside) = (directory.path().join("target"), directory.path().join("outside"));
    fs::create_dir_all(outside.join("deeper")).unwrap();
    fs::create_dir(&target).unwrap();
    fs::write(outside.join("a.txt"), "mine").unwrap();
    fs::write(outside.join("b.rs"), "mine").unwrap();
    let before = tree_of(&outside);
    symlink(&outside, target.join("below")).unwrap();
    symlink(outside.join("a.txt"), target.join("a.txt")).unwrap();
    symlink(outside.join("new"), target.join("long")).unwrap();
    restore(&mut repository, id, Some(b"/data"), &target, &RestoreOptions::new().delete(true));
    crate::kit::tree::assert_same(&before, &tree_of(&outside));
    assert_eq!(fs::read(target.join("a.txt")).unwrap(), b"first");
    assert!(fs::symlink_metadata(target.join("below")).unwrap().is_dir());
    assert_eq!(files_below(&target), set(["a.txt", "below/b.rs", "below/deeper/c.txt", "link", "long"]));
}

#[test]
fn a_link_in_the_snapshot_is_not_followed_by_what_comes_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let outside = directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let world = World::new();
    let mut repository = world.init();
    let mut source = ModelSource::new("/data");
    source.put("x", Node::Link(outside.to_str().unwrap().as_bytes().to_vec()));
    let first = backup(&mut repository, &source);
    source.remove("x");
    let source = source.file("x/evil", b"evil");
    let second = backup(&mut repository, &source);
    let target = directory.path().join("target");
    restore(&mut repository, first.snapshot_id, Some(b"/data"), &target, &RestoreOptions::new());
    restore(&mut repository, second.snapshot_id, Some(b"/data"), &target, &RestoreOptions::new());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(fs::read(target.join("x/evil")).unwrap(), b"evil");
}

#[test]
fn restored_files_are_recorded_in_the_ledger() {
    let (mut repository, id, _) = stored();
    let entries = repository.stats().unwrap().entries;
    let directory = tempfile::tempdir().unwrap();
    let report = restore(&mut repository, id, None, directory.path(), &RestoreOptions::new());
    assert_eq!(report.notes, []);
    repository.refresh().unwrap();
    assert!(repository.stats().unwrap().entries > entries);
}
