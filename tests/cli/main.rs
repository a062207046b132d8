//! Black-box tests of the binary: options, output and exit codes, as the contract of the command line has them. What verbs do is tested through the library.
#![allow(clippy::unwrap_used)]

mod costs;
mod databases;
mod defaults;
mod documents;
mod failures;
mod full_disk;
mod keys;
mod looking;
mod restoring;
#[path = "../conformance/servers/mod.rs"]
mod servers;
mod signals;
mod storage;
mod watch;
mod world;
mod writers;
