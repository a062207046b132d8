//! A corpus and its next version, which come to lie at the same place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Corpus, DATABASE, change, make, make_all, settle};
use crate::kit::trading::Trading;

/// A corpus that can be exchanged for its next version.
pub(crate) struct Release {
    pub(crate) corpus: Corpus,
    next: Next,
}

enum Next {
    None,
    /// Beside it; the two change places.
    Tree(PathBuf),
    /// A live database goes on by steps, and never back.
    Steps(Box<Trading>),
}

/// Makes every corpus with its next version. A database is live, open in this process and advanced by steps, or closed, and then its next version is one step on.
pub(crate) fn make_releases(directory: &Path, bytes: u64, is_live: bool) -> io::Result<Vec<Release>> {
    let mut releases = Vec::new();
    for corpus in make_all(directory, bytes)? {
        let beside = directory.join(format!("{}.next", corpus.name));
        releases.push(match corpus.name {
            "tree" => real_release(corpus, directory, beside)?,
            "trading" => trading_release(corpus, bytes, is_live, &beside)?,
            name => {
                make(name, &beside, bytes)?;
                let is_changed = change(name, &beside, bytes)?;
                let next = if is_changed { Next::Tree(beside) } else { Next::None };
                Release { corpus, next }
            }
        });
    }
    settle();
    Ok(releases)
}

/// Copies, because the trees that somebody named are not to be moved about.
fn real_release(corpus: Corpus, directory: &Path, beside: PathBuf) -> io::Result<Release> {
    let Some(next) = std::env::var_os("HOLDFAST_BENCH_NEXT") else { return Ok(Release { corpus, next: Next::None }) };
    let path = directory.join(corpus.name);
    for (from, to) in [(corpus.path.as_path(), &path), (Path::new(&next), &beside)] {
        let from = fs::canonicalize(from)?;
        let status = Command::new("cp").args(["-a", "--reflink=auto"]).args([&from, to]).status()?;
        if !status.success() {
            return Err(io::Error::other(format!("{} cannot be copied", from.display())));
        }
    }
    Ok(Release { corpus: Corpus { path, ..corpus }, next: Next::Tree(beside) })
}

fn trading_release(corpus: Corpus, bytes: u64, is_live: bool, beside: &Path) -> io::Result<Release> {
    let place = if is_live { &corpus.path } else { beside };
    if place.exists() {
        fs::remove_dir_all(place)?;
    }
    fs::create_dir(place)?;
    let mut trading = Trading::create(&place.join(DATABASE), 1, bytes).map_err(io::Error::other)?;
    if is_live {
        return Ok(Release { corpus, next: Next::Steps(Box::new(trading)) });
    }
    trading.step().and_then(|()| trading.checkpoint()).map_err(io::Error::other)?;
    Ok(Release { corpus, next: Next::Tree(beside.to_owned()) })
}

impl Release {
    /// Where the next version lies while the first is in its place.
    pub(crate) fn beside(&self) -> Option<&Path> {
        match &self.next {
            Next::Tree(beside) => Some(beside),
            Next::None | Next::Steps(_) => None,
        }
    }

    /// Puts the next version in its place; whether there is one.
    pub(crate) fn advance(&mut self) -> io::Result<bool> {
        match &mut self.next {
            Next::None => Ok(false),
            Next::Tree(_) => self.exchange().map(|()| true),
            Next::Steps(trading) => trading.step().map(|()| true).map_err(io::Error::other),
        }
    }

    /// Puts the first version back.
    pub(crate) fn go_back(&self) -> io::Result<()> {
        if self.beside().is_some() { self.exchange() } else { Ok(()) }
    }

    fn exchange(&self) -> io::Result<()> {
        let Some(beside) = self.beside() else { return Ok(()) };
        let between = beside.with_extension("between");
        fs::rename(&self.corpus.path, &between)?;
        fs::rename(beside, &self.corpus.path)?;
        fs::rename(between, beside)
    }
}
