//! URIs and what is said of them.

use super::uri::{self, Redactor};
use super::*;

fn display(uri: &str) -> String {
    uri::without_secrets(uri)
}

#[test]
fn secrets_are_dropped_from_what_is_shown() {
    for (uri, shown) in [
        ("s3://bucket/a/b", "s3://bucket/a/b"),
        ("s3://key:secret@bucket/a?access_key_id=AK&region=eu-1", "s3://bucket/a?region=eu-1"),
        (
            "s3://b/?secret_access_key=x&endpoint=https://u:p@h:9000/&ROOT=/r",
            "s3://b/?endpoint=https://h:9000/&ROOT=/r",
        ),
        ("sftp://me:pa/ss@host:22/x", "sftp://host:22/x"),
        ("sftp://me:pa?ss@host/x", "sftp://..."),
        ("sftp://me:pa#ss@host/x", "sftp://..."),
        ("webdav://token@host/#token", "webdav://host/"),
        ("memory://", "memory://"),
        ("s3://b/r?token=t&data_storage_class=STANDARD_IA&key=k", "s3://b/r?data_storage_class=STANDARD_IA"),
        ("azblob://c/r?account_name=ada&account_key=x&sas_token=y", "azblob://c/r?account_name=ada"),
        ("azblob://c?endpoint=https://a.example/c?sv=1%26sig=secret", "azblob://c?endpoint=https://a.example/c"),
        ("gcs://b/r?credential=eyJ&service_account=x", "gcs://b/r"),
        ("sftp://me@host:22/x?key=/home/me/id&known_hosts_strategy=add", "sftp://host:22/x?known_hosts_strategy=add"),
        ("a\u{1b}[31mb", "a\\x1b[31mb"),
    ] {
        assert_eq!(display(uri), shown);
    }
}

#[test]
fn unknown_schemes_and_what_names_no_place_are_refused_without_secrets() {
    for uri in ["nosuch://me:hunter22@host/?password=hunter22", "fs://srv/x", "fs://", "", "s3://u:hunter22@["] {
        let error = Storage::from_uri(uri, StorageOptions::new()).unwrap_err();
        assert!(matches!(error, Error::StorageUri { .. }), "{uri}");
        let all = format!("{error} {error:?} {}", std::error::Error::source(&error).unwrap());
        assert!(!all.contains("hunter22"), "{all}");
    }
}

/// What was built without a service says how to get it; what has it, needs it no more.
#[test]
fn a_service_that_is_not_built_in_names_its_feature() {
    for (uri, feature, is_built_in) in [
        ("s3://bucket/r?region=x&secret_access_key=hunter22", "s3", cfg!(feature = "s3")),
        ("azblob://container/r?account_name=ada&account_key=aHVudGVyMjI=", "azblob", cfg!(feature = "azblob")),
        ("gcs://bucket/r", "gcs", cfg!(feature = "gcs")),
        ("webdav://me:hunter22@host/r", "webdav", cfg!(feature = "webdav")),
        ("sftp://me@host:22/r", "sftp", cfg!(feature = "sftp")),
    ] {
        match Storage::from_uri(uri, StorageOptions::new()) {
            Ok(storage) => {
                assert!(is_built_in, "{uri}");
                assert!(!storage.display().contains("hunter22"), "{}", storage.display());
            }
            Err(error) => {
                let text = format!("{error} {}", std::error::Error::source(&error).unwrap());
                assert!(!is_built_in && text.contains(&format!("cargo feature `{feature}`")), "{text}");
                assert!(!text.contains("hunter22"), "{text}");
            }
        }
    }
}

#[test]
fn errors_of_a_service_are_shown_without_its_secrets() {
    let opaque = opendal::OperatorUri::new("s3://bucket/?secret_access_key=wJalrXUt&region=eu", []).unwrap();
    let redactor = Redactor::of(&opaque);
    let error = opendal::Error::new(
        opendal::ErrorKind::Unexpected,
        "cannot send (https://u:p@bucket.example/x?X-Amz-Signature=abc), \"http://h/?sig=def\" key wJalrXUt in eu",
    )
    .with_context("uri", "https://bucket.example/y?X-Amz-Credential=ghi");
    let text = redactor.failure(&error).to_string();
    for secret in ["u:p", "abc", "def", "ghi", "wJalrXUt"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    for rest in ["https://bucket.example/x", "http://h/", "in eu", "https://bucket.example/y"] {
        assert!(text.contains(rest), "{rest} not in {text}");
    }
}

#[test]
fn paths_and_uris_of_files_mean_directories() {
    let options = StorageOptions::new;
    for (uri, root) in [
        ("/srv/x", "/srv/x"),
        ("fs:///srv/x", "/srv/x"),
        ("file:///srv/x/", "/srv/x"),
        ("fs:///srv/with%20space", "/srv/with space"),
        ("fs://localhost/srv/x", "/srv/x"),
        ("fs://?root=/srv/x", "/srv/x"),
    ] {
        let storage = Storage::from_uri(uri, options()).unwrap();
        assert_eq!((storage.local_root(), storage.display().as_str()), (Some(Path::new(root)), root), "{uri}");
    }
    let relative = Storage::from_uri("some/where", options()).unwrap();
    let expected = std::env::current_dir().unwrap().join("some/where");
    assert_eq!(relative.local_root(), Some(expected.as_path()));
    assert_eq!(format!("{relative:?}"), format!("Storage({})", relative.display()));
}

#[test]
fn operators_are_shown_as_uris() {
    let memory = opendal::Operator::new(opendal::services::Memory::default().root("/a/b")).unwrap();
    assert_eq!(Storage::new(memory, StorageOptions::new()).unwrap().display(), "memory:///a/b/");
}
