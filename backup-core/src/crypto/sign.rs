//! Ed25519 signatures, each over a context string and the bytes.

use ed25519_dalek::{Signature, Signer, VerifyingKey};

use super::Secret;

/// Signs with a key made from a 32-byte seed.
pub(crate) struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    pub(crate) fn from_seed(seed: &Secret) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed.expose()))
    }

    pub(crate) fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    pub(crate) fn sign(&self, context: &str, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(&[context.as_bytes(), bytes].concat()).to_bytes()
    }
}

/// Whether a signature over context and bytes is the key's. Strict: no malleable forms.
pub(crate) fn verify(public: &[u8; 32], context: &str, bytes: &[u8], signature: &[u8; 64]) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(public) else { return false };
    key.verify_strict(&[context.as_bytes(), bytes].concat(), &Signature::from_bytes(signature)).is_ok()
}
