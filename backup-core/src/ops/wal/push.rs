//! `wal push`: stores one file of the log under its name, once.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::{WalOptions, describe};
use crate::error::{Error, Result};
use crate::id::EntryId;
use crate::ops::backup::BackupOptions;
use crate::ops::dump::write_content;
use crate::progress::{Progress, Warning};
use crate::repository::Repository;
use crate::repository::wal::{WAL_TAG, WalFile};
use crate::source::stream::Stream;
use crate::time::Time;

/// What a push did.
#[derive(Clone, Debug, serde::Serialize)]
pub struct PushReport {
    /// The file.
    #[serde(flatten)]
    pub file: WalFile,
    /// The snapshot that holds these bytes under this name.
    pub snapshot_id: EntryId,
    /// Whether it was stored now; otherwise it had been before.
    pub is_new: bool,
    /// Bytes of the file.
    pub source_bytes: u64,
    /// Bytes of the packs written.
    pub stored_bytes: u64,
    /// Requests to the storage.
    pub requests: u64,
    /// What may be of interest.
    #[serde(skip)]
    pub notes: Vec<Warning>,
}

/// What is stored under a name already.
enum Known {
    Nothing,
    Same(EntryId),
    Other,
    /// So much of it is damaged that it cannot be compared.
    Unreadable,
}

impl Repository {
    /// Stores a file of a PostgreSQL write-ahead log under the last component of its path, and returns when it is committed. The same name and bytes again store nothing.
    ///
    /// A file whose stored bytes turn out to be damaged is stored once more.
    ///
    /// # Errors
    /// [`Error::Usage`] for a name that PostgreSQL does not make, or an unknown class; [`Error::Input`] if the name is known with other bytes, by a version that was there before
    /// or that another writer committed meanwhile; [`Error::File`] if the file cannot be read, or changes; [`Error::Storage`], [`Error::Interrupted`].
    pub fn push_wal(&mut self, path: &Path, options: &WalOptions, progress: &dyn Progress) -> Result<PushReport> {
        let requests_before = self.storage.counts().requests();
        let file = WalFile::new(&options.cluster, path.file_name().unwrap_or_default().as_bytes())?;
        let input = Input::open(path)?;
        let mut report = PushReport {
            file,
            snapshot_id: EntryId([0; 32]),
            is_new: false,
            source_bytes: input.size_bytes,
            stored_bytes: 0,
            requests: 0,
            notes: Vec::new(),
        };
        if !self.is_known(&input, &mut report)? {
            report.notes.extend(self.take_up_chain()?);
            // An entry of a push that was cut off may have been sent just now.
            let snapshots = self.snapshots().len();
            self.absorb_commits()?;
            let is_sent = self.snapshots().len() > snapshots && self.is_known(&input, &mut report)?;
            if !is_sent {
                self.store_wal(&input, options, progress, &mut report)?;
            }
        }
        report.requests = self.storage.counts().requests() - requests_before;
        Ok(report)
    }

    /// Looks whether these bytes are stored under this name already.
    fn is_known(&self, input: &Input, report: &mut PushReport) -> Result<bool> {
        match self.compare_wal(&report.file, input)? {
            Known::Same(id) => {
                report.snapshot_id = id;
                Ok(true)
            }
            Known::Other => {
                Err(Error::Input { what: format!("{} is stored already, with other bytes", describe(&report.file)) })
            }
            Known::Nothing => Ok(false),
            Known::Unreadable => {
                let note = Warning {
                    kind: "damaged",
                    subject: report.file.path(),
                    message: "what was stored under this name is damaged, so it is stored once more".to_owned(),
                };
                // It may be looked for a second time.
                if !report.notes.contains(&note) {
                    report.notes.push(note);
                }
                Ok(false)
            }
        }
    }

