//! Keys: where they come from, how slots come and go.

use crate::world::{World, mode};

#[test]
fn a_passphrase_comes_from_file_command_or_environment() {
    let world = World::bare();
    world.write("password", b"correct horse\n");
    world.run(["-r", "repo", "--password-file", "password", "init"]).expect(0);
    world.run(["-r", "repo", "--password-command", "printf 'correct horse'", "snapshots"]).expect(0);
    world.run(["-r", "repo", "--password-command", "false", "snapshots"]).expect(6);
    let from_environment = |value: &str| {
        let mut command = world.command();
        command.env("HOLDFAST_PASSWORD", value).args(["-r", "repo", "snapshots"]);
        crate::world::Run::of(command.output().unwrap())
    };
    from_environment("correct horse").expect(0);
    let wrong = from_environment("wrong horse").expect(6);
    assert!(!wrong.stderr.contains("wrong horse"), "{}", wrong.stderr);
}

#[test]
fn two_sources_of_a_key_are_wrong_usage() {
    let world = World::new();
    world.repo(["--password-file", "key", "snapshots"]).expect(2);
    world.repo(["--no-key", "snapshots"]).expect(2);
    world.run(["-r", "repo", "--no-key", "snapshots"]).expect(6);
}

#[test]
fn a_recovery_sheet_opens_the_repository() {
    let world = World::bare();
    world.repo(["init", "--recovery-sheet", "sheet"]).expect(0);
    assert_eq!((mode(&world.path("sheet")), mode(&world.path("key"))), (0o600, 0o600));
    world.run(["-r", "repo", "--key-file", "sheet", "snapshots"]).expect(0);
    let slots = world.repo(["--json", "key", "list"]).expect(0).json("key list");
    assert_eq!(slots["slots"].as_array().unwrap().len(), 2);
}

#[test]
fn keys_are_added_and_removed_but_never_the_last() {
    let world = World::with_snapshot();
    let added = world.repo(["--json", "key", "add", "--new-key-file", "second", "--label", "laptop"]).expect(0);
    let id = added.json("key add")["slot_id"].as_str().unwrap().to_owned();
    assert_eq!(mode(&world.path("second")), 0o600);
    world.run(["-r", "repo", "--key-file", "second", "ls", "latest"]).expect(0);
    let listed = world.repo(["key", "list"]).expect(0).stdout;
    assert!(listed.contains("laptop") && listed.contains("key file"), "{listed}");
    world.repo(["key", "add", "--new-key-file", "second"]).expect(1);
    world.repo(["key", "remove", &id[..12]]).expect(0);
    world.run(["-r", "repo", "--key-file", "second", "ls", "latest"]).expect(6);
    let slots = world.repo(["--json", "key", "list"]).expect(0).json("key list");
    let last = slots["slots"][0]["id"].as_str().unwrap().to_owned();
    world.repo(["key", "remove", &last]).expect(5);
    world.repo(["key", "remove", "zz"]).expect(2);
}

#[test]
fn a_key_file_is_never_overwritten() {
    let world = World::new();
    world.write("mine", b"precious");
    world.repo(["key", "add", "--new-key-file", "mine"]).expect(1);
    assert_eq!(std::fs::read(world.path("mine")).unwrap(), b"precious");
}
