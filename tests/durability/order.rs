//! On a file system every object is durable before the entry that names it: seen in the system calls of the binary.

use std::io::Write;
use std::process::Command;

use crate::trace::{Call, parent, parse, violations};
use crate::world::World;

/// Traces one command on the world's repository; `None` where there is no strace, or it may not trace.
fn trace(world: &World, arguments: &[&str]) -> Option<Vec<Call>> {
    let log = world.path("strace.log");
    let traced = "write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat";
    let holdfast = world.repo_command();
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-s", "0", "-e", &format!("trace={traced}"), "-o"]).arg(&log).arg(holdfast.get_program());
    command.args(holdfast.get_args()).args(arguments).current_dir(world.path(""));
    command.env_clear();
    for (name, value) in holdfast.get_envs() {
        command.envs(value.map(|value| (name, value)));
    }
    match command.output() {
        Ok(output) if output.status.success() => Some(parse(&std::fs::read_to_string(log).unwrap())),
        outcome => {
            assert!(std::env::var_os("HOLDFAST_TEST_REQUIRE_ALL").is_none(), "strace is needed here: {outcome:?}");
            std::io::stderr().write_all(b"skipped: the order of system calls, for strace does not run here\n").unwrap();
            None
        }
    }
}

fn traced_backup() -> Option<(World, Vec<Call>)> {
    let world = World::bare();
    world.write(
        "src/large",
        &(0..3_000_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect::<Vec<u8>>(),
    );
    trace(&world, &["init"])?;
    let calls = trace(&world, &["backup", "src"])?;
    Some((world, calls))
}

#[test]
fn every_object_is_durable_before_the_entry_that_names_it() {
    let Some((world, calls)) = traced_backup() else { return };
    let repository = world.text("repo");
    let renames =
        calls.iter().filter(|call| matches!(call, Call::Rename(_, to) if to.starts_with(&repository))).count();
    assert!(renames >= 3, "a pack of content, one of nodes and an entry: {calls:#?}");
    assert_eq!(violations(&calls, &repository), [""; 0]);
}

#[test]
fn without_any_one_of_its_syncs_a_backup_would_be_found_out() {
    let Some((world, calls)) = traced_backup() else { return };
    let repository = world.text("repo");
    let mut missed = 0;
    for (place, call) in calls.iter().enumerate() {
        let Call::Sync(path) = call else { continue };
        // Directories that were there before, and those synced twice, are synced out of caution: nothing depends on one such call.
        let is_needed = calls.iter().any(|other| match other {
            Call::Rename(from, to) => from == path || parent(to) == *path,
            Call::Make(made) => parent(made) == *path,
            _ => false,
        });
        if !path.starts_with(&repository) || !is_needed || calls.iter().filter(|other| *other == call).count() > 1 {
            continue;
        }
        let mut without = calls.clone();
        without.remove(place);
        missed += 1;
        assert_ne!(violations(&without, &repository), [""; 0], "nobody missed the sync of {path}");
    }
    assert!(missed >= 3, "hardly any sync was looked at: {calls:#?}");
}

#[test]
fn a_new_repository_is_durable_before_it_is_named() {
    let world = World::bare();
    let Some(calls) = trace(&world, &["init"]) else { return };
    let repository = world.text("repo");
    let named =
        calls.iter().position(|call| matches!(call, Call::Rename(_, to) if *to == format!("{repository}/repository")));
    let before = &calls[..named.expect("init names the repository")];
    for part in ["keys", "periods", "ledger"] {
        let renamed = before
            .iter()
            .any(|call| matches!(call, Call::Rename(_, to) if to.starts_with(&format!("{repository}/{part}/"))));
        let synced = before
            .iter()
            .any(|call| matches!(call, Call::Sync(path) if path.starts_with(&format!("{repository}/{part}"))));
        assert!(renamed && synced, "{part} is not durable before the repository object: {calls:#?}");
    }
}
