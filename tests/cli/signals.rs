//! Signals end a verb with 130, and nothing half-done is visible.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::world::{Run, World};

fn send(signal: &str, child: &Child) {
    let sent = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
}

/// Starts a backup of a stream that ends only when the pipe does, and waits until it has read some of it.
fn start(world: &World) -> Child {
    let mut command = world.repo_command();
    command.args(["backup", "--stdin", "stream"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Far more than a pipe holds: the backup reads, so its handlers are in place.
    child.stdin.as_mut().unwrap().write_all(&vec![7; 8 << 20]).unwrap();
    child
}

/// Whether this process, and so all that it starts, ignores SIGHUP: the lowest bit of the mask.
fn hang_ups_are_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[test]
fn an_interrupted_backup_leaves_no_snapshot_and_the_next_one_works() {
    let world = World::with_snapshot();
    for signal in ["INT", "TERM", "HUP"] {
        // What started the tests may have it ignored, as nohup has, and then the command leaves it so.
        if signal == "HUP" && hang_ups_are_ignored() {
            continue;
        }
        let mut child = start(&world);
        send(signal, &child);
        // It reads on until it has taken the signal, however busy the machine is; an end of the stream could come first.
        let (mut input, started) = (child.stdin.take().unwrap(), Instant::now());
        while input.write_all(&[7; 1 << 16]).is_ok() {
            assert!(started.elapsed() < Duration::from_secs(60), "{signal} was not taken");
        }
        let run = Run::of(child.wait_with_output().unwrap()).expect(130);
        assert!(run.stderr.contains("error: interrupted"), "{}", run.stderr);
    }
    let snapshots = world.repo(["--json", "snapshots"]).expect(0).json("snapshots");
    assert_eq!(snapshots["snapshots"].as_array().unwrap().len(), 1);
    world.backup().expect(0);
    world.repo(["check", "--read-data"]).expect(0);
}

#[test]
fn a_hang_up_that_nohup_ignores_stops_nothing() {
    let world = World::new();
    let line = "trap '' HUP; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    let inner = world.repo_command();
    command.args(["-c", line]).arg(inner.get_program()).args(inner.get_args()).args(["backup", "--stdin", "stream"]);
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command.current_dir(world.path("")).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(&vec![7; 8 << 20]).unwrap();
    send("HUP", &child);
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let world = World::new();
    let child = start(&world);
    send("INT", &child);
    // Standard input stays open, so only the second signal can end it; the first is taken before the second is sent, or both count as one and it is sent again.
    let mut child = child;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        let _ = Command::new("kill").arg("-INT").arg(child.id().to_string()).stderr(Stdio::null()).status();
    };
    assert_eq!(status.code(), Some(130));
    world.backup().expect(0);
}
