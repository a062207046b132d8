//! The repository object, key slots, keyrings and the secrets of periods: sections 5 and 6 of `docs/format.md`.

use super::constants::*;
use super::record::{Body, Flaw, require};
use crate::codec::{Decode, Encode};
use crate::crypto::Zeroize;
use crate::id::RepositoryId;
use crate::limits;
use crate::time::Time;

/// Body of the `repository` object.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RepositoryBody {
    /// The repository's id.
    pub repository: RepositoryId,
    /// The admin's Ed25519 public key.
    pub admin_key: [u8; 32],
    /// When `init` ran.
    pub created: Time,
}

impl Body for RepositoryBody {
    const KIND: u16 = RECORD_REPOSITORY;
}

/// Clear part of a key slot.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SlotBody {
    /// Who can open it: one of the `HOLDER_` constants.
    pub holder: u8,
    /// Argon2id's memory in KiB, for a passphrase; 0 otherwise.
    pub argon2_memory_kib: u32,
    /// Argon2id's passes; 0 otherwise.
    pub argon2_passes: u32,
    /// Argon2id's lanes; 0 otherwise.
    pub argon2_lanes: u32,
    /// Commitment to the slot's secret.
    pub commitment: [u8; 32],
    /// A name for people. It is not sealed.
    pub label: String,
    /// When it was made.
    pub created: Time,
}

impl Body for SlotBody {
    const KIND: u16 = RECORD_SLOT;

    fn check(&self) -> Result<(), Flaw> {
        check_text(&self.label)
    }
}

/// The key of one class, in keyrings that do not hold the root.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct ClassKey {
    /// The class's name.
    pub name: String,
    /// Its key.
    pub key: [u8; 32],
}

/// What a key slot holds. It has no `Debug`: these are secrets.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyringBody {
    /// One of the `ROLE_` constants.
    pub role: u8,
    /// The repository it belongs to.
    pub repository: RepositoryId,
    /// The admin's public key.
    pub admin_key: [u8; 32],
    /// The root secret, for the admin.
    pub root: Option<[u8; 32]>,
    /// The repository's ledger key, for others.
    pub repository_ledger_key: Option<[u8; 32]>,
    /// Keys of classes, for others.
    pub classes: Vec<ClassKey>,
    /// Ledger keys of classes, for roles that read the ledger but not content.
    pub ledger_keys: Vec<ClassKey>,
}

impl Body for KeyringBody {
    const KIND: u16 = RECORD_KEYRING;

    fn check(&self) -> Result<(), Flaw> {
        let few = [&self.classes, &self.ledger_keys].iter().all(|keys| keys.len() as u64 <= limits::CLASSES_MAX);
        require(few, "there are too many classes")?;
        let mut names = self.classes.iter().chain(&self.ledger_keys).map(|class| &class.name);
        require(names.all(|name| is_class_name(name)), "a class's name is not one")
    }
}

impl Drop for KeyringBody {
    fn drop(&mut self) {
        self.root.zeroize();
        self.repository_ledger_key.zeroize();
        self.classes.iter_mut().chain(&mut self.ledger_keys).for_each(|class| class.key.zeroize());
    }
}

/// What a period object holds. It has no `Debug`: these are secrets.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct PeriodSecretsBody {
    /// Seals packs and index segments.
    pub data_key: [u8; 32],
    /// Names chunks of content.
    pub content_id_key: [u8; 32],
    /// Names nodes.
    pub tree_id_key: [u8; 32],
    /// Makes the gear table.
    pub gear_key: [u8; 32],
}

impl Body for PeriodSecretsBody {
    const KIND: u16 = RECORD_PERIOD_SECRETS;
}

impl Drop for PeriodSecretsBody {
    fn drop(&mut self) {
        for key in [&mut self.data_key, &mut self.content_id_key, &mut self.tree_id_key, &mut self.gear_key] {
            key.zeroize();
        }
    }
}

/// Texts have a maximum.
pub(crate) fn check_text(text: &str) -> Result<(), Flaw> {
    require(text.len() as u64 <= limits::TEXT_BYTES_MAX, "a text is too long")
}

/// Whether a name may be a class's.
pub fn is_class_name(name: &str) -> bool {
    let characters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    characters && (1..=limits::CLASS_NAME_BYTES_MAX).contains(&(name.len() as u64))
}
