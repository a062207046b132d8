//! Clock, randomness and host under a test's control.
//!
//! The clock stands in the year 2100, so that files made by a test lie safely in the past: their times of metadata are the system's, and cannot be chosen.

use std::sync::{Arc, Mutex, MutexGuard};

use backup_core::environment::{Environment, Surroundings};
use backup_core::time::Time;

/// 2100-01-01T00:00:00Z.
pub(crate) const START_SECONDS: i64 = 4_102_444_800;

/// Surroundings that are the same in every run. Clones share clock and randomness.
#[derive(Clone)]
pub(crate) struct TestSurroundings(Arc<Mutex<Inner>>);

struct Inner {
    nanoseconds: i128,
    random: u64,
    host: String,
}

impl TestSurroundings {
    /// Begins at [`START_SECONDS`], with randomness of its own for each seed.
    pub(crate) fn new(seed: u64) -> Self {
        let nanoseconds = i128::from(START_SECONDS) * 1_000_000_000;
        Self(Arc::new(Mutex::new(Inner { nanoseconds, random: seed, host: "testhost".to_owned() })))
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, seconds: i64) {
        self.lock().nanoseconds += i128::from(seconds) * 1_000_000_000;
    }

    /// Moves to another machine.
    pub(crate) fn set_host(&self, host: &str) {
        self.lock().host = host.to_owned();
    }

    /// Makes what the library takes.
    pub(crate) fn environment(&self) -> Environment {
        Environment::new(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no test panics while it holds this")
    }
}

impl Surroundings for TestSurroundings {
    /// The present; each look moves the clock on by a millisecond.
    fn now(&self) -> Time {
        let mut inner = self.lock();
        inner.nanoseconds += 1_000_000;
        let seconds = inner.nanoseconds.div_euclid(1_000_000_000);
        let rest = inner.nanoseconds.rem_euclid(1_000_000_000);
        Time::new(i64::try_from(seconds).expect("the clock stays in range"), u32::try_from(rest).expect("below 1e9"))
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        let mut inner = self.lock();
        for part in bytes.chunks_mut(8) {
            let word = next_random(&mut inner.random).to_le_bytes();
            part.copy_from_slice(&word[..part.len()]);
        }
    }

    fn host(&self) -> String {
        self.lock().host.clone()
    }

    fn user(&self) -> String {
        "tester".to_owned()
    }

    fn zone_offset_seconds(&self, _time: Time) -> i32 {
        3600
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}
