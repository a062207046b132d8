//! The suite of promises on every kind of storage.

use backup_core::storage::conformance::{ConformanceOptions, ConformanceReport, run};
use backup_core::storage::{Storage, StorageOptions};

use crate::services::{self, Place};

/// Small enough for a test, large enough for parts.
pub(crate) const LARGE_BYTES: u64 = 24 << 20;

/// Runs the suite, and expects that all required promises hold and nothing is left.
#[track_caller]
pub(crate) fn expect_all(uri: &str) -> ConformanceReport {
    let storage = Storage::from_uri(uri, StorageOptions::new()).unwrap();
    let report = run(&storage, &ConformanceOptions::new().large_bytes(LARGE_BYTES)).unwrap();
    let failed: Vec<_> = report.promises.iter().filter(|promise| promise.holds != Some(true)).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!((report.left_behind.len(), report.retries), (0, 0), "{report:#?}");
    assert!(report.requests > 100, "{report:#?}");
    assert!(report.clock_ahead_seconds.is_some_and(|seconds| seconds.abs() < 60), "{report:#?}");
    assert_eq!(storage.list("").unwrap(), []);
    report
}

fn expect_all_at(place: Option<Place>) {
    if let Some(place) = place {
        expect_all(&place.uri);
        place.expect_nothing_left();
    }
}

#[test]
fn a_directory_keeps_all_promises() {
    expect_all_at(Some(services::directory()));
}

#[test]
fn a_directory_that_is_not_there_is_not_there_afterwards() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("not yet");
    expect_all(root.to_str().unwrap());
    assert!(!root.exists());
}

#[test]
fn memory_keeps_all_promises_but_tells_no_times() {
    let storage = Storage::from_uri("memory://", StorageOptions::new()).unwrap();
    let report = run(&storage, &ConformanceOptions::new().large_bytes(LARGE_BYTES)).unwrap();
    let unknown: Vec<_> = report.promises.iter().filter(|promise| promise.holds != Some(true)).collect();
    assert!(unknown.iter().all(|promise| promise.name == "receive_time" && promise.holds.is_none()), "{unknown:#?}");
    assert_eq!(storage.list("").unwrap(), []);
}

#[test]
fn s3_keeps_all_promises() {
    expect_all_at(Some(services::s3()));
}

#[test]
fn webdav_keeps_all_promises() {
    expect_all_at(Some(services::webdav()));
}

#[test]
fn azure_keeps_all_promises() {
    expect_all_at(services::azurite());
}

#[test]
fn garage_keeps_all_promises() {
    expect_all_at(services::garage());
}
