//! Live databases: what a backup of one costs beside reading and hashing its pages, and what its writer notices of it.
//!
//! The database has `HOLDFAST_BENCH_MIB` MiB (1,024 by default) and is in log mode, open in a second process. The writer is paced: it has slots of 2 ms, commits one transaction in
//! each, and misses a slot when the commit ends after it.
#![allow(clippy::print_stdout, reason = "printing is what a bench is for")]

mod corpus;
mod kit;

use std::error::Error;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use backup_core::repository::open::InitOptions;
use kit::tasks::{self, Place, Took};
use kit::{head, median, mib, row, timed};
use rusqlite::Connection;

/// Pairs of stretches of writing with and without a backup.
const PAIRS: usize = 20;
/// Slots of one stretch: a second.
const SLOTS: u32 = 500;
const SLOT: Duration = Duration::from_millis(2);
/// Set for the process that writes.
const WRITER: &str = "HOLDFAST_BENCH_WRITER";
/// Bytes that are hashed at once: a group of pages.
const GROUP_BYTES: usize = 16 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(path) = std::env::var_os(WRITER) {
        return write(Path::new(&path));
    }
    if tasks::serve()? {
        return Ok(());
    }
    let directory = kit::work_directory()?;
    let data = directory.path().join("data");
    std::fs::create_dir(&data)?;
    let path = data.join("live.db");
    let bytes = make(&path)?;
    let place = Place(directory.path().join("repository"));
    drop(place.init(&InitOptions::new())?);
    let keeper = Connection::open(&path)?;
    touch(&keeper)?;
    let first = backup(&place, &data)?;
    touched(&keeper, &path, &place, &data, bytes, &first)?;
    drop(keeper);
    paced(&path, &place, &data)
}

/// Makes a database in log mode of rows that look like trades.
fn make(path: &Path) -> Result<u64, Box<dyn Error>> {
    let asked = std::env::var("HOLDFAST_BENCH_MIB").ok().and_then(|mib| mib.parse::<u64>().ok());
    let wanted = asked.unwrap_or(if kit::is_trial() { 4 } else { 1024 }) << 20;
    let connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA synchronous = OFF;
         CREATE TABLE trades(id INTEGER PRIMARY KEY, at TEXT, symbol TEXT, price REAL, amount INTEGER, note BLOB);",
    )?;
    while std::fs::metadata(path)?.len() < wanted {
        connection.execute_batch(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
             INSERT INTO trades(at, symbol, price, amount, note)
             SELECT datetime(1700000000 + i, 'unixepoch'), 'SYM' || abs(random() % 500), abs(random() % 100000) / 100.0, i, randomblob(40) FROM n;",
        )?;
    }
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    Ok(std::fs::metadata(path)?.len())
}

