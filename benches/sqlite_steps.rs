//! A trading database, backed up after each of many steps: what Holdfast stores, beside four lower bounds that are computed in the same run, and beside what other programs store.
//!
//! `HOLDFAST_BENCH_MIB` (300) is the database's size at first, `HOLDFAST_BENCH_STEPS` (100) the number of steps; 0 leaves the first part out. Peers see every `HOLDFAST_BENCH_PEERS`th step (10; 0: none): they are
//! given a consistent copy before and after it. `HOLDFAST_BENCH_LARGE_MIB` (1,024) is the size of what changes once, in the second part. The figure is drawn where `HOLDFAST_BENCH_FIGURE` says.
#![allow(clippy::print_stdout, reason = "printing is what a bench is for")]

mod corpus;
mod kit;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

use backup_core::ops::restore::RestoreOptions;
use backup_core::progress::Silent;
use backup_core::repository::open::InitOptions;
use backup_core::repository::{Repository, Snapshot};
use kit::peers::Peer;
use kit::plot::{Line, draw};
use kit::tasks::{self, Place, Took};
use kit::trading::Trading;
use kit::versions::{Bounds, Versions, frame, long};
use kit::{head, median, mib, row, timed};

const LEVEL: &str = "3";
const BOUND_LEVEL: i32 = 3;
const KIB: f64 = 1024.0;
/// Areas of a repository that grow; everything else is counted together.
const AREAS: [&str; 4] = ["packs", "meta", "ledger", "index"];
/// Bytes that a log grows by, and pages that are written at random.
const GROWTH: usize = 1 << 20;
const WRITES: u64 = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    if tasks::serve()? {
        return Ok(());
    }
    steps()?;
    large_step()?;
    random_writes()?;
    growing_log()
}

fn asked(name: &str, otherwise: usize, trial: usize) -> usize {
    kit::asked(name).map_or(if kit::is_trial() { trial } else { otherwise }, |asked| asked as usize)
}

fn backup(place: &Place, tree: &Path) -> Result<Took, Box<dyn Error>> {
    tasks::run(&["backup", &place.0.to_string_lossy(), &tree.to_string_lossy(), LEVEL])
}

/// Bytes of each area of a repository.
fn areas(place: &Place) -> Result<BTreeMap<String, u64>, Box<dyn Error>> {
    let mut areas = BTreeMap::new();
    for file in kit::files_below(&place.0)? {
        let area = file.strip_prefix(&place.0)?.iter().next().map(|name| name.to_string_lossy().into_owned());
        *areas.entry(area.unwrap_or_default()).or_default() += file.metadata()?.len();
    }
    Ok(areas)
}

/// What a step came to.
struct Step {
    bounds: Bounds,
    took: Took,
    /// As in [`AREAS`], and the rest.
    grown: [u64; 5],
}

impl Step {
    fn stored(&self) -> u64 {
        self.grown.iter().sum()
    }
}

/// The database, its repository, and what is kept to compare.
struct Run {
    data: PathBuf,
    path: PathBuf,
    place: Place,
    trading: Trading,
    versions: Versions,
    peers: Vec<(Peer, Vec<(usize, u64)>)>,
    copy: PathBuf,
}

fn steps() -> Result<(), Box<dyn Error>> {
    let bytes = (asked("HOLDFAST_BENCH_MIB", 300, 1) as u64) << 20;
    let (count, every) = (asked("HOLDFAST_BENCH_STEPS", 100, 2), asked("HOLDFAST_BENCH_PEERS", 10, 0));
    let directory = kit::work_directory()?;
    if count == 0 {
        return Ok(());
    }
    let mut run = Run::begin(directory.path(), bytes, every > 0)?;
    let first = backup(&run.place, &run.data)?;
    let title = format!(
        "a trading database of {:.0} MiB; its first backup: {:.1} MiB stored; level {LEVEL}, bounds with level {BOUND_LEVEL}; KiB",
        mib(run.versions.bytes(0) as u64),
        mib(first.get("stored") as u64)
    );
    let columns = [
        "step",
        "pages",
        "stored",
        "packs",
        "meta",
        "ledger",
        "index",
        "other",
        "requests",
        "s",
        "plain",
        "each alone",
        "each against its old version",
        "one long frame",
        "of the third",
    ];
    head(&title, &columns);
    let mut done = Vec::new();
    for number in 1..=count {
        done.push(run.step(every > 0 && number % every == 0)?);
        row(&cells(&number.to_string(), &done[number - 1..]));
    }
    row(&cells("average", &done));
    run.peers_and_figure(&done)?;
    run.whole_files()?;
    run.restores()
}

