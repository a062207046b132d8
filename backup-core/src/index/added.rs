//! The index of what one run added: entries of the ledger name these packs already, and the repository's own index does not know them yet.
//!
//! It grows at every checkpoint, so that a run need not remember all that it stored: where there is a local cache, tables move on into mapped segments.

use std::sync::Arc;

use super::mapped::Reread;
use super::{Index, LocalIndex, Reading, Voids};
use crate::environment::Environment;
use crate::error::Result;
use crate::id::ChunkPrefix;
use crate::pack::reader::OpenPack;

/// Packs that a run stored and named.
pub(crate) struct Added {
    local: Option<LocalIndex>,
    index: Index,
}

impl Added {
    /// Begins without any; `known` is the index that they are new to.
    pub(crate) fn new(local: Option<LocalIndex>, known: &Index) -> Self {
        let reread: Option<Arc<Reread>> = known.reread.clone();
        Self { local, index: Index { reread, ..Index::default() } }
    }

    /// Adds packs.
    ///
    /// # Errors
    /// [`crate::Error::Storage`], where a table must be read again that somebody took out of the cache.
    pub(crate) fn add(&mut self, reading: Reading<'_>, environment: &Environment, packs: Vec<OpenPack>) -> Result<()> {
        self.index.extend(packs, true, &Voids::default());
        if let Some(local) = self.local.as_ref().filter(|local| self.index.is_overgrown(local, 0)) {
            self.index = std::mem::take(&mut self.index).into_segments(reading, local, environment)?;
        }
        Ok(())
    }

    /// Whether one of the packs holds a chunk.
    pub(crate) fn contains(&self, prefix: &ChunkPrefix) -> bool {
        self.index.contains(prefix)
    }

    /// Plaintext bytes of a chunk and of all its bases, any of which may be known from before instead of being here.
    pub(crate) fn decode_bytes(&self, prefix: &ChunkPrefix, known: &Index) -> Option<u32> {
        self.index.decode_bytes(prefix, Some(known))
    }

    #[cfg(test)]
    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// Gives the index of all of them.
    pub(crate) fn into_index(self) -> Index {
        self.index
    }
}
