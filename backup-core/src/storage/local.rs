//! A directory as storage, durable by our own hand: what [`Local::write`] returned for survives a loss of power.
//!
//! An object is written under a temporary name, synced, renamed, and its directory synced; so are the parents of directories made for it.
//! Nothing is created before the first write, so that media without write permission can be read.

use std::collections::HashSet;
use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::ObjectInfo;
use super::direct;
use super::name::{is_name, is_temporary, temporary_name};
use crate::environment::Environment;
use crate::time::Time;

/// Deepest nesting of directories that is listed: links in a circle must end somewhere.
const DEPTH_MAX: usize = 16;

/// Age in seconds from which a temporary file belongs to nobody any more.
const TEMPORARY_SECONDS_MAX: i64 = 86_400;

/// What was found under a name.
pub(super) enum Found {
    Bytes(Vec<u8>),
    TooLong,
    TooShort,
}

/// A directory with objects as files.
pub(super) struct Local {
    root: PathBuf,
    environment: Environment,
    /// Directories whose own entry in their parent is known to be durable.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Local {
    pub(super) fn new(root: PathBuf, environment: Environment) -> Self {
        Self { root, environment, durable: Mutex::default() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn read(&self, name: &str, length_max: u64) -> io::Result<Found> {
        let (file, metadata) = self.open(name)?;
        if metadata.len() > length_max {
            return Ok(Found::TooLong);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1);
        file.take(length_max.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(if bytes.len() as u64 > length_max { Found::TooLong } else { Found::Bytes(bytes) })
    }

    pub(super) fn read_range(&self, name: &str, offset: u64, length: u64) -> io::Result<Found> {
        let (file, metadata) = self.open(name)?;
        let end = offset.checked_add(length).filter(|&end| end <= metadata.len());
        let (Some(_), Ok(length)) = (end, usize::try_from(length)) else { return Ok(Found::TooShort) };
        let mut bytes = vec![0; length];
        match file.read_exact_at(&mut bytes, offset) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Found::TooShort),
            result => result.map(|()| Found::Bytes(bytes)),
        }
    }

    /// Writes an object, durably. What is there already is compared: if equal it is only made durable, or else replaced, for then it is damaged.
    pub(super) fn write(&self, name: &str, parts: &[Vec<u8>]) -> io::Result<()> {
        match self.try_write(name, parts) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Somebody removed a directory that was known to be there.
                self.durable().clear();
                self.try_write(name, parts)
            }
            result => result,
        }
    }

    pub(super) fn stat(&self, name: &str) -> io::Result<Option<ObjectInfo>> {
        match self.path(name).metadata() {
            Ok(metadata) => Ok(metadata.is_file().then(|| info(name.to_owned(), &metadata))),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn list(&self, prefix: &str) -> io::Result<Vec<ObjectInfo>> {
        let mut found = Vec::new();
        self.walk(prefix, DEPTH_MAX, &mut |name, metadata| {
            if is_name(&name) {
                found.push(info(name, metadata));
            }
            Ok(())
        })?;
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Deletes an object, durably: a key that was destroyed must not come back with the next loss of power.
    pub(super) fn delete(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        match std::fs::remove_file(&path) {
            Err(error) if is_absence(&error) => return Ok(()),
            result => result?,
        }
        path.parent().map_or(Ok(()), sync_directory)
    }

    /// Removes what writers that died left behind; says how many files.
    pub(super) fn remove_stale_temporaries(&self, now: Time) -> io::Result<u64> {
        let mut stale = Vec::new();
        self.walk("", DEPTH_MAX, &mut |name, metadata| {
            if is_stale(&name, modified(metadata), now) {
                stale.push(name);
            }
            Ok(())
        })?;
        for name in &stale {
            self.delete(name)?;
        }
        Ok(stale.len() as u64)
    }

    /// Removes directories that are empty, deepest first.
    pub(super) fn remove_directories(&self, directories: &[String]) -> io::Result<()> {
        self.durable().clear();
        for directory in directories {
            match std::fs::remove_dir(self.path(directory)) {
                Err(error) if is_absence(&error) || error.kind() == ErrorKind::DirectoryNotEmpty => {}
                result => result?,
            }
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn open(&self, name: &str) -> io::Result<(File, Metadata)> {
        let file = File::open(self.path(name))?;
        let metadata = file.metadata()?;
        if metadata.is_file() { Ok((file, metadata)) } else { Err(ErrorKind::NotFound.into()) }
    }

    fn try_write(&self, name: &str, parts: &[Vec<u8>]) -> io::Result<()> {
        let path = self.path(name);
        let directory = path.parent().unwrap_or(&self.root);
        self.make_directory(directory)?;
        if is_equal(&path, parts)? {
            File::open(&path)?.sync_all()?;
            return sync_directory(directory);
        }
        let temporary = self.path(&temporary_name(name, &self.environment));
        let written = direct::write_new(&temporary, parts)
            .and_then(|file| file.sync_data())
            .and_then(|()| std::fs::rename(&temporary, &path));
        if written.is_err() {
            // The error is told; that the rest of the file stays until it is stale is not worth another one.
            let _ = std::fs::remove_file(&temporary);
        }
        written?;
        sync_directory(directory)
    }

    /// Makes a directory with its parents, each durable in its own parent. One thread at a time, so that no other relies on what is not synced yet.
    fn make_directory(&self, directory: &Path) -> io::Result<()> {
        self.make_durable(directory, &mut self.durable())
    }

    /// Parents are synced for directories that exist, too: whoever made them may not have come to it. Above the root only what is made here counts.
    fn make_durable(&self, directory: &Path, durable: &mut HashSet<PathBuf>) -> io::Result<()> {
        if durable.contains(directory) {
            return Ok(());
        }
        let Some(parent) = directory.parent() else { return Ok(()) };
        let is_below_root = directory != self.root && directory.starts_with(&self.root);
        if is_below_root || !directory.is_dir() {
            self.make_durable(parent, durable)?;
            match DirBuilder::new().mode(0o700).create(directory) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                result => result?,
            }
            sync_directory(parent)?;
        } else if directory == self.root {
            match sync_directory(parent) {
                // Whoever may write into the root need not be able to read its parent.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
                result => result?,
            }
        }
        durable.insert(directory.to_owned());
        Ok(())
    }

    fn durable(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Visits all files below a prefix. What vanishes meanwhile, and what has no name of ASCII, was never ours.
    fn walk(
        &self,
        prefix: &str,
        depth: usize,
        visit: &mut dyn FnMut(String, &Metadata) -> io::Result<()>,
    ) -> io::Result<()> {
        let entries = match std::fs::read_dir(self.path(prefix)) {
            Err(error) if is_absence(&error) => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let Some(name) =
                entry.file_name().to_str().filter(|name| name.is_ascii()).map(|name| format!("{prefix}{name}"))
            else {
                continue;
            };
            match entry.path().metadata() {
                Err(error) if is_absence(&error) => {}
                Err(error) => return Err(error),
                Ok(metadata) if metadata.is_file() => visit(name, &metadata)?,
                Ok(metadata) if metadata.is_dir() && depth > 0 => self.walk(&format!("{name}/"), depth - 1, visit)?,
                Ok(_) => {}
            }
        }
        Ok(())
    }
}

/// Whether an error says that there is no such file.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory)
}

/// Whether an error says that the file system has no such call, or not for such a file.
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported)
}

/// Whether the same call may succeed a little later.
pub(super) fn is_transient(error: &io::Error) -> bool {
    use ErrorKind::{Interrupted, ResourceBusy, StaleNetworkFileHandle, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | ResourceBusy | StaleNetworkFileHandle | TimedOut | WouldBlock)
}

/// Whether a temporary file belongs to nobody any more. One whose age is not known is left alone.
pub(super) fn is_stale(name: &str, modified: Option<Time>, now: Time) -> bool {
    let is_old = |modified: Time| now.seconds.saturating_sub(modified.seconds) > TEMPORARY_SECONDS_MAX;
    is_temporary(name) && modified.is_some_and(is_old)
}

fn info(name: String, metadata: &Metadata) -> ObjectInfo {
    ObjectInfo { name, length_bytes: metadata.len(), modified: modified(metadata) }
}

fn modified(metadata: &Metadata) -> Option<Time> {
    Some(Time::new(metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or(0)))
}

fn is_equal(path: &Path, parts: &[Vec<u8>]) -> io::Result<bool> {
    let length: u64 = parts.iter().map(|part| part.len() as u64).sum();
    match path.metadata() {
        Ok(metadata) if metadata.is_file() && metadata.len() == length => {}
        Ok(_) => return Ok(false),
        Err(error) if is_absence(&error) => return Ok(false),
        Err(error) => return Err(error),
    }
    let mut file = File::open(path)?;
    let mut part = [0; 64 << 10];
    for expected in parts.iter().flat_map(|expected| expected.chunks(64 << 10)) {
        let part = &mut part[..expected.len()];
        // What cannot be read is damaged, and is to be replaced.
        if file.read_exact(part).is_err() || part != expected {
            return Ok(false);
        }
    }
    Ok(true)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    match File::open(directory)?.sync_all() {
        // Some network and FAT file systems cannot; they promise nothing that could be waited for.
        Err(error) if is_unsupported(&error) => Ok(()),
        result => result,
    }
}
