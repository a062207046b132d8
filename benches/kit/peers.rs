//! Other programs, and the command itself, over the same files: each in its own way, by a line of shell for each verb.
//!
//! A line sees `$PROGRAM`, `$REPOSITORY`, `$TREE` with its `$PARENT` and `$NAME`, `$TARGET`, and `$NUMBER`, which counts backups from 1. All encrypt, but for `tar`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::memory::Memory;
use super::process::{self, Ran};
use super::stored_bytes;

/// How a program is used. An empty line means that it has no such verb.
pub(crate) struct Program {
    pub name: &'static str,
    /// `HOLDFAST_BENCH_` and this in capitals says where it is; by default it is looked for on the path.
    pub program: &'static str,
    pub init: &'static str,
    pub backup: &'static str,
    pub restore: &'static str,
    /// Reads everything that is stored.
    pub check: &'static str,
}

/// The command of this project, with a key file and the rest of its defaults.
pub(crate) const HOLDFAST: Program = Program {
    name: "holdfast",
    program: "holdfast",
    init: r#"exec "$PROGRAM" -q -r "$REPOSITORY" --key-file "$REPOSITORY.key" init"#,
    backup: r#"exec "$PROGRAM" -q -r "$REPOSITORY" --key-file "$REPOSITORY.key" backup "$TREE""#,
    restore: r#"exec "$PROGRAM" -q -r "$REPOSITORY" --key-file "$REPOSITORY.key" restore latest "$TARGET""#,
    check: r#"exec "$PROGRAM" -q -r "$REPOSITORY" --key-file "$REPOSITORY.key" check --read-data"#,
};

/// Programs like it.
pub(crate) const PEERS: [Program; 5] = [
    Program {
        name: "restic",
        program: "restic",
        init: r#"exec "$PROGRAM" -q -r "$REPOSITORY" init"#,
        backup: r#"exec "$PROGRAM" -q -r "$REPOSITORY" backup "$TREE""#,
        restore: r#"exec "$PROGRAM" -q -r "$REPOSITORY" restore latest --target "$TARGET""#,
        check: r#"exec "$PROGRAM" -q -r "$REPOSITORY" check --read-data"#,
    },
    Program {
        name: "rustic",
        program: "rustic",
        init: r#"exec "$PROGRAM" --no-progress --log-level error -r "$REPOSITORY" init"#,
        backup: r#"exec "$PROGRAM" --no-progress --log-level error -r "$REPOSITORY" backup "$TREE""#,
        restore: r#"exec "$PROGRAM" --no-progress --log-level error -r "$REPOSITORY" restore latest "$TARGET""#,
        check: r#"exec "$PROGRAM" --no-progress --log-level error -r "$REPOSITORY" check --read-data"#,
    },
    Program {
        name: "borg",
        program: "borg",
        init: r#"exec "$PROGRAM" init -e repokey-blake2 "$REPOSITORY""#,
        backup: r#"exec "$PROGRAM" create "$REPOSITORY::$NUMBER" "$TREE""#,
        restore: r#"cd "$TARGET" && exec "$PROGRAM" extract "$REPOSITORY::$NUMBER""#,
        check: r#"exec "$PROGRAM" check --verify-data "$REPOSITORY""#,
    },
    Program {
        name: "borg, 4 KiB, zstd 3",
        program: "borg",
        init: r#"exec "$PROGRAM" init -e repokey-blake2 "$REPOSITORY""#,
        backup: r#"exec "$PROGRAM" create --chunker-params fixed,4096 -C zstd,3 "$REPOSITORY::$NUMBER" "$TREE""#,
        restore: r#"cd "$TARGET" && exec "$PROGRAM" extract "$REPOSITORY::$NUMBER""#,
        check: r#"exec "$PROGRAM" check --verify-data "$REPOSITORY""#,
    },
    Program {
        name: "bupstash",
        program: "bupstash",
        init: r#""$PROGRAM" new-key -o "$REPOSITORY.key" && exec "$PROGRAM" init -r "$REPOSITORY""#,
        backup: r#"exec "$PROGRAM" put -q -k "$REPOSITORY.key" -r "$REPOSITORY" number="$NUMBER" "$TREE""#,
        restore: r#"exec "$PROGRAM" restore -q -k "$REPOSITORY.key" -r "$REPOSITORY" --into "$TARGET" number="$NUMBER""#,
        check: "",
    },
];

/// What any system can do: whole trees each time, nothing encrypted, nothing checked.
pub(crate) const TAR_ZSTD: Program = Program {
    name: "tar | zstd -3 -T2",
    program: "zstd",
    init: r#"mkdir "$REPOSITORY""#,
    backup: r#"tar -C "$PARENT" -cf - "$NAME" | "$PROGRAM" -3 -T2 -q -o "$REPOSITORY/$NUMBER.tar.zst""#,
    restore: r#""$PROGRAM" -dcq "$REPOSITORY/$NUMBER.tar.zst" | tar -C "$TARGET" -xf -"#,
    check: "",
};

