//! A directory of pieces of objects that need not be fetched twice: sealed bytes, exactly as stored.
//!
//! Everything in it may be deleted at any time, by anyone. A failure here is a miss, never an error; content is verified by the reader above, who has
//! [`super::Storage::forget_cached`] for what turned out bad. The size is bounded by removing what was not used for longest.

use std::fs::{DirBuilder, File, FileTimes, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::folder::FOLDER_PREFIX;
use super::name::TEMPORARY_SUFFIX;
use crate::environment::Environment;
use crate::id::encode_hex;

/// A handle on a directory of cached pieces; clones share it.
#[derive(Clone, Debug)]
pub struct Cache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    limit_bytes: u64,
    /// About what the files hold: other processes may write and delete, too.
    used_bytes: AtomicU64,
    shrinking: Mutex<()>,
}

/// Which bytes of an object: all of them, or so many from an offset.
pub(super) type Range = Option<(u64, u64)>;

impl Cache {
    /// Takes a directory, which is made by the first piece, for up to `limit_bytes` of pieces of *one* repository. Removes what is beyond that.
    pub fn open(directory: &Path, limit_bytes: u64) -> Self {
        let inner = Inner {
            directory: directory.to_owned(),
            limit_bytes,
            used_bytes: AtomicU64::new(0),
            shrinking: Mutex::default(),
        };
        inner.shrink();
        Self(Arc::new(inner))
    }

    /// Returns a piece of at most `length_max` bytes, and remembers that it was used.
    pub(super) fn get(&self, name: &str, range: Range, length_max: u64, environment: &Environment) -> Option<Vec<u8>> {
        let file = File::open(self.0.path(name, range)).ok()?;
        let length = file.metadata().ok()?.len();
        // Files are not synced: after a crash, one may be short.
        let is_whole = range.map_or(length > 0, |(_, expected)| length == expected);
        if !is_whole || length > length_max {
            return None;
        }
        let mut bytes = Vec::with_capacity(usize::try_from(length).ok()? + 1);
        (&file).take(length + 1).read_to_end(&mut bytes).ok()?;
        touch(&file, environment);
        (bytes.len() as u64 == length).then_some(bytes)
    }

    /// Keeps a piece, if that is possible.
    pub(super) fn put(&self, name: &str, range: Range, bytes: &[u8], environment: &Environment) {
        let length = bytes.len() as u64;
        if bytes.is_empty() || length > self.0.limit_bytes {
            return;
        }
        if write(&self.0.path(name, range), bytes, environment).is_ok() {
            self.note_used(length);
        }
    }

    /// Reads a file of the cache's own, which is no piece of an object.
    pub(crate) fn read_file(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.0.directory.join(name)).ok()
    }

    /// Replaces a file of the cache's own. Says whether it could.
    pub(crate) fn write_file(&self, name: &str, bytes: &[u8]) -> bool {
        let path = self.0.directory.join(name);
        let temporary = self.0.directory.join(format!("{name}.{}{TEMPORARY_SUFFIX}", std::process::id()));
        let fits = bytes.len() as u64 <= self.0.limit_bytes / 2;
        let write = || {
            make_directory(&path)?;
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(bytes)?;
            std::fs::rename(&temporary, &path)
        };
        fits && write().inspect_err(|_| drop(std::fs::remove_file(&temporary))).is_ok()
    }

    /// Appends to a file of the cache's own, at once, so that processes can do so side by side. Says whether it could.
    pub(crate) fn append_to_file(&self, name: &str, bytes: &[u8]) -> bool {
        let path = self.0.directory.join(name);
        let append = || {
            make_directory(&path)?;
            let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
            let length = file.metadata()?.len() + bytes.len() as u64;
            let fits = length <= self.0.limit_bytes / 2;
            if fits { file.write_all(bytes).map(|()| true) } else { Ok(false) }
        };
        append().unwrap_or(false)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.0.directory
    }

    pub(super) fn limit_bytes(&self) -> u64 {
        self.0.limit_bytes
    }

    /// Counts bytes that were written into a folder, and makes room for them.
    pub(super) fn note_used(&self, length: u64) {
        if self.0.used_bytes.fetch_add(length, Ordering::Relaxed) + length > self.0.limit_bytes {
            self.0.shrink();
        }
    }

    /// Drops a piece.
    pub(super) fn forget(&self, name: &str, range: Range) {
        let _ = std::fs::remove_file(self.0.path(name, range));
    }
}

