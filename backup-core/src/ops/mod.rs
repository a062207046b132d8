//! The verbs, one a module: options in, a report out. They decide; the layers below do.

pub mod backup;
pub mod cat;
pub mod check;
pub mod diff;
pub mod dump;
pub mod growth;
pub mod keys;
pub mod list;
pub mod repair;
pub mod restore;
pub mod stats;
pub mod verify;
pub mod wal;
pub mod watch;