/// A copy from tree to tree: what a restore is measured by.
pub(crate) const TAR_TAR: Program = Program {
    name: "tar | tar x",
    program: "tar",
    init: "",
    backup: "",
    restore: r#""$PROGRAM" -C "$PARENT" -cf - "$NAME" | "$PROGRAM" -C "$TARGET" -xf -"#,
    check: "",
};

impl Program {
    /// Where it is, if it is there.
    pub(crate) fn find(&self) -> Option<PathBuf> {
        let asked = std::env::var_os(format!("HOLDFAST_BENCH_{}", self.program.to_uppercase()));
        let program = asked.map_or_else(|| PathBuf::from(self.program), PathBuf::from);
        Command::new(&program).arg("--version").output().is_ok().then_some(program)
    }

    /// What it says of its version; some know only the one word, and some only the other.
    pub(crate) fn version(&self, program: &Path) -> String {
        let ask = |word: &str| {
            let output = Command::new(program).arg(word).output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned();
            output.status.success().then_some(text)
        };
        ask("--version").or_else(|| ask("version")).unwrap_or_else(|| "of unknown version".to_owned())
    }
}

/// A program with a repository of its own.
pub(crate) struct Peer {
    pub name: &'static str,
    verbs: &'static Program,
    program: PathBuf,
    repository: PathBuf,
    backups: usize,
}

impl Peer {
    /// Makes a repository below `directory` for each program like it that is installed and works on a tree; the others are left out.
    pub(crate) fn all(directory: &Path) -> Result<Vec<Self>, Box<dyn Error>> {
        let found = PEERS.iter().filter_map(|verbs| Some((verbs, verbs.find()?)));
        found.map(|(verbs, program)| Self::new(verbs, program, directory)).collect()
    }

    /// Makes an empty repository below `directory`, where one of another name may be.
    pub(crate) fn new(verbs: &'static Program, program: PathBuf, directory: &Path) -> Result<Self, Box<dyn Error>> {
        let place: String = verbs.name.chars().map(|each| if each.is_alphanumeric() { each } else { '-' }).collect();
        let repository = directory.join(format!("peer-{place}"));
        let peer = Self { name: verbs.name, verbs, program, repository, backups: 0 };
        peer.run(peer.verbs.init, Path::new("/"), Path::new("/"))?;
        Ok(peer)
    }

    /// Where it stores.
    pub(crate) fn repository(&self) -> &Path {
        &self.repository
    }

    /// Bytes that it has stored.
    pub(crate) fn stored(&self) -> Result<u64, Box<dyn Error>> {
        if !self.repository.exists() {
            return Ok(0);
        }
        Ok(stored_bytes(&self.repository)?)
    }

    /// Backs up a directory; returns the bytes that the repository grew by, and what it took.
    pub(crate) fn backup(&mut self, tree: &Path) -> Result<(u64, Option<Ran>), Box<dyn Error>> {
        let before = self.stored()?;
        self.backups += 1;
        let ran = self.run(self.verbs.backup, tree, Path::new("/"))?;
        Ok((self.stored()?.saturating_sub(before), ran))
    }

    /// Restores what was backed up last into an empty directory; one that copies needs the tree.
    pub(crate) fn restore(&self, tree: &Path, target: &Path) -> Result<Option<Ran>, Box<dyn Error>> {
        self.run(self.verbs.restore, tree, target)
    }

    /// Checks the repository, and reads everything.
    pub(crate) fn check(&self) -> Result<Option<Ran>, Box<dyn Error>> {
        self.run(self.verbs.check, Path::new("/"), Path::new("/"))
    }

    /// Removes its repository and all that lies beside it.
    pub(crate) fn remove(self) -> std::io::Result<()> {
        for path in [self.repository.clone(), self.beside("cache"), self.beside("config"), self.beside("home")] {
            if path.exists() {
                std::fs::remove_dir_all(path)?;
            }
        }
        let key = self.beside("key");
        if key.exists() { std::fs::remove_file(key) } else { Ok(()) }
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.repository.with_extension(name)
    }

    fn run(&self, line: &str, tree: &Path, target: &Path) -> Result<Option<Ran>, Box<dyn Error>> {
        if line.is_empty() {
            return Ok(None);
        }
        let mut command = Command::new("sh");
        command
            .args(["-c", line])
            .env("PROGRAM", &self.program)
            .env("REPOSITORY", &self.repository)
            .env("TREE", tree)
            .env("PARENT", tree.parent().unwrap_or(tree))
            .env("NAME", tree.file_name().unwrap_or_default())
            .env("TARGET", target)
            .env("NUMBER", self.backups.to_string())
            .envs([("RESTIC_PASSWORD", "bench"), ("RUSTIC_PASSWORD", "bench"), ("BORG_PASSPHRASE", "bench")])
            .envs([("XDG_CACHE_HOME", self.beside("cache")), ("XDG_CONFIG_HOME", self.beside("config"))])
            .envs([("XDG_STATE_HOME", self.beside("home")), ("BORG_BASE_DIR", self.beside("home"))])
            .envs([("XDG_DATA_HOME", self.beside("home"))]);
        let ran = process::run(&mut command)?;
        // Of several processes in a row only the shell was seen.
        Ok(Some(if line.contains("exec ") { ran } else { Ran { memory: Memory::default(), ..ran } }))
    }
}
