//! What one worker does for a restore: a batch of files, from frames to bytes on disk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::file::{Comparer, Destination, Job, LongFile, PlacedItem, write_gap};
use crate::error::{Error, Result};
use crate::format::tree::Item;
use crate::repository::fetch::Chunks;
use crate::repository::load::Loader;
use crate::target::{Applying, copy_range};

/// What a batch did.
#[derive(Default)]
pub(super) struct Done {
    pub(super) files_written: u64,
    pub(super) files_unchanged: u64,
    pub(super) restored_bytes: u64,
    /// Paths of files that lack a chunk.
    pub(super) damaged: Vec<Vec<u8>>,
    /// Paths, and what could not be set.
    pub(super) warnings: Vec<(Vec<u8>, String)>,
    /// Files and bytes dealt with, for the progress.
    pub(super) advanced: (u64, u64),
}

/// What all batches of a restore share.
pub(super) struct Shared<'a> {
    pub(super) loader: &'a Loader<'a>,
    pub(super) comparer: Comparer,
    pub(super) applying: Applying,
    pub(super) verify: bool,
}

/// Carries a batch out. An error ends the restore: the target cannot be written, or the storage not be read.
pub(super) fn run(shared: &Shared<'_>, jobs: Vec<Job>) -> Result<Done> {
    let mut done = Done::default();
    let mut needed = Vec::with_capacity(jobs.len());
    for job in &jobs {
        shared.loader.repository.options.cancel.check()?;
        needed.push(shared.needed(job)?);
    }
    let ids = jobs.iter().zip(&needed).flat_map(|(job, needed)| {
        let wanted = job.items().iter().zip(needed).filter(|(_, needed)| **needed);
        wanted.filter_map(|(placed, _)| match placed.item {
            Item::Chunk { id, .. } => Some(id),
            _ => None,
        })
    });
    let chunks = shared.loader.load_all(ids)?;
    for (job, needed) in jobs.into_iter().zip(needed) {
        match job {
            Job::Whole { destination, items, existing } => {
                shared.write_whole(&destination, &items, &needed, existing, &chunks, &mut done)?;
            }
            Job::Part { file, items } => shared.write_part(&file, &items, &needed, &chunks, &mut done)?,
        }
    }
    Ok(done)
}

