//! The walk of a restore: makes directories, gathers files into batches, and finishes directories after everything in them.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::batch::{self, Done, Shared};
use super::database;
use super::file::{Comparer, Job};
use super::settle::After;
use super::tops::{Top, tops};
use super::{Overwrite, RestoreOptions, RestoreReport, Selection};
use crate::error::{Error, Result, unless_damage};
use crate::format::probes::ProbeResult;
use crate::format::tree::{Content, Entry};
use crate::path;
use crate::pipeline::{Ordered, Scope};
use crate::progress::{Progress, Stage};
use crate::repository::Snapshot;
use crate::repository::load::Loader;
use crate::repository::nodes::TreeEntries;
use crate::target::{Applying, Directory, Target};

/// Directories of the walk whose descriptors stay open; those above are opened again when the walk returns to them.
const OPEN_DIRECTORIES_MAX: usize = 64;

/// Restores what is selected.
pub(super) fn run(
    loader: &Loader<'_>,
    snapshot: &Snapshot,
    wanted: Option<&[u8]>,
    target: &Path,
    options: &RestoreOptions,
    selection: &Selection,
    progress: &dyn Progress,
) -> Result<RestoreReport> {
    let tops = tops(loader, snapshot, wanted, target)?;
    let expected: u64 =
        tops.iter().map(|top| top.entry.as_ref().map_or(0, |(entry, _)| entry.content.sums().plaintext_bytes)).sum();
    progress.started(Stage::Restoring, Some(expected));
    let ownership = options.ownership.unwrap_or_else(crate::target::may_set_owners);
    let shared =
        Shared { loader, comparer: Comparer::new(loader), applying: Applying { ownership }, verify: options.verify };
    let recorded = recorded(loader, snapshot, options)?;
    let is_unknown = recorded.is_none();
    let workers = &loader.repository.workers;
    workers.scope(|scope| {
        let mut plan = Plan {
            scope,
            shared: &shared,
            options,
            selection,
            progress,
            jobs: Vec::new(),
            after: Vec::new(),
            batch_bytes: 0,
            running: Ordered::new(workers.count() + 1),
            afters: Default::default(),
            links: HashMap::new(),
            report: RestoreReport::default(),
            target: None,
            recorded: recorded.unwrap_or_default(),
        };
        if is_unknown {
            let message = "what probes found in its databases is lost, so they cannot be compared with it";
            plan.warn("probe", Vec::new(), message.to_owned());
        }
        for top in tops {
            plan.restore_top(top)?;
        }
        plan.finish()
    })
}

/// What probes found in the snapshot's databases, if what is restored must be compared with it; `None` if it is lost.
fn recorded(
    loader: &Loader<'_>,
    snapshot: &Snapshot,
    options: &RestoreOptions,
) -> Result<Option<HashMap<Vec<u8>, Vec<ProbeResult>>>> {
    let mut recorded: HashMap<Vec<u8>, Vec<ProbeResult>> = HashMap::new();
    if options.verify && !options.dry_run {
        let Some(results) = unless_damage(snapshot.probe_results(loader))? else { return Ok(None) };
        for result in results {
            recorded.entry(result.path.clone()).or_default().push(result);
        }
    }
    Ok(Some(recorded))
}

/// A restore under way.
pub(super) struct Plan<'p, 's, 'env> {
    pub(super) scope: &'p Scope<'s, 'env>,
    pub(super) shared: &'env Shared<'env>,
    pub(super) options: &'p RestoreOptions,
    pub(super) selection: &'p Selection,
    pub(super) progress: &'p dyn Progress,
    pub(super) jobs: Vec<Job>,
    pub(super) after: Vec<After>,
    pub(super) batch_bytes: u64,
    pub(super) running: Ordered<Result<Done>>,
    /// What follows each running batch.
    pub(super) afters: std::collections::VecDeque<Vec<After>>,
    /// Where the first name of each file with several names went, as components below the target.
    pub(super) links: HashMap<u64, Vec<Vec<u8>>>,
    pub(super) report: RestoreReport,
    pub(super) target: Option<Target>,
    /// What probes found in databases, by their paths, where it is to be compared.
    pub(super) recorded: HashMap<Vec<u8>, Vec<ProbeResult>>,
}

/// A directory that the walk is in.
struct Level {
    directory: Option<Directory>,
    /// Components below the target.
    place: Vec<Vec<u8>>,
    path: Vec<u8>,
    entries: TreeEntries,
    /// Applied when the walk leaves; `None` for a directory that is not the snapshot's to describe.
    entry: Option<Box<Entry>>,
    /// What is in it, if what is not shall be removed.
    names: HashSet<Vec<u8>>,
    /// Names of databases among them.
    databases: Vec<Vec<u8>>,
}

impl<'env> Plan<'_, '_, 'env> {
    fn restore_top(&mut self, top: Top) -> Result<()> {
        let Some((entry, _)) = top.entry else {
            self.damaged(top.path);
            return Ok(());
        };
        if self.options.dry_run {
            return self.walk(None, Vec::new(), top.path, entry, true);
        }
        let existed = top.target.exists();
        let target = Target::create(&top.target)?;
        self.check_space(&target, &entry, existed)?;
        let mut directory = target.root();
        for name in &top.above {
            directory = directory.enter(name, true)?;
        }
        self.target = Some(target);
        let Some(name) = top.name else { return self.walk(Some(directory), Vec::new(), top.path, entry, !existed) };
        let entry = Entry { name, ..entry };
        let mut place = top.above;
        if entry.is_directory() {
            place.push(entry.name.clone());
            let directory = directory.enter(&entry.name, self.options.overwrite != Overwrite::Never)?;
            return self.walk(Some(directory), place, top.path, entry, true);
        }
        self.restore_entry(Some(&directory), &place, top.path, entry)
    }

