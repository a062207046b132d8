//! What storage can do to a repository: fail, stop, tear a write, lose, alter and swap objects. Nothing is lost silently, and what can be healed is.
#![allow(clippy::unwrap_used)]

mod chains;
mod crash;
mod damage;
#[path = "../kit/faulty.rs"]
mod faulty;
mod heal;
mod init;
mod segments;
mod source;
mod storage;
mod world;
