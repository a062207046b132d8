//! What a caller may say about how storage is used. Nothing here changes what is stored.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::environment::Environment;

/// Says something to whoever waits, while a call goes on.
#[derive(Clone)]
pub(super) struct Notify(Arc<dyn Fn(&str) + Send + Sync>);

impl Notify {
    pub(super) fn say(&self, text: &str) {
        (self.0)(text);
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notify")
    }
}

/// How persistently and how widely requests are sent.
#[derive(Clone, Debug)]
pub struct StorageOptions {
    pub(super) attempts: u32,
    pub(super) deadline_seconds: u64,
    pub(super) silence_seconds: u64,
    pub(super) concurrency: usize,
    pub(super) pause_ms: u64,
    pub(super) part_bytes: u64,
    pub(super) is_near: Option<bool>,
    pub(super) notify: Option<Notify>,
    pub(super) environment: Environment,
}

impl Default for StorageOptions {
    fn default() -> Self {
        Self {
            attempts: u32::MAX,
            deadline_seconds: 300,
            silence_seconds: 60,
            concurrency: 8,
            pause_ms: 200,
            part_bytes: 16 << 20,
            is_near: None,
            notify: None,
            environment: Environment::default(),
        }
    }
}

impl StorageOptions {
    /// Makes the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How often a request is sent before it counts as failed. Default: without limit, as the deadline ends it; at least 1.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// After how many seconds without success a request is not sent again. Storage that has not answered yet, of which it is not known whether it is there at
    /// all, gets 10 seconds at most. Default: 300; at least 1.
    #[must_use]
    pub fn deadline_seconds(mut self, seconds: u64) -> Self {
        self.deadline_seconds = seconds.max(1);
        self
    }

    /// How many seconds storage may be silent before an attempt counts as failed. Default: 60; at least 1.
    #[must_use]
    pub fn silence_seconds(mut self, seconds: u64) -> Self {
        self.silence_seconds = seconds.max(1);
        self
    }

    /// How many requests may be under way at once; local storage is not bounded. Default: 8; at least 1.
    #[must_use]
    pub fn concurrency(mut self, requests: usize) -> Self {
        self.concurrency = requests.max(1);
        self
    }

    /// Whether reading costs nothing but time, as from a server in the same room: what is stored there then serves as base of patches, as what lies in the cache always does. Default: yes for
    /// directories and memory, no for all else.
    #[must_use]
    pub fn near(mut self, is_near: bool) -> Self {
        self.is_near = Some(is_near);
        self
    }

    /// The pause before the second attempt, in milliseconds; it doubles with each further one, up to 10 seconds. Where the storage asks for a longer one, that is
    /// kept, up to a minute. Default: 200.
    #[must_use]
    pub fn pause_ms(mut self, milliseconds: u64) -> Self {
        self.pause_ms = milliseconds;
        self
    }

    /// Objects longer than this many bytes are sent in parts of this length, where the service knows parts (S3, Azure Blob, GCS). Default: 16 MiB; what is less than
    /// 5 MiB, the least that S3 takes, counts as 5 MiB.
    #[must_use]
    pub fn part_bytes(mut self, bytes: u64) -> Self {
        self.part_bytes = bytes.max(5 << 20);
        self
    }

    /// Is told, in one line without secrets, when storage has not answered for some seconds and is tried on, and when it answers again. Default: nobody.
    #[must_use]
    pub fn on_trouble(mut self, say: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.notify = Some(Notify(Arc::new(say)));
        self
    }

    /// Where random bytes and the time of the cache come from. Default: the system.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// How long a request may go on without success.
    pub(super) fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline_seconds)
    }

    /// How long storage may be silent.
    pub(super) fn silence(&self) -> Duration {
        Duration::from_secs(self.silence_seconds)
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
