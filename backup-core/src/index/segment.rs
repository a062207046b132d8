//! Index segments: the tables of many packs in one object. Section 10 of `docs/format.md`. They save requests, and nothing depends on them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::crypto::{Sealer, hash};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::format::constants::{OBJECT_INDEX, ROW_VERSION};
use crate::format::header::{HEADER_BYTES, ObjectHeader};
use crate::format::name::{Domain, ObjectName};
use crate::format::record;
use crate::format::table::{IndexBody, IndexedPack};
use crate::id::{ObjectId, PackId, WriterId};
use crate::keyring::PeriodKeys;
use crate::limits::{INDEX_BYTES_MAX, PAD_BYTES_MIN_DEFAULT, SEAL_OVERHEAD_BYTES};
use crate::pack::reader::{OpenPack, PackPlace};
use crate::pipeline::Workers;
use crate::storage::Storage;

/// From so many packs on segments are looked for, and written of what is left at the end: fewer tables cost less to read one by one than a list costs.
pub(crate) const SEGMENT_PACKS_MIN: usize = 8;
/// A segment holds about so many bytes of tables.
const SEGMENT_BYTES_TARGET: usize = 4 << 20;

/// Gathers tables of packs of one domain into segments, and writes each when it has its bytes.
pub(crate) struct Gathering {
    storage: Storage,
    keys: Arc<PeriodKeys>,
    writer: WriterId,
    environment: Environment,
    body: IndexBody,
    bytes: usize,
    written: Vec<String>,
}

impl Gathering {
    /// Begins without any table.
    pub(crate) fn new(storage: &Storage, keys: &Arc<PeriodKeys>, writer: WriterId, environment: &Environment) -> Self {
        Self {
            storage: storage.clone(),
            keys: Arc::clone(keys),
            writer,
            environment: environment.clone(),
            body: IndexBody { row_version: ROW_VERSION, packs: Vec::new() },
            bytes: 0,
            written: Vec::new(),
        }
    }

    /// Takes the record of a pack's table, which must be there still.
    pub(crate) fn push(&mut self, pack: &OpenPack) -> Result<()> {
        let row = IndexedPack {
            pack: pack.place.id,
            area: pack.place.area.number(),
            length: pack.place.length,
            table_offset: pack.place.table_offset,
            table_length: pack.place.table_length,
            writer: pack.header().writer,
            salt: pack.header().salt,
            table: pack.record().to_vec(),
        };
        self.bytes += row.table.len();
        self.body.packs.push(row);
        if self.bytes >= SEGMENT_BYTES_TARGET { self.write() } else { Ok(()) }
    }

    /// Writes what is left. Returns the names of all segments.
    pub(crate) fn finish(mut self) -> Result<Vec<String>> {
        if !self.body.packs.is_empty() {
            self.write()?;
        }
        Ok(self.written)
    }

    /// As [`Self::finish`], but what is left is not worth a segment if it is of few packs.
    pub(crate) fn finish_if_many(mut self) -> Result<Vec<String>> {
        if self.body.packs.len() < SEGMENT_PACKS_MIN {
            self.body.packs.clear();
        }
        self.finish()
    }

    fn write(&mut self) -> Result<()> {
        let salt = self.environment.random();
        let mut object = ObjectHeader { kind: OBJECT_INDEX, writer: self.writer, salt }.encode().to_vec();
        let others = object.len() as u64 + SEAL_OVERHEAD_BYTES;
        let padded = record::encode_padded(&record::encode(&self.body), others, PAD_BYTES_MIN_DEFAULT);
        self.body.packs.clear();
        self.bytes = 0;
        let blob = self.keys.index_sealer(&salt).seal(&object, 0, &padded);
        object.extend_from_slice(&blob);
        let name = ObjectName::Index(self.keys.domain().clone(), ObjectId(hash(&object))).to_string();
        self.storage.write(&name, object)?;
        self.written.push(name);
        Ok(())
    }
}

/// Reads one segment. Whatever is wrong with it is an error; callers may ignore segments.
pub(crate) fn read(storage: &Storage, keys: &PeriodKeys, name: &str) -> Result<IndexBody> {
    let mut object = storage.read_cached(name, INDEX_BYTES_MAX)?;
    let (header, clear) = ObjectHeader::decode(&object, OBJECT_INDEX).map_err(|flaw| flaw.at(name))?;
    let sealer: Sealer = keys.index_sealer(&header.salt);
    let padded = sealer
        .open(&clear, 0, &mut object[HEADER_BYTES..])
        .map_err(|_| Error::damaged(name, "the segment does not open"))?;
    let record = record::decode_padded(padded).map_err(|flaw| flaw.at(name))?;
    record::decode(&record).map_err(|flaw| flaw.at(name))
}

/// Opens as many of the packs as segments tell of, and hands them on, those of a few segments at a time. Returns the rest.
pub(crate) fn read_each(
    storage: &Storage,
    workers: &Workers,
    keys: &HashMap<Arc<Domain>, Arc<PeriodKeys>>,
    places: Vec<PackPlace>,
    take: &mut impl FnMut(Vec<OpenPack>),
) -> Result<Vec<PackPlace>> {
    if places.len() < SEGMENT_PACKS_MIN {
        return Ok(places);
    }
    let mut segments: Vec<(Arc<PeriodKeys>, String)> = Vec::new();
    for (domain, keys) in keys {
        let listed = storage.list(&format!("index/{}/{}/", domain.class, domain.period))?;
        segments.extend(listed.into_iter().map(|info| (Arc::clone(keys), info.name)));
    }
    let mut wanted: HashMap<PackId, PackPlace> = places.into_iter().map(|place| (place.id, place)).collect();
    for some in segments.chunks(workers.count()) {
        let read = workers.map(some.iter().collect(), |(keys, name)| Some((keys, read(storage, keys, name).ok()?)));
        let mut rows: Vec<(PackPlace, &Arc<PeriodKeys>, IndexedPack)> = Vec::new();
        for (keys, body) in read.into_iter().flatten() {
            for row in body.packs {
                if wanted.get(&row.pack).is_some_and(|place| agrees(place, &row, keys))
                    && let Some(place) = wanted.remove(&row.pack)
                {
                    rows.push((place, keys, row));
                }
            }
        }
        let opened = workers.map(rows, |(place, keys, row)| {
            OpenPack::from_segment(place.clone(), keys, row.salt, row.writer, row.table).map_err(|_| place)
        });
        let mut packs = Vec::with_capacity(opened.len());
        for result in opened {
            match result {
                Ok(pack) => packs.push(pack),
                Err(place) => drop(wanted.insert(place.id, place)),
            }
        }
        take(packs);
    }
    Ok(wanted.into_values().collect())
}

fn agrees(place: &PackPlace, row: &IndexedPack, keys: &PeriodKeys) -> bool {
    *place.domain == *keys.domain()
        && (place.area.number(), place.length, place.table_offset, place.table_length)
            == (row.area, row.length, row.table_offset, row.table_length)
}
