//! What a verb costs for each file, counted in system calls of the real binary.

use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::world::World;

/// How often a run of a command on the world's repository makes each system call; `None` where there is no strace, or it may not trace.
fn count(world: &World, arguments: &[&str]) -> Option<HashMap<String, i64>> {
    let log = world.path("strace.log");
    let holdfast = world.repo_command();
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-U", "name,calls", "-o"]).arg(&log).arg(holdfast.get_program());
    command.args(holdfast.get_args()).args(arguments).current_dir(world.path(""));
    command.env_clear();
    for (name, value) in holdfast.get_envs() {
        command.envs(value.map(|value| (name, value)));
    }
    match command.output() {
        Ok(output) if output.status.success() => {
            let log = std::fs::read_to_string(log).unwrap();
            let lines = log.lines().filter_map(|line| line.split_whitespace().collect::<Vec<_>>().try_into().ok());
            Some(lines.filter_map(|[name, calls]: [&str; 2]| Some((name.to_owned(), calls.parse().ok()?))).collect())
        }
        outcome => {
            assert!(std::env::var_os("HOLDFAST_TEST_REQUIRE_ALL").is_none(), "strace is needed here: {outcome:?}");
            std::io::stderr().write_all(b"skipped: counts of system calls, for strace does not run here\n").unwrap();
            None
        }
    }
}

/// What a restore of so many small files in one directory, which is not there yet, takes.
fn restore(files: u32) -> Option<HashMap<String, i64>> {
    let world = World::new();
    for number in 0..files {
        world.write(&format!("src/many/{number}"), format!("{number} ").repeat(1000).as_bytes());
    }
    world.repo(["backup", &world.text("src")]).expect(0);
    let counted = count(&world, &["restore", "latest", "out"])?;
    let restored = world.path("out").join(world.text(&format!("src/many/{}", files - 1)).trim_start_matches('/'));
    assert_eq!(std::fs::read(restored).unwrap(), format!("{} ", files - 1).repeat(1000).as_bytes());
    Some(counted)
}

#[test]
fn a_small_file_of_a_restore_costs_five_system_calls() {
    let (few, many) = (100, 500);
    let (Some(before), Some(after)) = (restore(few), restore(many)) else { return };
    let of = |name: &str| after.get(name).copied().unwrap_or(0) - before.get(name).copied().unwrap_or(0);
    // Memory and threads are no matter of single files.
    let files = i64::from(many - few);
    for name in ["openat", "pwrite64", "fchmod", "utimensat", "close"] {
        assert!((files..files + 40).contains(&of(name)), "{name}: {} times for {files} files", of(name));
    }
    for name in ["fstat", "newfstatat", "statx", "fchown", "flistxattr", "fsync", "pread64", "lseek"] {
        assert!(of(name) < 40, "{name}: {} times more for {files} files", of(name));
    }
}

/// The most memory of its own that a run of a command on the world's repository had, in MiB, sampled while it ran.
fn memory_mib(world: &World, arguments: &[&str]) -> u64 {
    let mut run = world.repo_command().args(arguments).stdout(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", run.id());
    let mut most_kib = 0;
    while run.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let own = text.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse().ok());
        most_kib = most_kib.max(own.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(run.wait().unwrap().success());
    most_kib >> 10
}

#[test]
fn a_long_file_behind_a_small_one_that_nobody_reads_yet_is_not_held_in_memory() {
    let world = World::new();
    world.write("src/a-small-one", b"of which a batch is not full");
    world.write("src/long", &vec![0; 600 << 20]);
    let most = memory_mib(&world, &["backup", &world.text("src")]);
    assert!((1..200).contains(&most), "{most} MiB");
}
