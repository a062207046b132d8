//! The JSON documents hold what the contract names.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use base64::Engine;
use serde_json::Value;

use crate::world::World;

#[track_caller]
fn expect_fields(value: &Value, numbers: &[&str], texts: &[&str]) {
    for name in numbers {
        assert!(value[name].is_u64(), "{name} in {value}");
    }
    for name in texts {
        assert!(value[name].is_string(), "{name} in {value}");
    }
}

#[test]
fn backup_reports_its_counts() {
    let world = World::new();
    let first = world.repo(["--json", "backup", "src", "--tag", "t"]).expect(0).json("backup");
    let numbers = [
        "files_new",
        "files_changed",
        "files_unchanged",
        "source_bytes",
        "stored_bytes",
        "packs_written",
        "requests",
        "elapsed_ms",
    ];
    expect_fields(&first, &numbers, &["snapshot_id", "class"]);
    assert!(first["parent_id"].is_null());
    assert_eq!((&first["files_new"], &first["source_bytes"]), (&2.into(), &5005.into()));
    let second = world.repo(["--json", "backup", "src"]).expect(0).json("backup");
    assert_eq!(second["parent_id"], first["snapshot_id"]);
    let dry = world.repo(["--json", "backup", "src", "--dry-run"]).expect(0).json("backup");
    assert!(dry["snapshot_id"].is_null());
    let snapshots = world.repo(["--json", "snapshots"]).expect(0).json("snapshots");
    assert_eq!(snapshots["snapshots"].as_array().unwrap().len(), 2);
}

#[test]
fn snapshots_are_described() {
    let world = World::new();
    let time = "2025-01-05T14:30:00Z";
    world.repo(["backup", "src", "--tag", "b", "--tag", "a", "--time", time]).expect(0);
    let document = world.repo(["--json", "snapshots", "--tag", "a"]).expect(0).json("snapshots");
    let snapshot = &document["snapshots"][0];
    expect_fields(snapshot, &["files", "source_bytes", "stored_bytes", "warnings"], &["id", "host", "class"]);
    assert_eq!(snapshot["time"], time);
    assert_eq!(snapshot["tags"], serde_json::json!(["a", "b"]));
    assert_eq!(snapshot["roots"], serde_json::json!([world.text("src")]));
    assert_eq!(snapshot["id"].as_str().unwrap().len(), 64);
    let none = world.repo(["--json", "snapshots", "--tag", "c"]).expect(0).json("snapshots");
    assert_eq!(none["snapshots"], serde_json::json!([]));
}

#[test]
fn entries_are_described() {
    let world = World::with_snapshot();
    for arguments in [vec!["--json", "ls", "latest"], vec!["--json", "find", "*"]] {
        let document = world.repo(&arguments).expect(0).json(arguments[1]);
        let entries = document["entries"].as_array().unwrap();
        assert_eq!(entries.len(), 4, "{document}");
        for entry in entries {
            expect_fields(entry, &["mode", "uid", "gid", "size_bytes"], &["path", "kind", "mtime"]);
            assert!(entry["mtime"].as_str().unwrap().ends_with('Z'));
        }
    }
}

#[test]
fn names_that_are_no_text_come_twice() {
    let world = World::new();
    let name = OsString::from_vec(b"n\xff".to_vec());
    std::fs::write(world.path("src").join(&name), b"x").unwrap();
    world.backup().expect(0);
    let document = world.repo(["--json", "find", "n*"]).expect(0).json("find");
    let entry = &document["entries"][0];
    assert!(entry["path"].as_str().unwrap().ends_with("/n\u{fffd}"));
    let exact = base64::engine::general_purpose::STANDARD.decode(entry["path_base64"].as_str().unwrap()).unwrap();
    assert_eq!(exact, world.path("src").join(&name).into_os_string().into_vec());
    let text = world.repo(["--json", "find", "a.txt"]).expect(0).json("find");
    assert!(text["entries"][0].get("path_base64").is_none());
}

