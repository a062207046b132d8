//! What is written where, and above all where not: links are planted wherever something is about to be made.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::error::ErrorKind;
use crate::format::constants::*;
use crate::format::tree::{Attribute, Content, Entry};
use crate::time::Time;

const OWN: Applying = Applying { ownership: true };

/// A target, and beside it a directory with a file that must never change.
struct Place {
    directory: tempfile::TempDir,
    root: Directory,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("outside")).unwrap();
        std::fs::write(directory.path().join("outside/file"), b"precious").unwrap();
        let root = Target::create(&directory.path().join("new/target")).unwrap().root();
        Self { directory, root }
    }

    fn inside(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join(name)
    }

    fn outside(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join("outside").join(name)
    }

    /// Plants a link to the directory or the file outside.
    fn plant(&self, name: &str, to: &str) {
        symlink(self.outside(to), self.inside(name)).unwrap();
    }

    fn assert_nothing_changed_outside(&self) {
        assert_eq!(std::fs::read(self.outside("file")).unwrap(), b"precious");
        assert_eq!(std::fs::read_dir(self.outside("")).unwrap().count(), 1);
    }
}

fn file_entry(mode: u32) -> Entry {
    let mut entry = Entry::new(ENTRY_FILE, *b"f");
    let found = rustix::process::getuid().as_raw();
    (entry.mode, entry.uid, entry.gid) = (mode, found, rustix::process::getgid().as_raw());
    entry.mtime = Time::new(1_000_000_000, 123_456_789);
    entry
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says that a test could not be made here; where all must be, that is a failure.
fn skip(what: &str) {
    assert!(std::env::var_os("HOLDFAST_TEST_REQUIRE_ALL").is_none_or(|all| all != "1"), "skipped: {what}");
    io::stderr().write_all(format!("skipped: {what}\n").as_bytes()).unwrap();
}

#[test]
fn a_target_is_made_and_must_be_a_directory() {
    let place = Place::new();
    assert!(Target::create(&place.inside("a/b")).unwrap().free_bytes().unwrap() > 0);
    for path in [place.outside("file"), place.outside("file/below")] {
        let error = Target::create(&path).err().unwrap();
        assert!(matches!(error, Error::Input { .. }), "{error:?}");
    }
    place.plant("link", "file");
    assert_eq!(Target::create(&place.inside("link")).err().unwrap().kind(), ErrorKind::Input);
}

#[test]
fn only_a_directory_that_was_not_there_counts_as_made() {
    let place = Place::new();
    assert!(place.root.enter(b"d", false).unwrap().is_made());
    assert!(!place.root.enter(b"d", false).unwrap().is_made());
    assert!(!place.root.is_made());
}

#[test]
fn a_link_where_a_directory_is_to_be_is_never_followed() {
    let place = Place::new();
    place.plant("d", "");
    assert!(place.root.open_directory(b"d").unwrap().is_none());
    assert_eq!(place.root.enter(b"d", false).err().unwrap().kind(), ErrorKind::Input);
    let directory = place.root.enter(b"d", true).unwrap();
    directory.create_file(b"new").unwrap();
    assert!(place.inside("d/new").symlink_metadata().unwrap().is_file());
    assert_eq!(place.inside("d").symlink_metadata().unwrap().mode() & 0o7777, 0o700);
    place.assert_nothing_changed_outside();
    // Entering it again finds it as it is.
    assert_eq!(place.root.enter(b"d", true).unwrap().names().unwrap(), [b"new"]);
}

#[test]
fn a_link_where_a_file_is_to_be_is_replaced() {
    let place = Place::new();
    place.plant("f", "file");
    assert!(place.root.open_existing(b"f").unwrap().is_none());
    place.root.create_file(b"f").unwrap().write_all(b"new").unwrap();
    assert_eq!(std::fs::read(place.inside("f")).unwrap(), b"new");
    place.plant("dangling", "none");
    place.root.create_file(b"dangling").unwrap();
    place.assert_nothing_changed_outside();
}

#[test]
fn a_directory_is_not_replaced_by_a_file() {
    let place = Place::new();
    place.root.enter(b"d", false).unwrap();
    assert_eq!(place.root.create_file(b"d").unwrap_err().kind(), ErrorKind::Input);
    assert_eq!(place.root.symlink(b"d", b"x").unwrap_err().kind(), ErrorKind::Input);
    assert!(place.inside("d").is_dir());
}

#[test]
fn metadata_of_a_file_does_not_go_through_a_link() {
    let place = Place::new();
    let before = place.outside("file").metadata().unwrap();
    place.plant("f", "file");
    let messages = place.root.apply(b"f", &file_entry(0o4777), &OWN);
    assert_eq!(messages, ["it is of another kind now"]);
    let after = place.outside("file").metadata().unwrap();
    assert_eq!((before.mode(), before.mtime(), before.ctime()), (after.mode(), after.mtime(), after.ctime()));
}

#[test]
fn a_link_gets_its_own_times_and_not_those_of_what_it_leads_to() {
    let place = Place::new();
    let before = place.outside("file").metadata().unwrap();
    place.root.symlink(b"l", place.outside("file").as_os_str().as_encoded_bytes()).unwrap();
    let mut entry = file_entry(0o777);
    entry.kind = ENTRY_SYMLINK;
    assert_eq!(place.root.apply(b"l", &entry, &OWN), [""; 0]);
    assert_eq!(place.root.look(b"l").unwrap().unwrap().mtime, entry.mtime);
    assert_eq!(place.outside("file").metadata().unwrap().mtime(), before.mtime());
}

#[test]
fn removal_takes_links_and_leaves_what_they_lead_to() {
    let place = Place::new();
    let directory = place.root.enter(b"d", false).unwrap();
    directory.enter(b"e", false).unwrap().create_file(b"f").unwrap();
    place.plant("d/link", "");
    place.plant("l", "");
    place.root.remove(b"d").unwrap();
    place.root.remove(b"l").unwrap();
    place.root.remove(b"none").unwrap();
    assert_eq!(place.root.names().unwrap(), Vec::<Vec<u8>>::new());
    place.assert_nothing_changed_outside();
}

#[test]
fn a_deep_tree_is_removed() {
    let place = Place::new();
    let mut directory = place.root.enter(b"top", false).unwrap();
    for level in 0..1000 {
        if level % 100 == 0 {
            directory.create_file(b"file").unwrap();
            directory.enter(b"beside", false).unwrap();
        }
        directory = directory.enter(b"d", false).unwrap();
    }
    place.root.remove(b"top").unwrap();
    assert!(place.root.look(b"top").unwrap().is_none());
}

#[test]
fn unsafe_names_are_refused_everywhere() {
    let place = Place::new();
    let root = &place.root;
    root.create_file(b"f").unwrap();
    let mut fifo = file_entry(0o600);
    fifo.kind = ENTRY_FIFO;
    for name in [&b""[..], b".", b"..", b"../outside/file", b"/etc", b"a\0"] {
        let refused = |done: bool| assert!(!done, "{name:?}");
        refused(root.enter(name, true).is_ok());
        refused(root.open_directory(name).is_ok());
        refused(root.look(name).is_ok());
        refused(root.create_file(name).is_ok());
        refused(root.create_temporary(name).is_ok());
        refused(root.create_temporary(b"x").unwrap().persist(name).is_ok());
        refused(root.open_existing(name).is_ok());
        refused(root.symlink(name, b"x").is_ok());
        refused(root.special(name, &fifo).is_ok());
        refused(root.hard_link(name, root, b"f").is_ok());
        refused(root.hard_link(b"g", root, name).is_ok());
        refused(root.apply(name, &file_entry(0o600), &OWN).is_empty());
        assert_eq!(root.remove(name).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    assert_eq!(root.names().unwrap(), [b"f"]);
    place.assert_nothing_changed_outside();
}

#[test]
fn a_temporary_file_appears_complete_or_not_at_all() {
    let place = Place::new();
    let name = [b'n'; 255];
    place.plant("f", "file");
    let temporary = place.root.create_temporary(&name).unwrap();
    let shown = place.root.names().unwrap().remove(0);
    assert!(shown.starts_with(b".nnn") && shown.ends_with(b".holdfast-tmp") && shown.len() == 231);
    temporary.file().write_all(b"whole").unwrap();
    drop(temporary);
    assert_eq!(place.root.names().unwrap(), [b"f"]);
    let temporary = place.root.create_temporary(b"f").unwrap();
    temporary.file().write_all(b"whole").unwrap();
    temporary.persist(b"f").unwrap();
    assert_eq!(place.root.names().unwrap(), [b"f"]);
    let mut content = String::new();
    place.root.open_existing(b"f").unwrap().unwrap().read_to_string(&mut content).unwrap();
    assert_eq!(content, "whole");
    place.assert_nothing_changed_outside();
}

#[test]
fn a_file_with_two_names_is_linked_but_not_written_in_place() {
    let place = Place::new();
    place.root.create_file(b"a").unwrap().write_all(b"x").unwrap();
    place.plant("b", "file");
    let below = place.root.enter(b"d", false).unwrap();
    place.root.hard_link(b"b", &place.root, b"a").unwrap();
    below.hard_link(b"c", &place.root, b"b").unwrap();
    // Once more, and onto itself.
    below.hard_link(b"c", &place.root, b"b").unwrap();
    place.root.hard_link(b"a", &place.root, b"a").unwrap();
    let found = below.look(b"c").unwrap().unwrap();
    assert_eq!((found.kind, found.size_bytes, found.links), (ENTRY_FILE, 1, 3));
    assert_eq!(place.root.look(b"a").unwrap().unwrap().inode, found.inode);
    assert!(place.root.open_existing(b"a").unwrap().is_none());
    place.assert_nothing_changed_outside();
}

#[test]
fn a_fifo_is_made_and_nobody_waits_for_it() {
    let place = Place::new();
    let mut entry = file_entry(0o640);
    entry.kind = ENTRY_FIFO;
    place.plant("p", "file");
    place.root.special(b"p", &entry).unwrap();
    assert_eq!(place.root.apply(b"p", &entry, &OWN), [""; 0]);
    let found = place.root.look(b"p").unwrap().unwrap();
    assert_eq!((found.kind, found.mode, found.mtime), (ENTRY_FIFO, 0o640, entry.mtime));
    assert!(place.root.open_existing(b"p").unwrap().is_none());
    assert!(place.root.special(b"q", &file_entry(0o600)).is_err());
    place.assert_nothing_changed_outside();
}

#[test]
fn a_device_is_made_where_that_is_allowed() {
    let place = Place::new();
    let mut entry = file_entry(0o600);
    (entry.kind, entry.content) = (ENTRY_CHARACTER_DEVICE, Content::Device { major: 1, minor: 3 });
    match place.root.special(b"null", &entry) {
        Ok(()) => assert_eq!(place.root.look(b"null").unwrap().unwrap().kind, ENTRY_CHARACTER_DEVICE),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Input);
            if is_root() {
                skip("devices cannot be made here");
            }
        }
    }
}

#[test]
fn times_keep_their_nanoseconds_before_1970_too() {
    let place = Place::new();
    let directory = place.root.enter(b"d", false).unwrap();
    let file = place.root.create_file(b"f").unwrap();
    for time in [Time::new(-1_000_000_000, 999_999_999), Time::new(-1, 1), Time::new(0, 0), Time::new(4_000_000_000, 5)]
    {
        let mut entry = file_entry(0o600);
        entry.mtime = time;
        assert_eq!(apply_to_file(&file, &entry, &OWN), [""; 0]);
        assert_eq!(place.root.look(b"f").unwrap().unwrap().mtime, time);
        entry.kind = ENTRY_DIRECTORY;
        entry.mode = 0o750;
        assert_eq!(directory.apply_to_self(&entry, &OWN), [""; 0]);
        let found = place.root.look(b"d").unwrap().unwrap();
        assert_eq!((found.mtime, found.mode), (time, 0o750));
    }
}

#[test]
fn set_id_bits_survive_the_change_of_owner() {
    let place = Place::new();
    let file = place.root.create_file(b"f").unwrap();
    let mut entry = file_entry(0o6755);
    if is_root() {
        (entry.uid, entry.gid) = (1234, 4321);
    }
    assert_eq!(apply_to_file(&file, &entry, &OWN), [""; 0]);
    let found = place.root.look(b"f").unwrap().unwrap();
    assert_eq!((found.mode, found.uid, found.gid), (0o6755, entry.uid, entry.gid));
    assert_eq!(place.root.apply(b"f", &entry, &OWN), [""; 0]);
    assert_eq!(place.root.look(b"f").unwrap().unwrap().mode, 0o6755);
}

#[test]
fn set_id_bits_do_not_come_with_another_owner() {
    let place = Place::new();
    let file = place.root.create_file(b"f").unwrap();
    let mut entry = file_entry(0o6755);
    entry.uid += 1;
    let messages = apply_to_file(&file, &entry, &Applying { ownership: false });
    assert_eq!(messages, ["its set-id bits are left out, for its owner is another"]);
    assert_eq!(place.inside("f").metadata().unwrap().permissions().mode() & 0o7777, 0o2755);
}

#[test]
fn an_owner_that_may_not_be_given_is_one_message_and_the_rest_is_applied() {
    let place = Place::new();
    let file = place.root.create_file(b"f").unwrap();
    let mut entry = file_entry(0o640);
    entry.uid += 1;
    let messages = apply_to_file(&file, &entry, &OWN);
    // The superuser may give files to anybody.
    assert_eq!(messages.len(), usize::from(!is_root()), "{messages:?}");
    let found = place.root.look(b"f").unwrap().unwrap();
    assert_eq!((found.mode, found.mtime), (0o640, entry.mtime));
}

#[test]
fn a_hole_reads_as_zeros_and_the_size_stays() {
    let place = Place::new();
    let mut file = place.root.create_file(b"f").unwrap();
    file.write_all(&[7; 100_000]).unwrap();
    for make in [punch_hole, write_zeros] {
        make(&file, 10, 70_000).unwrap();
        make(&file, 99_990, 1000).unwrap();
        make(&file, 5, 0).unwrap();
        let content = std::fs::read(place.inside("f")).unwrap();
        assert_eq!(content.len(), 100_000);
        assert!(content[10..70_010].iter().chain(&content[99_990..]).all(|&byte| byte == 0));
        assert!(content[..10].iter().chain(&content[70_010..99_990]).all(|&byte| byte == 7));
        file.write_all_at(&[7; 100_000], 0).unwrap();
    }
}

#[test]
fn attributes_become_those_of_the_entry() {
    let place = Place::new();
    let file = place.root.create_file(b"f").unwrap();
    if rustix::fs::fsetxattr(&file, "user.old", b"x", rustix::fs::XattrFlags::empty()).is_err() {
        return skip("the file system has no extended attributes");
    }
    let attribute = |name: &str, value: &[u8]| Attribute { name: name.into(), value: value.to_vec() };
    let mut entry = file_entry(0o400);
    entry.attributes = vec![attribute("user.empty", b""), attribute("user.new", b"value")];
    let names = || {
        let mut list = [0; 1000];
        let length = rustix::fs::flistxattr(&file, &mut list).unwrap();
        let mut names: Vec<_> = list[..length].split(|&b| b == 0).map(<[u8]>::to_vec).collect();
        names.retain(|name| name.starts_with(b"user."));
        names.sort();
        names
    };
    // The second time all is there, and need not be written: the mode denies it now.
    for _ in 0..2 {
        assert_eq!(apply_to_file(&file, &entry, &OWN), [""; 0]);
        assert_eq!(place.root.apply(b"f", &entry, &OWN), [""; 0]);
        assert_eq!(names(), [b"user.empty".to_vec(), b"user.new".to_vec()]);
    }
    let mut value = [0; 10];
    assert_eq!(rustix::fs::fgetxattr(&file, "user.new", &mut value).unwrap(), 5);
    assert_eq!(&value[..5], b"value");
    entry.attributes.clear();
    place.root.apply(b"f", &file_entry(0o600), &OWN);
    place.root.apply(b"f", &entry, &OWN);
    assert_eq!(names(), Vec::<Vec<u8>>::new());
}

#[test]
fn an_attribute_that_may_not_be_set_is_a_message_and_the_rest_is_applied() {
    let place = Place::new();
    let file = place.root.create_file(b"f").unwrap();
    let mut entry = file_entry(0o640);
    entry.attributes = vec![Attribute { name: b"nowhere.x".to_vec(), value: b"y".to_vec() }];
    let messages = apply_to_file(&file, &entry, &OWN);
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].starts_with("cannot set its attribute"), "{messages:?}");
    let found = place.root.look(b"f").unwrap().unwrap();
    assert_eq!((found.mode, found.mtime), (0o640, entry.mtime));
}
