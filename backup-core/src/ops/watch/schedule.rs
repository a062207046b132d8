//! When a database is dealt with, and when storage that could not be reached is tried again.

use std::time::{Duration, Instant};

use super::options::WatchOptions;
use super::{Last, milliseconds};
use crate::source::sqlite::watched::{SharedFollower, lock};

/// The first pause after the storage could not be reached, and the longest: each is twice as long as the one before.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A database of which all must be read each time is left in peace for so many times as long as that took: reading takes a quarter of the time at most.
const REST: u32 = 3;

/// A database that is watched.
pub(super) struct Database {
    pub(super) follower: SharedFollower,
    /// The last snapshot, if this process knows one.
    pub(super) last: Option<Last>,
    /// When it is dealt with next.
    pub(super) next: Instant,
    /// Whether the last attempt failed.
    pub(super) is_failing: bool,
    /// Before this moment it is not read whole again.
    rest_until: Instant,
}

impl Database {
    pub(super) fn new(follower: SharedFollower) -> Self {
        let now = Instant::now();
        Self { follower, last: None, next: now, is_failing: false, rest_until: now }
    }

    /// How long the oldest change waits by now.
    pub(super) fn lag_ms(&self) -> u64 {
        lock(&self.follower).waiting_since().map_or(0, |since| milliseconds(since.elapsed()))
    }

    /// Whether its interval is over and a change must be stored. Begins the next interval if so.
    pub(super) fn is_due(&mut self, options: &WatchOptions) -> bool {
        let now = Instant::now();
        if now < self.next {
            return false;
        }
        // Intervals that passed while something else was done are not caught up.
        self.next = (self.next + options.every()).max(now);
        let (since, is_lost) = {
            let follower = lock(&self.follower);
            (follower.waiting_since(), follower.doubt().is_some())
        };
        let is_resting = is_lost && now < self.rest_until;
        let may_wait = |lag_ms: u64, since: Instant| {
            let waited = now.saturating_duration_since(since) + options.every();
            self.last.is_some() && waited <= Duration::from_millis(lag_ms)
        };
        since.is_some_and(|since| !is_resting && !options.max_lag_ms.is_some_and(|lag_ms| may_wait(lag_ms, since)))
    }

    /// Notes that a snapshot was made, and how long it took where all was read.
    pub(super) fn note_whole(&mut self, is_whole: bool, started: Instant) {
        if is_whole {
            self.rest_until = Instant::now() + started.elapsed() * REST;
        }
    }
}

/// Pauses between attempts while the storage cannot be reached.
#[derive(Default)]
pub(super) struct Backoff {
    pause: Option<Duration>,
    until: Option<Instant>,
}

impl Backoff {
    /// Whether the storage may be tried.
    pub(super) fn is_over(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() >= until)
    }

    /// Begins the next pause, and returns its milliseconds.
    pub(super) fn next(&mut self) -> u64 {
        let pause = self.pause.map_or(PAUSE_MIN, |pause| (pause * 2).min(PAUSE_MAX));
        self.pause = Some(pause);
        self.until = Some(Instant::now() + pause);
        milliseconds(pause)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::id::EntryId;
    use crate::source::sqlite::follow::Follower;

    /// A database with a change that waits, and whether there is a snapshot already.
    fn database(has_snapshot: bool) -> Database {
        let mut database = Database::new(Arc::new(Mutex::new(Follower::new(b"/a.db".to_vec()))));
        database.last = has_snapshot.then_some((EntryId([1; 32]), 4096));
        database
    }

    #[test]
    fn a_database_is_due_once_an_interval() {
        let mut database = database(true);
        let options = WatchOptions::new().every_ms(3_600_000);
        assert!(database.is_due(&options));
        assert!(!database.is_due(&options));
    }

    #[test]
    fn changes_are_collected_as_long_as_the_next_interval_comes_in_time() {
        let options = |lag_ms| WatchOptions::new().every_ms(10_000).max_lag_ms(lag_ms);
        assert!(!database(true).is_due(&options(60_000)));
        assert!(database(true).is_due(&options(10_000)));
        // The first snapshot waits for nothing.
        assert!(database(false).is_due(&options(60_000)));
    }

    #[test]
    fn a_database_that_must_be_read_whole_rests_in_proportion() {
        let mut database = database(true);
        database.note_whole(true, Instant::now() - Duration::from_secs(100));
        assert!(!database.is_due(&WatchOptions::new()));
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let mut backoff = Backoff::default();
        assert!(backoff.is_over());
        let pauses: Vec<u64> = (0..8).map(|_| backoff.next()).collect();
        assert_eq!(pauses, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        assert!(!backoff.is_over());
    }
}
