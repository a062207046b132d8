//! What level, frame size and chunk size cost and give: speed, stored bytes, and what reading one small file fetches.
//!
//! Run it on a real tree (`HOLDFAST_BENCH_TREE`); without one it takes the mixed corpus.
#![allow(clippy::print_stdout, reason = "printing is what a bench is for")]

mod corpus;
mod kit;

use std::error::Error;
use std::path::Path;

use backup_core::repository::open::InitOptions;
use kit::tasks::{self, Place, Took};
use kit::{head, median, mib, row};

/// Level, frame and chunk in KiB: one of them varies around the defaults, and the corners that could be better together.
const CHOICES: [(i32, u32, u32); 12] = [
    (3, 3072, 64),
    (1, 3072, 64),
    (2, 3072, 64),
    (5, 3072, 64),
    (3, 256, 64),
    (3, 512, 64),
    (3, 1024, 64),
    (3, 2048, 64),
    (3, 4096, 64),
    (3, 3072, 32),
    (3, 3072, 128),
    (1, 256, 64),
];

/// Small files that are read, one after the other, with an index that was read before and no frame at hand.
const PROBES: usize = 40;

/// Chunks in KiB for a large file that changes.
const CHUNKS: [u32; 5] = [16, 32, 64, 128, 256];
/// Bytes of that file, and places in it at which a line is inserted.
const LARGE_BYTES: usize = 256 << 20;
const LARGE_CHANGES: usize = 300;

fn main() -> Result<(), Box<dyn Error>> {
    if tasks::serve()? {
        return Ok(());
    }
    large_file()?;
    let directory = kit::work_directory()?;
    let corpora = corpus::make_all(directory.path(), kit::corpus_bytes())?;
    let corpus = corpora.last().ok_or("there is no corpus")?;
    let bytes = kit::stored_bytes(&corpus.path)?;
    let probes = probes(&corpus.path)?;
    head(
        &format!("{}: {:.0} MiB, medians of {}", corpus.name, mib(bytes), kit::runs()),
        &[
            "level",
            "frame KiB",
            "chunk KiB",
            "backup s",
            "MiB/s",
            "stored MiB",
            "chunks",
            "one file: KiB fetched",
            "ms",
        ],
    );
    let choices = if kit::is_trial() { &CHOICES[..1] } else { &CHOICES[..] };
    let mut rounds: Vec<Vec<(Took, Took)>> = vec![Vec::new(); choices.len()];
    for _ in 0..kit::runs() {
        for (choice, round) in choices.iter().zip(&mut rounds) {
            round.push(measure(*choice, &corpus.path, directory.path(), &probes)?);
        }
    }
    for ((level, frame, chunk), round) in choices.iter().zip(&rounds) {
        let of = |value: &dyn Fn(&(Took, Took)) -> f64| median(round.iter().map(value).collect());
        let seconds = of(&|(backup, _)| backup.get("seconds"));
        row(&[
            level.to_string(),
            frame.to_string(),
            chunk.to_string(),
            format!("{seconds:.2}"),
            format!("{:.0}", mib(bytes) / seconds),
            format!("{:.1}", mib(of(&|(backup, _)| backup.get("stored")) as u64)),
            format!("{:.0}", of(&|(backup, _)| backup.get("chunks"))),
            format!("{:.0}", of(&|(_, dump)| dump.get("fetched")) / 1024.0 / probes.len() as f64),
            format!("{:.2}", of(&|(_, dump)| dump.get("dump")) * 1000.0 / probes.len() as f64),
        ]);
    }
    Ok(())
}

/// What the second version of a large file costs: the files of the corpus, one after another, with lines inserted here and there.
fn large_file() -> Result<(), Box<dyn Error>> {
    let directory = kit::work_directory()?;
    let corpora = corpus::make_all(directory.path(), kit::corpus_bytes())?;
    let corpus = corpora.last().ok_or("there is no corpus")?;
    let mut content = Vec::new();
    for file in kit::files_below(&corpus.path)? {
        if content.len() < LARGE_BYTES {
            content.extend(std::fs::read(file)?);
        }
    }
    let mut changed = Vec::with_capacity(content.len() + LARGE_CHANGES * 100);
    let mut random = corpus::Random::new(5);
    for stretch in content.chunks(content.len().div_ceil(LARGE_CHANGES)) {
        let place = random.below(stretch.len() as u64) as usize;
        changed.extend_from_slice(&stretch[..place]);
        changed.extend_from_slice(format!("a line that was not there before: {place}\n").as_bytes());
        changed.extend_from_slice(&stretch[place..]);
    }
    head(
        &format!("a file of {:.0} MiB, {LARGE_CHANGES} lines inserted", mib(content.len() as u64)),
        &["chunk KiB", "first: stored MiB", "chunks", "second: stored MiB", "chunks"],
    );
    let (file, place) = (directory.path().join("large/file"), Place(directory.path().join("large.repository")));
    std::fs::create_dir(directory.path().join("large"))?;
    for chunk in if kit::is_trial() { &CHUNKS[..1] } else { &CHUNKS[..] } {
        drop(place.init(&InitOptions::new().chunk_bytes_avg(chunk << 10))?);
        let mut cells = vec![chunk.to_string()];
        for version in [&content, &changed] {
            std::fs::write(&file, version)?;
            let (repository, large) = (place.0.to_string_lossy(), directory.path().join("large"));
            let took = tasks::run(&["backup", &repository, &large.to_string_lossy(), "3"])?;
            cells.push(format!("{:.2}", mib(took.get("stored") as u64)));
            cells.push(format!("{:.0}", took.get("chunks")));
        }
        row(&cells);
        place.remove()?;
    }
    Ok(())
}

fn measure(
    (level, frame, chunk): (i32, u32, u32),
    tree: &Path,
    directory: &Path,
    probes: &[String],
) -> Result<(Took, Took), Box<dyn Error>> {
    let place = Place(directory.join("choice.repository"));
    drop(place.init(&InitOptions::new().frame_bytes(frame << 10).chunk_bytes_avg(chunk << 10))?);
    let repository = place.0.to_string_lossy().into_owned();
    kit::warm(tree)?;
    let backup = tasks::run(&["backup", &repository, &tree.to_string_lossy(), &level.to_string()])?;
    kit::warm(&place.0)?;
    let mut dump = vec!["dump", &repository];
    dump.extend(probes.iter().map(String::as_str));
    let dump = tasks::run(&dump)?;
    place.remove()?;
    Ok((backup, dump))
}

/// Files of 1 to 16 KiB, spread over the tree.
fn probes(tree: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let is_small =
        |path: &std::path::PathBuf| path.metadata().is_ok_and(|found| (1 << 10..16 << 10).contains(&found.len()));
    let small: Vec<_> = kit::files_below(tree)?.into_iter().filter(is_small).collect();
    let step = (small.len() / PROBES).max(1);
    Ok(small.iter().step_by(step).take(PROBES).map(|path| path.to_string_lossy().into_owned()).collect())
}
