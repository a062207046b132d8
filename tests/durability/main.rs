//! What a power cut or a kill -9 may do to a repository on a file system: nothing that was committed is lost, nothing half-done shows.
//!
//! [`order`] reads the system calls of a real backup; [`kill`] kills the real binary at random moments, [`kill_database`] while it reads a live database.
#![allow(clippy::unwrap_used)]

mod kill;
mod kill_database;
mod order;
mod trace;
#[allow(dead_code)]
#[path = "../cli/world.rs"]
mod world;
