//! What cannot be read is a warning, in the report and in the snapshot; the rest is archived.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;

use backup_core::progress::Silent;
use backup_core::source::files::Files;
use backup_core::{Error, ErrorKind as Kind};

use crate::kit::model_source::{Mishap, ModelSource, Node};
use crate::kit::noise;
use crate::kit::world::{World, backup, check_clean, dump, made, paths};

fn warned(report: &backup_core::ops::backup::BackupReport) -> Vec<(&'static str, Vec<u8>)> {
    report.warnings.iter().map(|warning| (warning.kind, warning.subject.clone())).collect()
}

#[test]
fn unreadable_and_vanished_files_are_warnings_and_left_out() {
    let world = World::new();
    let mut source = ModelSource::new("/data").file("a", b"a").file("b/locked", b"b").file("b/vanished", b"c");
    source.entry("b/locked").mishap = Some(Mishap::Unreadable(ErrorKind::PermissionDenied));
    source.entry("b/vanished").mishap = Some(Mishap::Unreadable(ErrorKind::NotFound));
    source.put("breaks", Node::File(vec![crate::kit::model_source::Part::Bytes(noise(1, 5 << 20).into())])).mishap =
        Some(Mishap::BreaksOff);
    let mut repository = world.init();
    let report = backup(&mut repository, &source);
    let subjects: Vec<Vec<u8>> = report.warnings.iter().map(|warning| warning.subject.clone()).collect();
    assert_eq!(subjects, [&b"/data/b/locked"[..], b"/data/b/vanished", b"/data/breaks"]);
    assert_eq!(report.counts.warnings, 3);
    let snapshot = made(&repository, &report);
    assert!(snapshot.manifest.warnings.is_some());
    assert_eq!(snapshot.manifest.counts.warnings, 3);
    assert_eq!(paths(&repository, &snapshot), [&b"/data"[..], b"/data/a", b"/data/b"]);
    check_clean(&mut world.open());
}

#[test]
fn a_file_that_could_not_be_read_is_tried_again_by_the_next_backup() {
    let world = World::new();
    let mut source = ModelSource::new("/data").file("a", b"a").file("locked", b"b");
    source.entry("locked").mishap = Some(Mishap::Unreadable(ErrorKind::PermissionDenied));
    let mut repository = world.init();
    backup(&mut repository, &source);
    source.entry("locked").mishap = None;
    source.take_opened();
    let report = backup(&mut repository, &source);
    assert_eq!(source.take_opened(), [b"/data/locked".to_vec()]);
    assert_eq!(dump(&repository, &made(&repository, &report), b"/data/locked"), b"b");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_kept_with_a_warning() {
    let world = World::new();
    let mut source = ModelSource::new("/data").file("busy", b"busy").file("long", &noise(2, 4 << 20));
    source.entry("busy").mishap = Some(Mishap::Changes);
    source.entry("long").mishap = Some(Mishap::Changes);
    let mut repository = world.init();
    let report = backup(&mut repository, &source);
    assert_eq!(warned(&report), [("changed", b"/data/busy".to_vec()), ("changed", b"/data/long".to_vec())]);
    assert_eq!(dump(&repository, &made(&repository, &report), b"/data/busy"), b"busy");
}

#[test]
fn a_missing_root_is_a_warning_and_no_root_at_all_an_error() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("there")).unwrap();
    let (there, missing) = (directory.path().join("there"), directory.path().join("missing"));
    let mut repository = World::new().init();
    let report = backup(&mut repository, &Files::new([there.clone(), missing.clone()]).unwrap());
    assert_eq!(warned(&report), [("missing", missing.as_os_str().as_bytes().to_vec())]);
    let roots: Vec<_> = made(&repository, &report).manifest.roots().map(|root| root.path.clone()).collect();
    assert_eq!(roots, [there.as_os_str().as_bytes()]);
    let error = repository
        .backup(&Files::new([missing]).unwrap(), &Default::default(), &Silent)
        .expect_err("there is nothing to back up");
    assert_eq!(error.kind(), Kind::Input);
    assert_eq!(repository.snapshots().len(), 1);
}

#[test]
fn excludes_leave_out_what_they_name() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["keep.rs", "drop.o", "target/x", "below/target/y", "below/keep.rs", "cache/CACHEDIR.TAG", "cache/z"] {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "Signature: 8a477f597d28d172789f06886806bc55").unwrap();
    }
    let files = Files::new([directory.path().to_owned()]).unwrap();
    let files = files.exclude("*.o").exclude("/target").exclude_caches(true);
    let mut repository = World::new().init();
    let report = backup(&mut repository, &files);
    let root = directory.path().as_os_str().as_bytes().len();
    let listed = paths(&repository, &made(&repository, &report));
    let below: Vec<&[u8]> = listed.iter().map(|path| path[root..].trim_ascii_start()).collect();
    let expected =
        ["", "/below", "/below/keep.rs", "/below/target", "/below/target/y", "/cache", "/cache/CACHEDIR.TAG"];
    let expected: Vec<&[u8]> = expected.iter().chain(&["/keep.rs"]).map(|path| path.as_bytes()).collect();
    assert_eq!(below, expected);
}

#[test]
fn names_that_lead_elsewhere_are_refused_by_the_backup() {
    for name in [&b".."[..], b".", b"", b"a/b", b"a\0b", &[b'n'; 5000]] {
        let world = World::new();
        let mut source = ModelSource::new("/data").file("a", b"a");
        let place = vec![name.to_vec()];
        source.put_at(place, Node::File(Vec::new()));
        let mut repository = world.init();
        let error = repository.backup(&source, &Default::default(), &Silent).expect_err("the name is none");
        assert!(matches!(error, Error::Input { .. }), "{error:?}");
        assert_eq!(world.open().snapshots().len(), 0);
    }
}

#[test]
fn a_source_whose_names_come_out_of_order_is_refused() {
    use backup_core::format::constants::{ENTRY_DIRECTORY, ENTRY_FIFO};
    use backup_core::format::tree::{Attribute, Entry};
    use backup_core::source::{ContentReader, Handle, Owner, Source, SourceKind, Visitor};
    struct Nothing;
    impl Handle for Nothing {
        fn attributes(&self) -> std::io::Result<Vec<Attribute>> {
            Ok(Vec::new())
        }
        fn open(&self) -> std::io::Result<Box<dyn ContentReader>> {
            Err(ErrorKind::NotFound.into())
        }
    }
    struct Disorderly([&'static str; 2]);
    impl Source for Disorderly {
        fn kind(&self) -> SourceKind {
            SourceKind::Other
        }
        fn roots(&self) -> Vec<Vec<u8>> {
            vec![b"/data".to_vec()]
        }
        fn walk(&self, visitor: &mut dyn Visitor) -> backup_core::Result<()> {
            visitor.root(b"/data")?;
            visitor.enter(Entry::new(ENTRY_DIRECTORY, "data"), Owner::default(), Box::new(Nothing))?;
            for name in self.0 {
                visitor.other(Entry::new(ENTRY_FIFO, name), Owner::default(), Box::new(Nothing))?;
            }
            visitor.leave(false)
        }
    }
    let mut repository = World::new().init();
    backup(&mut repository, &Disorderly(["a", "b"]));
    for names in [["b", "a"], ["a", "a"]] {
        let error = repository.backup(&Disorderly(names), &Default::default(), &Silent).expect_err("out of order");
        assert!(matches!(error, Error::Input { .. }), "{error:?}");
    }
}
