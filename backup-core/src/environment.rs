//! The only door to clock, randomness and host: a test can close it and open its own.

use std::sync::Arc;

use crate::time::{self, Time};

/// Name and version of this program, as ledger entries record them.
pub const PROGRAM: &str = concat!("holdfast ", env!("CARGO_PKG_VERSION"));

/// What a verb may know of the world beside its inputs.
pub trait Surroundings: Send + Sync {
    /// The present time of the system's clock.
    fn now(&self) -> Time;
    /// Fills the bytes from a cryptographically secure source.
    fn fill_random(&self, bytes: &mut [u8]);
    /// The name of this machine.
    fn host(&self) -> String;
    /// The name of the user, or the number where it has no name.
    fn user(&self) -> String;
    /// The offset of local time from UTC at `time`, in seconds, east positive.
    fn zone_offset_seconds(&self, time: Time) -> i32;
}

/// A shared handle on the [`Surroundings`]; by default those of the system.
#[derive(Clone)]
pub struct Environment(Arc<dyn Surroundings>);

impl Environment {
    /// Wraps surroundings of one's own.
    pub fn new(surroundings: impl Surroundings + 'static) -> Self {
        Self(Arc::new(surroundings))
    }

    /// Draws an array of random bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_random(&mut bytes);
        bytes
    }
}

impl std::ops::Deref for Environment {
    type Target = dyn Surroundings;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl Default for Environment {
    fn default() -> Self {
        Self::new(System)
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Environment")
    }
}

/// The system's own clock, randomness and names.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Surroundings for System {
    fn now(&self) -> Time {
        time::system_now()
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the system's random source answers, or nothing secret can be made");
    }

    fn host(&self) -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    fn user(&self) -> String {
        ["USER", "LOGNAME"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
            .unwrap_or_else(|| rustix::process::getuid().as_raw().to_string())
    }

    fn zone_offset_seconds(&self, time: Time) -> i32 {
        time::system_zone_offset_seconds(time)
    }
}
