//! Packs: immutable objects of sealed frames with a sealed table at their end. Section 7 of `docs/format.md`.
//!
//! [`builder`] makes one in memory, [`reader`] opens tables and frames of stored ones. When packs are begun, ended and uploaded is decided above.

pub(crate) mod builder;
pub(crate) mod reader;
