//! Storage behind real servers: the suite of promises, whole rounds of a repository, and what networks do to them.
//!
//! S3 and WebDAV are served in this process over real HTTP on loopback, OpenSSH and Azurite by scripts in `tests/servers`, Garage where its program is found.
#![allow(clippy::unwrap_used)]

#[path = "../kit/mod.rs"]
mod kit;
mod servers;

mod broken;
mod faults;
mod outages;
mod promises;
mod rounds;
mod services;
mod ssh;
mod writes;
