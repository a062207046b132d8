//! The keys of a period, and the object that holds them: section 6 of `docs/format.md`.

use super::Keyring;
use crate::chunker::Chunker;
use crate::crypto::{Sealer, Secret, Zeroizing, hash, keyed_hash};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::format::bodies::PeriodBody;
use crate::format::constants::OBJECT_PERIOD;
use crate::format::header::{HEADER_BYTES, ObjectHeader};
use crate::format::keys::PeriodSecretsBody;
use crate::format::name::{Domain, ObjectName};
use crate::format::record;
use crate::id::{ChunkId, ObjectId, WriterId};
use crate::limits::PAD_BYTES_MIN_DEFAULT;

/// The keys of one period, ready for use.
pub struct PeriodKeys {
    domain: Domain,
    parameters: PeriodBody,
    data_key: Secret,
    content_id_key: Secret,
    tree_id_key: Secret,
    chunker: Chunker,
}

impl std::fmt::Debug for PeriodKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PeriodKeys({}/{})", self.domain.class, self.domain.period)
    }
}

impl PeriodKeys {
    /// Opens a period's object with its class's key, for the parameters that the ledger tells.
    pub(crate) fn open(keyring: &Keyring, parameters: &PeriodBody, mut object: Vec<u8>) -> Result<Self> {
        let domain = Domain { class: parameters.class.clone(), period: parameters.period };
        let name = ObjectName::Period(domain.clone(), parameters.object).to_string();
        if hash(&object) != parameters.object.0 {
            return Err(Error::damaged(name, "its bytes do not hash to its name"));
        }
        let (header, clear) = ObjectHeader::decode(&object, OBJECT_PERIOD).map_err(|flaw| flaw.at(&name))?;
        let padded = sealer(keyring, &domain, &header.salt)
            .open(&clear, 0, &mut object[HEADER_BYTES..])
            .map_err(|_| Error::damaged(&name, "the secrets do not open"))?;
        let record = Zeroizing::new(record::decode_padded(padded).map_err(|flaw| flaw.at(&name))?);
        let secrets: PeriodSecretsBody = record::decode(&record).map_err(|flaw| flaw.at(&name))?;
        Ok(Self {
            data_key: Secret::new(secrets.data_key),
            content_id_key: Secret::new(secrets.content_id_key),
            tree_id_key: Secret::new(secrets.tree_id_key),
            chunker: Chunker::new(&Secret::new(secrets.gear_key), parameters.chunk_sizes()),
            parameters: parameters.clone(),
            domain,
        })
    }

    pub(crate) fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The period's public parameters.
    pub fn parameters(&self) -> &PeriodBody {
        &self.parameters
    }

    pub(crate) fn chunker(&self) -> &Chunker {
        &self.chunker
    }

    /// Names a chunk of content.
    pub(crate) fn content_id(&self, plaintext: &[u8]) -> ChunkId {
        ChunkId(keyed_hash(&self.content_id_key, plaintext))
    }

    /// Names a node.
    pub(crate) fn node_id(&self, record: &[u8]) -> ChunkId {
        ChunkId(keyed_hash(&self.tree_id_key, record))
    }

    /// Whether a tree's node may end after an entry of this name: one in 128, the same for everyone who has the key.
    pub(crate) fn ends_node(&self, name: &[u8]) -> bool {
        keyed_hash(&self.tree_id_key, name)[0] < 2
    }

    /// Seals and opens frames and table of the pack with this salt.
    pub(crate) fn pack_sealer(&self, salt: &[u8; 32]) -> Sealer {
        Sealer::new(&self.data_key.derive("holdfast v1 pack key", salt))
    }

    /// Seals and opens the index segment with this salt.
    pub(crate) fn index_sealer(&self, salt: &[u8; 32]) -> Sealer {
        Sealer::new(&self.data_key.derive("holdfast v1 index key", salt))
    }
}

/// Draws the secrets of a new period and returns its object's id and bytes.
pub(crate) fn create(keyring: &Keyring, domain: &Domain, environment: &Environment) -> (ObjectId, Vec<u8>) {
    let secrets = PeriodSecretsBody {
        data_key: environment.random(),
        content_id_key: environment.random(),
        tree_id_key: environment.random(),
        gear_key: environment.random(),
    };
    let record = Zeroizing::new(record::encode(&secrets));
    let salt = environment.random();
    let header = ObjectHeader { kind: OBJECT_PERIOD, writer: WriterId([0; 16]), salt };
    let mut object = header.encode().to_vec();
    let padded = record::encode_padded(&record, HEADER_BYTES as u64 + 32, PAD_BYTES_MIN_DEFAULT);
    let padded = Zeroizing::new(padded);
    let blob = sealer(keyring, domain, &salt).seal(&object, 0, &padded);
    object.extend_from_slice(&blob);
    (ObjectId(hash(&object)), object)
}

fn sealer(keyring: &Keyring, domain: &Domain, salt: &[u8; 32]) -> Sealer {
    Sealer::new(&keyring.class_key(&domain.class).derive("holdfast v1 period sealing key", salt))
}
