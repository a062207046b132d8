//! What the benches share: where they work, how they repeat, what a process took, and how tables are printed.
//!
//! Every operation runs in a process of its own, so that its peak of memory is its own; the bench calls itself with the task as its arguments.
#![allow(dead_code, reason = "each bench uses its part")]

pub(crate) mod allocations;
pub(crate) mod bars;
pub(crate) mod bytes;
pub(crate) mod chains;
pub(crate) mod contest;
pub(crate) mod kernels;
pub(crate) mod memory;
pub(crate) mod peers;
pub(crate) mod plot;
pub(crate) mod process;
pub(crate) mod seeded;
pub(crate) mod tasks;
pub(crate) mod trading;
pub(crate) mod versions;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub(crate) use memory::PeakMemory;

/// MiB of a number of bytes.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Whether this is no measurement: `cargo test --benches` only looks whether the benches run.
pub(crate) fn is_trial() -> bool {
    !std::env::args().any(|argument| argument == "--bench")
}

/// Repetitions of everything that is timed: three, or what `HOLDFAST_BENCH_RUNS` says.
pub(crate) fn runs() -> usize {
    if is_trial() { 1 } else { asked("HOLDFAST_BENCH_RUNS").unwrap_or(3).max(1) as usize }
}

/// A number that the environment gives.
pub(crate) fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What a variable lists, with a separator between.
pub(crate) fn listed(variable: &str, separator: char) -> Vec<String> {
    let value = std::env::var(variable).unwrap_or_default();
    value.split(separator).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Bytes of each corpus.
pub(crate) fn corpus_bytes() -> u64 {
    asked("HOLDFAST_BENCH_MIB").unwrap_or(if is_trial() { 2 } else { 256 }) << 20
}

/// A new directory to work in, removed with everything in it when it is dropped.
pub(crate) fn work_directory() -> io::Result<tempfile::TempDir> {
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("holdfast-bench-");
        builder
    };
    match std::env::var_os("HOLDFAST_BENCH_DIR") {
        Some(directory) => {
            fs::create_dir_all(&directory)?;
            builder().tempdir_in(directory)
        }
        None => builder().tempdir(),
    }
}

/// A new directory in memory where there is one, so that what is written there costs no disk.
pub(crate) fn memory_directory() -> io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::Builder::new().prefix("holdfast-bench-").tempdir_in(memory)
    } else {
        work_directory()
    }
}

/// A directory and the names of its regular files, in a fixed order.
pub(crate) struct Directory {
    pub path: PathBuf,
    pub names: Vec<OsString>,
}

/// A directory and all below it, each before those that it holds, in a fixed order.
pub(crate) fn directories_below(directory: &Path) -> io::Result<Vec<Directory>> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let mut entries: Vec<_> = fs::read_dir(&directory)?.collect::<io::Result<_>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        let mut names = Vec::new();
        for entry in entries {
            let kind = entry.file_type()?;
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() {
                names.push(entry.file_name());
            }
        }
        found.push(Directory { path: directory, names });
    }
    Ok(found)
}

/// All regular files below a directory, in a fixed order.
pub(crate) fn files_below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let directories = directories_below(directory)?;
    Ok(directories.iter().flat_map(|found| found.names.iter().map(|name| found.path.join(name))).collect())
}

/// Lets what others wrote reach the disk, and reads everything once, so that the next reading comes from the page cache. Returns the bytes.
pub(crate) fn warm(directory: &Path) -> io::Result<u64> {
    rustix::fs::sync();
    let mut buffer = Vec::new();
    let mut total = 0;
    for path in files_below(directory)? {
        buffer.clear();
        total += io::copy(&mut fs::File::open(path)?, &mut CountOnly(&mut buffer))?;
    }
    Ok(total)
}

/// Takes bytes and keeps none.
struct CountOnly<'a>(&'a mut Vec<u8>);

impl io::Write for CountOnly<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.clear();
        self.0.extend_from_slice(&bytes[..bytes.len().min(64)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes of all files below a directory.
pub(crate) fn stored_bytes(directory: &Path) -> io::Result<u64> {
    files_below(directory)?.iter().map(|path| Ok(path.metadata()?.len())).sum()
}

/// The middle one of some measurements.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs something, and says how long it took in seconds.
pub(crate) fn timed<T>(run: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = run();
    (result, start.elapsed().as_secs_f64())
}

/// A row of a Markdown table.
pub(crate) fn row_text(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

/// The title and head of a Markdown table.
pub(crate) fn head_text(title: &str, columns: &[&str]) -> String {
    let names: Vec<String> = columns.iter().map(|&column| column.to_owned()).collect();
    format!("\n{title}\n\n{}\n{}", row_text(&names), row_text(&vec!["---".to_owned(); columns.len()]))
}

/// Prints a row of a Markdown table.
pub(crate) fn row(cells: &[String]) {
    println!("{}", row_text(cells));
}

/// Prints the head of a Markdown table.
pub(crate) fn head(title: &str, columns: &[&str]) {
    println!("{}", head_text(title, columns));
}
