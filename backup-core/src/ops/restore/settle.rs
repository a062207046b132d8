//! The batches of a restore: when one is full, and what follows once it and all before it are over.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::RestoreReport;
use super::batch::{self, Done, Shared};
use super::file::LongFile;
use super::plan::{Plan, descend};
use crate::error::{Error, Result};
use crate::format::tree::Entry;
use crate::pipeline::Pending;
use crate::progress::Warning;
use crate::target::Directory;

/// A batch ends at so many bytes of content, or files and directories.
pub(super) const BATCH_BYTES: u64 = 16 << 20;
const BATCH_FILES: usize = 128;

/// What is done once a batch and all before it are over.
pub(super) enum After {
    Directory(Directory, Box<Entry>, Vec<u8>),
    Long(Arc<LongFile>),
    Link { directory: Directory, name: Vec<u8>, first: Vec<Vec<u8>>, path: Vec<u8>, is_database: bool },
}

impl<'env> Plan<'_, '_, 'env> {
    pub(super) fn send_if_full(&mut self) -> Result<()> {
        let entries = self.jobs.len() + self.after.len();
        if self.batch_bytes >= BATCH_BYTES || entries >= BATCH_FILES {
            self.send()?;
        }
        Ok(())
    }

    pub(super) fn send(&mut self) -> Result<()> {
        let jobs = std::mem::take(&mut self.jobs);
        let shared: &'env Shared<'env> = self.shared;
        let pending: Pending<Result<Done>> = self.scope.submit(move || batch::run(shared, jobs));
        self.running.push(pending);
        self.afters.push_back(std::mem::take(&mut self.after));
        self.batch_bytes = 0;
        while let Some(done) = self.running.next_ready() {
            self.settle(done?)?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<RestoreReport> {
        self.send()?;
        while let Some(done) = self.running.next() {
            self.settle(done?)?;
        }
        Ok(self.report)
    }

    /// Takes a batch's results, and does what had to wait for it.
    pub(super) fn settle(&mut self, done: Done) -> Result<()> {
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
                After::Link { directory, name, first, path, is_database } => {
                    self.settle_link(&directory, &name, &first, path, is_database)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn settle_long(&mut self, file: Arc<LongFile>) -> Result<()> {
        let Some(file) = Arc::into_inner(file) else { return Err(Error::Interrupted) };
        self.progress.advanced(1, 0);
        if file.is_damaged() {
            self.damaged(file.destination.path);
            return Ok(());
        }
        if file.destination.is_database {
            return self.settle_database(file);
        }
        let LongFile { destination, temporary, existing, written_bytes, .. } = file;
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

    pub(super) fn settle_link(
        &mut self,
        directory: &Directory,
        name: &[u8],
        first: &[Vec<u8>],
        path: Vec<u8>,
        is_database: bool,
    ) -> Result<()> {
        let (Some(target), Some((first_name, above))) = (&self.target, first.split_last()) else { return Ok(()) };
        let from = descend(target, above)?;
        let Some(found) = from.look(first_name)? else {
            self.damaged(path);
            return Ok(());
        };
        // Two names that are one file already need nothing.
        let same =
            directory.look(name)?.is_some_and(|other| (other.inode, other.device) == (found.inode, found.device));
        if !same && is_database && !self.clear_companions(directory, name, &path)? {
            return Ok(());
        }
        if !same {
            directory.hard_link(name, &from, first_name)?;
        }
        self.report.files_unchanged += u64::from(same);
        self.report.files_written += u64::from(!same);
        Ok(())
    }

    pub(super) fn damaged(&mut self, path: Vec<u8>) {
        let message = "it cannot be restored: the repository has lost a part of it".to_owned();
        self.progress.warning(&Warning { kind: "damaged", subject: path.clone(), message });
        self.report.files_damaged.push(path);
    }

    pub(super) fn warn(&mut self, kind: &'static str, path: Vec<u8>, message: String) {
        let warning = Warning { kind, subject: path, message };
        self.progress.warning(&warning);
        self.report.warnings.push(warning);
    }
}
