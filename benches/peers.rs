//! Whole programs over the same trees, in turn: the command, restic, rustic, borg, bupstash and `tar | zstd`, as far as they are installed, and the bare kernels.
//!
//! `HOLDFAST_BENCH_TREE` names a tree and `HOLDFAST_BENCH_NEXT` its next release; without, seeded corpora are taken, of which `HOLDFAST_BENCH_CORPORA` chooses. Every round gives each program an empty
//! repository; its sources and its repository are read once before each step; restores go to memory. `HOLDFAST_BENCH_HOLDFAST` says where the command is (default: beside this bench), and in
//! the same way where the others are. `HOLDFAST_BENCH_TABLE` takes the tables, `HOLDFAST_BENCH_FIGURE` the bars.
#![allow(clippy::print_stdout, reason = "printing is what a bench is for")]

mod corpus;
mod kit;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use corpus::releases::{Release, make_releases};
use kit::contest::{CHECK, Contest, FIRST, NEXT, Outcome, RESTORE, UNCHANGED};
use kit::kernels::{Bytes, measure};
use kit::peers::{HOLDFAST, PEERS, Peer, Program, TAR_TAR, TAR_ZSTD};

/// The peer that only databases are compared with is left out.
const FOR_DATABASES: &str = "borg, 4 KiB, zstd 3";

/// A program, and where it is.
type Found = (&'static Program, PathBuf);

fn main() -> Result<(), Box<dyn Error>> {
    let programs = programs()?;
    let directory = kit::work_directory()?;
    let releases = make_releases(directory.path(), kit::corpus_bytes(), false)?;
    let is_only = releases.len() == 1;
    let mut tables = String::new();
    for mut release in releases {
        let bytes = Bytes::load(&release.corpus.path)?;
        let mut contest = Contest::new(release.corpus.name, bytes.len(), bytes.count_files());
        for _ in 0..kit::runs() {
            kernels(&mut contest, &bytes, &release.corpus.path)?;
            find(&mut contest, &release.corpus.path)?;
            for found in &programs {
                round(&mut contest, found, &mut release, directory.path(), &bytes)?;
            }
        }
        let text = contest.tables();
        println!("{text}");
        tables += &text;
        let figure = std::env::var_os("HOLDFAST_BENCH_FIGURE").map(PathBuf::from).filter(|_| !kit::is_trial());
        if let Some(mut figure) = figure {
            if !is_only {
                let stem = figure.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                figure.set_file_name(format!("{stem}-{}.svg", release.corpus.name));
            }
            std::fs::write(figure, contest.figure())?;
        }
    }
    if let Some(table) = std::env::var_os("HOLDFAST_BENCH_TABLE").filter(|_| !kit::is_trial()) {
        std::fs::write(table, tables)?;
    }
    Ok(())
}

/// All that are installed, the command first. It must have been built before: this bench cannot.
fn programs() -> Result<Vec<Found>, Box<dyn Error>> {
    let mut found = Vec::new();
    let beside = std::env::current_exe()?.ancestors().nth(2).map(|directory| directory.join("holdfast"));
    // One that happens to be on the path is another version's.
    let asked = std::env::var_os("HOLDFAST_BENCH_HOLDFAST").and_then(|_| HOLDFAST.find());
    match asked.or(beside.filter(|program| program.exists())) {
        Some(program) => found.push((&HOLDFAST, program)),
        None if kit::is_trial() => {}
        None => return Err("there is no command to measure: cargo build --release first".into()),
    }
    for program in PEERS.iter().filter(|program| program.name != FOR_DATABASES).chain([&TAR_ZSTD, &TAR_TAR]) {
        match program.find() {
            Some(path) => found.push((program, path)),
            None => println!("{} is not installed", program.name),
        }
    }
    for (program, path) in &found {
        println!("{}: {}", program.name, program.version(path));
    }
    Ok(found)
}

fn kernels(contest: &mut Contest, bytes: &Bytes, tree: &Path) -> Result<(), Box<dyn Error>> {
    kit::warm(tree)?;
    let seconds = measure(bytes, std::thread::available_parallelism()?.get())?;
    for (step, seconds) in
        [(FIRST, seconds.backup()), (UNCHANGED, seconds.stat), (RESTORE, seconds.restore()), (CHECK, seconds.check())]
    {
        contest.add("kernels", step, Outcome { seconds, ..Outcome::default() });
    }
    Ok(())
}

fn find(contest: &mut Contest, tree: &Path) -> Result<(), Box<dyn Error>> {
    kit::warm(tree)?;
    if let Ok(ran) = kit::process::run(Command::new("find").arg(tree).args(["-printf", "%s %T@\n"])) {
        contest.add("find -printf", UNCHANGED, Outcome::of(ran, 0));
    }
    Ok(())
}

/// Everything that one program can do, in a new repository.
fn round(
    contest: &mut Contest,
    (program, path): &Found,
    release: &mut Release,
    directory: &Path,
    bytes: &Bytes,
) -> Result<(), Box<dyn Error>> {
    let mut peer = Peer::new(program, path.clone(), directory)?;
    let tree = release.corpus.path.clone();
    for step in [FIRST, UNCHANGED] {
        // What packs whole trees finds nothing unchanged.
        if step == FIRST || program.name != TAR_ZSTD.name {
            backup(contest, &mut peer, &tree, step)?;
        }
    }
    let warm = |peer: &Peer| if peer.repository().exists() { kit::warm(peer.repository()) } else { kit::warm(&tree) };
    let target = kit::memory_directory()?;
    warm(&peer)?;
    if let Some(ran) = peer.restore(&tree, target.path())? {
        contest.add(program.name, RESTORE, Outcome::of(ran, 0));
        let restored = (kit::files_below(target.path())?.len(), kit::stored_bytes(target.path())?);
        if restored != (bytes.count_files(), bytes.len()) {
            return Err(format!("{} restored {restored:?} files and bytes", program.name).into());
        }
    }
    drop(target);
    warm(&peer)?;
    if let Some(ran) = peer.check()? {
        contest.add(program.name, CHECK, Outcome::of(ran, 0));
    }
    if release.advance()? {
        let done = backup(contest, &mut peer, &tree, NEXT);
        release.go_back()?;
        done?;
    }
    Ok(peer.remove()?)
}

fn backup(contest: &mut Contest, peer: &mut Peer, tree: &Path, step: usize) -> Result<(), Box<dyn Error>> {
    kit::warm(tree)?;
    if let (stored, Some(ran)) = peer.backup(tree)? {
        contest.add(peer.name, step, Outcome::of(ran, stored));
    }
    Ok(())
}
