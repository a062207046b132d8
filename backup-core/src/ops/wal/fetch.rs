//! `wal fetch`: brings one file of the log back, whole or not at all.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{WalOptions, describe};
use crate::error::{Error, Result};
use crate::id::EntryId;
use crate::ops::dump::write_content;
use crate::progress::{Progress, Stage, Warning};
use crate::repository::wal::{WalFile, check_cluster};
use crate::repository::{Repository, Snapshot};
use crate::target::Target;

/// What a fetch did.
#[derive(Clone, Debug, serde::Serialize)]
pub struct FetchReport {
    /// The file.
    #[serde(flatten)]
    pub file: WalFile,
    /// The snapshot that it came from; `None` if no file of this name was ever pushed, such as one that PostgreSQL does not make, and nothing was written.
    pub snapshot_id: Option<EntryId>,
    /// Bytes written.
    pub restored_bytes: u64,
    /// Requests to the storage.
    pub requests: u64,
    /// Versions of the file that were passed over: damaged ones before it, and later ones with other bytes.
    #[serde(skip)]
    pub notes: Vec<Warning>,
}

impl Repository {
    /// Writes a file of a PostgreSQL write-ahead log to `target`: under another name first, then synced, then renamed. What stands there is replaced; its directory must be there.
    ///
    /// Of several versions the first counts that can be read, in the order of the times of their entries, then of their ids; the report notes the others. The repository is only read.
    ///
    /// # Errors
    /// [`Error::Usage`] for a cluster that cannot be called so; damage if no version can be read; [`Error::File`] if it cannot be written; [`Error::Storage`]. Nothing was written then.
    pub fn fetch_wal(
        &self,
        name: &str,
        target: &Path,
        options: &WalOptions,
        progress: &dyn Progress,
    ) -> Result<FetchReport> {
        let requests_before = self.storage.counts().requests();
        check_cluster(&options.cluster)?;
        let file = WalFile { cluster: options.cluster.clone(), name: name.to_owned() };
        progress.started(Stage::Restoring, None);
        let mut report = FetchReport { file, snapshot_id: None, restored_bytes: 0, requests: 0, notes: Vec::new() };
        let versions = self.wal_versions(&report.file);
        let mut damage = None;
        for (place, snapshot) in versions.iter().enumerate() {
            match self.write_wal(snapshot, &report.file, target) {
                Ok((written, hash)) => {
                    report.snapshot_id = Some(snapshot.id);
                    report.restored_bytes = written;
                    let others = self.other_versions(&report.file, &versions[place + 1..], hash)?;
                    report.notes.extend(others);
                    progress.advanced(1, written);
                    break;
                }
                Err(error) if error.is_damage() => {
                    report.notes.push(note(&report.file, snapshot, &error.to_string()));
                    damage = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        progress.finished(Stage::Restoring);
        report.requests = self.storage.counts().requests() - requests_before;
        match damage {
            Some(error) if report.snapshot_id.is_none() => Err(error),
            _ => Ok(report),
        }
    }

    /// Returns the bytes written and their recorded hash.
    fn write_wal(&self, snapshot: &Snapshot, file: &WalFile, target: &Path) -> Result<(u64, Option<[u8; 32]>)> {
        let name = target.file_name().ok_or_else(|| Error::Usage { what: "the target is no file".to_owned() })?;
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let failed = |error| Error::file("write", target)(error);
        let opened = File::open(parent).map_err(failed)?;
        let directory = Target::create(parent)?.root();
        self.read_wal(snapshot, file, &mut |loader, entry| {
            let temporary = directory.create_temporary(name.as_bytes())?;
            let mut out = temporary.file();
            let written = write_content(loader, entry, &mut out, &failed)?;
            out.sync_all().map_err(failed)?;
            temporary.persist(name.as_bytes())?;
            opened.sync_all().map_err(failed)?;
            Ok((written, entry.content_hash))
        })
    }

    /// Notes later versions whose bytes are others.
    fn other_versions(&self, file: &WalFile, later: &[&Snapshot], fetched: Option<[u8; 32]>) -> Result<Vec<Warning>> {
        let mut notes = Vec::new();
        for snapshot in later {
            match self.read_wal(snapshot, file, &mut |_, entry| Ok(entry.content_hash)) {
                Ok(hash) if hash == fetched => {}
                Ok(_) => notes.push(note(file, snapshot, "a later version has other bytes")),
                Err(error) if error.is_damage() => notes.push(note(file, snapshot, &error.to_string())),
                Err(error) => return Err(error),
            }
        }
        Ok(notes)
    }
}

fn note(file: &WalFile, snapshot: &Snapshot, what: &str) -> Warning {
    let message = format!("{}, snapshot {}: {what}", describe(file), snapshot.id.short());
    Warning { kind: "version", subject: file.path(), message }
}
