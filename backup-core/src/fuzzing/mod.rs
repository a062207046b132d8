//! Bodies of the fuzz targets, which `cargo test` runs as well: each takes any bytes, and panics where a decoder breaks its promise.
//!
//! The promise: no input panics or allocates beyond its length, and what decodes encodes to the same bytes. [`operations`] plays verbs against a model.
//! [`lookups`] is for the benches.

pub mod lookups;
pub mod operations;
mod seeds;

use crate::codec::Encode;
use crate::compress;
use crate::crypto::hash;
use crate::format::bodies::*;
use crate::format::constants::*;
use crate::format::header::{HEADER_BYTES, ObjectHeader, decode_trailer, encode_trailer};
use crate::format::keys::{KeyringBody, PeriodSecretsBody, RepositoryBody, SlotBody};
use crate::format::ledger::{Enrolment, EntryHeader, split};
use crate::format::manifest::{Manifest, Warnings};
use crate::format::name::ObjectName;
use crate::format::probes::Probes;
use crate::format::record::{self, Body};
use crate::format::table::{IndexBody, Row, Table, TableBody};
use crate::format::tree::{ListInner, ListLeaf, TreeInner, TreeLeaf};
use crate::id::ObjectId;
use crate::keyring::slot::RawSlot;
use crate::keyring::{Key, KeyFile};
use crate::time::Time;

pub use seeds::seeds;

/// What a fuzz target calls with any bytes.
pub type TargetBody = fn(&[u8]);

/// The decoders, by the names of their targets.
pub const DECODERS: [(&str, TargetBody); 11] = [
    ("record", record),
    ("header", header),
    ("trailer", trailer),
    ("padded", padded),
    ("table", table),
    ("index", index),
    ("ledger", ledger),
    ("slot", slot),
    ("frame", frame),
    ("key_file", key_file),
    ("names", names),
];

/// Runs the decoder of a name.
///
/// # Panics
/// If there is none, or it breaks its promise.
pub fn decode_any(target: &str, bytes: &[u8]) {
    let decoder = DECODERS.iter().find(|(name, _)| *name == target);
    decoder.unwrap_or_else(|| panic!("there is no decoder {target}")).1(bytes);
}

/// A record of whatever kind it says. Extensions, which this version ignores, may follow the body.
fn record(bytes: &[u8]) {
    match record::kind(bytes) {
        Some(RECORD_REPOSITORY) => again::<RepositoryBody>(bytes),
        Some(RECORD_SLOT) => again::<SlotBody>(bytes),
        Some(RECORD_KEYRING) => again::<KeyringBody>(bytes),
        Some(RECORD_PERIOD_SECRETS) => again::<PeriodSecretsBody>(bytes),
        Some(RECORD_ENTRY_HEADER) => again::<EntryHeader>(bytes),
        Some(RECORD_ENROLMENT) => again::<Enrolment>(bytes),
        Some(RECORD_TABLE) => again::<TableBody>(bytes),
        Some(RECORD_INDEX) => again::<IndexBody>(bytes),
        Some(RECORD_TREE_LEAF) => again::<TreeLeaf>(bytes),
        Some(RECORD_TREE_INNER) => again::<TreeInner>(bytes),
        Some(RECORD_LIST_LEAF) => again::<ListLeaf>(bytes),
        Some(RECORD_LIST_INNER) => again::<ListInner>(bytes),
        Some(RECORD_WARNINGS) => again::<Warnings>(bytes),
        Some(RECORD_PROBES) => again::<Probes>(bytes),
        Some(RECORD_ENROL) => again::<EnrolBody>(bytes),
        Some(RECORD_CLASS) => again::<ClassBody>(bytes),
        Some(RECORD_PERIOD) => again::<PeriodBody>(bytes),
        Some(RECORD_SNAPSHOT) => again::<Manifest>(bytes),
        Some(RECORD_CHECKPOINT) => again::<CheckpointBody>(bytes),
        Some(RECORD_VOID) => again::<VoidBody>(bytes),
        Some(RECORD_CHECK) => again::<CheckBody>(bytes),
        Some(RECORD_RESTORE) => again::<RestoreBody>(bytes),
        Some(RECORD_KEY) => again::<KeyBody>(bytes),
        _ => {}
    }
}

fn again<B: Body + Encode>(bytes: &[u8]) {
    if let Ok(body) = record::decode::<B>(bytes) {
        assert!(bytes.starts_with(&record::encode(&body)), "a record encodes to other bytes");
    }
}

