//! Storage that breaks its promises, and what the suite says of it.

use std::sync::atomic::{AtomicU64, Ordering};

use backup_core::storage::conformance::{ConformanceOptions, ConformanceReport, run};
use backup_core::storage::{Storage, StorageOptions};
use opendal::{Operator, services};

use crate::kit::faulty::{Faults, Mode};
use crate::servers::dav::DavServer;
use crate::servers::proxy::{Asked, Deed, Proxy};
use crate::servers::s3::S3Server;

/// Tries a storage behind a proxy that does what a script says.
fn tried(script: impl Fn(&Asked) -> Deed + Send + Sync + 'static) -> ConformanceReport {
    let server = S3Server::start();
    let proxy = Proxy::start(server.address());
    proxy.does(script);
    let options = StorageOptions::new().pause_ms(1).attempts(3);
    let storage = Storage::from_uri(&S3Server::uri_at(proxy.address), options).unwrap();
    let options = ConformanceOptions::new().large_bytes(1 << 20).objects(8).lag_ms(300);
    let report = run(&storage, &options).unwrap();
    assert_eq!((&server.objects()[..], &report.left_behind[..]), (&[][..], &[][..]));
    report
}

/// Names of what does not hold.
fn broken(report: &ConformanceReport) -> Vec<&str> {
    report.promises.iter().filter(|promise| promise.holds == Some(false)).map(|promise| promise.name).collect()
}

fn detail<'r>(report: &'r ConformanceReport, name: &str) -> &'r str {
    let promise = report.promises.iter().find(|promise| promise.name == name).unwrap();
    promise.detail.as_deref().unwrap_or_default()
}

#[test]
fn answers_that_are_cut_short_break_reading() {
    let report = tried(|asked| if asked.is_read() { Deed::Truncate } else { Deed::Pass });
    assert!(report.is_broken());
    let broken = broken(&report);
    for name in ["read_after_write", "range_reads", "large_object", "whole_or_nothing", "two_writers"] {
        assert!(broken.contains(&name), "{name} in {broken:?}");
    }
    assert!(!broken.contains(&"list_after_write"), "{broken:?}");
    let detail = detail(&report, "read_after_write");
    assert!(detail.contains("of its 1 bytes") || detail.contains("of its 96 bytes"), "{detail}");
}

#[test]
fn lists_that_lag_are_told_and_break_nothing_that_is_relied_on() {
    let lists = AtomicU64::new(0);
    let report = tried(move |asked| {
        let is_below = asked.is_list() && asked.target.replace("%2F", "/").contains("/list/");
        if is_below && lists.fetch_add(1, Ordering::SeqCst) < 2 { Deed::EmptyList } else { Deed::Pass }
    });
    assert_eq!((report.is_broken(), broken(&report)), (false, vec!["list_after_write"]));
    let detail = detail(&report, "list_after_write");
    assert!(detail.starts_with("lists lag: 4 of 4 objects were missing at first, and shown 0."), "{detail}");
}

#[test]
fn lists_that_never_show_anything_are_told_and_everything_is_removed_nevertheless() {
    let report = tried(|asked| if asked.is_list() { Deed::EmptyList } else { Deed::Pass });
    assert_eq!((report.is_broken(), broken(&report)), (false, vec!["list_after_write", "list_of_everything"]));
    assert!(detail(&report, "list_after_write").contains("not all of 4 objects were shown"), "{report:#?}");
}

#[test]
fn clocks_that_differ_are_told_and_break_nothing() {
    let report = tried(|_| Deed::Clock("Sat, 01 Jan 2101 00:00:00 GMT"));
    assert_eq!((report.is_broken(), broken(&report)), (false, vec!["receive_time"]));
    assert!(report.clock_ahead_seconds.unwrap() > 365 * 86_400, "{report:#?}");
    assert!(detail(&report, "receive_time").ends_with("s ahead"), "{report:#?}");
}

#[test]
fn writes_that_are_acknowledged_and_forgotten_break_reading() {
    let forget = |asked: &Asked| match asked.is_write() && !asked.target.ends_with("/first") {
        true => Deed::Answer(200, "etag: \"x\"\r\n"),
        false => Deed::Pass,
    };
    let report = tried(forget);
    assert!(broken(&report).contains(&"read_after_write"), "{report:#?}");
    assert!(detail(&report, "read_after_write").contains("cannot be found"), "{report:#?}");
}

#[test]
fn deletions_that_are_refused_are_told_with_what_remains() {
    let server = S3Server::start();
    let proxy = Proxy::start(server.address());
    let is_delete = |asked: &Asked| asked.method == "DELETE" || asked.target.contains("?delete");
    proxy.does(move |asked| if is_delete(asked) { Deed::Answer(403, "") } else { Deed::Pass });
    let storage = Storage::from_uri(&S3Server::uri_at(proxy.address), StorageOptions::new()).unwrap();
    let options = ConformanceOptions::new().large_bytes(1 << 20).objects(8).lag_ms(10);
    let report = run(&storage, &options).unwrap();
    assert!(broken(&report).contains(&"delete"), "{report:#?}");
    assert_eq!(report.left_behind.len(), server.objects().len());
    assert!(report.left_behind.len() > 20);
}

#[test]
fn storage_out_of_reach_is_an_error_and_no_verdict() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = StorageOptions::new().pause_ms(1).attempts(3);
    let storage = Storage::from_uri(&S3Server::uri_at(address), options).unwrap();
    let error = run(&storage, &ConformanceOptions::new()).unwrap_err();
    assert!(matches!(error, backup_core::Error::Storage { attempts: 3, .. }), "{error:?}");
}

#[test]
fn a_medium_that_fails_half_way_is_cleaned_up() {
    let medium = Operator::new(services::Memory::default()).unwrap();
    for k in [1, 5, 20, 60] {
        let faults = Faults::new(Mode::FailAt(k));
        let storage = Storage::new(medium.clone().layer(faults.layer()), StorageOptions::new().pause_ms(1)).unwrap();
        let options = ConformanceOptions::new().large_bytes(1 << 18).objects(8).lag_ms(10);
        match run(&storage, &options) {
            Ok(report) => assert_eq!(broken(&report).len(), 1, "{k}: {report:#?}"),
            Err(error) => assert_eq!((k, error.kind()), (1, backup_core::ErrorKind::Storage)),
        }
        let left = Storage::new(medium.clone(), StorageOptions::new()).unwrap().list("").unwrap();
        assert_eq!(left, [], "{k}");
    }
}

/// A WebDAV server writes in place: only the temporary name keeps readers from seeing halves.
#[test]
fn an_upload_that_is_cut_is_never_seen_behind_webdav() {
    let server = DavServer::start();
    let proxy = Proxy::start(server.address());
    let options = StorageOptions::new().pause_ms(1).attempts(3);
    let storage = Storage::from_uri(&DavServer::uri_at(proxy.address), options).unwrap();
    storage.write("packs/a/1", vec![1; 500_000]).unwrap();
    proxy.does(|asked| if asked.is_write() { Deed::CutRequest } else { Deed::Pass });
    assert!(storage.write("packs/a/1", vec![2; 500_000]).is_err());
    assert!(storage.write("packs/a/2", vec![2; 500_000]).is_err());
    assert_eq!(storage.list("").unwrap().len(), 1);
    assert_eq!(storage.read("packs/a/1", 500_000).unwrap(), vec![1; 500_000]);
    assert!(proxy.seen().iter().filter(|asked| asked.is_write()).all(|asked| asked.target.ends_with(".tmp")));
}
