//! A 32-byte secret that does not get out by accident.

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret of 32 bytes: overwritten when dropped, compared in constant time, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Secret([u8; 32]);

impl Secret {
    /// Takes bytes over. The caller wipes his copy, if he keeps one.
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// `DK(context, self ++ salt)` of the specification: another secret that says nothing about this one.
    pub(crate) fn derive(&self, context: &'static str, salt: &[u8]) -> Secret {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(&self.0).update(salt);
        let secret = Secret(*hasher.finalize().as_bytes());
        hasher.zeroize();
        secret
    }

    /// Compares with public bytes, such as a commitment, in constant time.
    pub(crate) fn matches(&self, bytes: &[u8; 32]) -> bool {
        self.0.ct_eq(bytes).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl Eq for Secret {}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_itself() {
        assert_eq!(format!("{:?}", Secret::new([65; 32])), "Secret(..)");
    }
}