fn header(bytes: &[u8]) {
    for kind in OBJECT_REPOSITORY..=OBJECT_INDEX {
        if let Ok((header, exact)) = ObjectHeader::decode(bytes, kind) {
            assert_eq!(exact, bytes[..HEADER_BYTES]);
            let mut encoded = header.encode();
            // A newer version that this one can read is kept in the exact bytes only.
            encoded[10..12].copy_from_slice(&bytes[10..12]);
            assert_eq!(encoded, exact);
        }
    }
}

fn trailer(bytes: &[u8]) {
    if let Ok((_, exact, length)) = decode_trailer(bytes) {
        assert_eq!(encode_trailer(&exact, length), bytes);
    }
}

fn padded(bytes: &[u8]) {
    if let Ok(found) = record::decode_padded(bytes) {
        assert_eq!(record::decode_padded(&record::encode_padded(&found, 128, 256)), Ok(found));
    }
}

/// Eight bytes of the table's offset, and its record.
fn table(bytes: &[u8]) {
    let Some((offset, record)) = bytes.split_first_chunk::<8>() else { return };
    let Ok(body) = record::decode::<TableBody>(record) else { return };
    let Ok(table) = Table::new(&body, u64::from_le_bytes(*offset)) else { return };
    let mut rebuilt = TableBody { row_version: ROW_VERSION, ..TableBody::default() };
    for frame in table.frames() {
        let rows = frame.first_row..frame.first_row + frame.rows;
        let rows: Vec<Row> = rows.filter_map(|number| Some(table.row(number)?.0)).collect();
        rebuilt.push_frame(frame.stored, frame.encoding, frame.kind, &rows);
    }
    assert_eq!(rebuilt, body, "a table reads as another one");
}

/// A record of an index segment, and the tables in it.
fn index(bytes: &[u8]) {
    again::<IndexBody>(bytes);
    for pack in record::decode::<IndexBody>(bytes).map(|body| body.packs).unwrap_or_default() {
        table(&[&pack.table_offset.to_le_bytes()[..], &pack.table].concat());
    }
}

fn ledger(bytes: &[u8]) {
    let Ok(entries) = split(bytes) else { return };
    assert_eq!(entries.iter().map(|entry| entry.bytes).collect::<Vec<_>>().concat(), bytes);
    for entry in entries {
        assert_eq!([entry.clear, entry.sealed, &entry.signature].concat(), entry.bytes);
        assert!(entry.clear[HEADER_BYTES + 8..].starts_with(&record::encode(&entry.header)));
    }
}

/// A key slot; no key may open what was not sealed for it.
fn slot(bytes: &[u8]) {
    if let Ok(slot) = RawSlot::decode(ObjectId(hash(bytes)), bytes.to_vec()) {
        assert_eq!(slot.describe().id, ObjectId(hash(bytes)));
        assert!(!matches!(slot.open(&Key::File(seeds::other_key())), Ok(Some(_))));
    }
}

/// A compressed frame; its first byte says how much too long or short the announced length is taken to be.
fn frame(bytes: &[u8]) {
    let Some((error, frame)) = bytes.split_first() else { return };
    let announced = compress::announced_length(frame).filter(|length| *length <= 1 << 20).unwrap_or(0) as usize;
    let length = announced.saturating_add_signed(isize::from(error.cast_signed()));
    if let Ok(plain) = compress::decompress(frame, length) {
        assert_eq!((plain.len(), *error), (announced, 0));
    }
    if let Ok(plain) = compress::decompress_patch(b"a base of some bytes", frame, announced) {
        assert_eq!(plain.len(), announced);
    }
}

fn key_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = KeyFile::parse(text) {
        assert!(KeyFile::parse(&key.to_text()).is_ok_and(|again| again == key));
    }
}

/// Names of objects, paths, and places in snapshots.
fn names(bytes: &[u8]) {
    let path = crate::path::absolute(bytes, b"/here");
    assert_eq!(crate::path::absolute(&path, b"/"), path, "a normalised path is not normal");
    assert!(crate::path::components(&path).all(|name| name != b"." && name != b".."));
    if let Ok((snapshot, Some(path))) =
        crate::path::split_snapshot(bytes, |text| text.len() < 64 && Time::parse(text).is_some())
    {
        assert_eq!([snapshot, b":", path].concat(), bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(name) = ObjectName::parse(text) {
        assert_eq!(name.to_string(), text);
    }
}
