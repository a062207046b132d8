//! A home directory of its own for every test, and runs of the binary in it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A directory with `home`, `src`, and where wanted a repository `repo` with the key file `key`.
pub(crate) struct World {
    directory: TempDir,
}

/// What a run left.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Standard output, byte for byte.
    pub(crate) bytes: Vec<u8>,
}

impl World {
    /// Makes a home and a small tree, and no repository.
    pub(crate) fn bare() -> Self {
        let world = Self { directory: TempDir::new().unwrap() };
        fs::create_dir_all(world.path("home")).unwrap();
        world.write("src/a.txt", b"hello");
        world.write("src/sub/b.txt", &[b'b'; 5000]);
        world
    }

    /// Makes a repository, too.
    pub(crate) fn new() -> Self {
        let world = Self::bare();
        world.repo(["init"]).expect(0);
        world
    }

    /// Makes a repository that holds one snapshot of `src`.
    pub(crate) fn with_snapshot() -> Self {
        let world = Self::new();
        world.repo([OsStr::new("backup"), world.path("src").as_os_str()]).expect(0);
        world
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    /// A path as text, as JSON shows it.
    pub(crate) fn text(&self, below: &str) -> String {
        self.path(below).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, below: &str, content: &[u8]) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The binary, with nothing of the outer environment but `PATH`.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("TZ", "UTC");
        for (name, below) in [
            ("HOME", "home"),
            ("XDG_DATA_HOME", "home/data"),
            ("XDG_CONFIG_HOME", "home/config"),
            ("XDG_STATE_HOME", "home/state"),
            ("XDG_CACHE_HOME", "home/cache"),
        ] {
            command.env(name, self.path(below));
        }
        command.current_dir(self.directory.path()).stdin(Stdio::null());
        command
    }

    /// Runs the binary with nothing but arguments.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        Run::of(self.command().args(arguments).output().unwrap())
    }

    /// The binary on the repository, with its key.
    pub(crate) fn repo_command(&self) -> Command {
        let mut command = self.command();
        command.arg("-r").arg(self.path("repo")).arg("--key-file").arg(self.path("key"));
        command
    }

    /// Runs the binary on the repository, with its key.
    pub(crate) fn repo<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        Run::of(self.repo_command().args(arguments).output().unwrap())
    }

    /// Backs `src` up.
    pub(crate) fn backup(&self) -> Run {
        self.repo(["backup", "src"])
    }
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("no signal ended it"),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            bytes: output.stdout,
        }
    }

    /// Fails with all output unless the exit code is this.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The one document on standard output, which must have what every document has.
    #[track_caller]
    pub(crate) fn json(&self, command: &str) -> Value {
        let document: Value = serde_json::from_slice(&self.bytes).expect(&self.stdout);
        assert_eq!(document["holdfast_json"], 1);
        assert_eq!(document["command"], command);
        assert_eq!(document["exit_code"], self.code);
        assert!(document["warnings"].is_array());
        document
    }
}

/// Permission bits.
pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Says that a test was skipped, where that is allowed.
pub(crate) fn skip(why: &str) {
    use std::io::Write;
    assert!(std::env::var_os("HOLDFAST_TEST_REQUIRE_ALL").is_none(), "{why}");
    // The test runner swallows what is printed by macros.
    std::io::stderr().write_all(format!("skipped: {}\n", why.trim()).as_bytes()).unwrap();
}
