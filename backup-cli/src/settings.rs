//! What a command works with: which repository, key, state and cache, from options, environment and defaults.
//!
//! Without `-r` that is the user's own repository below the XDG directories, made by the first backup.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use backup_core::Error;
use backup_core::progress::Cancel;
use backup_core::repository::open::InitOptions;
use backup_core::repository::{Repository, RepositoryOptions};
use backup_core::storage::{Cache, Storage, StorageOptions};
use etcetera::BaseStrategy;

use crate::args::Global;
use crate::exit::{Failure, usage};
use crate::keys::{KeySource, NewKeyFile};
use crate::progress::{Screen, cancel_on_signals};
use crate::render::say;

/// Most bytes that the cache of one repository keeps.
const CACHE_BYTES_MAX: u64 = 1 << 30;

/// Everything that was settled before a command begins.
pub(crate) struct Settings {
    /// What was typed for every command.
    pub(crate) global: Global,
    uri: String,
    is_own: bool,
    key: KeySource,
    state_dir: PathBuf,
    cache_dir: Option<PathBuf>,
    cancel: OnceCell<Cancel>,
}

impl Settings {
    /// Settles what the options leave open.
    pub(crate) fn new(global: Global) -> Result<Self, Failure> {
        let base = etcetera::choose_base_strategy();
        let homeless = || usage("no home directory is known: give -r, --state-dir and --cache-dir");
        let typed = match &global.repo {
            Some(uri) => Some(uri.clone()),
            None => match std::env::var_os("HOLDFAST_REPO").filter(|uri| !uri.is_empty()).map(OsString::into_string) {
                Some(Err(_)) => return Err(usage("HOLDFAST_REPO is not UTF-8")),
                uri => uri.and_then(Result::ok),
            },
        };
        let own_key = match (&typed, &base) {
            (None, Ok(base)) => Some(base.config_dir().join("holdfast/key")),
            _ => None,
        };
        let key = KeySource::choose(&global, own_key);
        let is_own = typed.is_none();
        let uri = match (typed, &base) {
            (Some(uri), _) => uri,
            (None, Ok(base)) => match base.data_dir().join("holdfast/repository").into_os_string().into_string() {
                Ok(path) => path,
                Err(_) => return Err(usage("the XDG data directory is not UTF-8: give -r")),
            },
            (None, Err(_)) => return Err(homeless()),
        };
        let state_dir = match (&global.state_dir, &base) {
            (Some(directory), _) => directory.clone(),
            (None, Ok(base)) => base.state_dir().unwrap_or_else(|| base.data_dir()).join("holdfast"),
            (None, Err(_)) => return Err(homeless()),
        };
        let cache_dir = match (&global.cache_dir, &base) {
            _ if global.no_cache => None,
            (Some(directory), _) => Some(directory.clone()),
            (None, Ok(base)) => Some(base.cache_dir().join("holdfast")),
            (None, Err(_)) => None,
        };
        Ok(Self { global, uri, is_own, key, state_dir, cache_dir, cancel: OnceCell::new() })
    }

    /// The storage, which was not asked anything yet.
    pub(crate) fn storage(&self) -> Result<Storage, Failure> {
        self.storage_at(&self.uri)
    }

    /// Any storage, which was not asked anything yet. That it does not answer for a while is said.
    pub(crate) fn storage_at(&self, uri: &str) -> Result<Storage, Failure> {
        let is_quiet = self.global.quiet;
        let options = StorageOptions::new().on_trouble(move |text| {
            if !is_quiet {
                say(text);
            }
        });
        Ok(Storage::from_uri(uri, options)?)
    }

    /// Where the key comes from.
    pub(crate) fn key(&self) -> &KeySource {
        &self.key
    }

    /// What standard error shows.
    pub(crate) fn screen(&self) -> Screen {
        Screen::new(self.global.quiet, self.global.json, self.global.verbose)
    }

