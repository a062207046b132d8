//! Packs made by hand with the real keys, for tests: what no writer of this library would make, and every reader must expect.

use std::sync::Arc;

use crate::buffers::Buffers;
use crate::compress;
use crate::environment::Environment;
use crate::format::constants::FRAME_CONTENT;
use crate::format::name::Area;
use crate::id::{ChunkId, ChunkPrefix};
use crate::index::Index;
use crate::keyring::{Key, KeyFile, PeriodKeys};
use crate::pack::builder::{PackBuilder, PlainFrame};
use crate::pack::reader::{OpenPack, PackPlace};
use crate::repository::open::InitOptions;
use crate::repository::{Repository, RepositoryOptions};
use crate::storage::{Storage, StorageOptions};

/// A chunk as a table tells of it: its name, what stands for it, and its plain length, depth and base if it is a patch.
pub(crate) struct Made {
    pub(crate) prefix: ChunkPrefix,
    pub(crate) payload: Vec<u8>,
    pub(crate) patch: Option<(usize, u8, ChunkPrefix)>,
}

pub(crate) struct Place {
    pub(crate) repository: Repository,
    pub(crate) keys: Arc<PeriodKeys>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let operator = opendal::Operator::new(opendal::services::Memory::default()).unwrap();
        let storage = Storage::new(operator, StorageOptions::new().pause_ms(0).attempts(1)).unwrap();
        let key = Key::File(KeyFile::generate(&Environment::default()));
        let options = RepositoryOptions::new().threads(2);
        let repository = Repository::init(storage, &key, &InitOptions::new(), options).unwrap();
        repository.index().unwrap();
        let keys = Arc::clone(repository.keys.values().next().unwrap());
        Self { repository, keys }
    }

    pub(crate) fn id(&self, plaintext: &[u8]) -> ChunkId {
        self.keys.content_id(plaintext)
    }

    pub(crate) fn whole(&self, plaintext: &[u8]) -> Made {
        Made { prefix: self.id(plaintext).prefix(), payload: plaintext.to_vec(), patch: None }
    }

    pub(crate) fn patch(&self, base: &[u8], plaintext: &[u8], depth: u8) -> Made {
        let payload = compress::compress_patch(3, base, plaintext).unwrap();
        let patch = Some((plaintext.len(), depth, self.id(base).prefix()));
        Made { prefix: self.id(plaintext).prefix(), payload, patch }
    }

    /// Stores frames of chunks as one pack, and makes it known. Returns its place.
    pub(crate) fn pack(&mut self, frames: &[&[Made]]) -> PackPlace {
        let mut builder = PackBuilder::new(&self.keys, self.repository.writer(), 256, &Environment::default());
        for chunks in frames {
            let mut frame = PlainFrame::new(FRAME_CONTENT, &Buffers::new(0, 0));
            for chunk in *chunks {
                match chunk.patch {
                    None => frame.push(chunk.prefix, &chunk.payload),
                    Some((plain, depth, base)) => frame.push_patch(chunk.prefix, plain, depth, base, &chunk.payload),
                }
            }
            builder.push(frame.compress(None), &self.repository.workers);
        }
        let finished = builder.finish();
        let place = PackPlace {
            id: finished.id,
            area: Area::Packs,
            domain: Arc::new(self.keys.domain().clone()),
            length: finished.length,
            table_offset: finished.table_offset,
            table_length: finished.table_length,
        };
        self.repository.storage.write_parts(&place.name(), finished.parts).unwrap();
        let open: OpenPack = place.read_table(&self.keys, &self.repository.storage).unwrap();
        self.repository.adopt(Index::default(), vec![open]);
        place
    }

    pub(crate) fn flip(&self, place: &PackPlace, frame: usize) {
        let open = place.read_table(&self.keys, &self.repository.storage).unwrap();
        let mut bytes = self.repository.storage.read(&place.name(), 1 << 28).unwrap();
        bytes[open.table.frames()[frame].offset as usize + 20] ^= 1;
        self.repository.storage.delete(&place.name()).unwrap();
        self.repository.storage.write(&place.name(), bytes).unwrap();
    }
}

pub(crate) fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    crate::crypto::extend(&crate::crypto::Secret::new([seed; 32]), b"", &mut bytes);
    bytes
}

/// Versions of one chunk, each with a little of it changed.
pub(crate) fn versions(seed: u8, count: usize) -> Vec<Vec<u8>> {
    let mut versions = vec![noise(seed, 5000)];
    for number in 1..count {
        let mut next = versions[number - 1].clone();
        next[number * 31..][..20].fill(number as u8);
        versions.push(next);
    }
    versions
}
