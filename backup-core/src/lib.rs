//! Deduplicated, encrypted, ledgered archives of files and live databases.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod environment;
pub mod error;
pub mod format;
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

mod chunker;
mod codec;
mod compress;
mod crypto;
mod index;
mod pack;
mod pipeline;

pub use crypto::PasswordCost;
pub use environment::PROGRAM;
pub use error::{Error, ErrorKind, Result};
pub use repository::Repository;
