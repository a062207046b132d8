//! Bounds how many requests are under way at once.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::error::Result;
use crate::progress::Cancel;

/// How long a wait goes on at most before it looks whether it was cancelled.
pub(super) const CANCEL_POLL: Duration = Duration::from_millis(50);

/// Lets so many threads pass at once.
pub(super) struct Gate {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Gate {
    pub(super) fn new(places: usize) -> Self {
        Self { free: Mutex::new(places), freed: Condvar::new() }
    }

    /// Waits for a place, which is free again when the pass is dropped.
    pub(super) fn enter(&self, cancel: &Cancel) -> Result<Pass<'_>> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            cancel.check()?;
            if *free > 0 {
                *free -= 1;
                return Ok(Pass(self));
            }
            free = self.freed.wait_timeout(free, CANCEL_POLL).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A place behind the gate.
pub(super) struct Pass<'a>(&'a Gate);

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}
