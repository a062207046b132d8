//! What the benches share: where they work, how they repeat, what a process took, and how tables are printed.
//!
//! Every operation runs in a process of its own, so that its peak of memory is its own; the bench calls itself with the task as its arguments.
#![allow(dead_code, reason = "each bench uses its part")]

pub(crate) mod chains;
pub(crate) mod kernels;
pub(crate) mod peers;
pub(crate) mod plot;
pub(crate) mod tasks;
pub(crate) mod trading;
pub(crate) mod versions;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// MiB of a number of bytes.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Whether this is no measurement: `cargo test --benches` only looks whether the benches run.
pub(crate) fn is_trial() -> bool {
    !std::env::args().any(|argument| argument == "--bench")
}

/// Repetitions of everything that is timed.
pub(crate) fn runs() -> usize {
    if is_trial() { 1 } else { 3 }
}

/// Bytes of each corpus.
pub(crate) fn corpus_bytes() -> u64 {
    let asked = std::env::var("HOLDFAST_BENCH_MIB").ok().and_then(|mib| mib.parse::<u64>().ok());
    asked.unwrap_or(if is_trial() { 2 } else { 256 }) << 20
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

/// All regular files below a directory, in a fixed order.
pub(crate) fn files_below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let mut names: Vec<_> = fs::read_dir(&directory)?.collect::<io::Result<_>>()?;
        names.sort_by_key(fs::DirEntry::file_name);
        for entry in names {
            let kind = entry.file_type()?;
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    Ok(files)
}

/// Reads everything once, so that the next reading comes from the page cache. Returns the bytes.
pub(crate) fn warm(directory: &Path) -> io::Result<u64> {
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

/// Samples this process's memory until it is asked.
pub(crate) struct PeakMemory {
    stop: Arc<AtomicBool>,
    sampler: std::thread::JoinHandle<(u64, u64)>,
}

impl PeakMemory {
    /// Begins to sample, every two milliseconds.
    pub(crate) fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let sampler = std::thread::spawn(move || {
            let mut peak = (0, 0);
            loop {
                let (own, mapped) = memory_now();
                peak = (peak.0.max(own), peak.1.max(mapped));
                if flag.load(Ordering::Relaxed) {
                    return peak;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self { stop, sampler }
    }

    /// The peaks in bytes: anonymous and shared memory, which nobody can take away, and mapped files, which the system can.
    pub(crate) fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.sampler.join().unwrap_or_default()
    }
}

fn memory_now() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
    };
    (field("RssAnon:") + field("RssShmem:"), field("RssFile:"))
}

/// Prints a row of a Markdown table.
pub(crate) fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

/// Prints the head of a Markdown table.
pub(crate) fn head(title: &str, columns: &[&str]) {
    println!("\n{title}\n");
    row(&columns.iter().map(|&column| column.to_owned()).collect::<Vec<_>>());
    row(&vec!["---".to_owned(); columns.len()]);
}
