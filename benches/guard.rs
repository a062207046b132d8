//! Counts the instructions of whole operations, and compares them with those that the repository keeps: a loss of speed is seen on any machine, however busy.
//!
//! Each operation runs in a process of its own under `valgrind --tool=callgrind`, on one thread and in a world that follows from a seed, over a small seeded tree in memory. `benches/guard/figures.txt` says how
//! many instructions it needed, with which compiler and on what kind of machine; where these are others, nothing is compared. More than a figure's tolerance is a failure, as far less is a
//! reason to record: `HOLDFAST_GUARD=record` writes the figures anew. `HOLDFAST_GUARD_PROFILES` names a directory for what `callgrind_annotate` reads.
#![allow(clippy::print_stdout, reason = "printing is what a bench is for")]

mod corpus;
mod kit;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kit::tasks::{Place, SEED, TASK};
use kit::trading::Trading;
use kit::{head, row};

const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/guard/figures.txt");
/// Bytes of the tree, and of the database at first.
const TREE_BYTES: u64 = 10 << 20;
const DATABASE_BYTES: u64 = 4 << 20;
const LEVEL: &str = "3";
/// For an operation that has no figure yet.
const TOLERANCE_PERCENT: f64 = 2.0;

/// Instructions of an operation, and by how many per cent more are a failure.
#[derive(Clone, Copy)]
struct Figure {
    instructions: u64,
    tolerance_percent: f64,
}

/// What counts depend on, and the counts by operation.
#[derive(Default)]
struct Figures {
    made_with: String,
    operations: BTreeMap<String, Figure>,
}

fn main() -> Result<(), Box<dyn Error>> {
    if kit::tasks::serve()? {
        return Ok(());
    }
    let Some(counter) = Counter::new()? else {
        println!("valgrind is not installed: nothing was counted");
        return Ok(());
    };
    let kept = Figures::read()?;
    let counted = count_all(&counter)?;
    if kit::is_trial() {
        return Ok(());
    }
    let is_same = kept.made_with == counter.made_with;
    let slower = compare(&kept, &counted);
    if std::env::var_os("HOLDFAST_GUARD").is_some_and(|word| word == "record") {
        return kept.record(counter.made_with, &counted);
    }
    if !is_same {
        println!(
            "\nnot compared: the figures were made with\n  {}\nand this is\n  {}",
            kept.made_with, counter.made_with
        );
    } else if !slower.is_empty() {
        return Err(format!("more instructions than the figures allow: {}", slower.join(", ")).into());
    }
    Ok(())
}

/// Runs operations and counts their instructions.
struct Counter {
    profiles: PathBuf,
    /// Kept so that the profiles stay as long as they are needed.
    _directory: tempfile::TempDir,
    made_with: String,
}

impl Counter {
    /// Finds out about valgrind; `None` if it is not there.
    fn new() -> Result<Option<Self>, Box<dyn Error>> {
        let Some(valgrind) = version("valgrind", &["--version"]) else { return Ok(None) };
        let others = [version("rustc", &["--version"]), version("getconf", &["GNU_LIBC_VERSION"])];
        let [compiler, library] = others.map(|found| found.unwrap_or_else(|| "unknown".to_owned()));
        let directory = kit::work_directory()?;
        let asked = std::env::var_os("HOLDFAST_GUARD_PROFILES").map(PathBuf::from);
        let profiles = asked.unwrap_or_else(|| directory.path().to_owned());
        fs::create_dir_all(&profiles)?;
        let made_with = format!("{compiler}; {valgrind}; {library}; {} {}", vendor(), processor());
        Ok(Some(Self { profiles, _directory: directory, made_with }))
    }

    /// Counts the instructions of a task, from the start of its process to its end.
    fn count(&self, operation: &str, seed: u64, words: &[&str]) -> Result<u64, Box<dyn Error>> {
        let profile = self.profiles.join(format!("{}.callgrind", operation.replace(' ', "-")));
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", &format!("--callgrind-out-file={}", profile.display())])
            .arg(std::env::current_exe()?)
            .arg(TASK)
            .args(words)
            .env(SEED, seed.to_string())
            .output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        let counted = text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
        match counted {
            Some(counted) if output.status.success() => Ok(counted),
            _ => Err(format!("{operation} failed: {}{text}", String::from_utf8_lossy(&output.stdout)).into()),
        }
    }
}

fn version(program: &str, words: &[&str]) -> Option<String> {
    let output = Command::new(program).args(words).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Who made the processor: the C library copies in another way on those of others.
fn vendor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let vendor = text.lines().find_map(|line| line.strip_prefix("vendor_id")?.split_once(':'));
    vendor.map_or("unknown", |(_, name)| name.trim()).to_owned()
}

