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
#[cfg(test)]
mod golden;
mod index;
mod pack;
mod pipeline;

/// Name and version of this program, as ledger entries record them.
pub const PROGRAM: &str = concat!("holdfast ", env!("CARGO_PKG_VERSION"));

pub use crypto::PasswordCost;
pub use error::{Error, ErrorKind, Result};
pub use repository::Repository;
