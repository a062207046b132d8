//! `restore`: writes what a snapshot holds below a directory.
//!
//! The [`plan`] walks the snapshot, makes directories, and gathers files into batches of bounded memory; workers carry a [`batch`] out whole: compare what is there, fetch frames, verify chunks,
//! write. Metadata of directories comes after everything in them. A file that cannot be had whole is named, and not touched.

mod batch;
mod database;
mod entries;
mod file;
mod plan;
mod settle;
mod tops;

use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::error::{Error, Result};
use crate::format::bodies::RestoreBody;
use crate::format::record;
use crate::id::EntryId;
use crate::index::Voids;
use crate::ledger::chain::Draft;
use crate::progress::{Progress, Silent, Stage, Warning};
use crate::repository::load::Loader;
use crate::repository::{Repository, Snapshot};

/// What happens to files that are there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// Their content is compared, and what differs is written anew.
    #[default]
    Always,
    /// Those of equal size and time of content are trusted to be equal.
    IfChanged,
    /// They are left alone.
    Never,
}

/// How a restore is made. Every setter takes and returns the options by value.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    include: Vec<String>,
    exclude: Vec<String>,
    delete: bool,
    dry_run: bool,
    verify: bool,
    overwrite: Overwrite,
    ownership: Option<bool>,
    keep_old: bool,
}

impl RestoreOptions {
    /// Makes the defaults: everything, ownership if this process may set it, existing files compared by content.
    pub fn new() -> Self {
        Self::default()
    }

    /// Restores only files whose path in the snapshot matches one of these globs (gitignore syntax).
    pub fn include(mut self, glob: impl Into<String>) -> Self {
        self.include.push(glob.into());
        self
    }

    /// Leaves out what matches one of these globs (gitignore syntax).
    pub fn exclude(mut self, glob: impl Into<String>) -> Self {
        self.exclude.push(glob.into());
        self
    }

    /// Removes from restored directories what the snapshot does not have there.
    pub fn delete(mut self, delete: bool) -> Self {
        self.delete = delete;
        self
    }

    /// Says what would be written, and writes nothing.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Reads every file again after it was written, and compares; what probes found in databases is asked again of what was restored. Differences are damage. Off by default.
    pub fn verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// What happens to existing files; by default they are compared by content.
    pub fn overwrite(mut self, overwrite: Overwrite) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Keeps a database whose place a restored one takes, under a name that says when: `NAME.before-2026-11-21T09-22-17Z`. Off by default.
    pub fn keep_old(mut self, keep_old: bool) -> Self {
        self.keep_old = keep_old;
        self
    }

    /// Whether owners are set; by default if this process is the superuser's.
    pub fn ownership(mut self, ownership: bool) -> Self {
        self.ownership = Some(ownership);
        self
    }
}

/// What a restore did.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct RestoreReport {
    /// Files whose content was written.
    pub files_written: u64,
    /// Files whose content was there already.
    pub files_unchanged: u64,
    /// Bytes of content written.
    pub restored_bytes: u64,
    /// Entries removed from the target.
    pub deleted: u64,
    /// Paths in the snapshot that could not be restored whole, for damage in the repository.
    #[serde(skip)]
    pub files_damaged: Vec<Vec<u8>>,
    /// Paths in the snapshot of databases that were left as they are, because somebody has them open.
    #[serde(skip)]
    pub files_refused: Vec<Vec<u8>>,
    /// What could not be set or written as it was.
    #[serde(skip)]
    pub warnings: Vec<Warning>,
    /// What may be of interest.
    #[serde(skip)]
    pub notes: Vec<Warning>,
}

/// Which paths are meant.
struct Selection {
    include: Option<Gitignore>,
    exclude: Option<Gitignore>,
}