    /// Compares a file with the first version that can be read.
    fn compare_wal(&self, file: &WalFile, input: &Input) -> Result<Known> {
        let mut found = Known::Nothing;
        for snapshot in self.wal_versions(file) {
            let is_same = self.read_wal(snapshot, file, &mut |loader, entry| {
                let mut comparing = Comparing { input, place: 0, is_same: entry.size_bytes() == input.size_bytes };
                write_content(loader, entry, &mut comparing, &|error| Error::file("read", &input.path)(error))?;
                Ok(comparing.is_same)
            });
            match is_same {
                Ok(true) => return Ok(Known::Same(snapshot.id)),
                Ok(false) => return Ok(Known::Other),
                Err(error) if error.is_damage() => found = Known::Unreadable,
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn store_wal(
        &mut self,
        input: &Input,
        options: &WalOptions,
        progress: &dyn Progress,
        report: &mut PushReport,
    ) -> Result<()> {
        let source = Stream::new(&report.file.path(), input.mtime, input.reader()?)?;
        let backup = BackupOptions::new().class(&options.class).level(options.level).tag(WAL_TAG).content_hash(true);
        let made = self.without_index(|repository| repository.backup(&source, &backup.alone(), progress))?;
        report.snapshot_id = made.snapshot_id.expect("it was no dry run");
        report.is_new = true;
        report.source_bytes = made.counts.source_bytes;
        report.stored_bytes = made.counts.stored_bytes;
        report.notes.extend(made.notes);
        // Whoever commits last of two sees the other: a look before the commit would miss one that comes between.
        self.refresh()?;
        if self.wal_versions(&report.file).len() > 1 {
            self.forbid_other_versions(&report.file, input)?;
        }
        Ok(())
    }

    /// Fails if any version of a file that can be read has other bytes.
    fn forbid_other_versions(&self, file: &WalFile, input: &Input) -> Result<()> {
        let own = Some(input.hash()?);
        for snapshot in self.wal_versions(file) {
            let hash = self.read_wal(snapshot, file, &mut |_, entry| Ok(entry.content_hash));
            match hash {
                Ok(hash) if hash == own => {}
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
                Ok(_) => {
                    let what = format!("another writer stored {} at the same time, with other bytes", describe(file));
                    return Err(Error::Input { what });
                }
            }
        }
        Ok(())
    }
}

/// The file that is pushed, as it was when it was opened.
struct Input {
    path: PathBuf,
    file: File,
    size_bytes: u64,
    mtime: Time,
}

impl Input {
    fn open(path: &Path) -> Result<Self> {
        let failed = |error| Error::file("read", path)(error);
        // Opening a fifo would wait for a writer.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(Error::Input { what: format!("{} is no regular file", path.display()) });
        }
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let mtime = Time::new(metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or(0));
        Ok(Self { path: path.to_owned(), file, size_bytes: metadata.len(), mtime })
    }

    /// Reads it from its beginning, and fails in the end if it changed.
    fn reader(&self) -> Result<SteadyReader> {
        let file = self.file.try_clone().map_err(Error::file("read", &self.path))?;
        Ok(SteadyReader { file, place: 0, size_bytes: self.size_bytes, mtime: self.mtime })
    }

    fn hash(&self) -> Result<[u8; 32]> {
        let mut hasher = crate::crypto::Hasher::default();
        let mut reader = self.reader()?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            match reader.read(&mut buffer).map_err(Error::file("read", &self.path))? {
                0 => return Ok(hasher.finish()),
                length => drop(hasher.update(&buffer[..length])),
            }
        }
    }
}

struct SteadyReader {
    file: File,
    place: u64,
    size_bytes: u64,
    mtime: Time,
}

impl Read for SteadyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.place)?;
        self.place += length as u64;
        if length == 0 && !buffer.is_empty() {
            let now = self.file.metadata()?;
            let mtime = (now.mtime(), now.mtime_nsec());
            if now.len() != self.size_bytes || mtime != (self.mtime.seconds, i64::from(self.mtime.nanoseconds)) {
                return Err(io::Error::other("the file changed while it was read"));
            }
        }
        Ok(length)
    }
}

/// Takes what is stored, and compares it with the file.
struct Comparing<'a> {
    input: &'a Input,
    place: u64,
    is_same: bool,
}

impl Write for Comparing<'_> {
    fn write(&mut self, stored: &[u8]) -> io::Result<usize> {
        if self.is_same {
            let mut bytes = vec![0; stored.len()];
            self.is_same = match self.input.file.read_exact_at(&mut bytes, self.place) {
                Ok(()) => bytes == stored,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
                Err(error) => return Err(error),
            };
            self.place += stored.len() as u64;
        }
        Ok(stored.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_while_it_is_read_fails_in_the_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![7; 100_000]).unwrap();
        let input = Input::open(file.path()).unwrap();
        assert!(input.hash().is_ok());
        let mut reader = input.reader().unwrap();
        reader.read_exact(&mut [0; 50_000]).unwrap();
        std::fs::write(file.path(), vec![7; 100_001]).unwrap();
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "the file changed while it was read");
    }
}
