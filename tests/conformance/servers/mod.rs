//! Storage servers of a test's own: in this process over real HTTP, or started by a script; and a proxy in front of one that does damage.
//!
//! All listen on loopback with a free port, and end when they are dropped.
#![allow(dead_code)]

pub(crate) mod dav;
mod http;
pub(crate) mod proxy;
pub(crate) mod s3;
pub(crate) mod script;
