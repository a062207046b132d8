//! The walk of a restore: makes directories, gathers files into batches, and finishes directories after everything in them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::batch::{self, Done, Shared};
use super::file::{Comparer, Destination, Job, LongFile, PlacedItem};
use super::{Overwrite, RestoreOptions, RestoreReport, Selection};
use crate::error::{Error, Result};
use crate::format::constants::*;
use crate::format::tree::{Content, Entry, Item};
use crate::path;
use crate::pipeline::{Ordered, Pending, Scope};
use crate::progress::{Progress, Stage, Warning};
use crate::repository::Snapshot;
use crate::repository::load::Loader;
use crate::repository::names::Place;
use crate::repository::nodes::{Items, OwnedEntry, TreeEntries};
use crate::target::{Applying, Directory, Found, Target};

/// A batch ends at so many bytes of content, files and directories, or frames.
const BATCH_BYTES: u64 = 16 << 20;
const BATCH_FILES: usize = 128;
const BATCH_FRAMES: usize = 16;
/// Longer files are written in parts.
const WHOLE_FILE_BYTES_MAX: u64 = 8 << 20;
/// Directories of the walk whose descriptors stay open; those above are opened again when the walk returns to them.
const OPEN_DIRECTORIES_MAX: usize = 64;

/// What is done once a batch and all before it are over.
enum After {
    Directory(Directory, Box<Entry>, Vec<u8>),
    Long(Arc<LongFile>),
    Link { directory: Directory, name: Vec<u8>, first: Vec<Vec<u8>>, path: Vec<u8> },
}

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
            batch_frames: Default::default(),
            running: Ordered::new(workers.count() + 1),
            afters: Default::default(),
            links: HashMap::new(),
            report: RestoreReport::default(),
            target: None,
        };
        for top in tops {
            plan.restore_top(top)?;
        }
        plan.finish()
    })
}

/// One thing to restore: an entry, where it goes, and the directories above it that must be made.
struct Top {
    target: std::path::PathBuf,
    above: Vec<Vec<u8>>,
    name: Option<Vec<u8>>,
    path: Vec<u8>,
    entry: Option<OwnedEntry>,
}

/// Finds what a request means: section "Names" of the command line's contract.
fn tops(loader: &Loader<'_>, snapshot: &Snapshot, wanted: Option<&[u8]>, target: &Path) -> Result<Vec<Top>> {
    let all_below = |wanted: &[u8], skip: usize| {
        let mut tops = Vec::new();
        for root in snapshot.manifest.roots().filter(|root| path::below(&root.path, wanted).is_some()) {
            let mut above: Vec<Vec<u8>> = path::components(&root.path).skip(skip).map(<[u8]>::to_vec).collect();
            let name = above.pop();
            let entry = match snapshot.root_entry(loader, root) {
                Ok(entry) => Some(entry),
                Err(error) => batch::damage_only(error).map(|()| None)?,
            };
            tops.push(Top { target: target.to_owned(), above, name, path: root.path.clone(), entry });
        }
        Ok(tops)
    };
    let Some(wanted) = wanted else { return all_below(b"/", 0) };
    let skip = path::components(wanted).count();
    let entry = match snapshot.find(loader, wanted)? {
        Place::Above => return all_below(wanted, skip),
        Place::Entry(entry) => *entry,
    };
    let mut top = Top { target: target.to_owned(), above: Vec::new(), name: None, path: wanted.to_vec(), entry: None };
    if !entry.0.is_directory() {
        use std::os::unix::ffi::OsStrExt;
        if target.is_dir() {
            top.name = Some(entry.0.name.clone());
        } else {
            top.name = target.file_name().map(|name| name.as_bytes().to_vec());
            top.target =
                target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        }
    }
    top.entry = Some(entry);
    Ok(vec![top])
}

