//! The committed file, read: what was written once decodes to the same bytes for ever, and nothing that was altered passes for something else.

use serde_json::Value;

use super::committed;
use super::fixture::Fixture;
use super::packs;
use super::records::{DEFINED, known, name_of};
use crate::crypto::{Sealer, Secret, verify};
use crate::format::constants::RECORD_TABLE;
use crate::format::ledger::split;
use crate::format::record;
use crate::format::table::{Table, TableBody};
use crate::id::{ObjectId, decode_hex};
use crate::keyring::slot::RawSlot;
use crate::keyring::{Key, KeyFile};
use crate::ledger::entry::ENTRY_CONTEXT;
use crate::repository::open::read_repository;
use crate::storage::{Storage, StorageOptions};

fn bytes(vector: &Value, field: &str) -> Vec<u8> {
    let text = vector[field].as_str().unwrap();
    let mut bytes = vec![0; text.len() / 2];
    assert!(decode_hex(text, &mut bytes), "{field} is not hex");
    bytes
}

fn array(vector: &Value, field: &str) -> [u8; 32] {
    bytes(vector, field).try_into().unwrap()
}

fn section(name: &str) -> Vec<Value> {
    committed()[name].as_array().unwrap().clone()
}

/// Records that carry no extension: those are not kept by decoding.
fn plain_records() -> Vec<(u16, Vec<u8>)> {
    let records = section("records").into_iter().filter(|vector| vector.get("extensions").is_none());
    records.map(|vector| bytes(&vector, "hex")).map(|bytes| (record::kind(&bytes).unwrap(), bytes)).collect()
}

/// What an altered record decodes to, if it does, must be exactly what stands in it; extensions are left out by decoding.
fn expect_honest(altered: &[u8]) {
    let Some(kind) = record::kind(altered).and_then(known) else { return };
    let Ok(again) = (kind.again)(altered) else { return };
    assert_eq!(again, altered[..again.len()], "{altered:02x?} decodes to something else");
    if record::kind(altered) == Some(RECORD_TABLE)
        && let Ok(body) = record::decode::<TableBody>(altered)
    {
        // Whatever it says, looking at it must not panic.
        let _ = Table::new(&body, 4096);
    }
}

#[test]
fn every_record_decodes_to_its_fields_and_back_to_its_bytes() {
    let mut seen = Vec::new();
    for vector in section("records") {
        let bytes = bytes(&vector, "hex");
        let kind = record::kind(&bytes).unwrap();
        let known = known(kind).unwrap();
        assert_eq!(vector["kind"], name_of(kind));
        assert_eq!((known.fields)(&bytes).unwrap(), vector["fields"], "{}", vector["name"]);
        let again = (known.again)(&bytes).unwrap();
        assert_eq!(again, bytes[..again.len()], "{}", vector["name"]);
        assert_eq!(again.len() == bytes.len(), vector.get("extensions").is_none(), "{}", vector["name"]);
        seen.push(kind);
    }
    for kind in DEFINED {
        assert!(seen.contains(&kind), "no vector of {}", name_of(kind));
    }
}

#[test]
fn a_record_cut_short_anywhere_is_refused() {
    for (kind, bytes) in plain_records() {
        for length in 0..bytes.len() {
            let cut = (known(kind).unwrap().again)(&bytes[..length]);
            assert!(cut.is_err(), "{} cut to {length} bytes", name_of(kind));
        }
    }
}

#[test]
fn a_flipped_bit_is_refused_or_decodes_to_what_it_says() {
    for (_, bytes) in plain_records() {
        for at in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[at / 8] ^= 1 << (at % 8);
            expect_honest(&altered);
        }
    }
}

#[test]
fn what_must_be_refused_is() {
    for vector in section("refused") {
        let accepted = match vector["what"].as_str().unwrap() {
            "record" => {
                let bytes = bytes(&vector, "hex");
                record::kind(&bytes).and_then(known).is_some_and(|known| (known.again)(&bytes).is_ok())
            }
            "padded" => record::decode_padded(&bytes(&vector, "hex")).is_ok(),
            "sealed" => accepts_sealed(&vector),
            "key_file" => KeyFile::parse(vector["text"].as_str().unwrap()).is_ok(),
            "repository" => accepts_repository(&vector),
            "slot" => accepts_slot(&vector),
            "pack" => accepts_pack(&vector),
            "entry" => accepts_entry(&vector),
            what => panic!("{what} is not known"),
        };
        assert!(!accepted, "accepted: {}, {}", vector["what"], vector["name"]);
    }
}

fn accepts_sealed(vector: &Value) -> bool {
    let sealer = Sealer::new(&Secret::new(array(vector, "key")));
    let ordinal = vector["ordinal"].as_u64().unwrap();
    sealer.open(&bytes(vector, "prefix"), ordinal, &mut bytes(vector, "hex")).is_ok()
}

fn accepts_repository(vector: &Value) -> bool {
    let operator = opendal::Operator::new(opendal::services::Memory::default()).unwrap();
    let storage = Storage::new(operator, StorageOptions::new().pause_ms(0)).unwrap();
    storage.write("repository", bytes(vector, "hex")).unwrap();
    read_repository(&storage).is_ok()
}

fn accepts_slot(vector: &Value) -> bool {
    let bytes = bytes(vector, "hex");
    let key = Key::File(KeyFile::parse(vector["key_file"].as_str().unwrap()).unwrap());
    let slot = RawSlot::decode(ObjectId(crate::crypto::hash(&bytes)), bytes);
    slot.and_then(|slot| slot.open(&key)).is_ok_and(|keyring| keyring.is_some())
}

fn accepts_pack(vector: &Value) -> bool {
    let fixture = Fixture::get();
    let place = packs::patched(fixture).2;
    let end = bytes(vector, "hex")[place.table_offset as usize..].to_vec();
    place.open_table(&fixture.keys, end).is_ok()
}

fn accepts_entry(vector: &Value) -> bool {
    let (bytes, key) = (bytes(vector, "hex"), array(vector, "public_key"));
    split(&bytes)
        .is_ok_and(|entries| entries.iter().all(|entry| verify(&key, ENTRY_CONTEXT, entry.signed, &entry.signature)))
}