/// What the kernels choose their code by, as far as valgrind knows it.
fn processor() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        return "x86_64 with AVX2";
    }
    std::env::consts::ARCH
}

/// Every operation, with what it needs made before it and not counted.
fn count_all(counter: &Counter) -> Result<Vec<(&'static str, u64)>, Box<dyn Error>> {
    let directory = kit::memory_directory()?;
    let tree = directory.path().join("tree");
    corpus::make("guard", &tree, TREE_BYTES)?;
    let place = Place(directory.path().join("tree.repository"));
    drop(place.init_seeded(1)?);
    let (source, repository) = (tree.to_string_lossy(), place.0.to_string_lossy());
    let backup = ["backup", &repository, &source, LEVEL];
    let mut counted = Vec::new();
    for (operation, seed) in [("first backup", 2), ("unchanged backup", 3), ("changed backup", 4)] {
        if operation == "changed backup" {
            corpus::change("guard", &tree, TREE_BYTES)?;
        }
        counted.push((operation, counter.count(operation, seed, &backup)?));
    }
    let target = directory.path().join("target");
    counted.push(("restore", counter.count("restore", 5, &["restore", &repository, &target.to_string_lossy()])?));
    counted.push(("check --read-data", counter.count("check", 6, &["check", &repository])?));
    counted.push(("database step", count_step(counter, directory.path())?));
    Ok(counted)
}

/// A backup of a live database after a quarter of an hour.
fn count_step(counter: &Counter, directory: &Path) -> Result<u64, Box<dyn Error>> {
    let data = directory.join("data");
    fs::create_dir(&data)?;
    let mut trading = Trading::create(&data.join(corpus::DATABASE), 1, DATABASE_BYTES)?;
    let place = Place(directory.join("data.repository"));
    drop(place.init_seeded(1)?);
    let (source, repository) = (data.to_string_lossy(), place.0.to_string_lossy());
    let backup = ["backup", &repository, &source, LEVEL];
    counter.count("first backup of the database", 2, &backup)?;
    trading.step()?;
    counter.count("database step", 3, &backup)
}

/// Prints all counts; returns the operations that need more than they may.
fn compare(kept: &Figures, counted: &[(&'static str, u64)]) -> Vec<String> {
    head("instructions", &["operation", "millions", "kept", "difference %", "tolerance %"]);
    let mut slower = Vec::new();
    for (operation, instructions) in counted {
        let millions = |count: u64| format!("{:.1}", count as f64 / 1e6);
        let mut cells = vec![(*operation).to_owned(), millions(*instructions)];
        match kept.operations.get(*operation) {
            Some(figure) => {
                let percent = (*instructions as f64 / figure.instructions as f64 - 1.0) * 100.0;
                cells.extend([
                    millions(figure.instructions),
                    format!("{percent:+.2}"),
                    figure.tolerance_percent.to_string(),
                ]);
                if percent > figure.tolerance_percent {
                    slower.push(format!("{operation} by {percent:.1} %"));
                }
            }
            None => {
                cells.extend(["-", "-", "-"].map(str::to_owned));
                slower.push(format!("{operation} has no figure"));
            }
        }
        row(&cells);
    }
    slower
}

impl Figures {
    /// Reads what the repository keeps: a line that says what it was made with, then `operation: instructions, tolerance`. Lines that begin with `#` are for people.
    fn read() -> Result<Self, Box<dyn Error>> {
        let mut figures = Self::default();
        let text = fs::read_to_string(FIGURES).unwrap_or_default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, values)) = line.split_once(": ") else { continue };
            if name == "made with" {
                values.clone_into(&mut figures.made_with);
                continue;
            }
            let (instructions, tolerance) = values.split_once(", ").ok_or("a figure has a tolerance")?;
            let figure = Figure { instructions: instructions.parse()?, tolerance_percent: tolerance.parse()? };
            figures.operations.insert(name.to_owned(), figure);
        }
        Ok(figures)
    }

    /// Writes new counts with the tolerances that there were.
    fn record(&self, made_with: String, counted: &[(&'static str, u64)]) -> Result<(), Box<dyn Error>> {
        let mut text = String::from(
            "# Instructions of whole operations, and by how many per cent more are a failure; see docs/performance.md.\n",
        );
        writeln!(text, "made with: {made_with}")?;
        for (operation, instructions) in counted {
            let tolerance =
                self.operations.get(*operation).map_or(TOLERANCE_PERCENT, |figure| figure.tolerance_percent);
            writeln!(text, "{operation}: {instructions}, {tolerance}")?;
        }
        fs::write(FIGURES, text)?;
        println!("\nrecorded in {FIGURES}");
        Ok(())
    }
}