struct Plan<'p, 's, 'env> {
    scope: &'p Scope<'s, 'env>,
    shared: &'env Shared<'env>,
    options: &'p RestoreOptions,
    selection: &'p Selection,
    progress: &'p dyn Progress,
    jobs: Vec<Job>,
    after: Vec<After>,
    batch_bytes: u64,
    batch_frames: std::collections::HashSet<(u32, u32)>,
    running: Ordered<Result<Done>>,
    /// What follows each running batch.
    afters: std::collections::VecDeque<Vec<After>>,
    /// Where the first name of each file with several names went, as components below the target.
    links: HashMap<u64, Vec<Vec<u8>>>,
    report: RestoreReport,
    target: Option<Target>,
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
    names: std::collections::HashSet<Vec<u8>>,
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
        let mut place = top.above;
        place.push(name.clone());
        let entry = Entry { name, ..entry };
        if entry.is_directory() {
            let directory = directory.enter(&entry.name, self.options.overwrite != Overwrite::Never)?;
            return self.walk(Some(directory), place, top.path, entry, true);
        }
        self.restore_entry(Some(&directory), place, top.path, entry)
    }

    /// Fails before anything is written where a new target cannot hold it all.
    fn check_space(&self, target: &Target, entry: &Entry, existed: bool) -> Result<()> {
        let is_empty = !existed || target.root().names().is_ok_and(|names| names.is_empty());
        let needed_bytes = entry.content.sums().decode_bytes;
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
        Some(Level { directory, place, path, entries, entry, names: Default::default() })
    }

    /// Deals with one entry; returns the level of a directory to walk into.
    fn visit(&mut self, level: &mut Level, entry: Entry) -> Result<Option<Level>> {
        let path = path::join(&level.path, &entry.name);
        level.names.insert(entry.name.clone());
        if self.selection.has_excluded(&path, entry.is_directory()) {
            return Ok(None);
        }
        let mut place = level.place.clone();
        place.push(entry.name.clone());
        if entry.is_directory() {
            let directory = match &level.directory {
                Some(directory) => Some(directory.enter(&entry.name, self.options.overwrite != Overwrite::Never)?),
                None => None,
            };
            return Ok(self.level(directory, place, path, entry, true));
        }
        if self.selection.includes(&path, false) {
            self.restore_entry(level.directory.as_ref(), place, path, entry)?;
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
        let Some(directory) = level.directory else { return Ok(()) };
        // A directory with a lost node may hold names that are not known: nothing is removed from it.
        if self.options.delete && !level.names.contains(&b""[..]) {
            self.delete_others(&directory, &level.names)?;
        }
        if let Some(entry) = level.entry {
            self.after.push(After::Directory(directory, entry, level.path));
        }
        self.send_if_full()
    }

    fn delete_others(&mut self, directory: &Directory, names: &std::collections::HashSet<Vec<u8>>) -> Result<()> {
        for name in directory.names()?.into_iter().filter(|name| !names.contains(name)) {
            // Another batch may be writing here under a temporary name of its own.
            if !name.ends_with(b".holdfast-tmp") {
                directory.remove(&name)?;
                self.report.deleted += 1;
            }
        }
        Ok(())
    }

    fn restore_entry(
        &mut self,
        directory: Option<&Directory>,
        place: Vec<Vec<u8>>,
        path: Vec<u8>,
        entry: Entry,
    ) -> Result<()> {
        let Some(directory) = directory else {
            self.report.files_written += u64::from(entry.is_file());
            self.report.restored_bytes += if entry.is_file() { entry.size_bytes() } else { 0 };
            return Ok(());
        };
        let found = directory.look(&entry.name)?;
        if found.as_ref().is_some_and(|found| self.keeps(found, &entry)) {
            self.report.files_unchanged += u64::from(entry.is_file());
            return Ok(());
        }
        if found.as_ref().is_some_and(|found| found.kind == ENTRY_DIRECTORY) {
            directory.remove(&entry.name)?;
        }
        if entry.link_group != 0 {
            if let Some(first) = self.links.get(&entry.link_group) {
                let first = first.clone();
                let (directory, name) = (directory.clone(), entry.name);
                self.after.push(After::Link { directory, name, first, path });
                return self.send_if_full();
            }
            self.links.insert(entry.link_group, place);
        }
        if entry.is_file() {
            return self.restore_file(directory, path, entry, found);
        }
        self.restore_special(directory, path, &entry)
    }

    /// Whether an existing entry is left as it is without looking into it.
    fn keeps(&self, found: &Found, entry: &Entry) -> bool {
        match self.options.overwrite {
            Overwrite::Never => true,
            Overwrite::IfChanged => {
                entry.is_file()
                    && found.kind == ENTRY_FILE
                    && (found.size_bytes, found.mtime) == (entry.size_bytes(), entry.mtime)
            }
            Overwrite::Always => false,
        }
    }

    fn restore_special(&mut self, directory: &Directory, path: Vec<u8>, entry: &Entry) -> Result<()> {
        let made = match (&entry.content, entry.kind) {
            (Content::Link { target }, _) => directory.symlink(&entry.name, target),
            (_, ENTRY_FIFO | ENTRY_CHARACTER_DEVICE | ENTRY_BLOCK_DEVICE) => directory.special(&entry.name, entry),
            _ => {
                self.warn("unknown_kind", path, "it is of a kind that this program does not know".to_owned());
                return Ok(());
            }
        };
        match made {
            Ok(()) => {
                for message in directory.apply(&entry.name, entry, &self.shared.applying) {
                    self.warn("metadata", path.clone(), message);
                }
                Ok(())
            }
            // Making devices takes rights that a user may lack; the rest is still wanted.
            Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => {
                self.warn("not_permitted", path, format!("it cannot be made: {source}"));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn restore_file(&mut self, directory: &Directory, path: Vec<u8>, entry: Entry, found: Option<Found>) -> Result<()> {
        let size_bytes = entry.size_bytes();
        let existing = found.is_some_and(|found| found.kind == ENTRY_FILE && found.links == 1);
        let content = entry.content.clone();
        let destination =
            Destination { directory: directory.clone(), name: entry.name.clone(), entry, path, size_bytes };
        if size_bytes > WHOLE_FILE_BYTES_MAX {
            return self.restore_long(destination, &content, existing);
        }
        let mut items = Vec::new();
        let mut source = Placed::new(&content);
        loop {
            match source.next(self.shared.loader) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => {
                    batch::damage_only(error)?;
                    self.damaged(destination.path);
                    return Ok(());
                }
            }
        }
        self.count_frames(&items);
        self.batch_bytes += size_bytes;
        self.jobs.push(Job::Whole { destination, items, existing });
        self.send_if_full()
    }

    /// Restores a long file part by part, under a temporary name until it is whole.
    fn restore_long(&mut self, destination: Destination, content: &Content, existing: bool) -> Result<()> {
        let temporary = destination.directory.create_temporary(&destination.name)?;
        temporary.file().set_len(destination.size_bytes).map_err(destination.failed("write"))?;
        let existing = if existing { destination.directory.open_existing(&destination.name)? } else { None };
        let file = Arc::new(LongFile {
            destination,
            temporary,
            existing,
            damaged: AtomicBool::new(false),
            written_bytes: AtomicU64::new(0),
        });
        let mut source = Placed::new(content);
        loop {
            let (mut items, mut bytes) = (Vec::new(), 0);
            let ended = loop {
                match source.next(self.shared.loader) {
                    Ok(Some(item)) => {
                        if matches!(item.item, Item::Chunk { .. }) {
                            bytes += item.item.length();
                        }
                        items.push(item);
                    }
                    Ok(None) => break true,
                    Err(error) => {
                        batch::damage_only(error)?;
                        file.mark_damaged();
                        break true;
                    }
                }
                if bytes >= BATCH_BYTES / 2 {
                    break false;
                }
            };
            self.count_frames(&items);
            self.batch_bytes += bytes;
            self.jobs.push(Job::Part { file: Arc::clone(&file), items });
            if ended {
                self.after.push(After::Long(file));
                return self.send_if_full();
            }
            self.send_if_full()?;
        }
    }

    fn count_frames(&mut self, items: &[PlacedItem]) {
        let index = self.shared.loader.index;
        for placed in items {
            if let Item::Chunk { id, .. } = placed.item
                && let Some(location) = index.locations(&id.prefix()).next()
                && let Some((_, frame, _)) = index.pack(location.pack).table.row(location.row)
            {
                self.batch_frames.insert((location.pack, frame));
            }
        }
    }

    fn send_if_full(&mut self) -> Result<()> {
        let entries = self.jobs.len() + self.after.len();
        if self.batch_bytes >= BATCH_BYTES || entries >= BATCH_FILES || self.batch_frames.len() >= BATCH_FRAMES {
            self.send()?;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        let jobs = std::mem::take(&mut self.jobs);
        let shared: &'env Shared<'env> = self.shared;
        let pending: Pending<Result<Done>> = self.scope.submit(move || batch::run(shared, jobs));
        self.running.push(pending);
        self.afters.push_back(std::mem::take(&mut self.after));
        self.batch_bytes = 0;
        self.batch_frames.clear();
        while let Some(done) = self.running.next_ready() {
            self.settle(done?)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<RestoreReport> {
        self.send()?;
        while let Some(done) = self.running.next() {
            self.settle(done?)?;
        }
        Ok(self.report)
    }

    /// Takes a batch's results, and does what had to wait for it.
    fn settle(&mut self, done: Done) -> Result<()> {
        self.report.files_written += done.files_written;
        self.report.files_unchanged += done.files_unchanged;
        self.report.restored_bytes += done.restored_bytes;
        self.progress.advanced(done.advanced.0, done.advanced.1);
        for path in done.damaged {
            self.damaged(path);
        }
        for (path, message) in done.warnings {
            self.warn("metadata", path, message);
        }
        for after in self.afters.pop_front().unwrap_or_default() {
            match after {
                After::Directory(directory, entry, path) => {
                    for message in directory.apply_to_self(&entry, &self.shared.applying) {
                        self.warn("metadata", path.clone(), message);
                    }
                }
                After::Long(file) => self.settle_long(file)?,
                After::Link { directory, name, first, path } => self.settle_link(&directory, &name, &first, path)?,
            }
        }
        Ok(())
    }

    fn settle_long(&mut self, file: Arc<LongFile>) -> Result<()> {
        let Some(file) = Arc::into_inner(file) else { return Err(Error::Interrupted) };
        self.progress.advanced(1, 0);
        let LongFile { destination, temporary, existing, damaged, written_bytes } = file;
        if damaged.into_inner() {
            self.damaged(destination.path);
            return Ok(());
        }
        let written = written_bytes.load(Ordering::Relaxed);
        self.report.restored_bytes += written;
        let same_length =
            existing.and_then(|file| file.metadata().ok()).is_some_and(|found| found.len() == destination.size_bytes);
        let unchanged = written == 0 && same_length;
        self.report.files_written += u64::from(!unchanged);
        self.report.files_unchanged += u64::from(unchanged);
        for message in destination.apply(temporary.file(), &self.shared.applying) {
            self.warn("metadata", destination.path.clone(), message);
        }
        temporary.persist(&destination.name)
    }

    fn settle_link(&mut self, directory: &Directory, name: &[u8], first: &[Vec<u8>], path: Vec<u8>) -> Result<()> {
        let (Some(target), Some((first_name, above))) = (&self.target, first.split_last()) else { return Ok(()) };
        let from = descend(target, above)?;
        let Some(found) = from.look(first_name)? else {
            self.damaged(path);
            return Ok(());
        };
        // Two names that are one file already need nothing.
        let same =
            directory.look(name)?.is_some_and(|other| (other.inode, other.device) == (found.inode, found.device));
        if !same {
            directory.hard_link(name, &from, first_name)?;
        }
        self.report.files_unchanged += u64::from(same);
        self.report.files_written += u64::from(!same);
        Ok(())
    }

    fn damaged(&mut self, path: Vec<u8>) {
        let message = "it cannot be restored: the repository has lost a part of it".to_owned();
        self.progress.warning(&Warning { kind: "damaged", subject: path.clone(), message });
        self.report.files_damaged.push(path);
    }

    fn warn(&mut self, kind: &'static str, path: Vec<u8>, message: String) {
        let warning = Warning { kind, subject: path, message };
        self.progress.warning(&warning);
        self.report.warnings.push(warning);
    }
}

/// Opens a directory below the target that is there already.
fn descend(target: &Target, place: &[Vec<u8>]) -> Result<Directory> {
    let mut directory = target.root();
    for name in place {
        let next = directory.open_directory(name)?;
        directory = next.ok_or_else(|| Error::Input { what: format!("{} went away", directory.path().display()) })?;
    }
    Ok(directory)
}

/// Items of a content with their offsets.
struct Placed {
    items: Items,
    offset: u64,
}

impl Placed {
    fn new(content: &Content) -> Self {
        Self { items: Items::new(content), offset: 0 }
    }

    fn next(&mut self, loader: &Loader<'_>) -> Result<Option<PlacedItem>> {
        let Some(item) = self.items.next(loader)? else { return Ok(None) };
        let offset = self.offset;
        self.offset = self.offset.saturating_add(item.length());
        Ok(Some(PlacedItem { offset, item }))
    }
}
