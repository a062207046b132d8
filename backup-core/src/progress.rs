//! How a verb tells what it does, and is told to stop.
//!
//! A counter lives in one place: the reports have the totals, [`Progress`] only movement. Calls come from the thread that runs the verb.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// The stages of verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stage {
    /// Ledger and tables are read.
    Opening,
    /// Files are read and stored.
    BackingUp,
    /// Files are written.
    Restoring,
    /// Objects are verified.
    Checking,
    /// Derived objects are made anew.
    Repairing,
}

/// Something that did not stop a verb, and must be seen.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Warning {
    /// A word for programs: `unreadable`, `changed`, `vanished`...
    pub kind: &'static str,
    /// The path concerned, as bytes, or the name of an object.
    #[serde(skip)]
    pub subject: Vec<u8>,
    /// What happened, for people; one clause.
    pub message: String,
}

/// Receives what a verb does. All methods have empty defaults.
pub trait Progress: Sync {
    /// A stage begins. `bytes` is the expected amount, where it is known.
    fn started(&self, stage: Stage, bytes: Option<u64>) {
        let _ = (stage, bytes);
    }

    /// So many more files and bytes were dealt with.
    fn advanced(&self, files: u64, bytes: u64) {
        let _ = (files, bytes);
    }

    /// Something must be seen. It is in the report, too.
    fn warning(&self, warning: &Warning) {
        let _ = warning;
    }

    /// Something may be of interest; it changes no exit code.
    fn note(&self, note: &Warning) {
        let _ = note;
    }

    /// The stage is over.
    fn finished(&self, stage: Stage) {
        let _ = stage;
    }
}

/// Reports nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}

/// Asks a running verb to stop; cloned freely, set from any thread or signal handler.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Makes a token that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a token over a flag that somebody else sets, such as a signal handler.
    pub fn from_flag(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }

    /// Asks for the stop. What is committed stays; what is not, never shows.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether a stop was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Fails with [`Error::Interrupted`] once a stop was asked for.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Interrupted) } else { Ok(()) }
    }
}
