//! Names to immutable objects over `opendal::Operator`; the owner of `opendal` and of the async runtime, which stays hidden here.
//!
//! Objects are bytes under names such as `packs/standard/<hex>/<hex>` (section 2 of `docs/format.md`); what the bytes mean is left to others. Promised: what a
//! write returned for can be read by its name, whole. Not promised: that a listing is complete, or that what is read is what was written.
//!
//! - A directory (an operator of the scheme `fs`) is served by our own I/O, because OpenDAL's does not sync directories. Layers put on such an operator
//!   are not consulted.
//! - Everything else goes through the operator, with retries of what is temporary, and writes that readers see whole or not at all.
//! - All calls block. An async program makes them within `tokio::task::spawn_blocking`.

pub mod conformance;

mod cache;
mod counts;
mod direct;
mod folder;
mod gate;
mod home;
mod local;
mod mapping;
mod name;
mod options;
mod remote;
mod request;
mod retry;
mod service;
mod uri;
mod write;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use cache::Cache;
pub use counts::Counts;
pub(crate) use folder::{Begun, Folder};
pub(crate) use mapping::Mapping;
pub use options::StorageOptions;

use counts::{Meters, Verb};
use local::{Found, Local};
use remote::{Call, Remote};
use retry::Persistence;
use service::Service;
use uri::{Failure, Place, Redactor};

use crate::error::{Error, Result};
use crate::progress::Cancel;
use crate::time::Time;

/// What is known of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its name.
    pub name: String,
    /// Its length.
    pub length_bytes: u64,
    /// When the storage received it, by the storage's clock, where it says so.
    pub modified: Option<Time>,
}

/// A handle on objects by name. Clones share it, with its counts.
#[derive(Clone)]
pub struct Storage {
    shared: Arc<Shared>,
    cache: Option<Cache>,
    cancel: Cancel,
}

struct Shared {
    backend: Backend,
    display: String,
    options: StorageOptions,
    meters: Arc<Meters>,
}

enum Backend {
    Local(Local),
    Remote(Box<Remote>),
}

impl Storage {
    /// Takes an operator. One of the scheme `fs` only lends its root: see the page of this module.
    ///
    /// # Errors
    /// [`Error::StorageUri`] if the operator can neither read nor list.
    pub fn new(operator: opendal::Operator, options: StorageOptions) -> Result<Self> {
        let info = operator.info();
        if info.scheme() == "fs" {
            return Ok(Self::local(PathBuf::from(info.root()), options));
        }
        let (display, capability) = (uri::of_operator(&operator), info.capability());
        if !(capability.read && capability.stat && capability.list) {
            let source = Box::new(Failure("the service cannot read, list and look up".to_owned()));
            return Err(Error::StorageUri { uri: display, source });
        }
        Ok(Self::remote(Service::of(operator), display, Redactor::default(), options))
    }

    /// Takes a path, relative or absolute, or a URI: `/srv/backup`, `fs:///srv/backup`, `memory://`, and `s3`, `azblob`, `gcs`, `webdav` and `sftp` where the
    /// cargo feature of that name is on; `docs/storage.md` says what may stand in them. Nothing is created or asked.
    ///
    /// # Errors
    /// [`Error::StorageUri`] for what means no storage, such as an unknown scheme.
    pub fn from_uri(uri: &str, options: StorageOptions) -> Result<Self> {
        match uri::parse(uri)? {
            Place::Local(root) => Ok(Self::local(root, options)),
            Place::Remote { service, display, redactor } => Ok(Self::remote(*service, display, redactor, options)),
        }
    }

    /// Reads whole objects and ranges through a cache, where asked to by the methods for it. Local storage does without.
    #[must_use]
    pub fn cached(mut self, cache: Cache) -> Self {
        self.cache = matches!(self.shared.backend, Backend::Remote(_)).then_some(cache);
        self
    }

    /// Lets calls through this handle end with [`Error::Interrupted`] once `cancel` is set.
    #[must_use]
    pub fn with_cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// The URI or path without anything secret.
    pub fn display(&self) -> String {
        self.shared.display.clone()
    }

    /// The directory of local storage.
    pub fn local_root(&self) -> Option<&Path> {
        match &self.shared.backend {
            Backend::Local(local) => Some(local.root()),
            Backend::Remote(_) => None,
        }
    }

    /// Whether reading costs nothing but time.
    pub(crate) fn is_near(&self) -> bool {
        self.shared.options.is_near.unwrap_or_else(|| match &self.shared.backend {
            Backend::Local(_) => true,
            Backend::Remote(_) => self.shared.display.starts_with("memory:"),
        })
    }

