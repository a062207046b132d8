//! What users do, one scenario a test, through the public interface of the library.
//!
//! Crashes at every step, damage, golden archives and the command line have tests of their own.
#![allow(clippy::unwrap_used)]

#[path = "../kit/mod.rs"]
mod kit;

mod cache;
mod chains;
mod checkpoint;
mod clones;
mod databases;
mod incremental;
mod keys;
mod large;
mod ledger;
mod looking;
mod mapped;
mod meanwhile;
mod memory;
mod mishaps;
mod newer;
mod patches;
mod probes;
mod requests;
mod restore;
mod round_trip;
mod runtime;
mod streams;
mod wal;
mod writers;
