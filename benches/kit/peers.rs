//! Other programs over the same files: how much each adds to its repository.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::stored_bytes;

/// A program with a repository of its own.
pub(crate) struct Peer {
    pub name: String,
    program: PathBuf,
    backup: Vec<String>,
    repository: PathBuf,
    backups: usize,
}

/// Names, programs, and the words that make a repository and a backup: `{}` stands for the repository, `{n}` for a number.
const PEERS: [(&str, &str, &str, &str); 4] = [
    ("restic", "restic", "-q -r {} init", "-q -r {} backup"),
    ("rustic", "rustic", "--no-progress --log-level error -r {} init", "--no-progress --log-level error -r {} backup"),
    ("borg", "borg", "init -e repokey-blake2 {}", "create {}::{n}"),
    (
        "borg, 4 KiB, zstd 3",
        "borg",
        "init -e repokey-blake2 {}",
        "create --chunker-params fixed,4096 -C zstd,3 {}::{n}",
    ),
];

impl Peer {
    /// Makes a repository below `directory` for each program that is installed; the others are left out. `HOLDFAST_BENCH_RUSTIC` says where rustic is if not on the path.
    pub(crate) fn all(directory: &Path) -> Result<Vec<Self>, Box<dyn Error>> {
        let mut peers = Vec::new();
        for (number, (name, program, init, backup)) in PEERS.into_iter().enumerate() {
            let asked = std::env::var_os(format!("HOLDFAST_BENCH_{}", program.to_uppercase()));
            let program = asked.map_or_else(|| PathBuf::from(program), PathBuf::from);
            if Command::new(&program).arg("--version").output().is_err() {
                continue;
            }
            let repository = directory.join(format!("peer-{number}"));
            let words = backup.split(' ').map(str::to_owned).collect();
            let mut peer = Self { name: name.to_owned(), program, backup: words, repository, backups: 0 };
            peer.run(&init.split(' ').map(str::to_owned).collect::<Vec<_>>(), None)?;
            peers.push(peer);
        }
        Ok(peers)
    }

    /// Backs up a directory; returns the bytes that the repository grew by.
    pub(crate) fn backup(&mut self, tree: &Path) -> Result<u64, Box<dyn Error>> {
        let before = stored_bytes(&self.repository)?;
        self.backups += 1;
        let words = self.backup.clone();
        self.run(&words, Some(tree))?;
        Ok(stored_bytes(&self.repository)?.saturating_sub(before))
    }

    fn run(&mut self, words: &[String], tree: Option<&Path>) -> Result<(), Box<dyn Error>> {
        let (repository, number) = (self.repository.to_string_lossy(), self.backups.to_string());
        let words = words.iter().map(|word| word.replace("{}", &repository).replace("{n}", &number));
        let beside = |name: &str| self.repository.with_extension(name);
        let output = Command::new(&self.program)
            .args(words)
            .args(tree)
            .envs([("RESTIC_PASSWORD", "bench"), ("RUSTIC_PASSWORD", "bench"), ("BORG_PASSPHRASE", "bench")])
            .envs([("XDG_CACHE_HOME", beside("cache")), ("XDG_CONFIG_HOME", beside("config"))])
            .env("BORG_BASE_DIR", beside("borg"))
            .stdin(Stdio::null())
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("{} failed: {}", self.name, String::from_utf8_lossy(&output.stderr)).into())
    }
}
