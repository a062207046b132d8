//! The cache: whatever happens to it, its caller only misses.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::environment::{Environment, Surroundings};

const NAME: &str = "ledger/ab/0001-cd";

/// Time goes on by a second with every look at it.
struct Ticking(std::sync::atomic::AtomicI64);

impl Surroundings for Ticking {
    fn now(&self) -> Time {
        Time::new(self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0)
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }

    fn host(&self) -> String {
        String::new()
    }

    fn user(&self) -> String {
        String::new()
    }

    fn zone_offset_seconds(&self, _: Time) -> i32 {
        0
    }
}

fn ticking() -> Environment {
    Environment::new(Ticking(1_000_000_000.into()))
}

#[test]
fn pieces_are_found_by_name_and_range_and_are_the_owners_alone() {
    let (directory, environment) = (tempfile::tempdir().unwrap(), ticking());
    let root = directory.path().join("cache");
    let cache = Cache::open(&root, 1000);
    cache.put(NAME, None, b"whole", &environment);
    cache.put(NAME, Some((1, 3)), b"hol", &environment);
    assert_eq!(cache.get(NAME, None, 5, &environment).unwrap(), b"whole");
    assert_eq!(cache.get(NAME, Some((1, 3)), 3, &environment).unwrap(), b"hol");
    assert_eq!(cache.get(NAME, Some((1, 2)), 2, &environment), None);
    assert_eq!(cache.get("ledger/ab", None, 5, &environment), None);
    assert_eq!(cache.get(NAME, None, 4, &environment), None);
    let bits = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((bits(&root), bits(&root.join("ledger/ab"))), (0o700, 0o700));
    let files: Vec<_> = std::fs::read_dir(root.join("ledger/ab")).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.iter().map(|file| bits(file)).collect::<Vec<_>>(), [0o600, 0o600]);
}

#[test]
fn short_and_empty_files_are_misses() {
    let (directory, environment) = (tempfile::tempdir().unwrap(), ticking());
    let cache = Cache::open(directory.path(), 1000);
    cache.put(NAME, None, b"whole", &environment);
    cache.put(NAME, Some((1, 3)), b"hol", &environment);
    for file in std::fs::read_dir(directory.path().join("ledger/ab")).unwrap() {
        let path = file.unwrap().path();
        let shorter = if path.to_string_lossy().ends_with("whole") { "" } else { "ho" };
        std::fs::write(path, shorter).unwrap();
    }
    assert_eq!(cache.get(NAME, None, 5, &environment), None);
    assert_eq!(cache.get(NAME, Some((1, 3)), 3, &environment), None);
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let (directory, environment) = (tempfile::tempdir().unwrap(), ticking());
    let cache = Cache::open(directory.path(), 1000);
    let name = |number: usize| format!("packs/{number}");
    for number in 0..10 {
        cache.put(&name(number), None, &[1; 100], &environment);
    }
    cache.get(&name(0), None, 100, &environment).unwrap();
    cache.put(&name(10), None, &[1; 100], &environment);
    let kept: Vec<usize> =
        (0..11).filter(|&number| cache.get(&name(number), None, 100, &environment).is_some()).collect();
    assert_eq!(kept, [0, 3, 4, 5, 6, 7, 8, 9, 10]);
    Cache::open(directory.path(), 300);
    assert_eq!(std::fs::read_dir(directory.path().join("packs")).unwrap().count(), 2);
}

#[test]
fn a_cache_that_cannot_be_written_is_no_error() {
    let (directory, environment) = (tempfile::tempdir().unwrap(), ticking());
    let file = directory.path().join("file");
    std::fs::write(&file, "not a directory").unwrap();
    let cache = Cache::open(&file, 1000);
    cache.put(NAME, None, b"whole", &environment);
    assert_eq!(cache.get(NAME, None, 5, &environment), None);
    cache.forget(NAME, None);
    let cache = Cache::open(directory.path(), 3);
    cache.put(NAME, None, b"larger than the limit", &environment);
    assert_eq!(cache.get(NAME, None, 100, &environment), None);
}
