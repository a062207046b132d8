//! The user's own repository: made by the first backup, announced, private, and never part of what it holds.

use std::os::unix::fs::symlink;

use crate::world::{World, mode};

#[test]
fn the_first_backup_makes_the_own_repository_and_says_so() {
    let world = World::bare();
    let first = world.run(["backup", "src"]).expect(0);
    let (repository, key) = (world.path("home/data/holdfast/repository"), world.path("home/config/holdfast/key"));
    for said in
        [repository.to_str().unwrap(), key.to_str().unwrap(), "Keep a copy of the key", "holdfast restore latest"]
    {
        assert!(first.stderr.contains(said), "{said} in {}", first.stderr);
    }
    let second = world.run(["backup", "src"]).expect(0);
    assert!(!second.stderr.contains("Keep a copy"), "{}", second.stderr);
    world.run(["restore", "latest", "out"]).expect(0);
    let restored = world.path("out").join(world.text("src").trim_start_matches('/')).join("a.txt");
    assert_eq!(std::fs::read(restored).unwrap(), b"hello");
}

#[test]
fn the_own_repository_and_its_key_are_private() {
    let world = World::bare();
    world.run(["backup", "src"]).expect(0);
    assert_eq!(mode(&world.path("home/data/holdfast/repository")), 0o700);
    assert_eq!(mode(&world.path("home/config/holdfast/key")), 0o600);
    assert_eq!(mode(&world.path("home/state/holdfast")), 0o700);
}

#[test]
fn repository_key_and_state_are_left_out_of_a_backup() {
    let world = World::bare();
    world.write("home/letter.txt", b"dear");
    let run = world.run(["backup", "home"]).expect(0);
    assert!(run.stderr.contains("the key"), "{}", run.stderr);
    world.run(["backup", "home"]).expect(0);
    let listed = world.run(["ls", "latest"]).expect(0).stdout;
    assert!(listed.contains("home/letter.txt"), "{listed}");
    for own in ["holdfast/repository", "config/holdfast/key", "state/holdfast"] {
        assert!(!listed.contains(own), "{own} in {listed}");
    }
}

#[test]
fn a_dry_run_makes_no_repository() {
    let world = World::bare();
    world.run(["backup", "src", "--dry-run"]).expect(7);
    assert!(!world.path("home/data").exists() && !world.path("home/config").exists());
}

#[test]
fn a_lost_key_of_the_own_repository_is_six() {
    let world = World::bare();
    world.run(["backup", "src"]).expect(0);
    std::fs::remove_file(world.path("home/config/holdfast/key")).unwrap();
    world.run(["backup", "src"]).expect(6);
    assert!(!world.path("home/config/holdfast/key").exists());
}

#[test]
fn the_environment_names_repository_and_key() {
    let world = World::with_snapshot();
    let run = |name: &str, value: &str| {
        let mut command = world.command();
        command.env("HOLDFAST_REPO", world.path("repo")).env(name, value).arg("snapshots");
        crate::world::Run::of(command.output().unwrap())
    };
    run("HOLDFAST_KEY_FILE", &world.text("key")).expect(0);
    run("HOLDFAST_PASSWORD", "guess").expect(6);
}

#[test]
fn a_link_given_as_path_is_not_resolved() {
    let world = World::new();
    symlink("src", world.path("link")).unwrap();
    world.repo(["backup", "link"]).expect(0);
    let listed = world.repo(["--json", "ls", "latest"]).expect(0).json("ls");
    assert_eq!(listed["entries"][0]["kind"], "symlink");
    assert_eq!(listed["entries"][0]["path"], world.text("link"));
}
