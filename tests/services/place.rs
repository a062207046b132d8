//! A machine of its own for every test: a directory with a home, a repository, its key, and the binary, all of the user that the servers run as.
//!
//! PostgreSQL does not run as the superuser. Where the tests do, everything here runs as the user `postgres`; otherwise as whoever runs the tests.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::world::{Run, skip};

/// How long anything is waited for. Machines that test are slow at times; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The user that servers run as, where the tests run as the superuser.
const USER: &str = "postgres";

pub(crate) struct Place {
    directory: TempDir,
    /// What further programs need to be found in.
    paths: Vec<PathBuf>,
}

impl Place {
    /// Makes a place with a repository, where all these programs are; `None`, said aloud, where one is missing.
    pub(crate) fn with(programs: &[&str]) -> Option<Self> {
        let paths = postgresql_paths();
        for program in programs {
            if !is_there(program, &paths) {
                skip(&format!("{program} is not installed"));
                return None;
            }
        }
        if is_root() && !has_user() {
            skip(&format!("there is no user {USER} to drop to"));
            return None;
        }
        let place = Self { directory: TempDir::new().unwrap(), paths };
        open_up(place.directory.path(), 0o755);
        for below in ["home", "bin", "etc"] {
            fs::create_dir(place.path(below)).unwrap();
        }
        fs::copy(env!("CARGO_BIN_EXE_holdfast"), place.path("bin/holdfast")).unwrap();
        if is_root() {
            let mut command = Command::new("chown");
            assert!(command.args(["-R", USER]).arg(place.path("")).status().unwrap().success());
        }
        place.holdfast("init").expect(0);
        Some(place)
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    pub(crate) fn text(&self, below: &str) -> String {
        self.path(below).to_str().unwrap().to_owned()
    }

    /// Writes a file that everybody can read, and in `bin` run.
    pub(crate) fn write(&self, below: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(below), content).unwrap();
        open_up(&self.path(below), if below.starts_with("bin/") { 0o755 } else { 0o644 });
    }

    /// A program in the environment that the page asks for, and nothing of the outer one; as the user of the servers, ended when the test ends.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig=KILL");
        if is_root() {
            command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--init-groups"]);
        }
        command.arg(program);
        let outer = std::env::var_os("PATH").unwrap_or_default();
        let paths =
            [self.path("bin")].into_iter().chain(self.paths.iter().cloned()).chain(std::env::split_paths(&outer));
        command.env_clear().env("PATH", std::env::join_paths(paths).unwrap());
        command.envs([("TZ", "UTC"), ("LC_ALL", "C.UTF-8"), ("PGHOST", self.text("").as_str())]);
        command.env("PGUSER", "postgres").env("PGDATABASE", "postgres").env("TMPDIR", self.path("home"));
        command.env("HOME", self.path("home")).env("HOLDFAST_REPO", self.path("repo"));
        command.env("HOLDFAST_KEY_FILE", self.path("home/key"));
        command.current_dir(self.path("home")).stdin(Stdio::null());
        command
    }

    /// Runs a script of the page's kind.
    pub(crate) fn shell(&self, script: &str, environment: &[(&str, &str)]) -> Run {
        let mut command = self.command("bash");
        Run::of(command.args(["-c", script]).envs(environment.iter().copied()).output().unwrap())
    }

    /// Runs `holdfast` with words.
    pub(crate) fn holdfast(&self, words: &str) -> Run {
        self.shell(&format!("exec holdfast {words}"), &[])
    }

    /// How many snapshots there are, WAL files among them only if the words ask for them.
    pub(crate) fn count_snapshots(&self, words: &str) -> usize {
        let document = self.holdfast(&format!("--json snapshots {words}")).expect(0).json("snapshots");
        document["snapshots"].as_array().unwrap().len()
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn open_up(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn has_user() -> bool {
    Command::new("id")
        .arg(USER)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn is_there(program: &str, paths: &[PathBuf]) -> bool {
    let outer = std::env::var_os("PATH").unwrap_or_default();
    paths.iter().cloned().chain(std::env::split_paths(&outer)).any(|directory| directory.join(program).exists())
}

/// Where PostgreSQL keeps its programs; the newest version first. Debian's own wrappers in `PATH` look for clusters of Debian's.
fn postgresql_paths() -> Vec<PathBuf> {
    let Ok(found) = fs::read_dir("/usr/lib/postgresql") else { return Vec::new() };
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let mut versions: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
    versions.retain(|path| path.join("bin/postgres").exists());
    versions.sort_by_key(version);
    versions.into_iter().rev().map(|path| path.join("bin")).collect()
}
