//! Key slots: a keyring wrapped for one holder. Section 5 of `docs/format.md`.

use super::{Key, Keyring};
use crate::crypto::{PasswordCost, Sealer, Secret, hash, stretch};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::format::constants::{HOLDER_KEY_FILE, HOLDER_PASSPHRASE, HOLDER_PUBLIC_KEY, OBJECT_SLOT};
use crate::format::header::{HEADER_BYTES, ObjectHeader};
use crate::format::keys::{KeyringBody, SlotBody};
use crate::format::name::ObjectName;
use crate::format::record::{self, Flaw};
use crate::id::{ObjectId, WriterId};
use crate::limits::PAD_BYTES_MIN_DEFAULT;
use crate::time::Time;

/// What anyone can see of a key slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its id, which is its object's name.
    pub id: ObjectId,
    /// `passphrase` or `key file`.
    pub holder: &'static str,
    /// The name that it was given.
    pub label: String,
    /// When it was made.
    pub created: Time,
}

/// A slot object, divided into its parts.
pub(crate) struct RawSlot {
    name: String,
    bytes: Vec<u8>,
    clear_end: usize,
    salt: [u8; 32],
    body: SlotBody,
    id: ObjectId,
}

/// Wraps a keyring for the holder of a key, and returns the object's bytes.
pub(crate) fn wrap(
    keyring: &Keyring,
    key: &Key,
    cost: PasswordCost,
    label: &str,
    environment: &Environment,
) -> Result<Vec<u8>> {
    let salt = environment.random();
    let (holder, cost) = match key {
        Key::Passphrase(_) => (HOLDER_PASSPHRASE, cost),
        Key::File(_) => (HOLDER_KEY_FILE, PasswordCost { memory_kib: 0, passes: 0, lanes: 0 }),
    };
    let secret = slot_secret(key, &salt, cost)
        .ok_or_else(|| Error::Usage { what: "the cost of guessing lies outside the limits".to_owned() })?;
    let body = SlotBody {
        holder,
        argon2_memory_kib: cost.memory_kib,
        argon2_passes: cost.passes,
        argon2_lanes: cost.lanes,
        commitment: *commitment(&secret, &salt).expose(),
        label: label.to_owned(),
        created: environment.now(),
    };
    let record = record::encode(&body);
    let header = ObjectHeader { kind: OBJECT_SLOT, writer: WriterId([0; 16]), salt };
    let mut object = header.encode().to_vec();
    object.extend_from_slice(&(record.len() as u32).to_le_bytes());
    object.extend_from_slice(&record);
    let keyring = crate::crypto::Zeroizing::new(record::encode(&keyring.body()));
    let padded = record::encode_padded(&keyring, object.len() as u64 + 32, 2 * PAD_BYTES_MIN_DEFAULT);
    let padded = crate::crypto::Zeroizing::new(padded);
    let blob = Sealer::new(&slot_key(&secret, &salt)).seal(&object, 0, &padded);
    object.extend_from_slice(&blob);
    Ok(object)
}

impl RawSlot {
    /// Divides an object, whose name must be the hash of its bytes.
    pub(crate) fn decode(id: ObjectId, bytes: Vec<u8>) -> Result<Self> {
        let name = ObjectName::Slot(id).to_string();
        if hash(&bytes) != id.0 {
            return Err(Error::damaged(name, "its bytes do not hash to its name"));
        }
        let (header, body, clear_end) = divide(&bytes).map_err(|flaw| flaw.at(&name))?;
        Ok(Self { name, bytes, clear_end, salt: header.salt, body, id })
    }

    /// What anyone can see of it.
    pub(crate) fn describe(&self) -> Slot {
        let holder = match self.body.holder {
            HOLDER_PASSPHRASE => "passphrase",
            HOLDER_KEY_FILE => "key file",
            HOLDER_PUBLIC_KEY => "public key",
            _ => "unknown",
        };
        Slot { id: self.id, holder, label: self.body.label.clone(), created: self.body.created }
    }

    /// Opens it, if the key fits; `None` if it does not.
    pub(crate) fn open(&self, key: &Key) -> Result<Option<Keyring>> {
        let fits = matches!(
            (key, self.body.holder),
            (Key::Passphrase(_), HOLDER_PASSPHRASE) | (Key::File(_), HOLDER_KEY_FILE)
        );
        if !fits {
            return Ok(None);
        }
        let cost = PasswordCost {
            memory_kib: self.body.argon2_memory_kib,
            passes: self.body.argon2_passes,
            lanes: self.body.argon2_lanes,
        };
        let secret = slot_secret(key, &self.salt, cost)
            .ok_or_else(|| Error::damaged(&self.name, "the cost of guessing lies outside the limits"))?;
        if !commitment(&secret, &self.salt).matches(&self.body.commitment) {
            return Ok(None);
        }
        let (clear, blob) = self.bytes.split_at(self.clear_end);
        let mut blob = crate::crypto::Zeroizing::new(blob.to_vec());
        let padded = Sealer::new(&slot_key(&secret, &self.salt))
            .open(clear, 0, &mut blob)
            .map_err(|_| Error::damaged(&self.name, "the keyring does not open"))?;
        let record = record::decode_padded(padded).map_err(|flaw| flaw.at(&self.name))?;
        let record = crate::crypto::Zeroizing::new(record);
        let body: KeyringBody = record::decode(&record).map_err(|flaw| flaw.at(&self.name))?;
        Keyring::from_body(&body, &self.name).map(Some)
    }
}

fn divide(bytes: &[u8]) -> Result<(ObjectHeader, SlotBody, usize), Flaw> {
    let cut_short = Flaw::Malformed("the slot is cut short");
    let (header, _) = ObjectHeader::decode(bytes, OBJECT_SLOT)?;
    let length = bytes.get(HEADER_BYTES..HEADER_BYTES + 4).ok_or(cut_short)?;
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
    let end = (HEADER_BYTES + 4).saturating_add(length);
    let record = bytes.get(HEADER_BYTES + 4..end).ok_or(cut_short)?;
    Ok((header, record::decode(record)?, end))
}

fn slot_secret(key: &Key, salt: &[u8; 32], cost: PasswordCost) -> Option<Secret> {
    match key {
        Key::Passphrase(passphrase) => stretch(passphrase.expose(), salt, cost),
        Key::File(file) => Some(file.secret().clone()),
    }
}

fn slot_key(secret: &Secret, salt: &[u8; 32]) -> Secret {
    secret.derive("holdfast v1 slot key", salt)
}

fn commitment(secret: &Secret, salt: &[u8; 32]) -> Secret {
    secret.derive("holdfast v1 slot commitment", salt)
}