/// Changes one page, and lets it reach the main file, whose times change.
fn touch(connection: &Connection) -> Result<(), Box<dyn Error>> {
    connection.execute_batch("UPDATE trades SET amount = amount + 1 WHERE id = 1000")?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

fn backup(place: &Place, data: &Path) -> Result<Took, Box<dyn Error>> {
    tasks::run(&["backup", &place.0.to_string_lossy(), &data.to_string_lossy(), "3"])
}

/// The kernel: all pages through SQLite, each group of them hashed.
fn read_and_hash(path: &Path) -> Result<(), Box<dyn Error>> {
    let connection = Connection::open(path)?;
    let mut statement = connection.prepare("SELECT data FROM sqlite_dbpage('main')")?;
    let mut rows = statement.query([])?;
    let (key, mut group) = ([7; 32], Vec::with_capacity(GROUP_BYTES));
    while let Some(row) = rows.next()? {
        group.extend_from_slice(row.get_ref(0)?.as_blob()?);
        if group.len() >= GROUP_BYTES {
            std::hint::black_box(blake3::keyed_hash(&key, &group));
            group.clear();
        }
    }
    Ok(())
}

fn copy_by_interface(connection: &Connection, to: &Path) -> Result<(), Box<dyn Error>> {
    let mut target = Connection::open(to)?;
    let backup = rusqlite::backup::Backup::new(connection, &mut target)?;
    backup.step(-1)?;
    Ok(())
}

/// A database of which one page changed.
fn touched(
    keeper: &Connection,
    path: &Path,
    place: &Place,
    data: &Path,
    bytes: u64,
    first: &Took,
) -> Result<(), Box<dyn Error>> {
    let title = format!("a database of {:.0} MiB, of which one page changed; medians of {}", mib(bytes), kit::runs());
    head(&title, &["what", "s", "of the kernel", "stored KiB", "memory MiB"]);
    let (mut kernels, mut copies, mut backups) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..kit::runs() {
        kit::warm(data)?;
        let (read, seconds) = timed(|| read_and_hash(path));
        read?;
        kernels.push(seconds);
        let copy = data.with_file_name("copy.db");
        let (copied, seconds) = timed(|| copy_by_interface(keeper, &copy));
        copied?;
        copies.push(seconds);
        std::fs::remove_file(copy)?;
        touch(keeper)?;
        kit::warm(data)?;
        backups.push(backup(place, data)?);
    }
    let (kernel, copy) = (median(kernels), median(copies));
    let of = |name: &str| median(backups.iter().map(|took| took.get(name)).collect());
    let line = |what: &str, seconds: f64, stored: f64, memory: f64| {
        let of_kernel = format!("{:.2}", seconds / kernel);
        row(&[what.to_owned(), format!("{seconds:.2}"), of_kernel, format!("{stored:.0}"), format!("{memory:.0}")]);
    };
    line("kernel: sqlite_dbpage and BLAKE3", kernel, 0.0, 0.0);
    line("backup interface into a file", copy, 0.0, 0.0);
    let (kib, mib) = (1024.0, f64::from(1 << 20));
    line("first backup", first.get("seconds"), first.get("stored") / kib, first.get("own") / mib);
    line("backup", of("seconds"), of("stored") / kib, of("own") / mib);
    Ok(())
}

/// What a paced writer misses of its slots while a backup runs, and otherwise.
fn paced(path: &Path, place: &Place, data: &Path) -> Result<(), Box<dyn Error>> {
    head(
        &format!("a writer of {} transactions a second, {PAIRS} pairs", 1000 / SLOT.as_millis()),
        &["pair", "missed without %", "missed with %", "commit p99 ms without", "with", "busy"],
    );
    let (mut more, mut busy) = (Vec::new(), 0.0);
    for pair in 0..if kit::is_trial() { 2 } else { PAIRS } {
        let alone = stretch(path)?.finish()?;
        let writer = stretch(path)?;
        while !writer.has_ended()? {
            backup(place, data)?;
        }
        let beside = writer.finish()?;
        let missed = |took: &Took| 100.0 * took.get("missed") / f64::from(SLOTS);
        more.push(missed(&beside) - missed(&alone));
        busy += alone.get("busy") + beside.get("busy");
        row(&[
            pair.to_string(),
            format!("{:.1}", missed(&alone)),
            format!("{:.1}", missed(&beside)),
            format!("{:.2}", alone.get("p99")),
            format!("{:.2}", beside.get("p99")),
            format!("{:.0}", alone.get("busy") + beside.get("busy")),
        ]);
    }
    println!("\nmedian of the difference: {:.1} % of the slots; busy: {busy:.0}", median(more));
    Ok(())
}

/// A writer at work.
struct Writer(std::cell::RefCell<Child>);

fn stretch(path: &Path) -> Result<Writer, Box<dyn Error>> {
    let mut child =
        Command::new(std::env::current_exe()?).env(WRITER, path).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    // It says so when it begins.
    let output = child.stdout.as_mut().ok_or("a pipe was asked for")?;
    output.read_exact(&mut [0])?;
    Ok(Writer(child.into()))
}

impl Writer {
    fn has_ended(&self) -> Result<bool, Box<dyn Error>> {
        Ok(self.0.borrow_mut().try_wait()?.is_some())
    }

    fn finish(self) -> Result<Took, Box<dyn Error>> {
        let output = self.0.into_inner().wait_with_output()?;
        Ok(Took::parse(&String::from_utf8_lossy(&output.stdout)))
    }
}

fn write(path: &Path) -> Result<(), Box<dyn Error>> {
    let connection = Connection::open(PathBuf::from(path))?;
    connection.execute_batch("PRAGMA synchronous = NORMAL")?;
    connection.busy_timeout(Duration::ZERO)?;
    let mut statement = connection.prepare("UPDATE trades SET amount = amount + 1 WHERE id = ?1")?;
    println!();
    std::io::stdout().flush()?;
    let (mut missed, mut busy, mut took) = (0, 0, Vec::new());
    let started = Instant::now();
    for slot in 0..SLOTS {
        let begins = started + SLOT * slot;
        std::thread::sleep(begins.saturating_duration_since(Instant::now()));
        let begun = Instant::now();
        busy += u32::from(statement.execute([1 + i64::from(slot) * 37]).is_err());
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
        missed += u32::from(Instant::now() > begins + SLOT);
    }
    took.sort_by(f64::total_cmp);
    println!("missed={missed} busy={busy} p99={}", took[took.len() * 99 / 100]);
    Ok(())
}