    /// What was asked of the storage so far, by all clones of this handle.
    pub fn counts(&self) -> Counts {
        self.shared.meters.counts()
    }

    /// Reads an object whole.
    ///
    /// # Errors
    /// [`Error::Missing`] if it is not there, [`Error::Damaged`] if it is longer than `length_max` bytes, [`Error::Storage`].
    pub fn read(&self, name: &str, length_max: u64) -> Result<Vec<u8>> {
        name::check(name)?;
        let found = match &self.shared.backend {
            Backend::Local(local) => self.try_local(Verb::Read, name, || local.read(name, length_max)),
            Backend::Remote(remote) => remote.read(self.call(Verb::Read, name), length_max),
        };
        self.found(name, found?)
    }

    /// Reads exactly `length` bytes from `offset`.
    ///
    /// # Errors
    /// [`Error::Missing`] if the object is not there, [`Error::Damaged`] if it is too short, [`Error::Storage`].
    pub fn read_range(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        name::check(name)?;
        let found = match &self.shared.backend {
            Backend::Local(local) => self.try_local(Verb::Read, name, || local.read_range(name, offset, length)),
            Backend::Remote(remote) => remote.read_range(self.call(Verb::Read, name), offset, length),
        };
        self.found(name, found?)
    }

    /// As [`Storage::read`], through the cache if there is one.
    ///
    /// # Errors
    /// Those of [`Storage::read`].
    pub fn read_cached(&self, name: &str, length_max: u64) -> Result<Vec<u8>> {
        self.through_cache(name, None, length_max, || self.read(name, length_max))
    }

    /// As [`Storage::read_range`], through the cache if there is one.
    ///
    /// # Errors
    /// Those of [`Storage::read_range`].
    pub fn read_range_cached(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        self.through_cache(name, Some((offset, length)), length, || self.read_range(name, offset, length))
    }

    /// Drops a piece from the cache that turned out bad: the whole object, or a range as offset and length. Says whether there is a cache at all, so that reading
    /// again may help.
    pub fn forget_cached(&self, name: &str, range: Option<(u64, u64)>) -> bool {
        let cache = self.cache.as_ref().filter(|_| name::is_name(name));
        cache.inspect(|cache| cache.forget(name, range)).is_some()
    }

    /// Writes an object whole, durably when this returns. That an equal one exists is fine; a different one is replaced, as damaged.
    ///
    /// # Errors
    /// [`Error::Storage`], after which it is not known whether the object exists.
    pub fn write(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        self.write_parts(name, vec![bytes]).map(drop)
    }

    /// Asks for the length of an object; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn stat(&self, name: &str) -> Result<Option<ObjectInfo>> {
        name::check(name)?;
        match &self.shared.backend {
            Backend::Local(local) => self.try_local(Verb::Stat, name, || local.stat(name)),
            Backend::Remote(remote) => remote.stat(self.call(Verb::Stat, name)),
        }
    }

    /// Lists all objects below a prefix, which is empty or ends in `/`, at any depth and sorted by name. Names that end in `.tmp`, and those that no object can
    /// have, are left out. A prefix that is not there is empty.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        name::check_prefix(prefix)?;
        let mut found = match &self.shared.backend {
            Backend::Local(local) => self.try_local(Verb::List, prefix, || local.list(prefix)),
            Backend::Remote(remote) => remote.list(self.call(Verb::List, prefix)),
        }?;
        found.retain(|info| name::is_name(&info.name) && info.name.starts_with(prefix));
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Deletes an object, durably when this returns. That it is not there is fine.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn delete(&self, name: &str) -> Result<()> {
        name::check(name)?;
        self.forget_cached(name, None);
        match &self.shared.backend {
            Backend::Local(local) => self.try_local(Verb::Delete, name, || local.delete(name)),
            Backend::Remote(remote) => remote.delete(self.call(Verb::Delete, name)),
        }
    }

    /// Removes temporary files older than a day, which writers that died left in a directory, or behind WebDAV or SFTP; says how many.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn remove_stale_temporaries(&self, now: Time) -> Result<u64> {
        match &self.shared.backend {
            Backend::Local(local) => self.try_local(Verb::Delete, "", || local.remove_stale_temporaries(now)),
            Backend::Remote(remote) => remote.remove_stale_temporaries(self.call(Verb::Delete, ""), now),
        }
    }
}

