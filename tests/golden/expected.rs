//! What a golden repository must hold, taken from the tree that it was made from, and comparisons with it.

use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use backup_core::Repository;
use backup_core::format::constants::*;
use backup_core::format::tree::{Content, Entry};
use backup_core::id::{decode_hex, encode_hex};
use backup_core::repository::Snapshot;
use serde_json::{Map, Value, json};

use crate::world::{Node, Piece, ROOT};

/// The expectations of one snapshot.
pub(crate) fn snapshot(tag: &str, tree: &Node) -> Value {
    let mut entries = Map::new();
    let mut first_names = std::collections::HashMap::new();
    describe(tree, ROOT, &mut entries, &mut first_names);
    json!({"tags": [tag], "entries": entries})
}

fn describe(
    node: &Node,
    path: &[u8],
    entries: &mut Map<String, Value>,
    first_names: &mut std::collections::HashMap<u64, String>,
) {
    let name = encode_hex(path);
    let mut found = metadata(&node.entry);
    if node.entry.is_file() {
        let part = |piece: &Piece| match piece {
            Piece::Data(bytes) => bytes.clone(),
            Piece::Hole(length) => vec![0; usize::try_from(*length).unwrap()],
        };
        let content: Vec<u8> = node.pieces.iter().flat_map(part).collect();
        found["size"] = json!(content.len());
        found["blake3"] = json!(blake3::hash(&content).to_hex().to_string());
    }
    if node.entry.link_group != 0 {
        let first = first_names.entry(node.entry.link_group).or_insert_with(|| name.clone());
        if *first != name {
            found["same"] = json!(first);
        }
    }
    entries.insert(name, found);
    for child in &node.children {
        describe(child, &[path, b"/", &child.entry.name].concat(), entries, first_names);
    }
}

fn metadata(entry: &Entry) -> Value {
    let kind = match entry.kind {
        ENTRY_FILE => "file",
        ENTRY_DIRECTORY => "directory",
        ENTRY_SYMLINK => "link",
        _ => "fifo",
    };
    let mut found = json!({"kind": kind, "mode": entry.mode, "mtime": [entry.mtime.seconds, entry.mtime.nanoseconds]});
    if let Content::Link { target } = &entry.content {
        found["target"] = json!(encode_hex(target));
    }
    if !entry.attributes.is_empty() {
        let attributes = entry.attributes.iter();
        let shown: Map<String, Value> =
            attributes.map(|a| (encode_hex(&a.name), json!(encode_hex(&a.value)))).collect();
        found["attributes"] = Value::Object(shown);
    }
    found
}

/// Lists a snapshot and compares all metadata, attributes and hashes of content.
pub(crate) fn compare_list(repository: &Repository, snapshot: &Snapshot, expected: &Value) {
    let mut listed = Map::new();
    repository
        .list(snapshot, None, &mut |found| {
            let mut entry = metadata(&found.entry);
            if found.entry.is_file() {
                let hash = found.entry.content_hash.unwrap_or_else(|| *blake3::hash(b"").as_bytes());
                entry["size"] = json!(found.entry.size_bytes());
                entry["blake3"] = json!(encode_hex(&hash));
            }
            listed.insert(encode_hex(&found.path), entry);
            Ok(())
        })
        .unwrap();
    let mut expected = expected.as_object().unwrap().clone();
    for (_, entry) in &mut expected {
        entry.as_object_mut().unwrap().remove("same");
    }
    let differing = expected.iter().find(|(name, entry)| listed.get(*name) != Some(entry));
    assert!(
        differing.is_none() && listed.len() == expected.len(),
        "{differing:?} is {:?}",
        differing.map(|d| listed.get(d.0))
    );
}

/// Compares what was restored: kinds, modes, times, content, targets and names of one file. Owners and attributes are not every file system's.
pub(crate) fn compare_restored(target: &Path, expected: &Value) {
    for (name, entry) in expected.as_object().unwrap() {
        let path = place(target, name);
        let found = path.symlink_metadata().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(json!([found.mtime(), found.mtime_nsec()]), entry["mtime"], "{}", path.display());
        match entry["kind"].as_str().unwrap() {
            "file" => {
                assert!(found.is_file());
                let content = fs::read(&path).unwrap();
                assert_eq!(content.len(), entry["size"], "{}", path.display());
                assert_eq!(blake3::hash(&content).to_hex().as_str(), entry["blake3"], "{}", path.display());
            }
            "link" => {
                let target = fs::read_link(&path).unwrap();
                assert_eq!(encode_hex(target.as_os_str().as_bytes()), entry["target"].as_str().unwrap());
                continue;
            }
            kind => assert_eq!(found.is_dir(), kind == "directory", "{}", path.display()),
        }
        assert_eq!(found.permissions().mode() & 0o7777, entry["mode"], "{}", path.display());
        if let Some(same) = entry["same"].as_str() {
            assert_eq!(found.ino(), place(target, same).metadata().unwrap().ino(), "{}", path.display());
        }
    }
}

fn place(target: &Path, name: &str) -> std::path::PathBuf {
    let mut path = vec![0; name.len() / 2];
    assert!(decode_hex(name, &mut path));
    let relative = std::ffi::OsString::from_vec(path[1..].to_vec());
    target.join(relative)
}
