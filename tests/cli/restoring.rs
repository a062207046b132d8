//! Options of `backup` that choose what is stored, and of `restore`.

use std::fs;

use crate::world::World;

#[test]
fn a_target_that_is_a_file_fails() {
    let world = World::with_snapshot();
    world.write("out", b"a file");
    world.repo(["restore", "latest", "out"]).expect(1);
    assert_eq!(fs::read(world.path("out")).unwrap(), b"a file");
}

#[test]
fn a_directory_restores_its_content_and_a_file_itself() {
    let world = World::with_snapshot();
    world.repo(["restore", &format!("latest:{}", world.text("src")), "out"]).expect(0);
    assert_eq!(fs::read(world.path("out/a.txt")).unwrap(), b"hello");
    assert_eq!(fs::read(world.path("out/sub/b.txt")).unwrap().len(), 5000);
    let file = format!("latest:{}", world.text("src/a.txt"));
    world.repo(["restore", &file, "copy.txt"]).expect(0);
    assert_eq!(fs::read(world.path("copy.txt")).unwrap(), b"hello");
}

#[test]
fn restore_deletes_and_overwrites_as_told() {
    let world = World::with_snapshot();
    let source = format!("latest:{}", world.text("src"));
    world.repo(["restore", &source, "out"]).expect(0);
    world.write("out/extra", b"extra");
    world.write("out/a.txt", b"HELLO");
    world.repo(["restore", &source, "out", "--overwrite", "never"]).expect(0);
    assert_eq!(fs::read(world.path("out/a.txt")).unwrap(), b"HELLO");
    world.repo(["restore", &source, "out", "--delete", "--dry-run"]).expect(0);
    assert!(world.path("out/extra").exists());
    world.repo(["restore", &source, "out", "--delete", "--verify"]).expect(0);
    assert_eq!(fs::read(world.path("out/a.txt")).unwrap(), b"hello");
    assert!(!world.path("out/extra").exists());
    world.repo(["restore", &source, "out", "--overwrite", "sometimes"]).expect(2);
}

#[test]
fn restore_includes_and_excludes() {
    let world = World::with_snapshot();
    let source = format!("latest:{}", world.text("src"));
    world.repo(["restore", &source, "one", "--include", "b.txt"]).expect(0);
    assert!(world.path("one/sub/b.txt").exists() && !world.path("one/a.txt").exists());
    world.repo(["restore", &source, "two", "--exclude", "b.txt"]).expect(0);
    assert!(!world.path("two/sub/b.txt").exists() && world.path("two/a.txt").exists());
}

#[test]
fn backup_excludes_by_glob_file_and_tag() {
    let world = World::new();
    world.write("src/x.tmp", b"x");
    world.write("src/y.log", b"y");
    world.write("src/cache/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n");
    world.write("src/cache/data", b"data");
    world.write("rules", b"*.log\n");
    let arguments = ["backup", "src", "--exclude", "*.tmp", "--exclude-file", "rules", "--exclude-caches"];
    world.repo(arguments.iter().chain(&["--one-file-system", "--content-hash"])).expect(0);
    let listed = world.repo(["ls", "latest"]).expect(0).stdout;
    for left_out in ["x.tmp", "y.log", "cache/data"] {
        assert!(!listed.contains(left_out), "{left_out} in {listed}");
    }
    assert!(listed.contains("a.txt"), "{listed}");
}

#[test]
fn a_time_with_a_zone_names_a_snapshot_and_a_path_behind_it() {
    let world = World::new();
    world.repo(["backup", "src", "--time", "2025-01-05T15:30:00+01:00"]).expect(0);
    let target = format!("@2025-01-05T14:30:00Z:{}", world.text("src/a.txt"));
    assert_eq!(world.repo(["dump", &target]).expect(0).bytes, b"hello");
}