/// One row: the averages of some steps.
fn cells(name: &str, steps: &[Step]) -> Vec<String> {
    let average = |value: &dyn Fn(&Step) -> f64| steps.iter().map(value).sum::<f64>() / steps.len() as f64;
    let kib = |value: &dyn Fn(&Step) -> u64| format!("{:.1}", average(&|step| value(step) as f64) / KIB);
    let mut cells =
        vec![name.to_owned(), format!("{:.0}", average(&|step| step.bounds.pages as f64)), kib(&Step::stored)];
    cells.extend((0..5).map(|area| kib(&|step| step.grown[area])));
    cells.push(format!("{:.0}", average(&|step| step.took.get("requests"))));
    cells.push(format!("{:.2}", average(&|step| step.took.get("seconds"))));
    cells.push(kib(&|step| step.bounds.plain));
    cells.push(kib(&|step| step.bounds.alone));
    cells.push(kib(&|step| step.bounds.against));
    cells.push(kib(&|step| step.bounds.stream));
    let ratio = average(&|step| step.stored() as f64) / average(&|step| step.bounds.against as f64);
    cells.push(format!("{ratio:.2}"));
    cells
}

impl Run {
    fn begin(directory: &Path, bytes: u64, with_peers: bool) -> Result<Self, Box<dyn Error>> {
        let (data, copy) = (directory.join("data"), directory.join("copy"));
        std::fs::create_dir(&data)?;
        std::fs::create_dir(&copy)?;
        let path = data.join("trading.db");
        let trading = Trading::create(&path, 1, bytes)?;
        trading.checkpoint()?;
        let versions = Versions::new(&trading)?;
        let place = Place(directory.join("repository"));
        drop(place.init(&InitOptions::new())?);
        let peers = if with_peers { Peer::all(directory)? } else { Vec::new() };
        let peers = peers.into_iter().map(|peer| (peer, Vec::new())).collect();
        Ok(Self { data, path, place, trading, versions, peers, copy: copy.join("trading.db") })
    }

    /// Advances the database, which stays open, backs it up, and counts.
    fn step(&mut self, with_peers: bool) -> Result<Step, Box<dyn Error>> {
        if with_peers {
            self.show_peers(None)?;
        }
        self.trading.step()?;
        let before = areas(&self.place)?;
        let took = backup(&self.place, &self.data)?;
        let (mut grown, mut all) = ([0; 5], 0);
        for (area, bytes) in areas(&self.place)? {
            let more = bytes.saturating_sub(before.get(&area).copied().unwrap_or(0));
            grown[AREAS.iter().position(|name| *name == area).unwrap_or(4)] += more;
            all += more;
        }
        assert!(all > 0, "a step stores something");
        self.versions.add(&self.trading)?;
        let number = self.versions.steps();
        if with_peers {
            self.show_peers(Some(number))?;
        }
        Ok(Step { bounds: Bounds::of(&self.versions, number, BOUND_LEVEL), took, grown })
    }

    /// Gives the peers a copy; what they store counts as that of a step, if one is given.
    fn show_peers(&mut self, step: Option<usize>) -> Result<(), Box<dyn Error>> {
        std::fs::write(&self.copy, self.versions.last())?;
        let directory = self.copy.parent().ok_or("it lies in a directory")?;
        for (peer, stored) in &mut self.peers {
            let (bytes, _) = peer.backup(directory)?;
            stored.extend(step.map(|step| (step, bytes)));
        }
        Ok(())
    }

