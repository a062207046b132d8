//! Opening a repository of a million chunks from a thousand packs and more than a thousand ledger entries, with nothing cached by the library, and with what it remembers of the ledger.
//!
//! The repository is made by as many backups of a source that lives in memory; `HOLDFAST_BENCH_BACKUPS` says how many (default 1,000), `HOLDFAST_BENCH_FILES` of how many files each (default 1,000).
#![allow(clippy::print_stdout, reason = "printing is what a bench is for")]

mod corpus;
mod kit;

use std::error::Error;
use std::io;
use std::sync::OnceLock;

use backup_core::format::constants::{ENTRY_DIRECTORY, ENTRY_FILE};
use backup_core::format::tree::{Attribute, Entry};
use backup_core::ops::backup::BackupOptions;
use backup_core::progress::Silent;
use backup_core::repository::open::InitOptions;
use backup_core::source::{ContentReader, Finish, Handle, Owner, Source, SourceKind, Stretch, Visitor};
use backup_core::time::Time;
use corpus::Random;
use kit::tasks::{self, Place, Took};
use kit::{head, median, mib, row};

/// Files of one backup.
fn files() -> u64 {
    static FILES: OnceLock<u64> = OnceLock::new();
    *FILES.get_or_init(|| asked("HOLDFAST_BENCH_FILES").unwrap_or(1000))
}

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn main() -> Result<(), Box<dyn Error>> {
    if tasks::serve()? {
        return Ok(());
    }
    let backups = asked("HOLDFAST_BENCH_BACKUPS").unwrap_or(if kit::is_trial() { 3 } else { 1000 });
    let directory = kit::memory_directory()?;
    head(
        &format!("opening with the index, medians of {}", kit::runs()),
        &[
            "backups",
            "ledger",
            "chunks",
            "opening s",
            "with index s",
            "requests",
            "read MiB",
            "memory MiB",
            "mapped MiB",
            "building s",
        ],
    );
    for backups in [backups.div_ceil(10), backups] {
        let place = Place(directory.path().join(format!("{backups}.repository")));
        let (built, seconds) = kit::timed(|| build(&place, backups));
        built?;
        let repository = place.0.to_string_lossy().into_owned();
        // The first one with a cache fills it.
        tasks::run(&["index", &repository, "cached"])?;
        for (ledger, words) in [("read", &["index", &repository][..]), ("known", &["index", &repository, "cached"][..])]
        {
            let runs = (0..kit::runs()).map(|_| tasks::run(words)).collect::<Result<Vec<_>, _>>()?;
            print(backups, ledger, seconds, &runs);
        }
        place.remove()?;
    }
    Ok(())
}

fn print(backups: u64, ledger: &str, built: f64, runs: &[Took]) {
    let of = |name| median(runs.iter().map(|took| took.get(name)).collect());
    row(&[
        backups.to_string(),
        ledger.to_owned(),
        format!("{:.0}", of("chunks")),
        format!("{:.3}", of("opened")),
        format!("{:.3}", of("seconds")),
        format!("{:.0}", of("requests")),
        format!("{:.1}", mib(of("read_bytes") as u64)),
        format!("{:.1}", mib(of("own") as u64)),
        format!("{:.1}", mib(of("mapped") as u64)),
        format!("{built:.1}"),
    ]);
}

fn build(place: &Place, backups: u64) -> Result<(), Box<dyn Error>> {
    let mut repository = place.init(&InitOptions::new())?;
    for number in 0..backups {
        let report = repository.backup(&Tiny(number), &BackupOptions::new(), &Silent)?;
        if report.counts.new_chunks < files() {
            return Err(format!("backup {number} stored {} chunks only", report.counts.new_chunks).into());
        }
    }
    Ok(())
}

/// A directory of a thousand small files that no other number has.
struct Tiny(u64);

impl Source for Tiny {
    fn kind(&self) -> SourceKind {
        SourceKind::Other
    }

    fn roots(&self) -> Vec<Vec<u8>> {
        vec![format!("/tiny-{}", self.0).into_bytes()]
    }

    fn walk(&self, visitor: &mut dyn Visitor) -> backup_core::Result<()> {
        let name = format!("tiny-{}", self.0);
        visitor.root(format!("/{name}").as_bytes())?;
        visitor.enter(Entry::new(ENTRY_DIRECTORY, name), Owner::default(), Box::new(Content(0)))?;
        for number in 0..files() {
            let content = Content(self.0 * files() + number + 1);
            let entry = Entry::new(ENTRY_FILE, format!("{number:04}"));
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