    /// Fails before anything is written where a new target cannot hold it all.
    fn check_space(&self, target: &Target, entry: &Entry, existed: bool) -> Result<()> {
        let is_empty = !existed || target.root().names().is_ok_and(|names| names.is_empty());
        // Holes take up nothing; bases that must be decoded do not either.
        let sums = entry.content.sums();
        let needed_bytes = sums.decode_bytes.min(sums.plaintext_bytes);
        if !is_empty || self.selection.is_partial() {
            return Ok(());
        }
        let available_bytes = target.free_bytes()?;
        if needed_bytes <= available_bytes {
            return Ok(());
        }
        Err(Error::NoSpace { path: target.root().path().to_owned(), needed_bytes, available_bytes })
    }

    /// Walks a directory and all below it, without recursion.
    fn walk(
        &mut self,
        directory: Option<Directory>,
        place: Vec<Vec<u8>>,
        path: Vec<u8>,
        entry: Entry,
        describe: bool,
    ) -> Result<()> {
        let mut levels = vec![];
        levels.extend(self.level(directory, place, path, entry, describe));
        while let Some(level) = levels.last_mut() {
            self.shared.loader.repository.options.cancel.check()?;
            let next = match level.entries.next(self.shared.loader) {
                Ok(next) => next,
                Err(error) => {
                    batch::damage_only(error)?;
                    // What the lost node held is unknown; the directory stands for it.
                    let path = level.path.clone();
                    level.names.insert(Vec::new());
                    self.damaged(path);
                    continue;
                }
            };
            let Some((entry, _)) = next else {
                let level = levels.pop().expect("it was there just now");
                self.leave(level)?;
                self.reopen(levels.last_mut())?;
                continue;
            };
            if let Some(level) = self.visit(level, entry)? {
                crate::ops::list::check_depth(levels.len())?;
                levels.push(level);
                if let Some(far) = levels.len().checked_sub(OPEN_DIRECTORIES_MAX) {
                    levels[far].directory = None;
                }
            }
        }
        Ok(())
    }

    fn level(
        &self,
        directory: Option<Directory>,
        place: Vec<Vec<u8>>,
        path: Vec<u8>,
        entry: Entry,
        describe: bool,
    ) -> Option<Level> {
        let Content::Tree { root, .. } = entry.content else { return None };
        let entries = TreeEntries::new(root);
        let entry = describe.then(|| Box::new(entry));
        Some(Level { directory, place, path, entries, entry, names: HashSet::new(), databases: Vec::new() })
    }

    /// Deals with one entry; returns the level of a directory to walk into.
    fn visit(&mut self, level: &mut Level, entry: Entry) -> Result<Option<Level>> {
        let path = path::join(&level.path, &entry.name);
        if self.options.delete {
            level.names.insert(entry.name.clone());
        }
        if self.options.delete && database::is_database(&entry) {
            // What lies beside a database is no stray file, whether it is restored or not: to delete a log is to damage what wrote it.
            level.names.extend(database::companions(&entry.name));
            level.databases.push(entry.name.clone());
        }
        if self.selection.has_excluded(&path, entry.is_directory()) {
            return Ok(None);
        }
        if entry.is_directory() {
            let place = level.place.iter().chain([&entry.name]).cloned().collect();
            let directory = match &level.directory {
                Some(directory) => Some(directory.enter(&entry.name, self.options.overwrite != Overwrite::Never)?),
                None => None,
            };
            return Ok(self.level(directory, place, path, entry, true));
        }
        if self.selection.includes(&path, false) {
            self.restore_entry(level.directory.as_ref(), &level.place, path, entry)?;
        }
        Ok(None)
    }

    /// Opens the directory again that the walk returns to, if it was closed for its depth.
    fn reopen(&mut self, level: Option<&mut Level>) -> Result<()> {
        let (Some(level), Some(target)) = (level, &self.target) else { return Ok(()) };
        if level.directory.is_none() {
            level.directory = Some(descend(target, &level.place)?);
        }
        Ok(())
    }

    fn leave(&mut self, level: Level) -> Result<()> {
        let Some(directory) = level.directory.clone() else { return Ok(()) };
        // A directory with a lost node may hold names that are not known: nothing is removed from it.
        if self.options.delete && !level.names.contains(&b""[..]) {
            self.delete_others(&directory, &level)?;
        }
        if let Some(entry) = level.entry {
            self.after.push(After::Directory(directory, entry, level.path));
        }
        self.send_if_full()
    }

    fn delete_others(&mut self, directory: &Directory, level: &Level) -> Result<()> {
        // Somebody chose to keep it, or it was set aside because it may be worth something.
        let is_kept = |name: &[u8]| level.databases.iter().any(|database| database::is_kept_name(name, database));
        let is_stray = |name: &Vec<u8>| !level.names.contains(name) && !is_kept(name);
        for name in directory.names()?.into_iter().filter(is_stray) {
            // Another batch may be writing here under a temporary name of its own.
            if !name.ends_with(b".holdfast-tmp") {
                directory.remove(&name)?;
                self.report.deleted += 1;
            }
        }
        Ok(())
    }
}

/// Opens a directory below the target that is there already.
pub(super) fn descend(target: &Target, place: &[Vec<u8>]) -> Result<Directory> {
    let mut directory = target.root();
    for name in place {
        let next = directory.open_directory(name)?;
        directory = next.ok_or_else(|| Error::Input { what: format!("{} went away", directory.path().display()) })?;
    }
    Ok(directory)
}
