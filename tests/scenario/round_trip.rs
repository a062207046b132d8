//! Real directories with everything in them come back as they were.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use backup_core::ops::restore::RestoreOptions;
use backup_core::source::files::Files;
use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use crate::kit::tree::{assert_same, differences, tree_of};
use crate::kit::world::{World, backup, check_clean, restore};
use crate::kit::{noise, skip};

/// Backs a directory up, and restores it elsewhere.
fn through_a_repository(source: &Path, target: &Path) {
    let world = World::new();
    let mut repository = world.init();
    let files = Files::new([source.to_owned()]).unwrap();
    let report = backup(&mut repository, &files);
    assert_eq!(report.warnings, []);
    let mut repository = world.open();
    let root = source.as_os_str().as_bytes();
    restore(&mut repository, report.snapshot_id, Some(root), target, &RestoreOptions::new().verify(true));
    check_clean(&mut repository);
}

fn assert_round_trip(make: impl FnOnce(&Path)) {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (directory.path().join("source"), directory.path().join("target"));
    fs::create_dir(&source).unwrap();
    make(&source);
    let before = tree_of(&source);
    through_a_repository(&source, &target);
    assert_same(&before, &tree_of(&target));
}

fn set_mtime(path: &Path, time: SystemTime) {
    File::open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
}

#[test]
fn files_of_all_sizes_come_back() {
    assert_round_trip(|source| {
        for size in [0, 1, 64, 65, 4096, 65_535, 65_536, 65_537, 300_000, 2 << 20, (2 << 20) + 1, 9 << 20] {
            fs::write(source.join(format!("noise-{size}")), noise(size as u64, size)).unwrap();
            fs::write(source.join(format!("text-{size}")), b"all work and no play ".repeat(size / 21 + 1)).unwrap();
            fs::write(source.join(format!("zeros-{size}")), vec![0; size]).unwrap();
        }
    });
}

#[test]
fn modes_and_empty_directories_come_back() {
    assert_round_trip(|source| {
        fs::create_dir_all(source.join("a/b/c/empty")).unwrap();
        for mode in [0o400, 0o600, 0o644, 0o755, 0o4755, 0o2755, 0o1777] {
            let path = source.join(format!("file-{mode:o}"));
            fs::write(&path, "x").unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let path = source.join(format!("directory-{mode:o}"));
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, PermissionsExt::from_mode(mode | 0o500)).unwrap();
        }
    });
}

#[test]
fn times_come_back_to_the_nanosecond_and_before_1970() {
    assert_round_trip(|source| {
        let epoch = SystemTime::UNIX_EPOCH;
        let times = [
            epoch,
            epoch + Duration::new(1_234_567_890, 123_456_789),
            epoch + Duration::new(1, 1),
            epoch - Duration::new(1, 0),
            epoch - Duration::new(86_400 * 365 * 20, 999_999_999),
            epoch + Duration::new(5_000_000_000, 999_999_999),
        ];
        for (number, time) in times.into_iter().enumerate() {
            fs::write(source.join(format!("file-{number}")), "x").unwrap();
            set_mtime(&source.join(format!("file-{number}")), time);
            fs::create_dir(source.join(format!("directory-{number}"))).unwrap();
            fs::write(source.join(format!("directory-{number}/inside")), "x").unwrap();
            set_mtime(&source.join(format!("directory-{number}")), time);
        }
    });
}

#[test]
fn symbolic_links_come_back_whatever_they_point_to() {
    assert_round_trip(|source| {
        fs::write(source.join("file"), "x").unwrap();
        symlink("file", source.join("to-file")).unwrap();
        symlink("nowhere", source.join("dangling")).unwrap();
        symlink("/etc/passwd", source.join("absolute")).unwrap();
        symlink("../..", source.join("upwards")).unwrap();
        symlink("loop", source.join("loop")).unwrap();
        symlink(OsStr::from_bytes(b"\xff\xfe"), source.join("to-bytes")).unwrap();
    });
}

#[test]
fn names_of_one_file_stay_names_of_one_file() {
    assert_round_trip(|source| {
        fs::create_dir(source.join("below")).unwrap();
        fs::write(source.join("b-small"), "x").unwrap();
        fs::hard_link(source.join("b-small"), source.join("a-small")).unwrap();
        fs::hard_link(source.join("b-small"), source.join("below/small")).unwrap();
        fs::write(source.join("large"), noise(1, 12 << 20)).unwrap();
        fs::hard_link(source.join("large"), source.join("below/large")).unwrap();
        symlink("x", source.join("link")).unwrap();
        fs::hard_link(source.join("link"), source.join("link-too")).unwrap();
    });
}

#[test]
fn names_that_are_long_or_no_text_come_back() {
    assert_round_trip(|source| {
        for name in [&b"\xff\xfe\x80"[..], b"new\nline", b" ", b"-rf", b"\\", b"a\"b'c", b".hidden", b"\xc3\xa4"] {
            fs::write(source.join(OsStr::from_bytes(name)), name).unwrap();
        }
        fs::write(source.join("n".repeat(255)), "x").unwrap();
        let deep: std::path::PathBuf = (0..90).map(|_| "d".repeat(20)).collect();
        fs::create_dir_all(source.join(&deep)).unwrap();
        fs::write(source.join(&deep).join("bottom"), "x").unwrap();
    });
}

