//! A folder of a cache for large files that are written once, published whole, mapped, and never changed.
//!
//! Processes use it side by side without waiting: a file gets its name when it is complete, and who unlinks one leaves the mappings of others as they are. What a killed process was writing has a
//! temporary name and nobody's lock; the next one removes it. Like everything in a cache, files may be gone at any time, and a failure is a miss.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::cache::{Cache, make_directory};
use super::mapping::Mapping;
use super::name::{is_temporary, temporary_name};
use crate::environment::Environment;

/// Folders' names begin so. What lies in them counts towards the cache's limit, and is never removed to make room for pieces of objects.
pub(super) const FOLDER_PREFIX: &str = "mapped-";

/// A folder of a cache. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    cache: Cache,
    directory: PathBuf,
}

impl Cache {
    /// The folder of a name, which is made by the first file.
    pub(crate) fn folder(&self, name: &str) -> Folder {
        Folder { cache: self.clone(), directory: self.directory().join(format!("{FOLDER_PREFIX}{name}")) }
    }
}

impl Folder {
    /// Names and lengths of all published files.
    pub(crate) fn list(&self) -> Vec<(String, u64)> {
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return Vec::new() };
        let files = entries.flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let metadata = entry.metadata().ok()?;
            (metadata.is_file() && !is_temporary(&name)).then_some((name, metadata.len()))
        });
        let mut files: Vec<_> = files.collect();
        files.sort();
        files
    }

    /// Maps a published file.
    pub(crate) fn map(&self, name: &str) -> Option<Mapping> {
        Mapping::of_published(&File::open(self.directory.join(name)).ok()?)
    }

    /// Unlinks a published file.
    pub(crate) fn remove(&self, name: &str) {
        let _ = std::fs::remove_file(self.directory.join(name));
    }

    /// Removes what killed processes were writing.
    pub(crate) fn sweep(&self) {
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return };
        let temporary = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_temporary));
        for path in temporary.map(|entry| entry.path()) {
            // Whoever writes it holds its lock.
            if File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// Bytes that the whole cache may have.
    pub(crate) fn limit_bytes(&self) -> u64 {
        self.cache.limit_bytes()
    }

    /// Begins a file.
    pub(crate) fn begin(&self, environment: &Environment) -> io::Result<Begun> {
        let temporary = self.directory.join(temporary_name("file", environment));
        make_directory(&temporary)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let begun = Begun { folder: self.clone(), file, temporary };
        begun.file.try_lock()?;
        Ok(begun)
    }
}

/// A file that is being written. Dropped before it was published, it is gone.
pub(crate) struct Begun {
    folder: Folder,
    file: File,
    temporary: PathBuf,
}

impl Begun {
    /// Writes bytes at an offset.
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Gives the file its name, from which on nobody changes it.
    pub(crate) fn publish(self, name: &str) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        std::fs::rename(&self.temporary, self.folder.directory.join(name))?;
        self.folder.cache.note_used(length);
        Ok(())
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // Where it was published there is none of this name any more.
        let _ = std::fs::remove_file(Path::new(&self.temporary));
    }
}
