//! The promises of any storage.

use super::*;

const NAME: &str = "packs/standard/00ff/aa11";

fn names(storage: &Storage, prefix: &str) -> Vec<String> {
    storage.list(prefix).unwrap().into_iter().map(|info| info.name).collect()
}

#[test]
fn what_was_written_is_read() {
    on_each(|storage| {
        storage.write(NAME, b"0123456789".to_vec()).unwrap();
        assert_eq!(storage.read(NAME, 10).unwrap(), b"0123456789");
        assert_eq!(storage.read_range(NAME, 3, 4).unwrap(), b"3456");
        assert_eq!(storage.read_range(NAME, 0, 10).unwrap(), b"0123456789");
        assert_eq!(storage.read_range(NAME, 10, 0).unwrap(), b"");
        let info = storage.stat(NAME).unwrap().unwrap();
        assert_eq!((info.name.as_str(), info.length_bytes), (NAME, 10));
    });
}

#[test]
fn objects_longer_than_allowed_and_ranges_beyond_the_end_are_damage() {
    on_each(|storage| {
        storage.write(NAME, vec![1; 10]).unwrap();
        assert!(matches!(storage.read(NAME, 9), Err(Error::Damaged { .. })));
        assert!(matches!(storage.read_range(NAME, 5, 6), Err(Error::Damaged { .. })));
        assert!(matches!(storage.read_range(NAME, 11, 1), Err(Error::Damaged { .. })));
        assert!(matches!(storage.read_range(NAME, u64::MAX, 2), Err(Error::Damaged { .. })));
    });
}

#[test]
fn writing_again_keeps_an_equal_object_and_replaces_a_damaged_one() {
    on_each(|storage| {
        storage.write(NAME, b"flipped".to_vec()).unwrap();
        for _ in 0..2 {
            storage.write(NAME, b"correct".to_vec()).unwrap();
            assert_eq!(storage.read(NAME, 7).unwrap(), b"correct");
        }
        storage.write(NAME, b"longer than that".to_vec()).unwrap();
        assert_eq!(names(storage, ""), [NAME]);
    });
}

#[test]
fn what_is_not_there_is_missing() {
    on_each(|storage| {
        for _ in 0..2 {
            assert!(matches!(storage.read(NAME, 1), Err(Error::Missing { object }) if object == NAME));
            assert!(matches!(storage.read_range(NAME, 0, 1), Err(Error::Missing { .. })));
            assert_eq!(storage.stat(NAME).unwrap(), None);
            assert_eq!(names(storage, "packs/"), [""; 0]);
            storage.delete(NAME).unwrap();
            storage.write("packs/standard/00ff/bb22", vec![1]).unwrap();
            storage.delete("packs/standard/00ff/bb22").unwrap();
        }
        // A prefix of a name is no object.
        storage.write(NAME, vec![1]).unwrap();
        assert!(matches!(storage.read("packs/standard", 1), Err(Error::Missing { .. })));
        assert!(matches!(storage.read(&format!("{NAME}/deeper"), 1), Err(Error::Missing { .. })));
        assert_eq!(storage.stat("packs/standard").unwrap(), None);
    });
}

#[test]
fn a_listing_is_recursive_sorted_and_without_temporary_names() {
    on_each(|storage| {
        let written = ["b/2", "a/x/2", "a/x/1", "a-/1", "a/1", "repository", "a/x/y/z/1"];
        for (length, name) in written.iter().enumerate() {
            storage.write(name, vec![0; length + 1]).unwrap();
        }
        write_foreign(storage, "a/x/3.0123456789abcdef.tmp");
        assert_eq!(names(storage, "a/"), ["a/1", "a/x/1", "a/x/2", "a/x/y/z/1"]);
        assert_eq!(names(storage, ""), ["a-/1", "a/1", "a/x/1", "a/x/2", "a/x/y/z/1", "b/2", "repository"]);
        assert_eq!(storage.list("a/x/y/").unwrap()[0].length_bytes, 7);
        assert_eq!(names(storage, "c/"), [""; 0]);
    });
}

/// Puts a file where no write of ours would.
fn write_foreign(storage: &Storage, name: &str) {
    match (&storage.shared.backend, storage.local_root()) {
        (_, Some(root)) => std::fs::write(root.join(name), "torn").unwrap(),
        (Backend::Remote(remote), None) => {
            remote.write(storage.call(Verb::Write, name), vec![b"torn".to_vec()]).unwrap();
        }
        (Backend::Local(_), None) => unreachable!("local storage has a root"),
    }
}

#[test]
fn objects_may_be_empty_or_large() {
    on_each(|storage| {
        let large: Vec<u8> = (0..8u32 << 20).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        storage.write("empty", Vec::new()).unwrap();
        storage.write("large", large.clone()).unwrap();
        assert_eq!(storage.read("empty", 0).unwrap(), b"");
        assert_eq!(storage.stat("empty").unwrap().unwrap().length_bytes, 0);
        assert!(storage.read("large", 8 << 20).unwrap() == large);
        assert!(storage.read_range("large", 5 << 20, 1 << 20).unwrap() == large[5 << 20..6 << 20]);
        let lengths: Vec<u64> = storage.list("").unwrap().iter().map(|info| info.length_bytes).collect();
        assert_eq!(lengths, [0, 8 << 20]);
    });
}

#[test]
fn many_threads_may_write_one_name() {
    on_each(|storage| {
        let content = vec![5; 100_000];
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    storage.write(NAME, content.clone()).unwrap();
                    assert!(storage.read(NAME, 100_000).unwrap() == content);
                });
            }
        });
        assert_eq!(names(storage, ""), [NAME]);
        assert_eq!((storage.counts().writes, storage.counts().written_bytes), (16, 1_600_000));
    });
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    on_each(|storage| {
        for name in ["", "/etc/passwd", "../up", "a/../b", "a//b", "a/", ".", "a\0b", "naïve", "a b", "a\\b", "a.tmp"]
        {
            assert!(matches!(storage.write(name, vec![1]), Err(Error::Damaged { .. })), "{name:?}");
            assert!(matches!(storage.read(name, 1), Err(Error::Damaged { .. })), "{name:?}");
        }
        assert!(matches!(storage.list("packs"), Err(Error::Damaged { .. })));
        assert!(matches!(storage.list("../"), Err(Error::Damaged { .. })));
    });
}

#[test]
fn storage_can_be_used_within_an_async_program() {
    on_each(|storage| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let moved = storage.clone();
        runtime.block_on(async move {
            moved.write(NAME, vec![1, 2, 3]).unwrap();
            let blocking = tokio::task::spawn_blocking(move || moved.read(NAME, 3).unwrap());
            assert_eq!(blocking.await.unwrap(), [1, 2, 3]);
        });
    });
}

#[test]
fn clones_of_an_operator_share_their_objects_and_clones_of_a_storage_their_counts() {
    let operator = opendal::Operator::new(opendal::services::Memory::default()).unwrap();
    let first = Storage::new(operator.clone(), StorageOptions::new()).unwrap();
    let second = Storage::new(operator, StorageOptions::new()).unwrap();
    first.clone().write(NAME, vec![1]).unwrap();
    assert_eq!(second.read(NAME, 1).unwrap(), [1]);
    assert_eq!((first.counts().writes, second.counts().writes), (1, 0));
    let fresh = Storage::from_uri("memory://", StorageOptions::new()).unwrap();
    assert_eq!(fresh.stat(NAME).unwrap(), None);
}
