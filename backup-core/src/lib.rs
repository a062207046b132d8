//! Deduplicated, encrypted, ledgered archives of files and live databases.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod environment;
pub mod error;
pub mod format;
pub mod id;
pub mod keyring;
pub mod limits;
pub mod path;
pub mod progress;
pub mod source;
pub mod storage;
pub mod target;
pub mod time;
pub mod words;

mod chunker;
mod codec;
mod compress;
mod crypto;
mod pipeline;

pub use error::{Error, ErrorKind, Result};
