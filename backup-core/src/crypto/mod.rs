//! Everything cryptographic, and nothing about what it protects: BLAKE3, XChaCha20-Poly1305, Ed25519, Argon2id.
//!
//! Sections 2 and 3 of `docs/format.md`. Secrets live in [`Secret`], which is zeroized, never printed and never `Copy`.

mod hash;
mod password;
mod seal;
mod secret;
mod sign;

pub(crate) use hash::{Hasher, extend, hash, keyed_hash};
pub use password::PasswordCost;
pub(crate) use password::stretch;
pub(crate) use seal::{NONCE_TAIL_BYTES, Sealer};
pub(crate) use secret::Secret;
pub(crate) use sign::{SigningKey, verify};
pub(crate) use zeroize::{Zeroize, Zeroizing};

/// Why something sealed could not be opened: a wrong key, or other bytes than were sealed. The two cannot be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forged;
