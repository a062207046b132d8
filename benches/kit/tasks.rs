//! Operations of the library, each in a process of its own: [`run`] starts one and reads what it took, [`serve`] is that process.
//!
//! A task is a list of words; its answer is one line of `name=number` words on standard output. A last word `cached` opens the repository with a cache beside it, as the command does.

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use backup_core::Repository;
use backup_core::environment::Environment;
use backup_core::keyring::{Key, KeyFile};
use backup_core::ops::backup::BackupOptions;
use backup_core::ops::check::{CheckOptions, ReadData};
use backup_core::ops::restore::RestoreOptions;
use backup_core::progress::Silent;
use backup_core::repository::RepositoryOptions;
use backup_core::repository::open::InitOptions;
use backup_core::source::files::Files;
use backup_core::storage::{Cache, Counts, Storage, StorageOptions};

use super::{PeakMemory, allocations, seeded};

/// The word before a task.
pub(crate) const TASK: &str = "--holdfast-task";
/// With this set to a number, a process works on one thread, in a world that follows from the number, and watches nothing that depends on time.
pub(crate) const SEED: &str = "HOLDFAST_BENCH_SEED";

/// What a task took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Took(HashMap<String, f64>);

impl Took {
    /// Takes the numbers out of `name=number` words.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
        Self(pairs.filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?))).collect())
    }

    /// One of its numbers; 0 where it has none of that name.
    pub(crate) fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }
}

/// A repository of a bench, with its key beside it.
#[derive(Clone, Debug)]
pub(crate) struct Place(pub PathBuf);

impl Place {
    fn key_path(&self) -> PathBuf {
        self.0.with_extension("key")
    }

    fn key(&self) -> Result<Key, Box<dyn Error>> {
        Ok(Key::File(KeyFile::parse(&std::fs::read_to_string(self.key_path())?)?))
    }

    fn storage(&self) -> Result<Storage, Box<dyn Error>> {
        Ok(Storage::from_uri(&self.0.to_string_lossy(), StorageOptions::new())?)
    }

    /// Makes the repository.
    pub(crate) fn init(&self, options: &InitOptions) -> Result<Repository, Box<dyn Error>> {
        self.init_with(options, &Environment::default(), self.options())
    }

    /// Makes it in a world that follows from a seed.
    pub(crate) fn init_seeded(&self, seed: u64) -> Result<Repository, Box<dyn Error>> {
        let environment = seeded::environment(seed);
        let options = self.options().threads(1).environment(environment.clone());
        self.init_with(&InitOptions::new(), &environment, options)
    }

    fn init_with(
        &self,
        options: &InitOptions,
        environment: &Environment,
        opening: RepositoryOptions,
    ) -> Result<Repository, Box<dyn Error>> {
        let key = KeyFile::generate(environment);
        std::fs::write(self.key_path(), key.to_text().as_bytes())?;
        Ok(Repository::init(self.storage()?, &Key::File(key), options, opening)?)
    }

    /// Opens it.
    pub(crate) fn open(&self) -> Result<Repository, Box<dyn Error>> {
        self.open_with(self.options())
    }

    /// Opens it with other options.
    pub(crate) fn open_with(&self, options: RepositoryOptions) -> Result<Repository, Box<dyn Error>> {
        Ok(Repository::open(self.storage()?, &self.key()?, options)?)
    }

    /// Opens it with a cache beside it.
    fn open_cached(&self) -> Result<Repository, Box<dyn Error>> {
        let cache = Cache::open(&self.0.with_extension("cache"), 1 << 30);
        Ok(Repository::open(self.storage()?, &self.key()?, self.options().cache(cache))?)
    }

    /// Every opening with the same state, as one installation has it.
    pub(crate) fn options(&self) -> RepositoryOptions {
        let options = RepositoryOptions::new().state_dir(self.0.with_extension("state"));
        match super::asked(SEED) {
            Some(seed) => options.threads(1).environment(seeded::environment(seed)),
            None => options,
        }
    }

