//! Deduplicated, encrypted, ledgered archives of files, in pack repositories on any OpenDAL backend.
//!
//! A [`Repository`] lies in a [`storage::Storage`]. Its verbs are methods: [`Repository::backup`], [`Repository::restore`], [`Repository::check`],
//! [`Repository::list`] and more in [`ops`]; each takes options with documented defaults and returns a report. Progress comes through [`progress::Progress`], and any verb can be stopped
//! through [`progress::Cancel`]. What can go wrong is one [`Error`], whose [`kind`](Error::kind) says coarsely what can be done about it.
//!
//! ```
//! use backup_core::keyring::{Key, KeyFile};
//! use backup_core::ops::{backup::BackupOptions, restore::RestoreOptions};
//! use backup_core::repository::{RepositoryOptions, open::InitOptions};
//! use backup_core::source::files::Files;
//! use backup_core::storage::{Storage, StorageOptions};
//! use backup_core::{Repository, progress::Silent};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let (home, target) = (directory.path().join("home"), directory.path().join("target"));
//! # std::fs::create_dir(&home)?;
//! # std::fs::write(home.join("letter.txt"), "Dear Ada,")?;
//! // A repository in memory; a path or any URI that OpenDAL takes does as well.
//! let storage = Storage::from_uri("memory://", StorageOptions::new())?;
//! let key = Key::File(KeyFile::generate(&Default::default()));
//! let mut repository = Repository::init(storage, &key, &InitOptions::new(), RepositoryOptions::new())?;
//!
//! let source = Files::new([home.clone()])?;
//! let report = repository.backup(&source, &BackupOptions::new().tag("nightly"), &Silent)?;
//! let snapshot = report.snapshot_id.expect("it was no dry run");
//!
//! repository.restore(snapshot, None, &target, &RestoreOptions::new(), &Silent)?;
//! # let letter = target.join(home.strip_prefix("/")?).join("letter.txt");
//! assert_eq!(std::fs::read_to_string(letter)?, "Dear Ada,");
//! # Ok(())
//! # }
//! ```
//!
//! # In an async program
//!
//! The library is synchronous on the outside and hides its own runtime, so it can be called from any thread, a tokio worker included. A verb blocks its caller for as long as it takes:
//! call it through `tokio::task::spawn_blocking`.
//!
//! # Lasting state
//!
//! A process that backs up writes a chain of signed ledger entries of its own. With [`state_dir`](repository::RepositoryOptions::state_dir) the chain goes on
//! in the next process; without, every process enrols a new writer and closes its chain with its commit, as suits a container.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod environment;
pub mod error;
pub mod format;
#[doc(hidden)]
pub mod fuzzing;
pub mod id;
pub mod keyring;
pub mod ledger;
pub mod limits;
pub mod ops;
pub mod path;
pub mod progress;
pub mod repository;
pub mod source;
pub mod storage;
pub mod target;
pub mod time;
pub mod words;

mod buffers;
mod chunker;
mod codec;
mod compress;
mod crypto;
#[cfg(test)]
mod golden;
mod index;
mod pack;
mod pipeline;

pub use crypto::PasswordCost;
pub use environment::PROGRAM;
pub use error::{Error, ErrorKind, Result};
pub use repository::Repository;
