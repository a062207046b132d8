//! Counts of what was asked of storage, so that tests can assert cost instead of timing it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Requests and bytes since the storage was opened. Every attempt is a request; what the cache answered is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Requests for whole objects or ranges.
    pub reads: u64,
    /// Requests to write.
    pub writes: u64,
    /// Requests to list, however many pages they took.
    pub lists: u64,
    /// Requests for the length of an object, those included that a listing needed.
    pub stats: u64,
    /// Requests to delete.
    pub deletes: u64,
    /// Bytes that reads returned.
    pub read_bytes: u64,
    /// Bytes of objects that were written, each counted once.
    pub written_bytes: u64,
    /// Requests that repeated a failed one.
    pub retries: u64,
    /// Reads that the cache answered.
    pub cache_hits: u64,
}

impl Counts {
    /// Requests of all kinds.
    pub fn requests(&self) -> u64 {
        self.reads + self.writes + self.lists + self.stats + self.deletes
    }
}

macro_rules! meters {
    ($($name:ident),+) => {
        /// The same as [`Counts`], to be added to by many threads.
        #[derive(Debug, Default)]
        pub(super) struct Meters {
            $(pub(super) $name: AtomicU64),+
        }

        impl Meters {
            pub(super) fn counts(&self) -> Counts {
                Counts { $($name: self.$name.load(Ordering::Relaxed)),+ }
            }
        }
    };
}

meters!(reads, writes, lists, stats, deletes, read_bytes, written_bytes, retries, cache_hits);

/// What kind of request one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Read,
    Write,
    List,
    Stat,
    Delete,
}

impl Verb {
    /// How errors say it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Verb::Read => "read",
            Verb::Write => "write",
            Verb::List => "list",
            Verb::Stat => "look up",
            Verb::Delete => "delete",
        }
    }
}

impl Meters {
    /// Counts the `attempt`-th request (from 1) of a verb.
    pub(super) fn request(&self, verb: Verb, attempt: u32) {
        let counter = match verb {
            Verb::Read => &self.reads,
            Verb::Write => &self.writes,
            Verb::List => &self.lists,
            Verb::Stat => &self.stats,
            Verb::Delete => &self.deletes,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if attempt > 1 {
            self.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}
