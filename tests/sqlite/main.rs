//! Live SQLite databases: every kind of them, written by other processes and by this one while they are backed up.
//!
//! A second process is this very program, started again to run one of the functions in [`other`].
#![allow(clippy::unwrap_used)]

#[path = "../kit/mod.rs"]
mod kit;

mod embedded;
mod kinds;
mod live;
mod other;
mod place;
mod readers;
mod trouble;
mod unchanged;
mod watch;
mod watch_killed;
