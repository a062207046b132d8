//! A full disk, at the repository and at the target: a clear error, nothing lost, and it works again once there is room.

use std::process::Command;

use crate::world::{Run, World};

/// Runs the binary with a small file system over `place`, filled with what `place` holds; what it leaves there is copied back. `None` where nothing may be mounted.
fn on_small_disk(world: &World, place: &str, size: &str, words: &[&str]) -> Option<Run> {
    let script = "set -e; mount -t tmpfs -o size=$SIZE none \"$SPARE\"; cp -a \"$PLACE/.\" \"$SPARE/\"; mount --move \"$SPARE\" \"$PLACE\"; \
                  shift; set +e; \"$@\"; code=$?; exit $code";
    std::fs::create_dir_all(world.path("spare")).unwrap();
    std::fs::create_dir_all(world.path(place)).unwrap();
    let holdfast = world.repo_command();
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let mut command = Command::new("unshare");
    command.args(if is_root { &["--mount"][..] } else { &["--mount", "--map-root-user"][..] });
    command.args(["--propagation", "private", "sh", "-c", script, "sh", "--"]);
    command.arg(holdfast.get_program()).args(holdfast.get_args()).args(words);
    command.env("SIZE", size).env("SPARE", world.path("spare")).env("PLACE", world.path(place));
    for (name, value) in holdfast.get_envs() {
        command.envs(value.map(|value| (name, value)));
    }
    command.current_dir(world.path(""));
    let run = Run::of(command.output().ok()?);
    let refused = ["unshare:", "mount:"].iter().any(|name| run.stderr.starts_with(name));
    if refused {
        crate::world::skip(&format!("nothing may be mounted here: {}", run.stderr));
        return None;
    }
    Some(run)
}

fn noise(length: u32) -> Vec<u8> {
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn a_repository_on_a_full_disk_is_an_error_and_keeps_what_it_held() {
    let world = World::with_snapshot();
    world.write("src/large", &noise(6_000_000));
    let Some(run) = on_small_disk(&world, "repo", "2m", &["backup", "src"]) else { return };
    let run = run.expect(1);
    assert!(run.stderr.contains("cannot write"), "{}", run.stderr);
    assert!(run.stderr.contains("No space left"), "{}", run.stderr);
    world.backup().expect(0);
    world.repo(["check", "--read-data"]).expect(0);
}

#[test]
fn a_target_without_room_is_refused_before_anything_is_written() {
    let world = World::with_snapshot();
    world.write("src/large", &noise(6_000_000));
    world.backup().expect(0);
    let Some(run) = on_small_disk(&world, "target", "2m", &["restore", "latest", "target"]) else { return };
    let run = run.expect(1);
    assert!(run.stderr.contains("bytes free"), "{}", run.stderr);
}

#[test]
fn a_target_that_fills_up_is_an_error_that_names_the_file() {
    let world = World::new();
    world.write("src/large", &noise(6_000_000));
    world.backup().expect(0);
    // Something is there already, so the room that is needed cannot be told beforehand.
    world.write("target/before", b"kept");
    let Some(run) = on_small_disk(&world, "target", "2m", &["restore", "latest", "target"]) else { return };
    let run = run.expect(1);
    assert!(run.stderr.contains("large") && run.stderr.contains("No space left"), "{}", run.stderr);
}
