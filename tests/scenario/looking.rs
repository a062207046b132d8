//! Looking into snapshots: dump, diff, list, find. Nothing is written by it.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

use backup_core::Error;
use backup_core::ops::backup::BackupOptions;
use backup_core::ops::diff::Change;
use backup_core::repository::names::SnapshotFilter;
use backup_core::time::Time;

use crate::kit::model_source::{ModelSource, Node, Part};
use crate::kit::noise;
use crate::kit::world::{World, backup, backup_with, dump, made};

fn tree() -> ModelSource {
    let mut source = ModelSource::new("/data").file("a", b"first").file("below/b", &noise(1, 3 << 20));
    source.put("below/holes", Node::File(vec![Part::Hole(1 << 20), Part::Bytes((*b"end").into())]));
    source.put("empty", Node::Directory);
    source.put("fifo", Node::Fifo);
    source.put("link", Node::Link(b"a".to_vec()));
    source.put(&format!("{}/{}", "d".repeat(200), "n".repeat(250)), Node::File(vec![Part::Bytes((*b"deep").into())]));
    source
}

#[test]
fn a_file_is_dumped_with_holes_as_zeros() {
    let mut repository = World::new().init();
    let source = tree();
    let report = backup(&mut repository, &source);
    let snapshot = made(&repository, &report);
    for (path, content) in source.contents() {
        if let Some(content) = content {
            assert!(dump(&repository, &snapshot, &path) == content, "{}", path.escape_ascii());
        }
    }
}

#[test]
fn a_directory_is_dumped_as_tar() {
    let mut repository = World::new().init();
    let source = tree();
    let report = backup(&mut repository, &source);
    let mut bytes = Vec::new();
    repository.dump(&made(&repository, &report), b"/data", &mut bytes).unwrap();
    let mut found = BTreeMap::new();
    let mut archive = tar::Archive::new(&bytes[..]);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        if header.entry_type().is_symlink() {
            assert_eq!(entry.link_name_bytes().unwrap().as_ref(), b"a");
        }
        assert_eq!(header.mtime().unwrap(), 1_700_000_000);
        let kind = header.entry_type();
        let path = entry.path().unwrap().as_os_str().as_bytes().to_vec();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let path = path.strip_suffix(b"/").map_or(path.clone(), <[u8]>::to_vec);
        let path = if path == b"." { b"/data".to_vec() } else { [b"/data/", &path[..]].concat() };
        found.insert(path, kind.is_file().then_some(content));
    }
    let shown = |map: &BTreeMap<Vec<u8>, _>| map.keys().map(|path| path.escape_ascii().to_string()).collect::<Vec<_>>();
    assert_eq!(shown(&source.contents()), shown(&found));
    assert!(source.contents() == found);
}

#[test]
fn what_is_neither_file_nor_directory_is_not_dumped() {
    let mut repository = World::new().init();
    let report = backup(&mut repository, &tree());
    let snapshot = made(&repository, &report);
    let dump = |path: &[u8]| repository.dump(&snapshot, path, &mut Vec::new()).unwrap_err();
    assert!(matches!(dump(b"/data/link"), Error::Usage { .. }));
    assert!(matches!(dump(b"/data/fifo"), Error::Usage { .. }));
    assert!(matches!(dump(b"/data/nothing"), Error::PathNotFound { .. }));
}