#[test]
fn restore_and_check_report_their_counts() {
    let world = World::with_snapshot();
    let restored = world.repo(["--json", "restore", "latest", "out"]).expect(0).json("restore");
    expect_fields(&restored, &["files_written", "files_unchanged", "restored_bytes", "elapsed_ms"], &[]);
    assert_eq!(restored["files_damaged"], serde_json::json!([]));
    let checked = world.repo(["--json", "check"]).expect(0).json("check");
    expect_fields(&checked, &["objects_checked", "read_bytes", "orphan_packs"], &[]);
    assert_eq!(checked["damage"], serde_json::json!([]));
    let read = world.repo(["--json", "check", "--read-data"]).expect(0).json("check");
    assert!(read["read_bytes"].as_u64().unwrap() > 0);
    world.repo(["check", "--read-data=50%"]).expect(0);
    world.repo(["check", "--read-data=2GiB"]).expect(0);
}

#[test]
fn heads_that_were_noted_verify_later() {
    let world = World::with_snapshot();
    let heads = world.repo(["--json", "ledger", "head"]).expect(0);
    let head = heads.json("ledger head")["heads"][0].clone();
    expect_fields(&head, &["sequence"], &["writer", "entry_id"]);
    world.write("heads.json", &heads.bytes);
    world.write("heads.txt", &world.repo(["ledger", "head"]).expect(0).bytes);
    world.backup().expect(0);
    world.repo(["ledger", "verify", "--head", "heads.json"]).expect(0);
    world.repo(["ledger", "verify", "--head", "heads.txt"]).expect(0);
    world.run(["-r", "repo", "--no-key", "ledger", "verify"]).expect(0);
    let foreign = format!("{} 0 {}\n", "0".repeat(32), "0".repeat(64));
    world.write("foreign.txt", foreign.as_bytes());
    let run = world.repo(["--json", "ledger", "verify", "--head", "foreign.txt"]).expect(4);
    assert!(!run.json("ledger verify")["problems"].as_array().unwrap().is_empty());
    world.write("nonsense.txt", b"nonsense");
    world.repo(["ledger", "verify", "--head", "nonsense.txt"]).expect(2);
}

#[test]
fn every_other_document_parses() {
    let world = World::with_snapshot();
    world.write("src/a.txt", b"hello again");
    world.backup().expect(0);
    let all = world.repo(["--json", "snapshots"]).expect(0).json("snapshots");
    let first = all["snapshots"][0]["id"].as_str().unwrap().to_owned();
    let diff = world.repo(["--json", "diff", &first, "latest"]).expect(0).json("diff");
    let changes = diff["changes"].as_array().unwrap();
    let change = changes.iter().find(|change| change["path"] == world.text("src/a.txt")).unwrap();
    assert_eq!(change["change"], "content");
    let stats = world.repo(["--json", "stats", "--growth"]).expect(0).json("stats");
    let sum = |name: &str| {
        let of_snapshots = stats["growth"].as_array().unwrap().iter().flat_map(|source| source["snapshots"].as_array());
        let of_snapshots = of_snapshots.flatten().map(|snapshot| snapshot[name].as_u64().unwrap());
        of_snapshots.sum::<u64>() + stats["unattributed"][name].as_u64().unwrap()
    };
    let kinds = ["content_whole", "content_patch", "node_whole", "node_patch", "table", "padding", "header", "unread"];
    let counted: u64 = kinds.iter().map(|kind| sum(&format!("{kind}_bytes"))).sum();
    assert_eq!(stats["stored_bytes"], counted);
    assert_eq!(stats["growth"][0]["snapshots"][1]["id"], all["snapshots"][1]["id"]);
    let people = world.repo(["stats", "--growth"]).expect(0);
    assert!(people.stdout.contains(&first[..8]) && people.stdout.contains("of no snapshot"), "{}", people.stdout);
    world.repo(["--json", "cat", "latest"]).expect(0).json("cat");
    world.repo(["--json", "key", "list"]).expect(0).json("key list");
    world.repo(["--json", "repair", "index"]).expect(0).json("repair index");
    world.repo(["--json", "repair", "snapshots"]).expect(0).json("repair snapshots");
    world.repo(["--json", "dump", "latest:/"]).expect(2).json("dump");
}
