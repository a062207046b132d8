//! Files that were just made: what the first of a directory shows holds for all, and nothing that it does not show is passed over.

use std::os::unix::fs::MetadataExt;

use super::*;
use crate::format::constants::ENTRY_FILE;
use crate::target::Target;
use crate::time::Time;

const OWN: Applying = Applying { ownership: true };

fn entry(mode: u32) -> Entry {
    let mut entry = Entry::new(ENTRY_FILE, *b"f");
    (entry.mode, entry.uid) = (mode, rustix::process::getuid().as_raw());
    entry.gid = rustix::process::getgid().as_raw();
    entry.mtime = Time::new(1_000_000_000, 123_456_789);
    entry
}

fn make(directory: &Directory, name: &str, entry: &Entry, applying: &Applying) -> (std::fs::Metadata, Vec<String>) {
    let file = directory.create_file(name.as_bytes()).unwrap();
    let messages = directory.apply_to_new(&file, entry, applying);
    (file.metadata().unwrap(), messages)
}

#[test]
fn every_new_file_of_a_directory_gets_owner_mode_and_times() {
    let place = tempfile::tempdir().unwrap();
    let root = Target::create(place.path()).unwrap().root();
    for (number, mode) in [0o644, 0o400, 0o755, 0o600].into_iter().enumerate() {
        let mut entry = entry(mode);
        if rustix::process::geteuid().is_root() {
            (entry.uid, entry.gid) = (number as u32 % 2 * 12_345, number as u32 / 2 * 23_456);
        }
        let (found, messages) = make(&root, &number.to_string(), &entry, &OWN);
        assert_eq!(messages, [""; 0]);
        assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (mode, entry.uid, entry.gid));
        assert_eq!((found.mtime(), found.mtime_nsec()), (1_000_000_000, 123_456_789));
    }
}

#[test]
fn set_id_bits_of_a_new_file_do_not_come_with_another_owner() {
    let place = tempfile::tempdir().unwrap();
    let root = Target::create(place.path()).unwrap().root();
    for name in ["first", "second"] {
        let own = entry(0o4755);
        assert_eq!(make(&root, &format!("{name}-own"), &own, &OWN).0.mode() & 0o7777, 0o4755);
        let foreign = Entry { uid: own.uid + 1, ..own };
        let (found, messages) = make(&root, &format!("{name}-foreign"), &foreign, &Applying { ownership: false });
        assert_eq!((found.mode() & 0o7777, messages.len()), (0o755, 1), "{messages:?}");
    }
}

#[test]
fn an_access_list_that_a_directory_passes_on_is_taken_off_every_new_file() {
    let place = tempfile::tempdir().unwrap();
    let root = Target::create(place.path()).unwrap().root();
    // All rights to the owner and to user 12345, none to others: version 2, then tag, rights and number of each entry.
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, rights, id) in
        [(1u16, 7u16, u32::MAX), (2, 7, 12_345), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 0, u32::MAX)]
    {
        list.extend_from_slice(&tag.to_le_bytes());
        list.extend_from_slice(&rights.to_le_bytes());
        list.extend_from_slice(&id.to_le_bytes());
    }
    if rustix::fs::fsetxattr(root.fd(), "system.posix_acl_default", &list, XattrFlags::empty()).is_err() {
        assert!(
            std::env::var_os("HOLDFAST_TEST_REQUIRE_ALL").is_none_or(|all| all != "1"),
            "there are no access lists"
        );
        return;
    }
    for name in ["first", "second"] {
        let file = root.create_file(name.as_bytes()).unwrap();
        let names = || Handle::Open(file.as_fd()).attributes().unwrap();
        assert_eq!(names(), [b"system.posix_acl_access".to_vec()]);
        assert_eq!(root.apply_to_new(&file, &entry(0o640), &OWN), [""; 0]);
        assert_eq!((names().len(), file.metadata().unwrap().mode() & 0o7777), (0, 0o640));
    }
}
