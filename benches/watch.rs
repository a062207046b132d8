//! Watched databases: what a snapshot of some changed pages costs, whatever the database's size, and what a paced writer notices of being watched.
//!
//! `HOLDFAST_BENCH_MIB` names one size of the database in the place of 64 and 1,024 MiB. The writer is another process, in log mode, and syncs as it pleases (`synchronous = NORMAL`); the repository is
//! local and durable.
#![allow(clippy::print_stdout, reason = "printing is what a bench is for")]

mod corpus;
mod kit;

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use backup_core::ops::watch::{Happened, WatchEvent, WatchOptions};
use backup_core::progress::{Cancel, Silent};
use backup_core::repository::open::InitOptions;
use kit::tasks::{self, Place, Took};
use kit::{head, median, row};
use rusqlite::Connection;

/// Pages that change between two snapshots.
const PAGES: u32 = 100;
/// Snapshots of which the median is taken.
const SNAPSHOTS: usize = 100;
/// Pairs of stretches of writing with and without a watch.
const PAIRS: usize = 20;
/// Transactions of one stretch, one in each slot.
const SLOTS: u32 = 500;
const SLOT: Duration = Duration::from_millis(10);
/// The interval of the watch beside the paced writer.
const EVERY_MS: u64 = 1000;
/// Set for the process that writes.
const WRITER: &str = "HOLDFAST_BENCH_WRITER";

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(path) = std::env::var_os(WRITER) {
        return serve(Path::new(&path));
    }
    if tasks::serve()? {
        return Ok(());
    }
    let asked = std::env::var("HOLDFAST_BENCH_MIB").ok().and_then(|mib| mib.parse::<u64>().ok());
    let sizes = asked.map_or(if kit::is_trial() { vec![2] } else { vec![64, 1024] }, |mib| vec![mib]);
    head(
        &format!("snapshots of {PAGES} changed pages, {SNAPSHOTS} in a row"),
        &["database MiB", "first ms", "median ms", "longest ms", "stored KiB", "requests"],
    );
    for mib in &sizes {
        let directory = kit::work_directory()?;
        let (path, place) = make(directory.path(), *mib)?;
        changes(&path, &place, *mib)?;
    }
    let directory = kit::work_directory()?;
    let (path, place) = make(directory.path(), sizes[0])?;
    paced(&path, &place)
}

/// Makes a repository, and a database in log mode with a row a page.
fn make(directory: &Path, mib: u64) -> Result<(PathBuf, Place), Box<dyn Error>> {
    let (path, place) = (directory.join("live.db"), Place(directory.join("repository")));
    drop(place.init(&InitOptions::new())?);
    let connection = Connection::open(&path)?;
    connection.execute_batch("PRAGMA synchronous = OFF; CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, x BLOB)")?;
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) INSERT INTO t SELECT i, 0, randomblob(2500) FROM n",
        [(mib * 256).cast_signed()],
    )?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    Ok((path, place))
}

/// A watch in a thread of this process.
struct Watching {
    cancel: Cancel,
    events: Receiver<WatchEvent>,
    thread: JoinHandle<()>,
}

impl Watching {
    /// Starts, and waits until the whole database is stored.
    fn start(path: &Path, place: &Place, every_ms: u64) -> Result<(Self, WatchEvent), Box<dyn Error>> {
        let (cancel, (sender, events)) = (Cancel::new(), channel());
        let mut repository = place.open_with(place.options().cancel(cancel.clone()))?;
        let (path, options) = (path.to_owned(), WatchOptions::new().every_ms(every_ms));
        let thread = std::thread::spawn(move || {
            let mut each = |event: &WatchEvent| {
                let _ = sender.send(event.clone());
                Ok(())
            };
            // It ends by being cancelled; that it ended otherwise shows in the events.
            let _ = repository.watch(&[path], &options, &mut each, &Silent);
        });
        let first = events.recv_timeout(Duration::from_secs(600))?;
        Ok((Self { cancel, events, thread }, first))
    }

    fn stop(self) -> Result<Vec<WatchEvent>, Box<dyn Error>> {
        self.cancel.cancel();
        self.thread.join().map_err(|_| "the watch panicked")?;
        Ok(self.events.try_iter().collect())
    }
}