    /// Removes repository, key and state.
    pub(crate) fn remove(&self) -> std::io::Result<()> {
        for path in [&self.0, &self.0.with_extension("state"), &self.0.with_extension("cache")] {
            if path.exists() {
                std::fs::remove_dir_all(path)?;
            }
        }
        Ok(())
    }
}

/// Runs a task in a process of its own.
pub(crate) fn run(words: &[&str]) -> Result<Took, Box<dyn Error>> {
    let output = Command::new(std::env::current_exe()?).arg(TASK).args(words).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("{words:?} failed: {}{}", text, String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(Took::parse(&text))
}

/// Does the task that this process was started for, if it was, and prints what it took.
pub(crate) fn serve() -> Result<bool, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let Some(at) = arguments.iter().position(|argument| argument == TASK) else { return Ok(false) };
    let words: Vec<&str> = arguments[at + 1..].iter().map(String::as_str).collect();
    let memory = super::asked(SEED).is_none().then(PeakMemory::start);
    let (count_before, bytes_before) = allocations::so_far();
    let start = Instant::now();
    let (more, counts) = perform(&words)?;
    let seconds = start.elapsed().as_secs_f64();
    let (count, bytes) = allocations::so_far();
    let (own, mapped) = memory.map(PeakMemory::stop).unwrap_or_default();
    println!(
        "seconds={seconds} own={own} mapped={mapped} requests={} read_bytes={} allocations={} allocated={} {more}",
        counts.requests(),
        counts.read_bytes,
        count - count_before,
        bytes - bytes_before
    );
    Ok(true)
}

fn perform(words: &[&str]) -> Result<(String, Counts), Box<dyn Error>> {
    let (words, is_cached) = words.strip_suffix(&["cached"]).map_or((words, false), |words| (words, true));
    let [verb, repository, rest @ ..] = words else { return Err("a task has a verb and a repository".into()) };
    let start = Instant::now();
    let place = Place(PathBuf::from(repository));
    let mut repository = if is_cached { place.open_cached()? } else { place.open()? };
    let opened = start.elapsed().as_secs_f64();
    let more = match (*verb, rest) {
        ("backup", [tree, level]) => {
            let source = Files::new([PathBuf::from(tree)])?;
            let options = BackupOptions::new().level(level.parse()?);
            let report = repository.backup(&source, &options, &Silent)?;
            if !report.warnings.is_empty() {
                return Err(format!("the backup had {} warnings", report.warnings.len()).into());
            }
            let counts = report.counts;
            format!("source={} stored={} chunks={}", counts.source_bytes, counts.stored_bytes, counts.new_chunks)
        }
        ("restore", [target]) => {
            let newest = repository.snapshots().last().ok_or("there is no snapshot")?.id;
            let report = repository.restore(newest, None, Path::new(target), &RestoreOptions::new(), &Silent)?;
            format!("restored={}", report.restored_bytes)
        }
        ("check", []) => {
            let report = repository.check(&CheckOptions::new().read_data(ReadData::All), &Silent)?;
            if !report.damage.is_empty() {
                return Err("the check found damage".into());
            }
            format!("checked={}", report.read_bytes)
        }
        ("dump", paths) => {
            let snapshot = repository.snapshots().last().ok_or("there is no snapshot")?.clone();
            repository.count_chunks()?;
            let before = repository.storage().counts();
            let start = Instant::now();
            for path in paths {
                repository.dump(&snapshot, path.as_bytes(), &mut std::io::sink())?;
            }
            let fetched = repository.storage().counts().read_bytes - before.read_bytes;
            format!("dump={} fetched={fetched}", start.elapsed().as_secs_f64())
        }
        ("index", []) => format!("chunks={}", repository.count_chunks()?),
        _ => return Err(format!("unknown task {words:?}").into()),
    };
    let counts = repository.storage().counts();
    Ok((format!("opened={opened} {more}"), counts))
}
