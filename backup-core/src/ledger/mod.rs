//! The append-only, hash-chained, signed log of all that ever happened: section 11 of `docs/format.md`.
//!
//! [`entry`] makes and opens entries, [`read`] loads and verifies all of them, [`chain`] extends one writer's chain, and [`state`] is what this installation remembers of it.
//! What entries mean together is the fold of [`crate::repository`].

pub mod chain;
pub mod entry;
pub mod read;
pub mod state;
