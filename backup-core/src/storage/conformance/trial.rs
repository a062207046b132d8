//! A prefix of one's own in a storage, what was written there, and how it is removed.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::fmt::Write as _;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::super::Storage;
use super::ConformanceOptions;
use crate::error::{Error, Result};
use crate::id::encode_hex;

/// What was found out about one promise.
pub(super) enum Verdict {
    Holds,
    /// It holds, with something to say.
    HoldsAs(String),
    Broken(String),
    Unknown(String),
}

/// One run of the suite.
pub(super) struct Trial<'a> {
    pub(super) storage: &'a Storage,
    pub(super) options: &'a ConformanceOptions,
    prefix: String,
    seed: u64,
    /// Names that a write was tried for.
    tried: Mutex<BTreeSet<String>>,
    /// Whether a directory that is the storage was there before.
    had_root: bool,
    /// By how much the storage's clock is ahead of ours, once that is known.
    pub(super) clock_ahead_seconds: OnceLock<i64>,
    /// How long lists that lag may still be waited for.
    patience: Mutex<Duration>,
}

impl<'a> Trial<'a> {
    pub(super) fn new(storage: &'a Storage, options: &'a ConformanceOptions) -> Self {
        // Short, so that it makes no name too long that would not be so without it.
        let prefix = format!("trial-{}", encode_hex(&options.environment.random::<4>()));
        let seed = u64::from_le_bytes(options.environment.random());
        let had_root = storage.local_root().is_none_or(|root| root.exists());
        let (tried, clock_ahead_seconds) = (Mutex::default(), OnceLock::new());
        let patience = Mutex::new(Duration::from_millis(options.lag_ms));
        Self { storage, options, prefix, seed, tried, had_root, clock_ahead_seconds, patience }
    }

    /// Waits a moment for a list to catch up; says whether there was patience left for it.
    pub(super) fn wait_for_list(&self) -> bool {
        const PAUSE: Duration = Duration::from_millis(250);
        let mut patience = self.patience.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(left) = patience.checked_sub(PAUSE) else { return false };
        *patience = left;
        std::thread::sleep(PAUSE);
        true
    }

    /// Fails as the storage does if nothing can be written at all.
    pub(super) fn begin(&self) -> Result<()> {
        self.write(&self.name("first"), self.content("first", 100))
    }

    /// The full name of something below the prefix.
    pub(super) fn name(&self, below: &str) -> String {
        format!("{}/{below}", self.prefix)
    }

    /// Bytes that look random, and are the same for the same tag and length.
    pub(super) fn content(&self, tag: &str, length: usize) -> Vec<u8> {
        let mut state = tag.bytes().fold(self.seed, |state, byte| mix(state ^ u64::from(byte)));
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            bytes.extend_from_slice(&mix(state).to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    pub(super) fn write(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        self.storage.write(name, bytes)
    }

    /// Reads an object and compares it; `None` if it is as expected, or what is wrong with it.
    pub(super) fn differs(&self, name: &str, expected: &[u8]) -> Result<Option<String>> {
        let length = expected.len();
        match self.storage.read(name, length as u64 * 2 + 4096) {
            Ok(found) if found == expected => Ok(None),
            Ok(found) if found.len() != length => {
                Ok(Some(format!("{name} came back with {} of its {length} bytes", found.len())))
            }
            Ok(_) => Ok(Some(format!("{name} came back with other bytes"))),
            Err(Error::Missing { .. }) => Ok(Some(format!("{name} was written, and cannot be found"))),
            Err(Error::Damaged { .. }) => Ok(Some(format!("{name} came back longer than its {length} bytes"))),
            Err(error) => Err(error),
        }
    }

    /// Writes an object and reads it; `None` if that is all right.
    pub(super) fn round_trip(&self, name: &str, bytes: Vec<u8>) -> Result<Option<String>> {
        self.write(name, bytes.clone())?;
        self.differs(name, &bytes)
    }

    /// Removes everything; says what could not be.
    pub(super) fn clean_up(&self, storage: &Storage) -> Vec<String> {
        let mut names = self.tried.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let prefix = self.name("");
        // What a list shows beyond that was never meant to be there, and is removed all the more.
        names.extend(storage.list(&prefix).into_iter().flatten().map(|info| info.name));
        let left: Vec<String> = names.iter().filter(|name| storage.delete(name).is_err()).cloned().collect();
        let mut directories: BTreeSet<String> = BTreeSet::from([self.prefix.clone()]);
        for name in &names {
            let ends = name.match_indices('/').map(|(at, _)| &name[..at]);
            directories.extend(ends.map(str::to_owned));
        }
        let deepest_first: Vec<String> = directories.into_iter().rev().collect();
        // An empty directory that stays harms nobody.
        let _ = storage.remove_directories(&deepest_first);
        if !self.had_root
            && let Some(root) = storage.local_root()
        {
            let _ = std::fs::remove_dir(root);
        }
        left
    }
}

/// An error with its causes, on one line.
pub(super) fn explain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let _ = write!(text, ": {cause}");
        next = cause.source();
    }
    text
}

/// The finaliser of SplitMix64: every bit of the state reaches every bit of the result.
fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}
