//! The secrets that a holder has, and how they are wrapped: sections 3, 5 and 6 of `docs/format.md`.
//!
//! A [`Keyring`] derives every other key. Slots wrap it for one holder each ([`slot`]); periods have random keys of their own ([`period`]).
//! Nothing here reads or writes storage.

pub mod key_file;
pub mod period;
pub mod slot;

use crate::crypto::{Secret, SigningKey};
use crate::error::{Error, Result};
use crate::format::constants::ROLE_ADMIN;
use crate::format::keys::KeyringBody;
use crate::id::RepositoryId;

pub use key_file::KeyFile;
pub use period::PeriodKeys;

/// What a caller gives to open a repository.
#[derive(Clone)]
#[non_exhaustive]
pub enum Key {
    /// A passphrase, as bytes.
    Passphrase(Passphrase),
    /// A key file, or a recovery sheet.
    File(KeyFile),
}

impl Key {
    /// Takes a passphrase.
    pub fn passphrase(bytes: impl Into<Vec<u8>>) -> Self {
        Key::Passphrase(Passphrase(crate::crypto::Zeroizing::new(bytes.into())))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Key::Passphrase(_) => "Key::Passphrase(..)",
            Key::File(_) => "Key::File(..)",
        })
    }
}

/// A passphrase: overwritten when dropped, never printed.
#[derive(Clone)]
pub struct Passphrase(crate::crypto::Zeroizing<Vec<u8>>);

impl Passphrase {
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// The secrets of one role. In version 1 that is the admin's, who has the root.
#[derive(Clone)]
pub(crate) struct Keyring {
    repository: RepositoryId,
    admin_key: [u8; 32],
    root: Secret,
}

impl Keyring {
    /// Makes the admin's keyring of a new repository.
    pub(crate) fn create(repository: RepositoryId, root: Secret) -> Self {
        let admin_key = admin_signing_key(&root).public();
        Self { repository, admin_key, root }
    }

    /// Takes what a slot held.
    fn from_body(body: &KeyringBody, object: &str) -> Result<Self> {
        match (body.role, body.root) {
            (ROLE_ADMIN, Some(root)) => {
                Ok(Self { repository: body.repository, admin_key: body.admin_key, root: Secret::new(root) })
            }
            (ROLE_ADMIN, None) => Err(Error::damaged(object, "an admin's keyring has no root")),
            _ => Err(Error::Newer { object: object.to_owned(), what: "a role" }),
        }
    }

    fn body(&self) -> KeyringBody {
        KeyringBody {
            role: ROLE_ADMIN,
            repository: self.repository,
            admin_key: self.admin_key,
            root: Some(*self.root.expose()),
            repository_ledger_key: None,
            classes: Vec::new(),
            ledger_keys: Vec::new(),
        }
    }

    pub(crate) fn repository(&self) -> RepositoryId {
        self.repository
    }

    pub(crate) fn admin_key(&self) -> [u8; 32] {
        self.admin_key
    }

    /// The key that signs the repository object and enrolments.
    pub(crate) fn admin_signing_key(&self) -> SigningKey {
        admin_signing_key(&self.root)
    }

    /// The key under which bodies of entries are sealed: a class's, or the repository's for an empty name.
    pub(crate) fn ledger_key(&self, class: &str) -> Secret {
        if class.is_empty() {
            self.root.derive("holdfast v1 repository ledger key", b"")
        } else {
            self.class_key(class).derive("holdfast v1 class ledger key", b"")
        }
    }

    /// The key under which this machine seals what it verified of the ledger, for itself only.
    pub(crate) fn memory_key(&self) -> Secret {
        self.root.derive("holdfast v1 local memory of the ledger", &self.repository.0)
    }

    /// The key by which this machine knows the mapped segments again that it wrote into its cache.
    pub(crate) fn local_index_key(&self) -> Secret {
        self.root.derive("holdfast v1 local index", &self.repository.0)
    }

    /// The key under which the secrets of a class's periods are sealed.
    pub(crate) fn class_key(&self, class: &str) -> Secret {
        self.root.derive("holdfast v1 class key", class.as_bytes())
    }
}

fn admin_signing_key(root: &Secret) -> SigningKey {
    SigningKey::from_seed(&root.derive("holdfast v1 admin signing key", b""))
}
