//! The verbs, one a module: options in, a report out. They decide; the layers below do.

pub mod backup;
pub mod diff;
pub mod dump;
pub mod list;
