//! What a caller may say about how storage is used. Nothing here changes what is stored.

use std::time::Duration;

use crate::environment::Environment;

/// How persistently and how widely requests are sent.
#[derive(Clone, Debug)]
pub struct StorageOptions {
    pub(super) attempts: u32,
    pub(super) deadline_seconds: u64,
    pub(super) concurrency: usize,
    pub(super) pause_ms: u64,
    pub(super) environment: Environment,
}

impl Default for StorageOptions {
    fn default() -> Self {
        Self { attempts: 6, deadline_seconds: 90, concurrency: 8, pause_ms: 200, environment: Environment::default() }
    }
}

impl StorageOptions {
    /// Makes the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How often a request is sent before it counts as failed. Default: 6; at least 1.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// After how many seconds nothing is tried again, and how long storage may be silent within one attempt. Default: 90; at least 1.
    #[must_use]
    pub fn deadline_seconds(mut self, seconds: u64) -> Self {
        self.deadline_seconds = seconds.max(1);
        self
    }

    /// How many requests may be under way at once; local storage is not bounded. Default: 8; at least 1.
    #[must_use]
    pub fn concurrency(mut self, requests: usize) -> Self {
        self.concurrency = requests.max(1);
        self
    }

    /// The pause before the second attempt, in milliseconds; it doubles with each further one, up to 10 seconds. Default: 200.
    #[must_use]
    pub fn pause_ms(mut self, milliseconds: u64) -> Self {
        self.pause_ms = milliseconds;
        self
    }

    /// Where random bytes and the time of the cache come from. Default: the system.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    pub(super) fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline_seconds)
    }

    /// The pause after the `attempt`-th failure (from 1): exponential, and random in its upper half, so that many clients do not come back at once.
    pub(super) fn pause(&self, attempt: u32) -> Duration {
        const PAUSE_MS_MAX: u64 = 10_000;
        let factor = 1u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX);
        let whole_ms = self.pause_ms.saturating_mul(factor).min(PAUSE_MS_MAX);
        let jitter = u64::from(u16::from_le_bytes(self.environment.random()));
        Duration::from_millis(whole_ms / 2 + whole_ms * jitter / (2 * u64::from(u16::MAX)))
    }
}
