//! How objects are written on services that can do more than files: parts, checksums, storage classes.

use backup_core::storage::{Storage, StorageOptions};
use backup_core::{Error, ErrorKind};

use crate::kit::noise;
use crate::servers::dav::DavServer;
use crate::servers::proxy::{Deed, Proxy};
use crate::servers::s3::{S3Server, SECRET};

const NAME: &str = "packs/standard/aa/bb";

/// Requests that a proxy saw, as method and the part of the target that tells them apart.
fn kinds(proxy: &Proxy) -> Vec<String> {
    let kind = |target: &str| match target.split_once('?') {
        None => "object",
        Some((_, query)) if query.contains("partNumber") => "part",
        Some((_, query)) if query.contains("uploadId") => "end",
        Some((_, query)) if query.contains("uploads") => "begin",
        Some(_) => "other",
    };
    let mut kinds: Vec<_> =
        proxy.seen().iter().map(|asked| format!("{} {}", asked.method, kind(&asked.target))).collect();
    kinds.dedup();
    kinds
}

/// Storage on a new server, by way of a proxy, with more in its URI.
fn through(more: &str) -> (S3Server, Proxy, Storage) {
    let server = S3Server::start();
    let proxy = Proxy::start(server.address());
    let uri = format!("{}{more}", S3Server::uri_at(proxy.address));
    let storage = Storage::from_uri(&uri, StorageOptions::new().part_bytes(5 << 20)).unwrap();
    (server, proxy, storage)
}

#[test]
fn large_objects_are_sent_in_parts_and_small_ones_whole() {
    let (_server, proxy, storage) = through("");
    storage.write(NAME, noise(1, 5 << 20)).unwrap();
    assert_eq!(kinds(&proxy), ["PUT object"]);
    proxy.does(|_| Deed::Pass);
    storage.write(NAME, noise(2, (5 << 20) + 1)).unwrap();
    assert_eq!(kinds(&proxy), ["POST begin", "PUT part", "POST end"]);
    assert!(storage.read(NAME, 6 << 20).unwrap() == noise(2, (5 << 20) + 1));
}

#[test]
fn checksums_go_with_every_write_unless_they_are_turned_off() {
    for (more, expected) in [
        ("", Some("x-amz-checksum-crc32c: ")),
        ("&checksum_algorithm=md5", Some("content-md5: ")),
        ("&checksum_algorithm=none", None),
    ] {
        let (_server, proxy, storage) = through(more);
        storage.write(NAME, noise(1, 100_000)).unwrap();
        storage.write(NAME, noise(2, 11 << 20)).unwrap();
        assert!(storage.read(NAME, 11 << 20).unwrap() == noise(2, 11 << 20), "{more}");
        let is_checksum = |head: &String| head.contains("x-amz-checksum-") || head.contains("content-md5: ");
        let heads: Vec<String> = proxy.heads().iter().filter(|head| head.starts_with("PUT")).cloned().collect();
        match expected {
            Some(line) => assert!(heads.iter().all(|head| head.contains(line)), "{more}: {heads:#?}"),
            None => assert!(!heads.iter().any(is_checksum), "{heads:#?}"),
        }
        // Parts cannot be checked by MD5, so there are none.
        assert_eq!(heads.len(), if more.ends_with("md5") { 2 } else { 4 }, "{more}");
    }
}

#[test]
fn bytes_that_change_on_their_way_are_refused_by_the_server() {
    let (_server, proxy, storage) = through("");
    storage.write(NAME, noise(1, 100_000)).unwrap();
    proxy.does(|asked| if asked.is_write() { Deed::Flip } else { Deed::Pass });
    let error = storage.write("packs/standard/aa/cc", noise(2, 100_000)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("BadDigest"), "{error:?}");
}

#[test]
fn data_may_have_a_storage_class_of_its_own() {
    let (_server, proxy, storage) = through("&data_storage_class=REDUCED_REDUNDANCY&storage_class=STANDARD");
    for name in [NAME, "meta/standard/aa/bb", "keys/aa", "packsx/aa"] {
        storage.write(name, noise(1, 1000)).unwrap();
        assert_eq!(storage.read(name, 1000).unwrap().len(), 1000);
    }
    storage.write("packs/standard/aa/large", noise(1, 11 << 20)).unwrap();
    let heads = proxy.heads();
    let class = |target: &str| {
        let head = heads.iter().find(|head| !head.starts_with("GET") && head.contains(target)).unwrap();
        head.lines().find_map(|line| line.strip_prefix("x-amz-storage-class: ")).map(str::to_owned)
    };
    assert_eq!(class("/packs/standard/aa/bb").as_deref(), Some("REDUCED_REDUNDANCY"));
    assert_eq!(class("/packs/standard/aa/large?uploads").as_deref(), Some("REDUCED_REDUNDANCY"));
    for target in ["/meta/", "/keys/", "/packsx/"] {
        assert_eq!(class(target).as_deref(), Some("STANDARD"), "{target}");
    }
    assert!(storage.display().contains("data_storage_class=REDUCED_REDUNDANCY"), "{}", storage.display());
}

#[test]
fn storage_classes_are_refused_where_there_are_none() {
    let server = DavServer::start();
    let uri = format!("{}&data_storage_class=COLD", server.uri());
    let error = Storage::from_uri(&uri, StorageOptions::new()).unwrap_err();
    assert!(matches!(error, Error::StorageUri { .. }), "{error:?}");
    assert!(format!("{error:?}").contains("S3 and GCS only"), "{error:?}");
}

#[test]
fn no_secret_of_a_uri_is_shown() {
    let server = S3Server::start();
    let storage = Storage::from_uri(&server.uri(), StorageOptions::new()).unwrap();
    let shown = format!("{} {storage:?}", storage.display());
    assert!(!shown.contains(SECRET) && !shown.contains("AKIA"), "{shown}");
    assert!(shown.contains(&format!("s3://bkt/r?endpoint=http://{}", server.address())), "{shown}");
    let dav = DavServer::start();
    let storage = Storage::from_uri(&dav.uri(), StorageOptions::new()).unwrap();
    assert!(!storage.display().contains("lace") && !storage.display().contains("ada"), "{}", storage.display());
    let wrong = dav.uri().replace("love%25lace", "wrong%25one");
    let error = Storage::from_uri(&wrong, StorageOptions::new()).unwrap().read("repository", 10).unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("401") && !text.contains("wrong") && !text.contains("one%"), "{text}");
}

#[test]
fn ssh_takes_no_password() {
    let error = Storage::from_uri("sftp://me:hunter22@host/x", StorageOptions::new()).unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("use a key") && !text.contains("hunter22"), "{text}");
}
