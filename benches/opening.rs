//! Opening a repository of millions of chunks from a thousand packs and as many ledger entries on disk: with nothing in the cache, and with what it remembers of ledger and tables; how long it takes to look a
//! chunk up; what verbs need of memory; and indexes of packs that nobody stored, of more chunks than would fit.
//!
//! The repository is made by as many backups of a source that lives in memory; `HOLDFAST_BENCH_BACKUPS` says how many (default 1,000), `HOLDFAST_BENCH_FILES` of how many files each (default
//! 10,000). A tenth of them is measured first. `HOLDFAST_BENCH_ROWS` says how many chunks the larger synthetic index has (default 100 million, which take 4 GB and twice that while they are merged).
#![allow(clippy::print_stdout, reason = "printing is what a bench is for")]

mod corpus;
mod kit;

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use backup_core::Repository;
use backup_core::format::constants::{ENTRY_DIRECTORY, ENTRY_FILE};
use backup_core::format::tree::{Attribute, Entry};
use backup_core::fuzzing::lookups::{Lookups, make_segments};
use backup_core::ops::backup::BackupOptions;
use backup_core::ops::check::CheckOptions;
use backup_core::progress::Silent;
use backup_core::repository::open::InitOptions;
use backup_core::source::{ContentReader, Finish, Handle, Owner, Source, SourceKind, Stretch, Visitor};
use backup_core::storage::Cache;
use backup_core::time::Time;
use corpus::Random;
use kit::tasks::{self, Place, Took};
use kit::{PeakMemory, head, median, mib, row};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Begins the words of this bench's own tasks.
const OWN: &str = "opening";