impl super::Storage {
    /// Whether pieces can be kept.
    pub(crate) fn has_cache(&self) -> bool {
        self.cache.is_some()
    }

    /// Bytes that the cache may take up; 0 where there is none.
    pub(crate) fn cache_bytes_max(&self) -> u64 {
        self.cache.as_ref().map_or(0, |cache| cache.0.limit_bytes)
    }

    /// The piece of an object that the cache has, without asking the storage: the whole object, or a range as offset and length.
    pub(crate) fn cached_piece(&self, name: &str, range: Option<(u64, u64)>, length_max: u64) -> Option<Vec<u8>> {
        let cache = self.cache.as_ref().filter(|_| super::name::is_name(name))?;
        let bytes = cache.get(name, range, length_max, &self.shared.options.environment)?;
        super::Meters::add(&self.shared.meters.cache_hits, 1);
        Some(bytes)
    }

    /// Keeps a piece of an object that is at hand, so that it need not be fetched.
    pub(crate) fn keep_piece(&self, name: &str, range: Option<(u64, u64)>, bytes: &[u8]) {
        if let Some(cache) = self.cache.as_ref().filter(|_| super::name::is_name(name)) {
            cache.put(name, range, bytes, &self.shared.options.environment);
        }
    }
}

impl Inner {
    /// Names were checked: they cannot lead out, and leave room for the suffix. A directory never has the name of a piece, which has a comma.
    fn path(&self, name: &str, range: Range) -> PathBuf {
        let suffix = range.map_or_else(|| ",whole".to_owned(), |(offset, length)| format!(",{offset:x}-{length:x}"));
        self.directory.join(format!("{name}{suffix}"))
    }

    /// Counts what there is, and if it is too much, removes the least recently used pieces down to nine tenths of the limit. Files in folders count and stay: they are looked after by who writes them.
    fn shrink(&self) {
        // One thread is enough; the others go on.
        let Ok(_shrinking) = self.shrinking.try_lock() else { return };
        let (mut files, mut lasting) = (Vec::new(), Vec::new());
        collect(&self.directory, 0, &mut files, &mut lasting);
        let mut used_bytes: u64 = files.iter().chain(&lasting).map(|(_, length, _)| length).sum();
        if used_bytes > self.limit_bytes {
            files.sort_unstable();
            for (_, length, path) in files {
                if used_bytes <= self.limit_bytes / 10 * 9 {
                    break;
                }
                if std::fs::remove_file(path).is_ok() {
                    used_bytes -= length;
                }
            }
        }
        self.used_bytes.store(used_bytes, Ordering::Relaxed);
    }
}

type Files = Vec<(SystemTime, u64, PathBuf)>;

/// Collects all files with time of last use and length, those in folders apart. What cannot be read does not count.
fn collect(directory: &Path, depth: usize, files: &mut Files, lasting: &mut Files) {
    const DEPTH_MAX: usize = 16;
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        // Of the entry itself: links are never followed out of the cache.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() && depth == 0 && entry.file_name().to_string_lossy().starts_with(FOLDER_PREFIX) {
            collect(&entry.path(), DEPTH_MAX, lasting, &mut Vec::new());
        } else if metadata.is_dir() && depth < DEPTH_MAX {
            collect(&entry.path(), depth + 1, files, lasting);
        } else if metadata.is_file() {
            files.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len(), entry.path()));
        }
    }
}

fn write(path: &Path, bytes: &[u8], environment: &Environment) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}{TEMPORARY_SUFFIX}", encode_hex(&environment.random::<8>())));
    let temporary = PathBuf::from(temporary);
    make_directory(path)?;
    let fill = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        touch(&file, environment);
        std::fs::rename(&temporary, path)
    };
    fill().inspect_err(|_| drop(std::fs::remove_file(&temporary)))
}

/// Makes the directory that a file is to lie in.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    let Some(directory) = path.parent() else { return Ok(()) };
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Sets the time of last use to the environment's present.
fn touch(file: &File, environment: &Environment) {
    let now = environment.now();
    if let Ok(seconds) = u64::try_from(now.seconds) {
        let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, now.nanoseconds);
        let _ = file.set_times(FileTimes::new().set_modified(time));
    }
}
