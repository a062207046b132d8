//! One entry: composed, sealed and signed by its writer; verified by anyone; opened by who has the key.

use std::borrow::Cow;

use crate::crypto::{Forged, Sealer, SigningKey, hash, verify};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::format::constants::OBJECT_ENTRY;
use crate::format::header::ObjectHeader;
use crate::format::ledger::{self, Enrolment, EntryHeader, RawEntry, SIGNATURE_BYTES};
use crate::format::record::{self, Flaw};
use crate::id::{EntryId, WriterId};
use crate::keyring::Keyring;
use crate::limits::{PAD_BYTES_MIN_DEFAULT, SEAL_OVERHEAD_BYTES};

pub(crate) const ENTRY_CONTEXT: &str = "holdfast v1 ledger entry";
pub(crate) const ENROLMENT_CONTEXT: &str = "holdfast v1 enrolment";

/// An entry that was read.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: EntryId,
    pub(crate) writer: WriterId,
    pub(crate) header: EntryHeader,
    body: EntryBody,
}

#[derive(Clone)]
enum EntryBody {
    Sealed {
        salt: [u8; 32],
        clear: Vec<u8>,
        sealed: Vec<u8>,
    },
    /// Its record.
    Opened(Vec<u8>),
}

impl std::fmt::Debug for EntryBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            EntryBody::Sealed { .. } => "Sealed(..)",
            EntryBody::Opened(_) => "Opened(..)",
        })
    }
}

/// Seals and signs an entry around the record of a body.
pub(crate) fn compose(
    writer: WriterId,
    key: &SigningKey,
    keyring: &Keyring,
    header: &EntryHeader,
    body: &[u8],
    environment: &Environment,
) -> Vec<u8> {
    let salt = environment.random();
    let object = ObjectHeader { kind: OBJECT_ENTRY, writer, salt };
    let clear_length = ledger::encode_clear(&object, header, 0).len() as u64;
    let others = clear_length + SEAL_OVERHEAD_BYTES + SIGNATURE_BYTES as u64;
    let padded = record::encode_padded(body, others, PAD_BYTES_MIN_DEFAULT);
    let sealed_length = u32::try_from(padded.len() as u64 + SEAL_OVERHEAD_BYTES).expect("bodies are bounded");
    let mut bytes = ledger::encode_clear(&object, header, sealed_length);
    let sealed = sealer(keyring, &header.class, &salt).seal(&bytes, 0, &padded);
    bytes.extend_from_slice(&sealed);
    let signature = key.sign(ENTRY_CONTEXT, &bytes);
    bytes.extend_from_slice(&signature);
    bytes
}

fn sealer(keyring: &Keyring, class: &str, salt: &[u8; 32]) -> Sealer {
    Sealer::new(&keyring.ledger_key(class).derive("holdfast v1 entry key", salt))
}

/// Makes the enrolment of a writer, signed by the admin.
pub(crate) fn compose_enrolment(enrolment: &Enrolment, admin: &SigningKey) -> Vec<u8> {
    let mut bytes = record::encode(enrolment);
    let signature = admin.sign(ENROLMENT_CONTEXT, &bytes);
    bytes.extend_from_slice(&signature);
    bytes
}

/// Opens an enrolment; says what is wrong with it where something is.
pub(crate) fn verify_enrolment(bytes: &[u8], admin_key: &[u8; 32]) -> Result<Enrolment, Flaw> {
    let (record, signature) = divide_enrolment(bytes)?;
    let signed = verify(admin_key, ENROLMENT_CONTEXT, record, signature);
    record::require(signed, "the enrolment is not signed by the admin")?;
    record::decode(record)
}

/// Opens an enrolment that was verified before.
pub(crate) fn decode_enrolment(bytes: &[u8]) -> Result<Enrolment, Flaw> {
    record::decode(divide_enrolment(bytes)?.0)
}

fn divide_enrolment(bytes: &[u8]) -> Result<(&[u8], &[u8; SIGNATURE_BYTES]), Flaw> {
    bytes.split_last_chunk::<SIGNATURE_BYTES>().ok_or(Flaw::Malformed("the enrolment is cut short"))
}

impl Entry {
    /// Takes an entry out of its object, its signature not yet verified.
    pub(crate) fn from_raw(raw: &RawEntry<'_>) -> Self {
        Self {
            id: EntryId(hash(raw.bytes)),
            writer: raw.object.writer,
            header: raw.header.clone(),
            body: EntryBody::Sealed { salt: raw.object.salt, clear: raw.clear.to_vec(), sealed: raw.sealed.to_vec() },
        }
    }

    /// Takes an entry that was verified and opened before.
    pub(crate) fn remembered(id: EntryId, writer: WriterId, header: EntryHeader, record: Vec<u8>) -> Self {
        Self { id, writer, header, body: EntryBody::Opened(record) }
    }

    /// Opens the body with the key of the entry's class and returns its record.
    pub(crate) fn open(&self, keyring: &Keyring) -> Result<Cow<'_, [u8]>> {
        let (salt, clear, sealed) = match &self.body {
            EntryBody::Opened(record) => return Ok(Cow::Borrowed(record)),
            EntryBody::Sealed { salt, clear, sealed } => (salt, clear, sealed),
        };
        let mut blob = sealed.clone();
        let padded = sealer(keyring, &self.header.class, salt)
            .open(clear, 0, &mut blob)
            .map_err(|Forged| Error::damaged(self.describe(), "the body does not open"))?;
        record::decode_padded(padded).map(Cow::Owned).map_err(|flaw| flaw.at(self.describe()))
    }

    /// Keeps the record instead of the sealed body, where it opens: that is shorter, and opened once.
    pub(crate) fn unseal(&mut self, keyring: &Keyring) {
        if let Ok(Cow::Owned(record)) = self.open(keyring) {
            self.body = EntryBody::Opened(record);
        }
    }

    /// The record, if it was opened already.
    pub(crate) fn record(&self) -> Option<&[u8]> {
        match &self.body {
            EntryBody::Opened(record) => Some(record),
            EntryBody::Sealed { .. } => None,
        }
    }

    /// Bytes of the entry in its object. Of one that was remembered they are counted as this program would write it; what another one's compression makes of it hardly differs.
    pub(crate) fn stored_bytes(&self) -> u64 {
        let others = SEAL_OVERHEAD_BYTES + SIGNATURE_BYTES as u64;
        match &self.body {
            EntryBody::Sealed { clear, sealed, .. } => (clear.len() + sealed.len() + SIGNATURE_BYTES) as u64,
            EntryBody::Opened(record) => {
                let object = ObjectHeader { kind: OBJECT_ENTRY, writer: self.writer, salt: [0; 32] };
                let others = ledger::encode_clear(&object, &self.header, 0).len() as u64 + others;
                others + record::encode_padded(record, others, PAD_BYTES_MIN_DEFAULT).len() as u64
            }
        }
    }

    /// Names the entry for people.
    pub(crate) fn describe(&self) -> String {
        format!("ledger entry {} of writer {}", self.header.sequence, self.writer)
    }
}
