//! A world without chance, so that an operation does the same in every run: clock and randomness follow from a seed.

use std::sync::atomic::{AtomicU64, Ordering};

use backup_core::environment::{Environment, Surroundings};
use backup_core::time::Time;

use crate::corpus::Random;

/// 2100-01-01T00:00:00Z: all files lie safely in the past, so that none is read again because it changed only just now.
const START_SECONDS: i64 = 4_102_444_800;
/// From one seed to the next, so that a later operation has the later clock.
const SEED_SECONDS: i64 = 3600;

struct Seeded {
    seed: u64,
    drawn: AtomicU64,
    milliseconds: AtomicU64,
}

/// Makes surroundings whose clock moves on by a millisecond with each look at it.
pub(crate) fn environment(seed: u64) -> Environment {
    Environment::new(Seeded { seed, drawn: AtomicU64::new(0), milliseconds: AtomicU64::new(0) })
}

impl Surroundings for Seeded {
    fn now(&self) -> Time {
        let milliseconds = self.milliseconds.fetch_add(1, Ordering::Relaxed);
        let seconds = START_SECONDS + SEED_SECONDS * self.seed as i64 + (milliseconds / 1000) as i64;
        Time::new(seconds, (milliseconds % 1000) as u32 * 1_000_000)
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        Random::new(self.seed << 32 | number).fill(bytes);
    }

    fn host(&self) -> String {
        "bench".to_owned()
    }

    fn user(&self) -> String {
        "bench".to_owned()
    }

    fn zone_offset_seconds(&self, _time: Time) -> i32 {
        0
    }
}