impl Shared<'_> {
    /// Which items are not there already.
    fn needed(&self, job: &Job) -> Result<Vec<bool>> {
        let (existing, destination) = match job {
            Job::Whole { destination, existing: true, .. } => {
                (destination.directory.open_existing(&destination.name)?, &**destination)
            }
            Job::Part { file, .. } => {
                let clone = file.existing.as_ref().map(File::try_clone).transpose();
                (clone.map_err(file.destination.failed("read"))?, &file.destination)
            }
            Job::Whole { destination, .. } => (None, &**destination),
        };
        let Some(existing) = existing else { return Ok(vec![true; job.items().len()]) };
        let mut buffer = Vec::new();
        let differs = |placed: &PlacedItem| self.comparer.holds(&existing, placed, &mut buffer).map(|holds| !holds);
        job.items().iter().map(differs).collect::<std::io::Result<_>>().map_err(destination.failed("read"))
    }

    fn write_whole(
        &self,
        destination: &Destination,
        items: &[PlacedItem],
        needed: &[bool],
        existing: bool,
        chunks: &Chunks,
        done: &mut Done,
    ) -> Result<()> {
        done.advanced.0 += 1;
        done.advanced.1 += destination.size_bytes;
        let in_place = if existing { destination.directory.open_existing(&destination.name)? } else { None };
        let is_new = in_place.is_none();
        let wanted = || items.iter().zip(needed).filter(|(_, needed)| is_new || **needed).map(|(placed, _)| placed);
        if wanted().any(|placed| !chunks.has(&placed.item)) {
            done.damaged.push(destination.path.clone());
            return Ok(());
        }
        let file = match in_place {
            Some(file) => file,
            None => destination.create()?,
        };
        let length = if is_new { 0 } else { file.metadata().map_err(destination.failed("read"))?.len() };
        let mut written = 0;
        for placed in wanted() {
            written += write_item(&file, placed, is_new, chunks).map_err(destination.failed("write"))?;
        }
        let ends_in_gap = matches!(items.last(), Some(PlacedItem { item: Item::Hole { .. }, .. }));
        if (is_new && ends_in_gap) || (!is_new && length != destination.size_bytes) {
            file.set_len(destination.size_bytes).map_err(destination.failed("write"))?;
        }
        let changed = is_new || written > 0 || length != destination.size_bytes || needed.contains(&true);
        done.files_written += u64::from(changed);
        done.files_unchanged += u64::from(!changed);
        done.restored_bytes += written;
        let messages = match is_new {
            true => destination.directory.apply_to_new(&file, &destination.entry, &self.applying),
            false => destination.apply(&file, &self.applying),
        };
        done.warnings.extend(messages.into_iter().map(|message| (destination.path.clone(), message)));
        if self.verify && !self.holds_all(&file, items).map_err(destination.failed("read"))? {
            done.warnings.push((destination.path.clone(), "what was written reads back differently".to_owned()));
            done.damaged.push(destination.path.clone());
        }
        Ok(())
    }

    fn holds_all(&self, file: &File, items: &[PlacedItem]) -> std::io::Result<bool> {
        let mut buffer = Vec::new();
        for placed in items {
            if !self.comparer.holds(file, placed, &mut buffer)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes an equal piece from the file that is there. Somebody may write to that one meanwhile, so the piece counts only if it is right where it has arrived.
    fn take_over(&self, existing: &File, long: &LongFile, placed: &PlacedItem) -> Result<()> {
        let failed = || long.destination.failed("write");
        let file = long.temporary.file();
        let Item::Chunk { id, length, .. } = placed.item else {
            return write_item(file, placed, true, &Chunks::default()).map(drop).map_err(failed());
        };
        let copied = copy_range(existing, file, placed.offset, u64::from(length));
        if copied.is_ok() && self.comparer.holds(file, placed, &mut Vec::new()).map_err(failed())? {
            return Ok(());
        }
        match self.loader.load_item(&id, length) {
            Ok(plaintext) => {
                file.write_all_at(&plaintext, placed.offset).map_err(failed())?;
                long.written_bytes.fetch_add(u64::from(length), Ordering::Relaxed);
            }
            Err(error) => {
                damage_only(error)?;
                long.mark_damaged();
            }
        }
        Ok(())
    }

    fn write_part(
        &self,
        long: &Arc<LongFile>,
        items: &[PlacedItem],
        needed: &[bool],
        chunks: &Chunks,
        done: &mut Done,
    ) -> Result<()> {
        let failed = || long.destination.failed("write");
        let file = long.temporary.file();
        for (placed, needed) in items.iter().zip(needed) {
            done.advanced.1 += placed.item.length();
            if *needed && !chunks.has(&placed.item) {
                long.mark_damaged();
            } else if *needed {
                let written = write_item(file, placed, true, chunks).map_err(failed())?;
                long.written_bytes.fetch_add(written, Ordering::Relaxed);
            } else if let Some(existing) = &long.existing {
                self.take_over(existing, long, placed)?;
            }
        }
        if self.verify && !long.is_damaged() && !self.holds_all(file, items).map_err(failed())? {
            long.mark_damaged();
        }
        Ok(())
    }
}

/// Writes one item that is not there, and returns how many bytes of content that took.
fn write_item(file: &File, placed: &PlacedItem, is_new: bool, chunks: &Chunks) -> std::io::Result<u64> {
    match &placed.item {
        Item::Chunk { id, .. } => {
            let plaintext = chunks.get(id).expect("callers asked whether it is there");
            file.write_all_at(plaintext, placed.offset)?;
            Ok(plaintext.len() as u64)
        }
        Item::Inline { bytes } => {
            file.write_all_at(bytes, placed.offset)?;
            Ok(bytes.len() as u64)
        }
        Item::Hole { .. } | Item::Zeros { .. } => write_gap(file, placed, is_new).map(|()| 0),
    }
}

/// Makes the error of damage that ended a walk into the path that it concerns, or returns it.
pub(super) fn damage_only(error: Error) -> Result<()> {
    if error.is_damage() { Ok(()) } else { Err(error) }
}
