//! Whole operations on each corpus: rate, ratio to the bare kernels over the same bytes in the same run, bytes, requests, memory.
#![allow(clippy::print_stdout, reason = "printing is what a bench is for")]

mod corpus;
mod kit;

use std::error::Error;
use std::path::Path;

use backup_core::repository::open::InitOptions;
use corpus::Corpus;
use kit::kernels::{Bytes, Seconds};
use kit::tasks::{self, Place, Took};
use kit::{head, median, mib, row, runs};

const LEVEL: &str = "3";

/// What the kernels alone would take for an operation.
type OfKernels = fn(&Seconds) -> f64;

/// An operation: its name, and the seconds of the kernels that it cannot do without.
const OPERATIONS: [(&str, OfKernels); 5] = [
    ("first backup", Seconds::backup),
    ("unchanged backup", |seconds| seconds.stat),
    ("restore", Seconds::restore),
    ("check --read-data", Seconds::check),
    ("changed backup", |_| f64::NAN),
];

fn main() -> Result<(), Box<dyn Error>> {
    if tasks::serve()? {
        return Ok(());
    }
    let directory = kit::work_directory()?;
    for corpus in corpus::make_all(directory.path(), kit::corpus_bytes())? {
        let mut rounds = Vec::new();
        for number in 0..runs() {
            let kernels = measure_kernels(&corpus)?;
            let place = Place(directory.path().join(format!("{}-{number}.repository", corpus.name)));
            rounds.push((kernels, round(&corpus, &place)?));
            place.remove()?;
        }
        if let Some(changed) = changed(&corpus, directory.path())? {
            rounds.iter_mut().for_each(|(_, took)| took.push(changed.clone()));
        }
        print(&corpus, kit::stored_bytes(&corpus.path)?, &rounds);
    }
    Ok(())
}

fn measure_kernels(corpus: &Corpus) -> Result<Seconds, Box<dyn Error>> {
    let cores = std::thread::available_parallelism()?.get();
    Ok(kit::kernels::measure(&Bytes::load(&corpus.path)?, cores)?)
}

/// One pass over all operations, each after its input was read once.
fn round(corpus: &Corpus, place: &Place) -> Result<Vec<Took>, Box<dyn Error>> {
    drop(place.init(&InitOptions::new())?);
    let (tree, repository) = (corpus.path.to_string_lossy(), place.0.to_string_lossy());
    let target = kit::memory_directory()?;
    let mut took = Vec::new();
    for _ in 0..2 {
        kit::warm(&corpus.path)?;
        took.push(tasks::run(&["backup", &repository, &tree, LEVEL])?);
    }
    kit::warm(&place.0)?;
    took.push(tasks::run(&["restore", &repository, &target.path().to_string_lossy()])?);
    drop(target);
    kit::warm(&place.0)?;
    took.push(tasks::run(&["check", &repository])?);
    Ok(took)
}

/// A backup after a day's changes. The corpus is changed once and for all, so this comes last and has one run.
fn changed(corpus: &Corpus, directory: &Path) -> Result<Option<Took>, Box<dyn Error>> {
    if !matches!(corpus.name, "source" | "large" | "mixed") {
        return Ok(None);
    }
    let place = Place(directory.join("changed.repository"));
    drop(place.init(&InitOptions::new())?);
    let (tree, repository) = (corpus.path.to_string_lossy(), place.0.to_string_lossy());
    tasks::run(&["backup", &repository, &tree, LEVEL])?;
    corpus::change(corpus, kit::corpus_bytes())?;
    kit::warm(&corpus.path)?;
    let took = tasks::run(&["backup", &repository, &tree, LEVEL])?;
    place.remove()?;
    Ok(Some(took))
}

fn print(corpus: &Corpus, bytes: u64, rounds: &[(Seconds, Vec<Took>)]) {
    let columns =
        ["operation", "s", "MiB/s", "kernels MiB/s", "ratio", "stored MiB", "requests", "memory MiB", "mapped MiB"];
    head(&format!("{}: {:.0} MiB", corpus.name, mib(bytes)), &columns);
    for (number, (name, kernel)) in OPERATIONS.iter().enumerate().filter(|(number, _)| *number < rounds[0].1.len()) {
        let of = |value: &dyn Fn(&Seconds, &Took) -> f64| {
            median(rounds.iter().map(|(kernels, took)| value(kernels, &took[number])).collect())
        };
        let number_of = |name: &'static str| of(&move |_: &Seconds, took: &Took| took.get(name));
        let show =
            |value: f64, digits: usize| if value.is_nan() { "-".to_owned() } else { format!("{value:.digits$}") };
        let rate = |seconds: f64| mib(bytes) / seconds;
        row(&[
            (*name).to_owned(),
            show(number_of("seconds"), 2),
            show(rate(number_of("seconds")), 0),
            show(of(&|kernels, _| rate(kernel(kernels))), 0),
            show(of(&|kernels, took| kernel(kernels) / took.get("seconds")), 2),
            show(number_of("stored") / f64::from(1 << 20), 1),
            show(number_of("requests"), 0),
            show(number_of("own") / f64::from(1 << 20), 0),
            show(number_of("mapped") / f64::from(1 << 20), 0),
        ]);
    }
}
