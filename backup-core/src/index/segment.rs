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

/// From so many packs on, a backup gathers their tables: fewer cost less to read one by one than a list costs.
pub(crate) const SEGMENT_PACKS_MIN: usize = 8;
/// A segment holds about so many bytes of tables.
const SEGMENT_BYTES_TARGET: usize = 16 << 20;

/// Writes segments over the tables of packs of one domain. Returns their names.
pub(crate) fn write(
    storage: &Storage,
    keys: &PeriodKeys,
    packs: &[OpenPack],
    writer: WriterId,
    environment: &Environment,
) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut body = IndexBody { row_version: ROW_VERSION, packs: Vec::new() };
    let mut bytes = 0;
    for pack in packs {
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
        bytes += row.table.len();
        body.packs.push(row);
        if bytes >= SEGMENT_BYTES_TARGET {
            names.push(write_one(storage, keys, &body, writer, environment)?);
            body.packs.clear();
            bytes = 0;
        }
    }
    if !body.packs.is_empty() {
        names.push(write_one(storage, keys, &body, writer, environment)?);
    }
    Ok(names)
}

fn write_one(
    storage: &Storage,
    keys: &PeriodKeys,
    body: &IndexBody,
    writer: WriterId,
    environment: &Environment,
) -> Result<String> {
    let salt = environment.random();
    let mut object = ObjectHeader { kind: OBJECT_INDEX, writer, salt }.encode().to_vec();
    let others = object.len() as u64 + SEAL_OVERHEAD_BYTES;
    let padded = record::encode_padded(&record::encode(body), others, PAD_BYTES_MIN_DEFAULT);
    let blob = keys.index_sealer(&salt).seal(&object, 0, &padded);
    object.extend_from_slice(&blob);
    let name = ObjectName::Index(keys.domain().clone(), ObjectId(hash(&object))).to_string();
    storage.write(&name, object)?;
    Ok(name)
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