#[test]
fn fifos_come_back() {
    assert_round_trip(|source| {
        let mode = Mode::from_raw_mode(0o640);
        rustix::fs::mknodat(CWD, source.join("fifo"), FileType::Fifo, mode, 0).unwrap();
    });
}

#[test]
fn devices_come_back_to_the_superuser() {
    let directory = tempfile::tempdir().unwrap();
    let mode = Mode::from_raw_mode(0o600);
    let make = |path: &Path| rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, mode, rustix::fs::makedev(1, 3));
    if make(&directory.path().join("device")).is_err() {
        return skip("devices cannot be made here");
    }
    assert_round_trip(|source| make(&source.join("null")).unwrap());
}

#[test]
fn extended_attributes_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let set = |path: &Path, name: &str, value: &[u8]| rustix::fs::lsetxattr(path, name, value, XattrFlags::empty());
    if set(directory.path(), "user.test", b"x").is_err() {
        return skip("there are no extended attributes here");
    }
    assert_round_trip(|source| {
        fs::write(source.join("file"), "x").unwrap();
        fs::create_dir(source.join("directory")).unwrap();
        for name in ["file", "directory"] {
            set(&source.join(name), "user.empty", b"").unwrap();
            set(&source.join(name), "user.bytes", b"\0\xff\0").unwrap();
            set(&source.join(name), "user.long", &noise(2, 1000)).unwrap();
        }
    });
}

#[test]
fn access_control_lists_come_back() {
    let directory = tempfile::tempdir().unwrap();
    // Version 2; the owner rw, user 12345 r, the group r, mask r, others none.
    let rows: [(u16, u16, u32); 5] =
        [(1, 6, u32::MAX), (2, 4, 12_345), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)];
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in rows {
        list.extend_from_slice(&tag.to_le_bytes());
        list.extend_from_slice(&permissions.to_le_bytes());
        list.extend_from_slice(&id.to_le_bytes());
    }
    let set = |path: &Path| rustix::fs::setxattr(path, "system.posix_acl_access", &list, XattrFlags::empty());
    fs::write(directory.path().join("probe"), "x").unwrap();
    if set(&directory.path().join("probe")).is_err() {
        return skip("there are no access control lists here");
    }
    assert_round_trip(|source| {
        fs::write(source.join("file"), "x").unwrap();
        set(&source.join("file")).unwrap();
    });
}

#[test]
fn owners_come_back_to_the_superuser() {
    if !rustix::process::geteuid().is_root() {
        return skip("only the superuser may give files away");
    }
    assert_round_trip(|source| {
        fs::write(source.join("file"), "x").unwrap();
        symlink("file", source.join("link")).unwrap();
        std::os::unix::fs::chown(source.join("file"), Some(12_345), Some(54_321)).unwrap();
        std::os::unix::fs::lchown(source.join("link"), Some(1), Some(2)).unwrap();
    });
}

#[test]
fn holes_stay_holes() {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (directory.path().join("source"), directory.path().join("target"));
    fs::create_dir(&source).unwrap();
    for (name, size) in [("small", 1 << 20), ("long", 64 << 20), ("only-hole", 5 << 20)] {
        let file = File::create(source.join(name)).unwrap();
        file.set_len(size).unwrap();
        if name != "only-hole" {
            file.write_all_at(&noise(3, 10_000), 300_000).unwrap();
            file.write_all_at(&noise(4, 5000), size - 5000).unwrap();
        }
    }
    let blocks = |path: &Path| fs::metadata(path).unwrap().blocks() * 512;
    if blocks(&source.join("long")) > 1 << 20 {
        return skip("there are no sparse files here");
    }
    through_a_repository(&source, &target);
    assert_same(&tree_of(&source), &tree_of(&target));
    for name in ["small", "long", "only-hole"] {
        let (before, after) = (blocks(&source.join(name)), blocks(&target.join(name)));
        assert!(after <= before + 4096, "{name}: {before} bytes on disk became {after}");
    }
}

#[test]
fn several_roots_come_back_under_their_absolute_paths() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir_all(path("a/inner")).unwrap();
    fs::create_dir(path("b")).unwrap();
    fs::write(path("a/inner/file"), "one").unwrap();
    fs::write(path("b/file"), "two").unwrap();
    fs::write(path("single"), "three").unwrap();
    let world = World::new();
    let mut repository = world.init();
    let files = Files::new([path("a"), path("b"), path("single"), path("a/inner")]).unwrap();
    let report = backup(&mut repository, &files);
    restore(&mut repository, report.snapshot_id, None, &path("target"), &RestoreOptions::new());
    for name in ["a", "b", "single"] {
        let restored = path("target").join(path(name).strip_prefix("/").unwrap());
        assert_same(&tree_of(&path(name)), &tree_of(&restored));
    }
}

#[test]
fn a_comparison_of_trees_sees_what_differs() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "one").unwrap();
    let before = tree_of(directory.path());
    fs::write(directory.path().join("file"), "two").unwrap();
    fs::write(directory.path().join("more"), "").unwrap();
    let found = differences(&before, &tree_of(directory.path()));
    assert!(found.iter().any(|line| line.starts_with("file: file of 3 bytes \"one\" became")), "{found:?}");
    assert!(found.iter().any(|line| line == "more: was not expected"), "{found:?}");
}
