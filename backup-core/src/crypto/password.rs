//! Argon2id: passphrases to secrets.

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::Secret;
use crate::limits;

/// What guessing a passphrase costs. The default opens in well below half a second on one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory in KiB: 65,536 by default, which is also the least.
    pub memory_kib: u32,
    /// Passes over it: 3 by default, which is also the least.
    pub passes: u32,
    /// Lanes: 1 by default.
    pub lanes: u32,
}

impl Default for PasswordCost {
    fn default() -> Self {
        Self { memory_kib: 64 << 10, passes: 3, lanes: 1 }
    }
}

impl PasswordCost {
    /// Whether the parameters lie within what this program accepts from a repository.
    pub fn is_acceptable(&self) -> bool {
        let within = |value: u32, min: u64, max: u64| (min..=max).contains(&u64::from(value));
        within(self.memory_kib, limits::ARGON2_MEMORY_KIB_MIN, limits::ARGON2_MEMORY_KIB_MAX)
            && within(self.passes, limits::ARGON2_PASSES_MIN, limits::ARGON2_PASSES_MAX)
            && within(self.lanes, 1, limits::ARGON2_LANES_MAX)
    }
}

/// Stretches a passphrase; `None` where the parameters are not acceptable.
pub(crate) fn stretch(passphrase: &[u8], salt: &[u8; 32], cost: PasswordCost) -> Option<Secret> {
    if !cost.is_acceptable() {
        return None;
    }
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).ok()?;
    let mut output = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(passphrase, salt, &mut *output).ok()?;
    Some(Secret::new(*output))
}
