//! Every failure has its exit code, and says what to do.

use crate::world::{Run, World};

#[test]
fn an_unknown_option_is_wrong_usage() {
    let world = World::bare();
    world.run(["backup", "--no-such-option", "src"]).expect(2);
    world.run(["frobnicate"]).expect(2);
    world.run(["backup"]).expect(2);
    let run = world.run(["--json", "backup", "--no-such-option"]).expect(2);
    assert_eq!(run.json("backup")["error"]["kind"], "usage");
}

#[test]
fn no_repository_is_seven_even_without_a_key() {
    let world = World::bare();
    let run = world.run(["-r", "nowhere", "snapshots"]).expect(7);
    assert!(run.stderr.contains("error: no repository at"), "{}", run.stderr);
    assert!(run.stderr.contains("hint: "), "{}", run.stderr);
    world.run(["snapshots"]).expect(7);
    let run = world.run(["-r", "nowhere", "--json", "snapshots"]).expect(7);
    assert_eq!(run.json("snapshots")["error"]["kind"], "no_repository");
}

#[test]
fn an_unknown_scheme_is_wrong_usage_and_shows_no_secret() {
    let world = World::bare();
    let run = world.run(["-r", "nope://user:geheim@host/x?secret=geheim", "snapshots"]).expect(2);
    assert!(!run.stderr.contains("geheim"), "{}", run.stderr);
}

#[test]
fn no_key_is_six_and_says_how_to_give_one() {
    let world = World::new();
    let run = world.run(["-r", "repo", "snapshots"]).expect(6);
    assert!(run.stderr.contains("--password-file"), "{}", run.stderr);
    world.run(["-r", "repo", "--key-file", "nowhere", "snapshots"]).expect(6);
    let run = world.run(["-r", "repo", "--json", "snapshots"]).expect(6);
    assert_eq!(run.json("snapshots")["error"]["kind"], "wrong_key");
}

#[test]
fn a_wrong_key_is_six() {
    let world = World::new();
    world.run(["-r", "other", "--key-file", "other.key", "init"]).expect(0);
    let run = world.run(["-r", "repo", "--key-file", "other.key", "snapshots"]).expect(6);
    assert!(run.stderr.contains("wrong key"), "{}", run.stderr);
    world.write("broken.key", b"holdfast-key-1-00");
    world.run(["-r", "repo", "--key-file", "broken.key", "snapshots"]).expect(6);
}

#[test]
fn a_second_init_fails_and_changes_nothing() {
    let world = World::new();
    let key = std::fs::read(world.path("key")).unwrap();
    world.repo(["init"]).expect(1);
    world.run(["-r", "repo", "--key-file", "new.key", "init", "--recovery-sheet", "sheet"]).expect(1);
    assert_eq!(std::fs::read(world.path("key")).unwrap(), key);
    assert!(!world.path("new.key").exists());
    assert!(!world.path("sheet").exists());
}

#[test]
fn missing_paths_are_a_warning_unless_all_are_missing() {
    let world = World::new();
    let run = world.repo(["--json", "backup", "src", "missing"]).expect(3);
    let document = run.json("backup");
    assert!(document["snapshot_id"].is_string());
    assert_eq!(document["warnings"][0]["path"], world.text("missing"));
    assert!(document["warnings"][0]["message"].is_string());
    world.repo(["backup", "missing", "gone"]).expect(1);
    let snapshots = world.repo(["--json", "snapshots"]).expect(0).json("snapshots");
    assert_eq!(snapshots["snapshots"].as_array().unwrap().len(), 1);
}

#[test]
fn unknown_classes_levels_and_snapshots_are_wrong_usage() {
    let world = World::with_snapshot();
    world.repo(["backup", "src", "--class", "nope"]).expect(2);
    world.repo(["backup", "src", "--level", "99"]).expect(2);
    let run = world.repo(["backup", "src", "--level", "slowest"]).expect(2);
    assert!(run.stderr.contains("fastest, default, better, max"), "{}", run.stderr);
    world.repo(["backup", "src", "--level", "better"]).expect(0);
    world.repo(["backup", "src", "--time", "yesterday"]).expect(2);
    world.repo(["backup", "src", "--parent", "ffffffff"]).expect(2);
    let run = world.repo(["ls", "zzzz"]).expect(2);
    assert!(run.stderr.contains("0 snapshots match zzzz"), "{}", run.stderr);
    world.repo(["ls", "latest:/not/there"]).expect(2);
    world.repo(["ls", "latest", "--host", "elsewhere"]).expect(2);
    world.repo(["check", "--read-data=lots"]).expect(2);
}

#[test]
fn a_failing_command_leaves_no_snapshot() {
    let world = World::new();
    world.repo(["backup", "--stdin-command", "x", "--", "sh", "-c", "echo half; exit 1"]).expect(1);
    world.repo(["ls", "latest"]).expect(2);
    world.repo(["backup", "--stdin-command", "x", "--", "echo", "whole"]).expect(0);
    assert_eq!(world.repo(["dump", "latest:/x"]).expect(0).stdout, "whole\n");
}

#[test]
fn damage_is_four_and_named() {
    let world = World::with_snapshot();
    let packs = walk(&world.path("repo/meta")).into_iter().chain(walk(&world.path("repo/packs")));
    for pack in packs {
        let mut bytes = std::fs::read(&pack).unwrap();
        let middle = bytes.len() / 4;
        bytes[middle] ^= 1;
        std::fs::write(&pack, bytes).unwrap();
    }
    let run = world.repo(["--json", "check", "--read-data"]).expect(4);
    let damage = &run.json("check")["damage"][0];
    assert!(damage["object"].is_string() && damage["kind"].is_string(), "{damage}");
    assert!(damage["snapshots"].is_array() && damage["paths"].is_array(), "{damage}");
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn what_an_ordinary_user_may_not_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::bare();
    world.write("src/closed/secret", b"x");
    world.write("src/hidden", b"x");
    // The tests may run as the superuser, who reads everything: the binary then runs as somebody else.
    let open_up =
        |below: &str, mode| std::fs::set_permissions(world.path(below), PermissionsExt::from_mode(mode)).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_holdfast"), world.path("holdfast")).unwrap();
    open_up("", 0o777);
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if is_root {
        let given = std::process::Command::new("chown").args(["-R", "65534:65534"]).arg(world.path("")).status();
        assert!(given.unwrap().success());
    }
    open_up("src/closed", 0o000);
    open_up("src/hidden", 0o000);
    let run = |words: &[&str]| {
        let whole = world.repo_command();
        let mut command = std::process::Command::new(if is_root { "setpriv" } else { "env" });
        if is_root {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        }
        command.arg(world.path("holdfast")).args(whole.get_args()).args(words).current_dir(world.path(""));
        for (name, value) in whole.get_envs() {
            command.envs(value.map(|value| (name, value)));
        }
        Run::of(command.output().unwrap())
    };
    run(&["init"]).expect(0);
    let report = run(&["backup", "src", "--json"]).expect(3).json("backup");
    let kinds: Vec<&str> = report["warnings"].as_array().unwrap().iter().map(|w| w["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["unreadable", "unreadable"], "{report}");
    assert!(run(&["ls", "latest"]).expect(0).stdout.contains("src/a.txt"));
}
