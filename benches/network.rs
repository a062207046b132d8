//! The same tree backed up to a directory and to S3 over loopback, with the server in a process of its own: what the network and its protocol cost.
//!
//! The server is `s3s-fs`, which takes its share of the cores; the directory and the server's files lie on one file system.
#![allow(clippy::print_stdout, reason = "printing is what a bench is for")]

mod corpus;
mod kit;
#[path = "../tests/conformance/servers/mod.rs"]
mod servers;

use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use backup_core::Repository;
use backup_core::keyring::{Key, KeyFile};
use backup_core::ops::backup::{BackupOptions, BackupReport};
use backup_core::progress::Silent;
use backup_core::repository::RepositoryOptions;
use backup_core::repository::open::InitOptions;
use backup_core::source::files::Files;
use backup_core::storage::{Cache, Storage, StorageOptions};
use kit::{head, median, mib, row, runs, timed};
use servers::s3::S3Server;

const SERVE: &str = "--holdfast-serve";

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A server in a process of its own, which ends with this.
struct Server {
    child: Child,
    uri: String,
}

impl Server {
    fn start(directory: &Path) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(SERVE)
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut uri = String::new();
        BufReader::new(child.stdout.take().ok_or("it is a pipe")?).read_line(&mut uri)?;
        Ok(Self { child, uri: uri.trim().to_owned() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Serves until standard input ends, if that is what this process was started for.
fn serve() -> Outcome<bool> {
    let arguments: Vec<_> = std::env::args_os().collect();
    let Some(at) = arguments.iter().position(|argument| argument == SERVE) else { return Ok(false) };
    let directory = PathBuf::from(arguments.get(at + 1).ok_or("which directory?")?);
    let server = S3Server::below(tempfile::tempdir_in(directory)?);
    println!("{}", server.uri());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(true)
}

/// A repository of one round.
struct Place {
    uri: String,
    key: Key,
    state: PathBuf,
    cache: PathBuf,
}

impl Place {
    fn new(uri: String, directory: &Path) -> Outcome<Self> {
        let key = Key::File(KeyFile::generate(&Default::default()));
        let place = Self { uri, key, state: directory.join("state"), cache: directory.join("cache") };
        drop(Repository::init(place.storage()?, &place.key, &InitOptions::new(), place.options())?);
        Ok(place)
    }

    fn storage(&self) -> Outcome<Storage> {
        Ok(Storage::from_uri(&self.uri, StorageOptions::new())?)
    }

    fn options(&self) -> RepositoryOptions {
        RepositoryOptions::new().state_dir(&self.state).cache(Cache::open(&self.cache, 1 << 30))
    }

    /// Opens and backs up; returns requests as well, opening included.
    fn backup(&self, tree: &Path) -> Outcome<(BackupReport, u64)> {
        let mut repository = Repository::open(self.storage()?, &self.key, self.options())?;
        let report = repository.backup(&Files::new([tree.to_owned()])?, &BackupOptions::new(), &Silent)?;
        let requests = repository.storage().counts().requests();
        Ok((report, requests))
    }

    /// Requests for one file, opening included; with the cache, or with none.
    fn one_file(&self, path: &Path, is_warm: bool) -> Outcome<u64> {
        let options = if is_warm { self.options() } else { RepositoryOptions::new() };
        let repository = Repository::open(self.storage()?, &self.key, options)?;
        let snapshot = repository.snapshots().last().ok_or("there is no snapshot")?;
        repository.dump(snapshot, path.as_os_str().as_encoded_bytes(), &mut std::io::sink())?;
        Ok(repository.storage().counts().requests())
    }
}

/// What one round took, to a directory and to S3.
#[derive(Default)]
struct Round {
    first: [f64; 2],
    unchanged: [f64; 2],
    requests: [u64; 4],
}

fn round(tree: &Path, file: &Path, directory: &Path) -> Outcome<Round> {
    let mut round = Round::default();
    for network in [false, true] {
        let work = tempfile::tempdir_in(directory)?;
        let server = network.then(|| Server::start(work.path())).transpose()?;
        let uri =
            server.as_ref().map_or_else(|| work.path().join("repository").display().to_string(), |s| s.uri.clone());
        let place = Place::new(uri, work.path())?;
        kit::warm(tree)?;
        let (first, seconds) = timed(|| place.backup(tree));
        round.first[usize::from(network)] = seconds;
        round.requests[0] = first?.1;
        // The second fills the cache with what the first has written; the third is what is meant.
        place.backup(tree)?;
        let (unchanged, seconds) = timed(|| place.backup(tree));
        round.unchanged[usize::from(network)] = seconds;
        round.requests[1] = unchanged?.1;
        round.requests[2] = place.one_file(file, true)?;
        round.requests[3] = place.one_file(file, false)?;
    }
    Ok(round)
}

fn main() -> Outcome<()> {
    if serve()? {
        return Ok(());
    }
    let directory = kit::work_directory()?;
    for corpus in corpus::make_all(directory.path(), kit::corpus_bytes())? {
        let files = kit::files_below(&corpus.path)?;
        let file = std::path::absolute(files.get(files.len() / 2).ok_or("the corpus is empty")?)?;
        let rounds: Vec<Round> =
            (0..runs()).map(|_| round(&corpus.path, &file, directory.path())).collect::<Outcome<_>>()?;
        let bytes = kit::stored_bytes(&corpus.path)?;
        head(
            &format!("{}: {:.0} MiB, {} files", corpus.name, mib(bytes), files.len()),
            &["operation", "directory s", "S3 s", "speed on S3", "requests on S3"],
        );
        let of = |value: &dyn Fn(&Round) -> f64| median(rounds.iter().map(value).collect());
        let requests = |number: usize| rounds.last().map_or(0, |round| round.requests[number]).to_string();
        let seconds = |pick: &dyn Fn(&Round) -> [f64; 2]| {
            let cells = [of(&|round| pick(round)[0]), of(&|round| pick(round)[1])].map(|value| format!("{value:.2}"));
            let ratio = of(&|round| pick(round)[0] / pick(round)[1]);
            [cells[0].clone(), cells[1].clone(), format!("{ratio:.2}")]
        };
        let line = |name: &str, cells: [String; 3], number: usize| {
            row(&[vec![name.to_owned()], cells.to_vec(), vec![requests(number)]].concat());
        };
        let none = || ["", "", ""].map(str::to_owned);
        line("first backup", seconds(&|round| round.first), 0);
        line("unchanged backup, warm cache", seconds(&|round| round.unchanged), 1);
        line("one file, warm cache", none(), 2);
        line("one file, no cache", none(), 3);
    }
    Ok(())
}
