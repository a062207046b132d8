//! Whole operations on each corpus: rate, ratio to the bare kernels over the same bytes in the same run, bytes, requests, memory and allocations.
//!
//! An operation runs in a process of its own, with a cache, as the command has one; every round has a new repository. What a changed backup cannot do without is counted as looking up all
//! files, and reading, cutting and hashing those that differ: what is new in them is not known beforehand. An unchanged one stands beside `find`, too, which looks up the same files on one thread.
#![allow(clippy::print_stdout, reason = "printing is what a bench is for")]

mod corpus;
mod kit;

use std::error::Error;
use std::path::Path;
use std::process::Command;

use backup_core::repository::open::InitOptions;
use corpus::releases::{Release, make_releases};
use kit::kernels::{Bytes, Seconds};
use kit::tasks::{self, Place, Took};
use kit::{head, median, mib, row, runs};

const LEVEL: &str = "3";

/// What the kernels took in a round.
struct Kernels {
    /// Over the whole corpus.
    all: Seconds,
    /// Over the files that the next version changes.
    changed: Option<Seconds>,
    /// `find -printf '%s %T@'`, where it is installed.
    find: f64,
}

/// What the kernels alone would take for an operation.
type OfKernels = fn(&Kernels) -> f64;

/// Operations in the order in which they run: their names, and the seconds of the kernels that they cannot do without.
const OPERATIONS: [(&str, OfKernels); 5] = [
    ("first backup", |kernels| kernels.all.backup()),
    ("unchanged backup", |kernels| kernels.all.stat),
    ("restore", |kernels| kernels.all.restore()),
    ("check --read-data", |kernels| kernels.all.check()),
    ("changed backup", |kernels| kernels.changed.map_or(f64::NAN, |changed| kernels.all.stat + changed.look())),
];

const COLUMNS: [&str; 13] = [
    "operation",
    "s",
    "MiB/s",
    "kernels MiB/s",
    "ratio",
    "stored MiB",
    "requests",
    "memory MiB",
    "mapped MiB",
    "allocations",
    "per file",
    "per MiB",
    "allocated MiB",
];

fn main() -> Result<(), Box<dyn Error>> {
    if tasks::serve()? {
        return Ok(());
    }
    let directory = kit::work_directory()?;
    for mut release in make_releases(directory.path(), kit::corpus_bytes(), true)? {
        let bytes = Bytes::load(&release.corpus.path)?;
        let changed = changed_bytes(&release)?;
        let mut rounds = Vec::new();
        for number in 0..runs() {
            let kernels = measure_kernels(&bytes, changed.as_ref(), &release.corpus.path)?;
            let place = Place(directory.path().join(format!("{}-{number}.repository", release.corpus.name)));
            rounds.push((kernels, round(&mut release, &place)?));
            place.remove()?;
        }
        print(release.corpus.name, &bytes, &rounds);
    }
    Ok(())
}

/// What differs in the next version; every page of a database has to be looked at.
fn changed_bytes(release: &Release) -> Result<Option<Bytes>, Box<dyn Error>> {
    Ok(match (release.corpus.name, release.beside()) {
        (_, Some(beside)) => Some(Bytes::load_changed(beside, &release.corpus.path)?),
        ("trading", None) => Some(Bytes::load(&release.corpus.path)?),
        _ => None,
    })
}

fn measure_kernels(bytes: &Bytes, changed: Option<&Bytes>, tree: &Path) -> Result<Kernels, Box<dyn Error>> {
    let cores = std::thread::available_parallelism()?.get();
    kit::warm(tree)?;
    let find = kit::process::run(Command::new("find").arg(tree).args(["-printf", "%s %T@\n"]));
    Ok(Kernels {
        all: kit::kernels::measure(bytes, cores)?,
        changed: changed.map(|changed| kit::kernels::measure(changed, cores)).transpose()?,
        find: find.map_or(f64::NAN, |ran| ran.seconds),
    })
}

/// One pass over all operations, each after its input was read once.
fn round(release: &mut Release, place: &Place) -> Result<Vec<Took>, Box<dyn Error>> {
    drop(place.init(&InitOptions::new())?);
    let path = release.corpus.path.clone();
    let (tree, repository) = (path.to_string_lossy(), place.0.to_string_lossy());
    let backup = || -> Result<Took, Box<dyn Error>> {
        kit::warm(&path)?;
        tasks::run(&["backup", &repository, &tree, LEVEL, "cached"])
    };
    let mut took = vec![backup()?, backup()?];
    let target = kit::memory_directory()?;
    kit::warm(&place.0)?;
    took.push(tasks::run(&["restore", &repository, &target.path().to_string_lossy(), "cached"])?);
    drop(target);
    kit::warm(&place.0)?;
    took.push(tasks::run(&["check", &repository, "cached"])?);
    if release.advance()? {
        took.push(backup()?);
        release.go_back()?;
    }
    Ok(took)
}

fn print(corpus: &str, bytes: &Bytes, rounds: &[(Kernels, Vec<Took>)]) {
    let (megabytes, files) = (mib(bytes.len()), bytes.count_files());
    head(&format!("{corpus}: {megabytes:.0} MiB in {files} files"), &COLUMNS);
    for (number, (name, kernel)) in OPERATIONS.iter().enumerate().filter(|(number, _)| *number < rounds[0].1.len()) {
        let of = |value: &dyn Fn(&Kernels, &Took) -> f64| {
            median(rounds.iter().map(|(kernels, took)| value(kernels, &took[number])).collect())
        };
        let number_of = |name: &'static str| of(&move |_: &Kernels, took: &Took| took.get(name));
        let show =
            |value: f64, digits: usize| if value.is_nan() { "-".to_owned() } else { format!("{value:.digits$}") };
        let rate = |seconds: f64| megabytes / seconds;
        row(&[
            (*name).to_owned(),
            show(number_of("seconds"), 3),
            show(rate(number_of("seconds")), 0),
            show(of(&|kernels, _| rate(kernel(kernels))), 0),
            show(of(&|kernels, took| kernel(kernels) / took.get("seconds")), 2),
            show(number_of("stored") / f64::from(1 << 20), 1),
            show(number_of("requests"), 0),
            show(number_of("own") / f64::from(1 << 20), 0),
            show(number_of("mapped") / f64::from(1 << 20), 0),
            show(number_of("allocations"), 0),
            show(number_of("allocations") / files as f64, 1),
            show(number_of("allocations") / megabytes, 1),
            show(number_of("allocated") / f64::from(1 << 20), 0),
        ]);
    }
    let find = median(rounds.iter().map(|(kernels, _)| kernels.find).collect());
    if find.is_finite() {
        let ratio = median(rounds.iter().map(|(kernels, took)| took[1].get("seconds") / kernels.find).collect());
        println!("\n`find -printf '%s %T@'` takes {find:.3} s, an unchanged backup {ratio:.2} times that (aim: 2).");
    }
}
