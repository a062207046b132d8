//! The recipes of `docs/operations.md` against real servers: PostgreSQL, Redis, etcd; and `wal push` and `wal fetch` by themselves.
//!
//! [`page`] takes the recipes out of the page, [`place`] is the machine that they see, [`server`] starts and stops what they talk to.
#![allow(clippy::unwrap_used)]

mod archiving;
mod dumps;
mod etcd;
mod page;
mod place;
mod postgres;
mod pushing;
mod recovery;
mod redis;
mod schedules;
mod server;
mod watching;
#[allow(dead_code)]
#[path = "../cli/world.rs"]
mod world;
