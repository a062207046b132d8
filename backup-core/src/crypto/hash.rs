//! BLAKE3 in its three modes.

use super::Secret;

/// Plain BLAKE3 of bytes that arrive in pieces.
#[derive(Clone, Default)]
pub(crate) struct Hasher(blake3::Hasher);

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    pub(crate) fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// `H` of the specification.
pub(crate) fn hash(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

/// `KH` of the specification.
pub(crate) fn keyed_hash(key: &Secret, bytes: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(key.expose(), bytes).as_bytes()
}

/// The extendable output of `KH(key, label)`.
pub(crate) fn extend(key: &Secret, label: &[u8], output: &mut [u8]) {
    let mut hasher = blake3::Hasher::new_keyed(key.expose());
    hasher.update(label).finalize_xof().fill(output);
}