impl Storage {
    /// As [`Storage::write`], for an object that is in several pieces: a large one need not be copied together. Returns those whose memory is free.
    pub(crate) fn write_parts(&self, name: &str, parts: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        name::check(name)?;
        Meters::add(&self.shared.meters.written_bytes, parts.iter().map(|part| part.len() as u64).sum());
        match &self.shared.backend {
            Backend::Local(local) => self.try_local(Verb::Write, name, || local.write(name, &parts)).map(|()| parts),
            Backend::Remote(remote) => remote.write(self.call(Verb::Write, name), parts).map(|()| Vec::new()),
        }
    }

    /// Removes directories below the root that are empty, deepest first; objects have none on most services.
    fn remove_directories(&self, directories: &[String]) -> Result<()> {
        match &self.shared.backend {
            Backend::Local(local) => self.try_local(Verb::Delete, "", || local.remove_directories(directories)),
            Backend::Remote(remote) => remote.remove_directories(self.call(Verb::Delete, ""), directories),
        }
    }

    /// Whether the storage ever answered anything.
    fn has_answered(&self) -> bool {
        match &self.shared.backend {
            Backend::Local(_) => true,
            Backend::Remote(remote) => remote.has_answered(),
        }
    }

    fn local(root: PathBuf, options: StorageOptions) -> Self {
        let display = crate::words::printable(root.as_os_str().as_encoded_bytes());
        let backend = Backend::Local(Local::new(root, options.environment.clone()));
        Self::over(backend, display, options, Arc::default())
    }

    fn remote(service: Service, display: String, redactor: Redactor, options: StorageOptions) -> Self {
        let meters = Arc::default();
        let persistence = Persistence::new(options.clone(), Arc::clone(&meters), redactor);
        let backend = Backend::Remote(Box::new(Remote::new(service, persistence)));
        Self::over(backend, display, options, meters)
    }

    fn over(backend: Backend, display: String, options: StorageOptions, meters: Arc<Meters>) -> Self {
        Self { shared: Arc::new(Shared { backend, display, options, meters }), cache: None, cancel: Cancel::new() }
    }

    fn call<'a>(&'a self, verb: Verb, name: &'a str) -> Call<'a> {
        Call { verb, name, cancel: &self.cancel }
    }

    /// Makes a call on a directory, again where what failed is transient: network file systems are directories, too.
    fn try_local<T>(&self, verb: Verb, name: &str, call: impl Fn() -> io::Result<T>) -> Result<T> {
        let (options, start) = (&self.shared.options, Instant::now());
        let mut attempt = 1;
        loop {
            self.cancel.check()?;
            self.shared.meters.request(verb, attempt);
            let error = match call() {
                Ok(value) => return Ok(value),
                Err(error) if verb == Verb::Read && local::is_absence(&error) => {
                    return Err(Error::Missing { object: name.to_owned() });
                }
                Err(error) => error,
            };
            let (pause, elapsed) = (options.pause(attempt), start.elapsed());
            let is_over = attempt >= options.attempts || elapsed + pause > options.deadline();
            if !local::is_transient(&error) || is_over {
                return Err(storage_error(verb, name, (attempt, elapsed), error));
            }
            std::thread::sleep(pause);
            attempt += 1;
        }
    }

    fn found(&self, name: &str, found: Found) -> Result<Vec<u8>> {
        match found {
            Found::Bytes(bytes) => {
                Meters::add(&self.shared.meters.read_bytes, bytes.len() as u64);
                Ok(bytes)
            }
            Found::TooLong => Err(Error::damaged(name, "longer than such an object can be")),
            Found::TooShort => Err(Error::damaged(name, "shorter than what was asked of it")),
        }
    }

    fn through_cache(
        &self,
        name: &str,
        range: Option<(u64, u64)>,
        length_max: u64,
        read: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Vec<u8>> {
        let Some(cache) = self.cache.as_ref().filter(|_| name::is_name(name)) else { return read() };
        let environment = &self.shared.options.environment;
        if let Some(bytes) = cache.get(name, range, length_max, environment) {
            Meters::add(&self.shared.meters.cache_hits, 1);
            return Ok(bytes);
        }
        let bytes = read()?;
        cache.put(name, range, &bytes, environment);
        Ok(bytes)
    }
}

/// Makes the error of a call that failed for good, after so many attempts in so long a time.
fn storage_error(
    verb: Verb,
    name: &str,
    (attempts, elapsed): (u32, Duration),
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    let object = if name.is_empty() { "/" } else { name }.to_owned();
    Error::Storage { action: verb.name(), object, attempts, seconds: elapsed.as_secs(), source: source.into() }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Storage({})", self.shared.display)
    }
}
