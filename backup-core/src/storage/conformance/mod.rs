//! Tries on a storage what Holdfast relies on, and says in words what holds there.
//!
//! Holdfast needs little: what a write returned for can be read by its name, whole. That is tried in many ways, and with it what is only pleasant to have, such as lists
//! that show at once what was written; [`Promise::required`] tells the two apart. Everything happens below a random prefix, and is removed again, also after a failure.
//!
//! ```
//! use backup_core::storage::conformance::{ConformanceOptions, run};
//! use backup_core::storage::{Storage, StorageOptions};
//!
//! # fn main() -> backup_core::Result<()> {
//! let storage = Storage::from_uri("memory://", StorageOptions::new())?;
//! let report = run(&storage, &ConformanceOptions::new().large_bytes(1 << 20))?;
//! assert!(report.promises.iter().all(|promise| promise.holds != Some(false)));
//! # Ok(())
//! # }
//! ```

mod listing;
mod reading;
mod trial;
mod writing;

use std::time::Instant;

use super::Storage;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::progress::Cancel;

use trial::{Trial, Verdict};

/// How thoroughly a storage is tried.
#[derive(Clone, Debug)]
pub struct ConformanceOptions {
    large_bytes: u64,
    objects: usize,
    lag_ms: u64,
    environment: Environment,
}

impl Default for ConformanceOptions {
    fn default() -> Self {
        Self { large_bytes: 64 << 20, objects: 64, lag_ms: 5_000, environment: Environment::default() }
    }
}

impl ConformanceOptions {
    /// Makes the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The length of the largest object in bytes; it is held in memory twice. Default: 64 MiB.
    #[must_use]
    pub fn large_bytes(mut self, bytes: u64) -> Self {
        self.large_bytes = bytes;
        self
    }

    /// How many objects are created at the same time. Default: 64; at least 8.
    #[must_use]
    pub fn objects(mut self, objects: usize) -> Self {
        self.objects = objects.max(8);
        self
    }

    /// How long is waited for lists that lag, in milliseconds, all of them together. Default: 5,000.
    #[must_use]
    pub fn lag_ms(mut self, milliseconds: u64) -> Self {
        self.lag_ms = milliseconds;
        self
    }

    /// Where randomness and the clock come from. Default: the system.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }
}

/// Something that a storage may promise, and whether it held.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Promise {
    /// A short name that stays the same, such as `read_after_write`.
    pub name: &'static str,
    /// The promise in words.
    pub words: &'static str,
    /// Whether Holdfast relies on it. What is not required is reported only.
    pub required: bool,
    /// Whether it held; `None` if that could not be found out.
    pub holds: Option<bool>,
    /// What was seen, where there is something to say.
    pub detail: Option<String>,
    /// What it means for the user where it does not hold.
    pub meaning: &'static str,
}

/// What was found out about a storage.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ConformanceReport {
    /// All promises, in the order in which they were tried.
    pub promises: Vec<Promise>,
    /// By how many seconds the storage's clock is ahead of the one here; negative if it is behind, `None` where it tells no times.
    pub clock_ahead_seconds: Option<i64>,
    /// Requests that were sent, repeated ones included.
    pub requests: u64,
    /// Requests that repeated a failed one.
    pub retries: u64,
    /// How long it took.
    pub elapsed_ms: u64,
    /// Objects that could not be removed again.
    pub left_behind: Vec<String>,
}

impl ConformanceReport {
    /// Whether a promise that Holdfast relies on does not hold.
    pub fn is_broken(&self) -> bool {
        self.promises.iter().any(|promise| promise.required && promise.holds == Some(false))
    }
}

/// A promise and how it is tried.
struct Probe {
    name: &'static str,
    words: &'static str,
    required: bool,
    meaning: &'static str,
    attempt: fn(&Trial<'_>) -> Result<Verdict>,
}

/// Everything that is tried, in this order.
fn probes() -> impl Iterator<Item = &'static Probe> {
    reading::PROBES.iter().chain(writing::PROBES).chain(listing::PROBES)
}

/// Tries everything.
///
/// # Errors
/// [`Error::Storage`] if not even the first object can be written and nothing can be said, [`Error::Interrupted`]. What was written is removed in either case.
pub fn run(storage: &Storage, options: &ConformanceOptions) -> Result<ConformanceReport> {
    let (start, before) = (Instant::now(), storage.counts());
    let trial = Trial::new(storage, options);
    let outcome = trial.begin().and_then(|()| probes().map(|probe| attempt(probe, &trial)).collect());
    // Even a caller who wants to stop wants nothing left behind; where nobody ever answered, nothing is.
    let clean_up = || trial.clean_up(&storage.clone().with_cancel(Cancel::new()));
    let left_behind = if storage.has_answered() { clean_up() } else { Vec::new() };
    let after = storage.counts();
    Ok(ConformanceReport {
        promises: outcome?,
        clock_ahead_seconds: trial.clock_ahead_seconds.get().copied(),
        requests: after.requests() - before.requests(),
        retries: after.retries - before.retries,
        elapsed_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        left_behind,
    })
}

fn attempt(probe: &Probe, trial: &Trial<'_>) -> Result<Promise> {
    let (holds, detail) = match (probe.attempt)(trial) {
        Ok(Verdict::Holds) => (Some(true), None),
        Ok(Verdict::HoldsAs(detail)) => (Some(true), Some(detail)),
        Ok(Verdict::Broken(detail)) => (Some(false), Some(detail)),
        Ok(Verdict::Unknown(why)) => (None, Some(why)),
        Err(Error::Interrupted) => return Err(Error::Interrupted),
        Err(error) => (Some(false), Some(trial::explain(&error))),
    };
    let Probe { name, words, required, meaning, .. } = *probe;
    Ok(Promise { name, words, required, holds, detail, meaning })
}