#[test]
fn a_diff_names_what_differs_and_how() {
    let mut repository = World::new().init();
    let mut source = tree();
    let first = backup(&mut repository, &source);
    source.write("a", b"FIRST");
    source.entry("below").mode = 0o700;
    source.touch("link");
    source.remove("fifo");
    source.put("fifo", Node::Directory);
    source.remove("below/holes");
    let source = source.file("new/inside", b"x");
    let second = backup(&mut repository, &source);
    let mut found = Vec::new();
    let mut each = |difference: backup_core::ops::diff::Difference| {
        found.push((String::from_utf8(difference.path).unwrap(), difference.change));
        Ok(())
    };
    repository.diff(&made(&repository, &first), &made(&repository, &second), &mut each).unwrap();
    let expected = [
        ("/data/a", Change::Content),
        ("/data/below", Change::Metadata),
        ("/data/below/holes", Change::Removed),
        ("/data/fifo", Change::Kind),
        ("/data/link", Change::Metadata),
        ("/data/new", Change::Added),
        ("/data/new/inside", Change::Added),
    ];
    assert_eq!(found, expected.map(|(path, change)| (path.to_owned(), change)));
}

#[test]
fn equal_snapshots_do_not_differ() {
    let mut repository = World::new().init();
    let (first, second) = (backup(&mut repository, &tree()), backup(&mut repository, &tree()));
    let (first, second) = (made(&repository, &first), made(&repository, &second));
    repository.diff(&first, &second, &mut |difference| panic!("{difference:?}")).unwrap();
}

#[test]
fn a_part_of_a_snapshot_is_listed() {
    let mut repository = World::new().init();
    let report = backup(&mut repository, &tree());
    let snapshot = made(&repository, &report);
    let listed = |path: &[u8]| {
        let mut paths = Vec::new();
        let outcome = repository.list(&snapshot, Some(path), &mut |listed| {
            paths.push(String::from_utf8(listed.path).unwrap());
            Ok(())
        });
        outcome.map(|()| paths)
    };
    assert_eq!(listed(b"/data/below").unwrap(), ["/data/below", "/data/below/b", "/data/below/holes"]);
    assert_eq!(listed(b"/data/a").unwrap(), ["/data/a"]);
    assert!(matches!(listed(b"/data/x"), Err(Error::PathNotFound { .. })));
}

#[test]
fn snapshots_are_found_by_name_time_host_and_tag() {
    let world = World::new();
    let mut repository = world.init();
    let at = |seconds| BackupOptions::new().time(Time::new(seconds, 0));
    let first = backup_with(&mut repository, &tree(), &at(1000).tag("nightly")).snapshot_id.unwrap();
    world.surroundings.set_host("elsewhere");
    let second = backup_with(&mut repository, &tree(), &at(2000)).snapshot_id.unwrap();
    let find = |name: &str, filter: SnapshotFilter| repository.find_snapshot(name, &filter).map(|found| found.id);
    let all = SnapshotFilter::new;
    assert_eq!(find("latest", all()).unwrap(), second);
    assert_eq!(find("latest", all().host("testhost")).unwrap(), first);
    assert_eq!(find("latest", all().tag("nightly")).unwrap(), first);
    assert_eq!(find("@1970-01-01T00:20:00Z", all()).unwrap(), first);
    assert_eq!(find(&first.to_string()[..10], all()).unwrap(), first);
    for (name, filter) in
        [("@1970-01-01T00:10:00Z", all()), ("zz", all()), ("", all()), ("latest", all().path("/other"))]
    {
        assert!(matches!(find(name, filter), Err(Error::SnapshotName { matches: 0, .. })), "{name}");
    }
    assert!(matches!(find("@never", all()), Err(Error::Usage { .. })));
}

#[test]
fn looking_writes_nothing() {
    let world = World::new();
    backup(&mut world.init(), &tree());
    let repository = world.open();
    let snapshot = repository.snapshots()[0].clone();
    repository.list(&snapshot, None, &mut |_| Ok(())).unwrap();
    repository.dump(&snapshot, b"/data", &mut std::io::sink()).unwrap();
    repository.diff(&snapshot, &snapshot, &mut |_| Ok(())).unwrap();
    repository.stats().unwrap();
    repository.slots().unwrap();
    for name in world.names("") {
        repository.cat(&name).unwrap();
    }
    repository.cat("latest").unwrap();
    let counts = repository.storage().counts();
    assert_eq!((counts.writes, counts.deletes), (0, 0));
}
