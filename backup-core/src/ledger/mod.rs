//! The append-only, hash-chained, signed log of all that ever happened: section 11 of `docs/format.md`.
//!
//! [`entry`] makes and opens entries, [`fetch`] reads the objects that hold them, [`read`] verifies them, [`memory`] spares both the next time. [`chain`] extends one writer's chain, [`state`] is
//! what this installation remembers of it, and [`gather`] repeats many small objects in a large one.
//! What entries mean together is the fold of [`crate::repository`].

pub mod chain;
pub mod entry;
pub mod fetch;
pub mod gather;
pub mod memory;
pub mod read;
pub mod state;