fn changes(path: &Path, place: &Place, mib: u64) -> Result<(), Box<dyn Error>> {
    let mut writer = Writer::start(path)?;
    // So that the log is there from the beginning.
    writer.ask("change")?;
    let (watching, first) = Watching::start(path, place, 10)?;
    let (mut took, mut stored, mut asked, mut whole) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..if kit::is_trial() { 2 } else { SNAPSHOTS } {
        writer.ask("change")?;
        loop {
            let event = watching.events.recv_timeout(Duration::from_secs(60))?;
            let Happened::Committed { changed_pages, stored_bytes, requests, elapsed_ms, .. } = event.what else {
                continue;
            };
            whole += u32::from(changed_pages.is_none());
            took.push(elapsed_ms as f64);
            stored.push(stored_bytes as f64 / 1024.0);
            asked.push(requests as f64);
            if changed_pages.is_none_or(|pages| pages >= u64::from(PAGES) / 2) {
                break;
            }
        }
    }
    watching.stop()?;
    let longest = took.iter().copied().fold(0.0, f64::max);
    let first_ms = match first.what {
        Happened::Committed { elapsed_ms, .. } => elapsed_ms,
        what => return Err(format!("the first snapshot did not come: {what:?}").into()),
    };
    row(&[
        mib.to_string(),
        first_ms.to_string(),
        format!("{:.0}", median(took)),
        format!("{longest:.0}"),
        format!("{:.0}", median(stored)),
        format!("{:.0}", median(asked)),
    ]);
    if whole > 0 {
        println!("\n{whole} of them were read whole");
    }
    Ok(())
}

/// How long commits take while the database is watched, and otherwise, in pairs that take turns.
fn paced(path: &Path, place: &Place) -> Result<(), Box<dyn Error>> {
    head(
        &format!("a writer of {} transactions a second, {PAIRS} pairs", 1000 / SLOT.as_millis()),
        &["pair", "commit p50 ms without", "with", "p99 ms without", "with", "busy", "snapshots"],
    );
    let mut writer = Writer::start(path)?;
    let (mut ratios, mut all, mut busy) = (Vec::new(), [Vec::new(), Vec::new()], 0.0);
    for pair in 0..if kit::is_trial() { 1 } else { PAIRS } {
        let mut pair_took = [Took::default(), Took::default()];
        let mut snapshots = 0;
        for is_watched in if pair % 2 == 0 { [false, true] } else { [true, false] } {
            let watching = if is_watched { Some(Watching::start(path, place, EVERY_MS)?.0) } else { None };
            pair_took[usize::from(is_watched)] = Took::parse(&writer.ask("pace")?);
            if let Some(watching) = watching {
                snapshots = watching.stop()?.len();
            }
        }
        let [alone, beside] = &pair_took;
        ratios.push(beside.get("p99") / alone.get("p99"));
        all[0].push(alone.get("p99"));
        all[1].push(beside.get("p99"));
        busy += alone.get("busy") + beside.get("busy");
        let number = |took: &Took, name: &str| format!("{:.2}", took.get(name));
        row(&[
            pair.to_string(),
            number(alone, "p50"),
            number(beside, "p50"),
            number(alone, "p99"),
            number(beside, "p99"),
            format!("{:.0}", alone.get("busy") + beside.get("busy")),
            snapshots.to_string(),
        ]);
    }
    let [alone, beside] = all.map(median);
    let ratio = median(ratios);
    println!(
        "\nmedians of p99: {alone:.2} ms without, {beside:.2} ms with; of their ratio: {ratio:.2}; busy: {busy:.0}"
    );
    Ok(())
}

/// The process that writes.
struct Writer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Writer {
    fn start(path: &Path) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.env(WRITER, path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("a pipe was asked for")?;
        let output = BufReader::new(child.stdout.take().ok_or("a pipe was asked for")?);
        Ok(Self { child, input, output })
    }

    /// Lets it do something, and returns what it says.
    fn ask(&mut self, what: &str) -> Result<String, Box<dyn Error>> {
        writeln!(self.input, "{what}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does what the lines of standard input ask for.
fn serve(path: &Path) -> Result<(), Box<dyn Error>> {
    let connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA synchronous = NORMAL")?;
    connection.busy_timeout(Duration::ZERO)?;
    let rows: i64 = connection.query_row("SELECT max(id) FROM t", [], |row| row.get(0))?;
    let mut update = connection.prepare("UPDATE t SET n = n + 1 WHERE id = 1 + abs(random() % ?1)")?;
    for line in std::io::stdin().lines() {
        if line? == "change" {
            connection.execute_batch("BEGIN")?;
            for _ in 0..PAGES {
                update.execute([rows])?;
            }
            connection.execute_batch("COMMIT")?;
            println!("done");
        } else {
            let (mut busy, mut took) = (0, Vec::new());
            let started = Instant::now();
            for slot in 0..SLOTS {
                std::thread::sleep((started + SLOT * slot).saturating_duration_since(Instant::now()));
                let begun = Instant::now();
                busy += u32::from(update.execute([rows]).is_err());
                took.push(begun.elapsed().as_secs_f64() * 1000.0);
            }
            took.sort_by(f64::total_cmp);
            println!("busy={busy} p50={} p99={}", took[took.len() / 2], took[took.len() * 99 / 100]);
        }
        std::io::stdout().flush()?;
    }
    Ok(())
}