impl Selection {
    fn new(options: &RestoreOptions) -> Result<Self> {
        let build = |globs: &[String]| {
            if globs.is_empty() {
                return Ok(None);
            }
            let wrong = |error: ignore::Error| Error::Usage { what: format!("not a glob: {error}") };
            let mut builder = GitignoreBuilder::new("/");
            for glob in globs {
                builder.add_line(None, glob).map_err(wrong)?;
            }
            builder.build().map(Some).map_err(wrong)
        };
        Ok(Self { include: build(&options.include)?, exclude: build(&options.exclude)? })
    }

    fn has_excluded(&self, path: &[u8], is_directory: bool) -> bool {
        let path = as_path(path);
        self.exclude.as_ref().is_some_and(|globs| globs.matched(path, is_directory).is_ignore())
    }

    /// Whether something other than a directory is wanted; a directory that matches brings all that is in it.
    fn includes(&self, path: &[u8], is_directory: bool) -> bool {
        let path = as_path(path);
        self.include.as_ref().is_none_or(|globs| globs.matched_path_or_any_parents(path, is_directory).is_ignore())
    }

    fn is_partial(&self) -> bool {
        self.include.is_some() || self.exclude.is_some()
    }
}

/// Restores one file below a directory, under the last component of its path. Says whether that was possible.
pub(super) fn extract(loader: &Loader<'_>, snapshot: &Snapshot, path: &[u8], target: &Path) -> Result<bool> {
    let options = RestoreOptions::new().ownership(false);
    let report = plan::run(loader, snapshot, Some(path), target, &options, &Selection::new(&options)?, &Silent)?;
    Ok(report.files_damaged.is_empty() && report.files_refused.is_empty())
}

fn as_path(path: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(path))
}

impl Repository {
    /// Restores a snapshot, or what lies at one path of it.
    ///
    /// Without a path everything is written to `target/<absolute path>`; of a directory its contents into `target`; a file to `target/<name>` where `target` is a directory, else to `target` itself.
    /// The restore is recorded in the ledger where this program may write; otherwise a note says that it was not.
    ///
    /// # Errors
    /// [`Error::PathNotFound`], [`Error::NoSpace`] before anything is written, [`Error::File`] where the target cannot be written, [`Error::Storage`], [`Error::Interrupted`].
    /// Damage is no error, nor is a database that somebody has open: the report names the files.
    pub fn restore(
        &mut self,
        snapshot: EntryId,
        path: Option<&[u8]>,
        target: &Path,
        options: &RestoreOptions,
        progress: &dyn Progress,
    ) -> Result<RestoreReport> {
        let named = self.snapshots().iter().find(|candidate| candidate.id == snapshot).cloned();
        let named = named.ok_or_else(|| Error::SnapshotName { name: snapshot.to_string(), matches: 0 })?;
        let selection = Selection::new(options)?;
        let loader = Loader::new(self)?;
        let (mut report, bad) = {
            let report = plan::run(&loader, &named, path, target, options, &selection, progress)?;
            (report, loader.bad())
        };
        progress.finished(Stage::Restoring);
        if !options.dry_run {
            self.record_restore(snapshot, path, &mut report, &bad);
        }
        Ok(report)
    }

    /// Appends what was done, and what was found bad. A restore must work where nothing can be written, so a failure is a note.
    fn record_restore(&mut self, snapshot: EntryId, path: Option<&[u8]>, report: &mut RestoreReport, bad: &Voids) {
        let body = RestoreBody {
            snapshot,
            paths: path.map(<[u8]>::to_vec).into_iter().collect(),
            files: report.files_written,
            bytes: report.restored_bytes,
            damaged: (report.files_damaged.len() + report.files_refused.len()) as u64,
        };
        let recorded = self.take_up_chain().and_then(|note| {
            report.notes.extend(note);
            self.void(bad, "found bad by a restore")?;
            self.commit(vec![Draft::new("", record::encode(&body))], true)
        });
        if let Err(error) = recorded.and_then(|_| self.absorb_commits()) {
            let message = format!("the restore is not recorded in the ledger: {error}");
            report.notes.push(Warning { kind: "unrecorded", subject: Vec::new(), message });
        }
    }
}