/// Files of one backup.
fn files() -> u64 {
    static FILES: OnceLock<u64> = OnceLock::new();
    *FILES.get_or_init(|| asked("HOLDFAST_BENCH_FILES").unwrap_or(if kit::is_trial() { 100 } else { 10_000 }))
}

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn main() -> Outcome {
    if let Some(words) = own_task() {
        return serve(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let backups = asked("HOLDFAST_BENCH_BACKUPS").unwrap_or(if kit::is_trial() { 3 } else { 1000 });
    let directory = kit::work_directory()?;
    let mut opened = Vec::new();
    let mut used = Vec::new();
    for backups in [backups.div_ceil(10), backups] {
        measure(&directory.path().join(format!("{backups}.repository")), backups, &mut opened, &mut used)?;
    }
    let medians = format!("medians of {}", kit::runs());
    let columns = ["backups", "cache", "chunks", "opening s", "with index s", "requests", "memory MiB", "mapped MiB"];
    head(&format!("opening with the index, {medians}"), &columns);
    opened.iter().for_each(|cells: &Vec<String>| row(cells));
    head(&format!("verbs, {medians}"), &["chunks", "verb", "s", "memory MiB", "mapped MiB"]);
    used.iter().for_each(|cells: &Vec<String>| row(cells));
    let rows = asked("HOLDFAST_BENCH_ROWS").unwrap_or(if kit::is_trial() { 40_000 } else { 100_000_000 });
    synthetic(directory.path(), rows)
}

/// Measures a repository of so many backups, and removes it.
fn measure(path: &Path, backups: u64, opened: &mut Vec<Vec<String>>, used: &mut Vec<Vec<String>>) -> Outcome {
    let place = Place(path.to_owned());
    let (built, seconds) = kit::timed(|| build(&place, backups));
    built?;
    println!("{backups} backups were made in {seconds:.1} s");
    let repository = path.to_string_lossy().into_owned();
    let runs = |task: &[&str]| (0..kit::runs()).map(|_| own(task, &repository)).collect::<Outcome<Vec<_>>>();
    let print = |cache: &str, runs: &[Took]| {
        let of = |name| median(runs.iter().map(|took| took.get(name)).collect());
        let seconds = [of("opened"), of("seconds")].map(|seconds| format!("{seconds:.3}"));
        let memory = [of("own"), of("mapped")].map(|bytes| format!("{:.1}", mib(bytes as u64)));
        let counts = [of("chunks"), of("requests")].map(|count| format!("{count:.0}"));
        let ([opened, all], [own, mapped], [chunks, requests]) = (seconds, memory, counts);
        vec![backups.to_string(), cache.to_owned(), chunks, opened, all, requests, own, mapped]
    };
    opened.push(print("none", &runs(&["open", "none"])?));
    opened.push(print("empty", &runs(&["open", "empty"])?));
    opened.push(print("warm", &runs(&["open", "warm"])?));
    for (verb, name) in [
        ("again", "backup, unchanged"),
        ("more", "backup, one new file"),
        ("check", "check"),
        ("lookups", "look-ups of a million"),
    ] {
        let runs = runs(&[verb, "warm"])?;
        let of = |name| median(runs.iter().map(|took| took.get(name)).collect());
        let what = match verb {
            "lookups" => format!(
                "{name}: present {:.0} ns (hot {:.0}), absent {:.0} ns (hot {:.0})",
                of("present"),
                of("hot_present"),
                of("absent"),
                of("hot_absent")
            ),
            _ => name.to_owned(),
        };
        let memory = [of("own"), of("mapped")].map(|bytes| format!("{:.1}", mib(bytes as u64)));
        let [own, mapped] = memory;
        used.push(vec![format!("{:.0}", of("chunks")), what, format!("{:.3}", of("seconds")), own, mapped]);
    }
    place.remove()?;
    Ok(())
}

/// Indexes of a tenth of `rows`, and of all of them.
fn synthetic(directory: &Path, rows: u64) -> Outcome {
    let place = Place(directory.join("synthetic.repository"));
    drop(place.init(&InitOptions::new())?);
    let repository = place.0.to_string_lossy().into_owned();
    let columns = ["chunks", "made s", "making MiB", "merged s", "merging MiB", "open s", "memory MiB", "mapped MiB"];
    let mut cells = Vec::new();
    let mut memory = Vec::new();
    for rows in [rows / 10, rows] {
        let count = rows.to_string();
        let made = own(&["make", &count], &repository)?;
        let merged = own(&["synthetic", &count], &repository)?;
        let opened = own(&["synthetic", &count], &repository)?;
        let seconds = [&made, &merged, &opened].map(|took| format!("{:.2}", took.get("seconds")));
        let own = [&made, &merged, &opened].map(|took| format!("{:.1}", mib(took.get("own") as u64)));
        let mapped = format!("{:.1}", mib(opened.get("mapped") as u64));
        let ([made_s, merged_s, opened_s], [made_mib, merged_mib, opened_mib]) = (seconds, own);
        cells.push([
            vec![count, made_s, made_mib, merged_s, merged_mib, opened_s, opened_mib, mapped],
            ["hot_present", "present", "hot_absent", "absent"].map(|name| format!("{:.0}", opened.get(name))).to_vec(),
        ]);
        memory.push((rows as f64, opened.get("own"), merged.get("own")));
        std::fs::remove_dir_all(place.0.with_extension("segments"))?;
    }
    head(
        "synthetic indexes, in packs of 500 chunks",
        &[&columns[..], &["present, hot ns", "at random ns", "absent, hot ns", "at random ns"]].concat(),
    );
    cells.iter().for_each(|cells| row(&cells.concat()));
    let [small, large] = memory[..] else { return Err("two sizes were measured".into()) };
    let at = |small_bytes: f64, large_bytes: f64| {
        mib((large_bytes + (large_bytes - small_bytes) / (large.0 - small.0) * (1e9 - large.0)) as u64)
    };
    println!(
        "\n1,000,000,000 chunks, extrapolated: {:.0} MiB open, {:.0} MiB while merging",
        at(small.1, large.1),
        at(small.2, large.2)
    );
    Ok(place.remove()?)
}

/// Runs one of this bench's tasks in a process of its own.
fn own(task: &[&str], repository: &str) -> Outcome<Took> {
    tasks::run(&[&[OWN, repository], task].concat())
}

/// The words of the task that this process was started for, if it is one of this bench's.
fn own_task() -> Option<Vec<String>> {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    (arguments.first().map(String::as_str) == Some(OWN)).then(|| arguments[1..].to_vec())
}

fn serve(words: &[&str]) -> Outcome {
    let [repository, task, how] = words else { return Err("a task has a repository and two words".into()) };
    let place = Place(PathBuf::from(repository));
    let memory = PeakMemory::start();
    let start = Instant::now();
    let answer = match *task {
        "make" => {
            make_segments(&place.open()?, &place.0.with_extension("segments"), how.parse()?).map(|()| String::new())?
        }
        "synthetic" => {
            let repository = place.open()?;
            let lookups = Lookups::open(&repository, &place.0.with_extension("segments"), how.parse()?)?;
            with_lookups(&lookups, start)?
        }
        _ => verb(&place, task, how, start)?,
    };
    let seconds = start.elapsed().as_secs_f64();
    let (own, mapped) = memory.stop();
    // What a task says of itself counts before what is said here.
    println!("seconds={seconds} own={own} mapped={mapped} {answer}");
    Ok(())
}

fn verb(place: &Place, task: &str, cache: &str, start: Instant) -> Outcome<String> {
    let mut options = place.options();
    let directory = place.0.with_extension("cache");
    if cache == "empty" && directory.exists() {
        std::fs::remove_dir_all(&directory)?;
    }
    if cache != "none" {
        options = options.cache(Cache::open(&directory, 64 << 30));
    }
    let mut repository = place.open_with(options)?;
    let opened = start.elapsed().as_secs_f64();
    let more = match task {
        "open" => String::new(),
        "again" => backup(&mut repository, &Tiny { number: 0, more: 0 }, 0)?,
        "more" => backup(
            &mut repository,
            &Tiny { number: 0, more: Random::new(u64::from(std::process::id())).next() | 1 << 63 },
            1,
        )?,
        "check" => {
            let report = repository.check(&CheckOptions::new(), &Silent)?;
            if !report.damage.is_empty() {
                return Err("the check found damage".into());
            }
            String::new()
        }
        "lookups" => with_lookups(&Lookups::of(&repository)?, start)?,
        _ => return Err(format!("unknown task {task}").into()),
    };
    let chunks = repository.count_chunks()?;
    let requests = repository.storage().counts().requests();
    Ok(format!("opened={opened} chunks={chunks} requests={requests} {more}"))
}

/// Times look-ups of a million chunks at random, and of ten thousand that were asked for just before.
fn with_lookups(lookups: &Lookups<'_>, start: Instant) -> Outcome<String> {
    let seconds = start.elapsed().as_secs_f64();
    let memory = PeakMemory::start();
    std::thread::sleep(std::time::Duration::from_millis(20));
    let (own, mapped) = memory.stop();
    let count = if kit::is_trial() { 1000 } else { 1_000_000 };
    let present = lookups.some(count);
    let mut random = Random::new(99);
    let absent: Vec<[u8; 16]> = present
        .iter()
        .map(|_| {
            let mut prefix = [0; 16];
            random.fill(&mut prefix);
            prefix
        })
        .collect();
    let mut answer = String::new();
    for (name, prefixes, found) in [("present", &present, present.len()), ("absent", &absent, 0)] {
        if lookups.count_found(prefixes) != found {
            return Err(format!("of {} {name} chunks another number was found than {found}", prefixes.len()).into());
        }
        let (_, seconds) = kit::timed(|| lookups.count_found(prefixes));
        let few = &prefixes[..prefixes.len() / 100];
        let (_, hot_seconds) = kit::timed(|| (0..100).map(|_| lookups.count_found(few)).sum::<usize>());
        let [each, hot] = [seconds, hot_seconds].map(|seconds| seconds * 1e9 / prefixes.len() as f64);
        answer += &format!("{name}={each} hot_{name}={hot} ");
    }
    Ok(format!("{answer} seconds={seconds} own={own} mapped={mapped}"))
}

fn build(place: &Place, backups: u64) -> Outcome {
    let mut repository = place.init(&InitOptions::new())?;
    for number in 0..backups {
        let report = repository.backup(&Tiny { number, more: 0 }, &BackupOptions::new(), &Silent)?;
        if report.counts.new_chunks < files() {
            return Err(format!("backup {number} stored {} chunks only", report.counts.new_chunks).into());
        }
    }
    Ok(())
}

fn backup(repository: &mut Repository, source: &Tiny, new_files: u64) -> Outcome<String> {
    /// Nodes may be new: those above a new file, and those whose sums of what must be decoded have changed.
    const NODES_MAX: u64 = 12;
    let report = repository.backup(source, &BackupOptions::new(), &Silent)?;
    match (new_files..=new_files + NODES_MAX).contains(&report.counts.new_chunks) {
        true => Ok(String::new()),
        false => Err(format!("{} new chunks", report.counts.new_chunks).into()),
    }
}

/// A directory of small files that no other number has, and where `more` is not 0 of one more with that content.
struct Tiny {
    number: u64,
    more: u64,
}

impl Source for Tiny {
    fn kind(&self) -> SourceKind {
        SourceKind::Other
    }

    fn roots(&self) -> Vec<Vec<u8>> {
        vec![format!("/tiny-{}", self.number).into_bytes()]
    }

    fn walk(&self, visitor: &mut dyn Visitor) -> backup_core::Result<()> {
        let name = format!("tiny-{}", self.number);
        visitor.root(format!("/{name}").as_bytes())?;
        visitor.enter(Entry::new(ENTRY_DIRECTORY, name), Owner::default(), Box::new(Content(0)))?;
        for number in 0..files() + u64::from(self.more > 0) {
            let content = Content(if number == files() { self.more } else { self.number * files() + number + 1 });
            // Times and inode are the same for all, so a new file needs a name that no backup before had.
            let name = if number == files() { format!("x{:016x}", self.more) } else { format!("{number:06}") };
            let entry = Entry::new(ENTRY_FILE, name);
            visitor.file(entry, Owner::default(), CONTENT_BYTES as u64, Box::new(content))?;
        }
        visitor.leave(false)
    }
}

/// Longer than what stands in an entry itself.
const CONTENT_BYTES: usize = 96;

struct Content(u64);

impl Handle for Content {
    fn attributes(&self) -> io::Result<Vec<Attribute>> {
        Ok(Vec::new())
    }

    fn open(&self) -> io::Result<Box<dyn ContentReader>> {
        Ok(Box::new(Reader { seed: self.0, is_read: false }))
    }
}

struct Reader {
    seed: u64,
    is_read: bool,
}

impl ContentReader for Reader {
    fn read(&mut self, buffer: &mut Vec<u8>, _limit: usize) -> io::Result<Stretch> {
        if std::mem::replace(&mut self.is_read, true) {
            return Ok(Stretch::End);
        }
        let mut bytes = [0; CONTENT_BYTES];
        Random::new(self.seed).fill(&mut bytes);
        buffer.extend_from_slice(&bytes);
        Ok(Stretch::Data(CONTENT_BYTES))
    }

    fn finish(&mut self) -> io::Result<Finish> {
        Ok(Finish { changed: false, mtime: Time::default(), ctime: Time::default() })
    }
}
