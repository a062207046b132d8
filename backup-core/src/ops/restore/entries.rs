//! What is done with each entry of a restore that is not a directory.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::Overwrite;
use super::batch;
use super::database::{has_log, is_database};
use super::file::{Destination, Job, LongFile, PlacedItem};
use super::plan::Plan;
use super::settle::{After, BATCH_BYTES};
use crate::error::{Error, Result};
use crate::format::constants::*;
use crate::format::tree::{Content, Entry, Item};
use crate::repository::load::Loader;
use crate::repository::nodes::Items;
use crate::source::sqlite::exclusive::is_locked;
use crate::target::{Directory, Found};

/// Longer files are written in parts.
const WHOLE_FILE_BYTES_MAX: u64 = 8 << 20;

impl Plan<'_, '_, '_> {
    /// Restores an entry of a directory, which lies at `above`.
    pub(super) fn restore_entry(
        &mut self,
        directory: Option<&Directory>,
        above: &[Vec<u8>],
        path: Vec<u8>,
        entry: Entry,
    ) -> Result<()> {
        let Some(directory) = directory else {
            self.report.files_written += u64::from(entry.is_file());
            self.report.restored_bytes += if entry.is_file() { entry.size_bytes() } else { 0 };
            return Ok(());
        };
        // Nothing is where there was nothing a moment ago; what somebody put there meanwhile is met when the file is made.
        let is_free = directory.is_made()
            && entry.is_file()
            && entry.size_bytes() <= WHOLE_FILE_BYTES_MAX
            && self.options.overwrite != Overwrite::Never
            && !is_database(&entry);
        let found = if is_free { None } else { directory.look(&entry.name)? };
        if let Some(found) = &found
            && self.keeps(directory, found, &entry)?
        {
            self.report.files_unchanged += u64::from(entry.is_file());
            return Ok(());
        }
        if found.as_ref().is_some_and(|found| found.kind == ENTRY_DIRECTORY) {
            directory.remove(&entry.name)?;
        }
        if entry.link_group != 0 {
            if let Some(first) = self.links.get(&entry.link_group) {
                let first = first.clone();
                let is_database = is_database(&entry);
                let (directory, name) = (directory.clone(), entry.name);
                self.after.push(After::Link { directory, name, first, path, is_database });
                return self.send_if_full();
            }
            self.links.insert(entry.link_group, above.iter().chain([&entry.name]).cloned().collect());
        }
        if entry.is_file() {
            return self.restore_file(directory, path, entry, found);
        }
        self.restore_special(directory, path, &entry)
    }

    /// Whether an existing entry is left as it is without looking into it.
    fn keeps(&self, directory: &Directory, found: &Found, entry: &Entry) -> Result<bool> {
        match self.options.overwrite {
            Overwrite::Never => Ok(true),
            Overwrite::IfChanged => {
                let is_same = entry.is_file()
                    && found.kind == ENTRY_FILE
                    && (found.size_bytes, found.mtime) == (entry.size_bytes(), entry.mtime);
                // What changed in a database last may stand in its log alone.
                Ok(is_same && !(is_database(entry) && has_log(directory, &entry.name)?))
            }
            Overwrite::Always => Ok(false),
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

    fn restore_file(
        &mut self,
        directory: &Directory,
        path: Vec<u8>,
        mut entry: Entry,
        found: Option<Found>,
    ) -> Result<()> {
        let size_bytes = entry.size_bytes();
        let existing = found.is_some_and(|found| found.kind == ENTRY_FILE && found.links == 1);
        let is_database = is_database(&entry);
        let content = std::mem::replace(&mut entry.content, Content::None {});
        let destination = Destination {
            directory: directory.clone(),
            name: entry.name.clone(),
            entry,
            path,
            size_bytes,
            is_database,
        };
        if is_database && let Some(why) = self.users(directory, &destination.name)? {
            self.refuse(destination.path, &why);
            return Ok(());
        }
        if is_database || size_bytes > WHOLE_FILE_BYTES_MAX {
            let existing = if existing { directory.open_existing(&destination.name)? } else { None };
            if is_database && existing.as_ref().is_some_and(is_locked) {
                self.refuse(destination.path, "another process has it locked");
                return Ok(());
            }
            return self.restore_long(destination, content, existing);
        }
        let mut items = Vec::new();
        let mut source = Placed::new(content);
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
        self.batch_bytes += size_bytes;
        self.jobs.push(Job::Whole { destination: Box::new(destination), items, existing });
        self.send_if_full()
    }

    /// Restores a long file part by part, under a temporary name until it is whole.
    fn restore_long(&mut self, destination: Destination, content: Content, existing: Option<File>) -> Result<()> {
        let temporary = destination.directory.create_temporary(&destination.name)?;
        temporary.file().set_len(destination.size_bytes).map_err(destination.failed("write"))?;
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
            self.batch_bytes += bytes;
            self.jobs.push(Job::Part { file: Arc::clone(&file), items });
            if ended {
                self.after.push(After::Long(file));
                return self.send_if_full();
            }
            self.send_if_full()?;
        }
    }
}

/// Items of a content with their offsets.
struct Placed {
    items: Items,
    offset: u64,
}

impl Placed {
    fn new(content: Content) -> Self {
        Self { items: Items::of(content), offset: 0 }
    }

    fn next(&mut self, loader: &Loader<'_>) -> Result<Option<PlacedItem>> {
        let Some(item) = self.items.next(loader)? else { return Ok(None) };
        let offset = self.offset;
        self.offset = self.offset.saturating_add(item.length());
        Ok(Some(PlacedItem { offset, item }))
    }
}
