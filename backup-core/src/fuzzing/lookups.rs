//! What benches ask of an index: look-ups by prefix, and indexes of any size over packs that nobody stored.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::crypto::{Secret, extend, hash};
use crate::error::{Error, Result};
use crate::format::constants::{ENCODING_ZSTD, FRAME_CONTENT};
use crate::format::name::{Area, Domain};
use crate::format::record;
use crate::format::table::{Row, TableBody};
use crate::id::{ChunkPrefix, PackId, WriterId};
use crate::index::mapped::gather::Lots;
use crate::index::{Index, LocalIndex, Reading, Voids};
use crate::keyring::PeriodKeys;
use crate::limits::{OBJECT_HEADER_BYTES, SEAL_OVERHEAD_BYTES, TRAILER_BYTES};
use crate::pack::reader::{OpenPack, PackPlace};
use crate::repository::Repository;
use crate::storage::Cache;

/// Chunks of one synthetic pack.
const PACK_ROWS: u64 = 500;
/// One row of so many is a patch.
const ROWS_PER_PATCH: u64 = 16;
/// Packs that are made side by side.
const PACKS_AT_ONCE: u64 = 256;

/// An index of which a bench can ask.
pub struct Lookups<'r>(Source<'r>);

enum Source<'r> {
    Own(&'r Index),
    Synthetic(Box<Index>),
}

impl<'r> Lookups<'r> {
    /// Takes the index of a repository.
    ///
    /// # Errors
    /// As for [`Repository::count_chunks`].
    pub fn of(repository: &'r Repository) -> Result<Self> {
        Ok(Self(Source::Own(repository.index()?)))
    }

    /// Opens the index of `rows` synthetic chunks that [`make_segments`] put into a cache.
    ///
    /// # Errors
    /// [`Error::Damaged`] where some of it is not there.
    pub fn open(repository: &'r Repository, cache: &Path, rows: u64) -> Result<Self> {
        let local = local_index(repository, cache);
        let (domain, _) = any_keys(repository)?;
        let places = (0..rows / PACK_ROWS).map(|number| place(number, domain)).collect();
        let (storage, workers, keys) = (&repository.storage, &*repository.workers, &repository.keys);
        let reading = Reading { storage, workers, keys };
        let (index, _) =
            Index::load(reading, Some(&local), &repository.options.environment, places, &Voids::default())?;
        match index.len() as u64 == rows / PACK_ROWS * PACK_ROWS {
            true => Ok(Self(Source::Synthetic(Box::new(index)))),
            false => Err(Error::damaged("the synthetic index", "some of it is not there")),
        }
    }

    fn index(&self) -> &Index {
        match &self.0 {
            Source::Own(index) => index,
            Source::Synthetic(index) => index,
        }
    }

    /// Prefixes of chunks that are there, from packs all over the index.
    pub fn some(&self, count: usize) -> Vec<ChunkPrefix> {
        let packs = self.index().packs();
        let prefix = |number: usize| {
            // Far apart, and another row in each pack.
            let prefixes = packs[number.wrapping_mul(0x9E37_79B9) % packs.len()].table.prefixes();
            prefixes.get(number.wrapping_mul(0x85EB_CA6B) % prefixes.len().max(1)).copied()
        };
        (0..count).filter_map(prefix).collect()
    }

    /// How many of these chunks are there.
    pub fn count_found(&self, prefixes: &[ChunkPrefix]) -> usize {
        prefixes.iter().filter(|prefix| self.index().contains(prefix)).count()
    }
}

/// Makes segments of `rows` synthetic chunks in a cache, as an opening of that many would.
///
/// # Errors
/// [`Error::Damaged`] for a repository without keys.
pub fn make_segments(repository: &Repository, cache: &Path, rows: u64) -> Result<()> {
    let local = local_index(repository, cache);
    let (domain, keys) = any_keys(repository)?;
    let mut lots = Lots::new(Some(&local), &repository.workers, &repository.options.environment);
    let packs = rows / PACK_ROWS;
    for first in (0..packs).step_by(PACKS_AT_ONCE as usize) {
        let numbers: Vec<u64> = (first..packs.min(first + PACKS_AT_ONCE)).collect();
        let made = repository.workers.map(numbers, |number| {
            let (place, record) = (place(number, domain), record::encode(&table(number)));
            OpenPack::from_segment(place, keys, [7; 32], WriterId([7; 16]), record)
        });
        lots.take(made.into_iter().collect::<Result<_>>()?);
    }
    lots.finish();
    Ok(())
}

fn local_index(repository: &Repository, cache: &Path) -> LocalIndex {
    LocalIndex::new(&Cache::open(cache, u64::MAX), &repository.keyring)
}

type Keys<'r> = (&'r Arc<Domain>, &'r Arc<PeriodKeys>);

fn any_keys(repository: &Repository) -> Result<Keys<'_>> {
    let keys: &HashMap<_, _> = &repository.keys;
    keys.iter().next().ok_or_else(|| Error::damaged("the repository", "it has no period"))
}

fn place(number: u64, domain: &Arc<Domain>) -> PackPlace {
    let table_offset = OBJECT_HEADER_BYTES + stored_bytes();
    PackPlace {
        id: PackId(hash(&number.to_le_bytes())),
        area: Area::Packs,
        domain: Arc::clone(domain),
        length: table_offset + TRAILER_BYTES,
        table_offset,
        table_length: 20 * PACK_ROWS as u32,
    }
}

fn stored_bytes() -> u64 {
    20_000 * PACK_ROWS + SEAL_OVERHEAD_BYTES
}

fn table(number: u64) -> TableBody {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let mut prefixes = vec![[0; 16]; PACK_ROWS as usize];
    extend(&Secret::new(seed), b"", prefixes.as_flattened_mut());
    let rows = (0..).zip(&prefixes).map(|(row, prefix)| {
        let base = (row % ROWS_PER_PATCH == 1).then(|| prefixes[0]);
        let depth = u8::from(base.is_some());
        Row { prefix: *prefix, payload: 40_000, plain: 40_000, depth, base }
    });
    let mut body = TableBody::default();
    body.push_frame(stored_bytes() as u32, ENCODING_ZSTD, FRAME_CONTENT, &rows.collect::<Vec<_>>());
    body
}
