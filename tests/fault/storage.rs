//! Storage over a medium that fails: what is temporary is retried within bounds, what is not is told at once.

use std::error::Error as _;

use backup_core::progress::Cancel;
use backup_core::storage::{Cache, Storage, StorageOptions};
use backup_core::{Error, ErrorKind};
use opendal::{Operator, services};

use crate::faulty::{Faults, Mode};

const NAME: &str = "packs/standard/aa/bb";

fn medium() -> Operator {
    Operator::new(services::Memory::default()).unwrap()
}

fn over(medium: &Operator, faults: &Faults) -> Storage {
    let options = StorageOptions::new().pause_ms(0).attempts(4);
    Storage::new(medium.clone().layer(faults.layer()), options).unwrap()
}

fn plain(medium: &Operator) -> Storage {
    Storage::new(medium.clone(), StorageOptions::new()).unwrap()
}

#[test]
fn temporary_failures_of_reads_are_retried_and_counted() {
    let (medium, faults) = (medium(), Faults::temporary(Mode::Count));
    let storage = over(&medium, &faults);
    storage.write(NAME, b"content".to_vec()).unwrap();
    faults.fail_reads(3);
    assert_eq!(storage.read(NAME, 100).unwrap(), b"content");
    let counts = storage.counts();
    assert_eq!((counts.reads, counts.retries, counts.writes), (4, 3, 1));
    assert_eq!((counts.read_bytes, counts.written_bytes), (7, 7));
}

#[test]
fn attempts_bound_the_retries_and_stand_in_the_error() {
    let (medium, faults) = (medium(), Faults::temporary(Mode::StopFrom(1)));
    let error = over(&medium, &faults).write(NAME, vec![1; 10]).unwrap_err();
    assert!(matches!(error, Error::Storage { attempts: 4, .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.source().unwrap().to_string().contains("injected fault"));
    assert_eq!(faults.mutations(), 4);
}

#[test]
fn permanent_failures_are_not_retried() {
    let (medium, faults) = (medium(), Faults::new(Mode::FailAt(1)));
    let storage = over(&medium, &faults);
    assert!(matches!(storage.write(NAME, vec![1; 10]).unwrap_err(), Error::Storage { attempts: 1, .. }));
    assert_eq!(plain(&medium).stat(NAME).unwrap(), None);
    storage.write(NAME, vec![1; 10]).unwrap();
}

#[test]
fn the_deadline_ends_retries_before_the_attempts_do() {
    let (medium, faults) = (medium(), Faults::temporary(Mode::StopFrom(1)));
    let options = StorageOptions::new().attempts(100).pause_ms(10_000).deadline_seconds(1);
    let storage = Storage::new(medium.layer(faults.layer()), options).unwrap();
    assert!(matches!(storage.delete(NAME).unwrap_err(), Error::Storage { attempts: 1, .. }));
}

#[test]
fn a_retry_after_a_torn_write_sends_the_same_bytes() {
    let medium = medium();
    let torn = over(&medium, &Faults::new(Mode::Tear(1)));
    assert!(torn.write(NAME, vec![7; 1000]).is_err());
    assert_eq!(plain(&medium).stat(NAME).unwrap().unwrap().length_bytes, 500);
    over(&medium, &Faults::temporary(Mode::FailAt(1))).write(NAME, vec![7; 1000]).unwrap();
    assert_eq!(plain(&medium).read(NAME, 1000).unwrap(), vec![7; 1000]);
}

#[test]
fn a_stopped_medium_keeps_what_was_written_before() {
    let (medium, faults) = (medium(), Faults::new(Mode::StopFrom(3)));
    let storage = over(&medium, &faults);
    let written = (0..5).filter(|number| storage.write(&format!("ledger/{number}"), vec![1]).is_ok()).count();
    assert!(storage.delete("ledger/0").is_err());
    assert_eq!((written, faults.mutations()), (2, 6));
    assert_eq!(plain(&medium).list("ledger/").unwrap().len(), 2);
}

#[test]
fn a_range_beyond_the_end_is_damage_and_no_failure_of_the_storage() {
    let medium = medium();
    let storage = over(&medium, &Faults::new(Mode::Count));
    storage.write(NAME, vec![1; 100]).unwrap();
    for (offset, length) in [(50, 51), (100, 1), (1000, 1), (u64::MAX, 1), (1, u64::MAX)] {
        let error = storage.read_range(NAME, offset, length).unwrap_err();
        assert!(error.is_damage(), "{offset} {length}: {error:?}");
    }
}

#[test]
fn a_cancelled_storage_stops_waiting() {
    let (medium, cancel) = (medium(), Cancel::new());
    let options = StorageOptions::new().attempts(100).pause_ms(10_000).deadline_seconds(100_000);
    let faults = Faults::temporary(Mode::StopFrom(1));
    let storage = Storage::new(medium.layer(faults.layer()), options).unwrap().with_cancel(cancel.clone());
    let result = std::thread::scope(|scope| {
        let write = scope.spawn(|| storage.write(NAME, vec![1]));
        while faults.mutations() == 0 {
            std::thread::yield_now();
        }
        cancel.cancel();
        write.join().unwrap()
    });
    assert!(matches!(result, Err(Error::Interrupted)));
    assert!(matches!(storage.read(NAME, 1), Err(Error::Interrupted)));
}

#[test]
fn what_is_cached_is_not_asked_for_again_until_it_is_forgotten() {
    let (medium, directory) = (medium(), tempfile::tempdir().unwrap());
    let cache = Cache::open(&directory.path().join("cache"), 1 << 20);
    let storage = plain(&medium).cached(cache);
    storage.write(NAME, (0..100).collect()).unwrap();
    for _ in 0..3 {
        assert_eq!(storage.read_cached(NAME, 100).unwrap().len(), 100);
        assert_eq!(storage.read_range_cached(NAME, 10, 5).unwrap(), [10, 11, 12, 13, 14]);
    }
    assert_eq!((storage.counts().reads, storage.counts().cache_hits), (2, 4));
    assert!(storage.forget_cached(NAME, None));
    assert!(storage.forget_cached(NAME, Some((10, 5))));
    storage.read_cached(NAME, 100).unwrap();
    storage.read_range_cached(NAME, 10, 5).unwrap();
    assert_eq!(storage.counts().reads, 4);
    std::fs::remove_dir_all(directory.path()).unwrap();
    assert_eq!(storage.read_cached(NAME, 100).unwrap().len(), 100);
}