    fn peers_and_figure(&self, steps: &[Step]) -> Result<(), Box<dyn Error>> {
        let numbered = |value: &dyn Fn(&Step) -> u64| -> Vec<(usize, u64)> {
            steps.iter().enumerate().map(|(number, step)| (number + 1, value(step))).collect()
        };
        let mut lines = vec![
            Line { name: "Holdfast".to_owned(), points: numbered(&Step::stored) },
            Line {
                name: "changed pages, each against its old".to_owned(),
                points: numbered(&|step| step.bounds.against),
            },
            Line { name: "changed pages, each compressed".to_owned(), points: numbered(&|step| step.bounds.alone) },
        ];
        lines.extend(
            self.peers.iter().map(|(peer, points)| Line { name: peer.name.to_owned(), points: points.clone() }),
        );
        head("bytes that a step stores, on average", &["what", "KiB", "of Holdfast"]);
        let average =
            |line: &Line| line.points.iter().map(|point| point.1 as f64).sum::<f64>() / line.points.len().max(1) as f64;
        let own = average(&lines[0]);
        for line in &lines {
            row(&[line.name.clone(), format!("{:.0}", average(line) / KIB), format!("{:.2}", average(line) / own)]);
        }
        let figure = std::env::var_os("HOLDFAST_BENCH_FIGURE").map(PathBuf::from);
        if let Some(figure) = figure.filter(|_| !kit::is_trial()) {
            std::fs::write(figure, draw("Bytes stored by each backup of a trading database", "step", &lines))?;
        }
        Ok(())
    }

    /// The last step as `zstd --patch-from` would store it: the whole database against the one before.
    fn whole_files(&self) -> Result<(), Box<dyn Error>> {
        let step = self.versions.steps();
        let mut old = self.versions.last().to_vec();
        old.truncate(self.versions.bytes(step - 1));
        for page in self.versions.changed(step, 1) {
            let before = self.versions.page(page, step - 1);
            let start = page as usize * kit::trading::PAGE_BYTES;
            if let Some(place) = old.get_mut(start..start + before.len()) {
                place.copy_from_slice(before);
            }
        }
        let whole = long(BOUND_LEVEL, &old, self.versions.last());
        println!(
            "\nthe last step as one frame of the whole database against the one before: {:.1} KiB",
            whole as f64 / KIB
        );
        Ok(())
    }

    /// Restores the first and the last snapshot to memory, and compares.
    fn restores(&self) -> Result<(), Box<dyn Error>> {
        let mut repository = self.place.open()?;
        repository.count_chunks()?;
        let snapshots = repository.snapshots().to_vec();
        let path = self.path.to_string_lossy().into_owned();
        let mut first = None;
        let columns = ["snapshot", "MiB", "restore s", "of the first's rate", "dump s", "of the first's rate"];
        head("restoring to memory, medians", &columns);
        for (number, expected) in [(0, self.versions.first()), (snapshots.len() - 1, self.versions.last())] {
            let (mut restores, mut dumps) = (Vec::new(), Vec::new());
            for _ in 0..kit::runs() {
                let mut out = Vec::with_capacity(expected.len());
                let (done, seconds) = timed(|| repository.dump(&snapshots[number], path.as_bytes(), &mut out));
                done?;
                dumps.push(seconds);
                assert!(out == expected, "what was dumped is what was there");
                restores.push(restore(&mut repository, &snapshots[number], expected)?);
            }
            let rates = [median(restores), median(dumps)].map(|seconds| mib(expected.len() as u64) / seconds);
            let of = *first.get_or_insert(rates);
            let mut cells = vec![number.to_string(), format!("{:.0}", mib(expected.len() as u64))];
            for (rate, of) in rates.into_iter().zip(of) {
                cells.push(format!("{:.2}", mib(expected.len() as u64) / rate));
                cells.push(format!("{:.2}", rate / of));
            }
            row(&cells);
        }
        Ok(())
    }
}

/// Restores a snapshot into memory, compares the database with what it must be, and returns the seconds.
fn restore(repository: &mut Repository, snapshot: &Snapshot, expected: &[u8]) -> Result<f64, Box<dyn Error>> {
    let target = kit::memory_directory()?;
    let (done, seconds) = timed(|| {
        repository.restore(snapshot.id, None, &target.path().join("restored"), &RestoreOptions::new(), &Silent)
    });
    done?;
    let files = kit::files_below(target.path())?;
    let database = files.iter().find(|file| file.ends_with("trading.db")).ok_or("the database was restored")?;
    assert!(std::fs::read(database)? == expected, "what was restored is what was there");
    Ok(seconds)
}

