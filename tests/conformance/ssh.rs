//! SFTP through a real OpenSSH server.
//!
//! The library runs the program `ssh`, which looks for keys of hosts in the user's own files. So that no test touches these, everything happens in a process of its own, where
//! `PATH` leads to an `ssh` that knows the test's server only.

use std::process::Command;
use std::time::Duration;

use backup_core::storage::{Storage, StorageOptions};

use crate::kit;
use crate::promises::expect_all;
use crate::rounds::expect_round;
use crate::servers::script::Script;

const PLACE: &str = "HOLDFAST_TEST_SFTP";
/// How long a connection that was closed may take to end.
const ENDING: Duration = Duration::from_secs(5);

/// Runs one of the ignored tests below against a server of its own.
fn run_inside(test: &str, server_options: &[&str]) {
    let server = match Script::start("sshd.sh", server_options) {
        Ok(server) => server,
        Err(missing) => return kit::skip(&format!("needs {missing}")),
    };
    let [_, port, user, key, bin] = &server.words[..] else { panic!("{:?}", server.words) };
    let files = server.directory.path().join("files");
    let uri = format!("sftp://{user}@127.0.0.1:{port}{}/r?key={key}", files.display());
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", test])
        .env(PLACE, uri)
        .env("PATH", path)
        .env("HOME", server.directory.path())
        .env_remove("XDG_STATE_HOME")
        .env_remove("XDG_RUNTIME_DIR")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
    // The program was told to end; it does so by itself, a moment later on a busy machine.
    let asked = std::time::Instant::now();
    while !clients(&server).is_empty() && asked.elapsed() < ENDING {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(clients(&server), [""; 0], "connections were left open");
}

/// Command lines of all processes that name the directory of a server and are no part of it.
fn clients(server: &Script) -> Vec<String> {
    let mark = server.directory.path().join("known").display().to_string();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&mark)).collect()
}

/// The storage's URI in the inner process; none where somebody runs ignored tests by hand.
fn place() -> Option<String> {
    std::env::var(PLACE).ok()
}

#[test]
fn sftp_keeps_all_promises() {
    run_inside("ssh::inside_promises", &[]);
}

#[test]
fn a_server_without_atomic_renames_keeps_all_promises() {
    run_inside("ssh::inside_promises", &["-P", "posix-rename"]);
}

#[test]
fn a_repository_lives_behind_sftp() {
    run_inside("ssh::inside_round", &[]);
}

#[test]
fn what_sftp_writers_left_is_removed_when_it_is_old() {
    run_inside("ssh::inside_temporaries", &[]);
}

#[test]
#[ignore = "runs inside of others"]
fn inside_promises() {
    if let Some(uri) = place() {
        expect_all(&uri);
    }
}

#[test]
#[ignore = "runs inside of others"]
fn inside_round() {
    if let Some(uri) = place() {
        expect_round(&uri);
    }
}

#[test]
#[ignore = "runs inside of others"]
fn inside_temporaries() {
    let Some(uri) = place() else { return };
    let storage = Storage::from_uri(&uri, StorageOptions::new()).unwrap();
    storage.write("packs/a/1", vec![1; 10]).unwrap();
    let (_, path) = uri.split_once("127.0.0.1:").unwrap();
    let root = path[path.find('/').unwrap()..].split('?').next().unwrap();
    let directory = std::path::Path::new(root).join("packs/a");
    std::fs::write(directory.join("1.0123456789abcdef.tmp"), "torn").unwrap();
    assert_eq!(storage.list("").unwrap().len(), 1);
    let now = storage.stat("packs/a/1").unwrap().unwrap().modified.unwrap();
    let later = |seconds| backup_core::time::Time::new(now.seconds + seconds, 0);
    assert_eq!(storage.remove_stale_temporaries(later(3_600)).unwrap(), 0);
    assert_eq!(storage.remove_stale_temporaries(later(90_000)).unwrap(), 1);
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
    assert_eq!(storage.read("packs/a/1", 10).unwrap(), [1; 10]);
}