    /// Opens the repository. That there is none is said before a key is asked for.
    pub(crate) fn open(&self) -> Result<Repository, Failure> {
        let storage = self.storage()?;
        let id = Repository::identify(&storage)?;
        if self.global.no_key {
            return Err(Failure::NoKey { what: "this command needs a key".to_owned(), cause: None });
        }
        let key = self.key.get(false)?;
        let mut options = self.options();
        if let Some(directory) = &self.cache_dir {
            // Local storage is not cached; so no directory is made for it.
            if storage.local_root().is_none() {
                options = options.cache(Cache::open(&directory.join(id.to_string()), CACHE_BYTES_MAX));
            }
        }
        Ok(Repository::open(storage, &key, options)?)
    }

    /// Opens the repository; makes the user's own, and its key, where it is meant and not there.
    pub(crate) fn open_or_make_own(&self) -> Result<Repository, Failure> {
        let storage = self.storage()?;
        match Repository::identify(&storage) {
            Err(Error::NoRepository { .. }) if self.is_own && !self.global.no_key => {}
            _ => return self.open(),
        }
        let repository = self.make(storage, InitOptions::new())?;
        announce(&repository, self.key.file());
        Ok(repository)
    }

    /// Makes a repository. A key file that is named and not there is drawn.
    pub(crate) fn make(&self, storage: Storage, init: InitOptions) -> Result<Repository, Failure> {
        match Repository::identify(&storage) {
            Err(Error::NoRepository { .. }) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Err(Error::RepositoryExists { uri: storage.display() }.into()),
        }
        let drawn = match &self.key {
            KeySource::KeyFile(path) if !path.exists() => {
                make_parent(path)?;
                Some(NewKeyFile::create(path, &key_heading(&storage.display()))?)
            }
            _ => None,
        };
        let key = match &drawn {
            Some(drawn) => drawn.key(),
            None => self.key.get(true)?,
        };
        if let Some(root) = storage.local_root() {
            make_parent(root)?;
        }
        let repository = Repository::init(storage, &key, &init, self.options())?;
        if let Some(drawn) = drawn {
            drawn.keep();
        }
        Ok(repository)
    }

    /// What lies on this machine and belongs to no backup, with the words to say it.
    pub(crate) fn own_places(&self, storage: &Storage) -> Vec<(PathBuf, &'static str)> {
        let repository = storage.local_root().map(|root| (root.to_owned(), "the repository"));
        let cache = self.cache_dir.as_ref().map(|directory| (directory.clone(), "the cache"));
        let key = self.key.file().map(|file| (file.to_owned(), "the key"));
        let state = Some((self.state_dir.clone(), "the state of this installation"));
        let places = [repository, state, cache, key].into_iter().flatten();
        places.map(|(path, what)| (std::path::absolute(&path).unwrap_or(path), what)).collect()
    }

    /// The token that signals set. From its first use on, they no longer end the process by themselves.
    pub(crate) fn cancel(&self) -> Cancel {
        self.cancel.get_or_init(cancel_on_signals).clone()
    }

    fn options(&self) -> RepositoryOptions {
        RepositoryOptions::new().state_dir(&self.state_dir).cancel(self.cancel())
    }
}

/// What stands above the line of a key file.
pub(crate) fn key_heading(repository: &str) -> String {
    format!(
        "Key of the holdfast repository {repository}\n\
         Whoever has this file can read all that is in there; without it, or another key, nobody can.\n\
         Keep a copy where the repository is not."
    )
}

/// Makes a path absolute as snapshots have it: textually, no link is resolved.
pub(crate) fn absolute(path: &Path) -> Vec<u8> {
    let current = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    backup_core::path::absolute(path.as_os_str().as_bytes(), current.as_os_str().as_bytes())
}

fn make_parent(path: &Path) -> Result<(), Failure> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
            Ok(made.map_err(Error::file("create", parent))?)
        }
        None => Ok(()),
    }
}

fn announce(repository: &Repository, key: Option<&Path>) {
    let shown = |text: String| backup_core::words::printable(text.as_bytes());
    say(&format!("made your own repository: {}", shown(repository.storage().display())));
    if let Some(key) = key {
        say(&format!("its key:                  {}", shown(key.display().to_string())));
        say("Keep a copy of the key somewhere else, and safe: without it nothing can be restored.");
    }
    say("To restore: holdfast restore latest TARGET");
}