/// One step of a large database beside reading and hashing all its pages.
fn large_step() -> Result<(), Box<dyn Error>> {
    let bytes = (asked("HOLDFAST_BENCH_LARGE_MIB", 1024, 1) as u64) << 20;
    let directory = kit::work_directory()?;
    let data = directory.path().join("data");
    std::fs::create_dir(&data)?;
    let mut trading = Trading::create(&data.join("trading.db"), 2, bytes)?;
    let place = Place(directory.path().join("repository"));
    drop(place.init(&InitOptions::new())?);
    backup(&place, &data)?;
    let (mut kernels, mut steps, mut stored, mut memory) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..kit::runs() {
        trading.step()?;
        let (read, seconds) = timed(|| {
            trading.for_each_page(|page| {
                std::hint::black_box(blake3::keyed_hash(&[7; 32], page));
            })
        });
        read?;
        kernels.push(seconds);
        let took = backup(&place, &data)?;
        steps.push(took.get("seconds"));
        stored.push(took.get("stored"));
        memory.push(took.get("own"));
    }
    let title = format!("one step of a database of {:.0} MiB, medians of {}", mib(bytes), kit::runs());
    head(&title, &["kernel s: sqlite_dbpage and BLAKE3", "backup s", "of the kernel", "stored KiB", "memory MiB"]);
    let (kernel, step) = (median(kernels), median(steps));
    row(&[
        format!("{kernel:.2}"),
        format!("{step:.2}"),
        format!("{:.2}", step / kernel),
        format!("{:.0}", median(stored) / KIB),
        format!("{:.0}", mib(median(memory) as u64)),
    ]);
    Ok(())
}

/// A large file in which pages are overwritten here and there.
fn random_writes() -> Result<(), Box<dyn Error>> {
    let bytes = (asked("HOLDFAST_BENCH_FILE_MIB", 2048, 8) as u64) << 20;
    let directory = kit::work_directory()?;
    let data = directory.path().join("data");
    std::fs::create_dir(&data)?;
    let path = data.join("image");
    let mut random = corpus::Random::new(3);
    let (mut file, mut part) = (std::fs::File::create(&path)?, vec![0; 1 << 20]);
    for _ in 0..bytes >> 20 {
        random.fill(&mut part);
        file.write_all(&part)?;
    }
    let place = Place(directory.path().join("repository"));
    drop(place.init(&InitOptions::new())?);
    backup(&place, &data)?;
    let mut page = [0; kit::trading::PAGE_BYTES];
    for _ in 0..WRITES {
        random.fill(&mut page);
        let offset = random.below(bytes / page.len() as u64) * page.len() as u64;
        std::os::unix::fs::FileExt::write_all_at(&file, &page, offset)?;
    }
    let took = backup(&place, &data)?;
    changed(&format!("{WRITES} random pages of {:.0} MiB of noise", mib(bytes)), WRITES as usize * page.len(), &took);
    place.remove()?;
    Ok(())
}

/// A log file that grew.
fn growing_log() -> Result<(), Box<dyn Error>> {
    let directory = kit::work_directory()?;
    let data = directory.path().join("data");
    std::fs::create_dir(&data)?;
    let mut random = corpus::Random::new(4);
    let mut lines = |bytes: usize| -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes);
        while text.len() < bytes {
            let (at, level) =
                (1_700_000_000 + random.below(86_400), ["INFO", "WARN", "DEBUG"][random.below(3) as usize]);
            let (user, took) = (random.below(100_000), random.below(5000));
            let _ = writeln!(
                text,
                "{at} {level} request of user {user} for /api/v2/orders/{} took {took} us",
                random.next()
            );
        }
        text
    };
    let (first, more) = (lines(if kit::is_trial() { GROWTH } else { 64 * GROWTH }), lines(GROWTH));
    let path = data.join("service.log");
    std::fs::write(&path, &first)?;
    let place = Place(directory.path().join("repository"));
    drop(place.init(&InitOptions::new())?);
    backup(&place, &data)?;
    std::fs::OpenOptions::new().append(true).open(&path)?.write_all(&more)?;
    let took = backup(&place, &data)?;
    changed("a log that grew by 1 MiB", frame(BOUND_LEVEL, &[], &more).len(), &took);
    Ok(())
}

fn changed(title: &str, bound: usize, took: &Took) {
    head(title, &["bound KiB: the new bytes, compressed where that helps", "stored KiB", "of the bound", "s"]);
    let stored = took.get("stored");
    row(&[
        format!("{:.0}", bound as f64 / KIB),
        format!("{:.0}", stored / KIB),
        format!("{:.2}", stored / bound as f64),
        format!("{:.2}", took.get("seconds")),
    ]);
}
