//! What tests of the library share: a repository in memory, surroundings under control, sources made of a map, and directories read into one.
//!
//! [`world`] makes repositories, [`surroundings`] the clock and randomness that they see, [`model_source`] file trees that exist only in a test, [`tree`] looks at real
//! ones, [`faulty`] lets storage fail. Nothing here asserts anything about the library: that is what tests do.
#![allow(dead_code)]

pub(crate) mod faulty;
pub(crate) mod meanwhile;
pub(crate) mod model_source;
pub(crate) mod sqlite;
pub(crate) mod surroundings;
pub(crate) mod tree;
pub(crate) mod world;

/// Says why a test does nothing; fails instead where everything must run.
pub(crate) fn skip(why: &str) {
    use std::io::Write;
    assert!(std::env::var("HOLDFAST_TEST_REQUIRE_ALL").as_deref() != Ok("1"), "cannot be skipped: {why}");
    std::io::stderr().write_all(format!("skipped: {why}\n").as_bytes()).expect("standard error can be written");
}

/// Bytes that do not compress and never repeat, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&surroundings::next_random(&mut state).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
