//! Whole objects: what `init` wrote, and entries of a chain that has gone on. Sections 5, 6 and 11 of `docs/format.md`.

use serde_json::{Value, json};

use super::fixture::{Fixture, PASSPHRASE, TIME, environment, id};
use super::json::{Json, hex};
use super::packs;
use super::records::{known, name_of};
use crate::crypto::{Secret, SigningKey, hash};
use crate::format::bodies::{CheckpointBody, EnrolBody};
use crate::format::constants::*;
use crate::format::header::{HEADER_BYTES, ObjectHeader};
use crate::format::keys::{KeyringBody, SlotBody};
use crate::format::ledger::{
    AddedPack, DeletedPack, DomainRow, Enrolment, EntryHeader, RawEntry, SIGNATURE_BYTES, split,
};
use crate::format::record;
use crate::id::{EntryId, PackId, PeriodId, RunId};
use crate::ledger::entry::{Entry, compose, compose_enrolment};

fn enrolment(fixture: &Fixture) -> Vec<u8> {
    let body = Enrolment {
        repository: fixture.keyring.repository(),
        writer: fixture.writer,
        key: signing_key(fixture).public(),
        role: ROLE_ADMIN,
        kinds: Vec::new(),
        classes: Vec::new(),
        valid_from: None,
        valid_until: None,
    };
    compose_enrolment(&body, &fixture.keyring.admin_signing_key())
}

fn signing_key(fixture: &Fixture) -> SigningKey {
    SigningKey::from_seed(&Secret::new(fixture.writer_seed))
}

/// The header of an entry: the first, one that repeats the enrolment, or any other, with packs.
pub(super) fn header(fixture: &Fixture, sequence: u64) -> EntryHeader {
    let domain = |class: &str, period| DomainRow { class: class.to_owned(), period };
    let is_first = sequence == 0;
    let place = packs::patched(fixture).2;
    let added = AddedPack {
        domain: 1,
        area: AREA_META,
        pack: place.id,
        length: place.length,
        table_offset: place.table_offset,
        table_length: place.table_length,
    };
    let deleted = DeletedPack { domain: 0, area: AREA_PACKS, pack: PackId(id("deleted")) };
    // The entry before comes first, whatever its id; the rest is ascending.
    let mut parents = vec![EntryId(id("other 1")), EntryId(id("other 2")), EntryId(id("other 3"))];
    parents.sort();
    parents.insert(0, EntryId([0xff; 32]));
    EntryHeader {
        repository: fixture.keyring.repository(),
        sequence,
        time: TIME,
        previous_received: (!is_first).then_some(TIME),
        parents: if is_first { Vec::new() } else { parents },
        class: if is_first { String::new() } else { "standard".to_owned() },
        last: sequence == 65,
        domains: if is_first {
            Vec::new()
        } else {
            vec![domain("photos-2", PeriodId(id("period"))), domain("standard", fixture.period)]
        },
        packs_added: if is_first { Vec::new() } else { vec![added] },
        packs_deleted: if is_first { Vec::new() } else { vec![deleted] },
        enrolment: if sequence.is_multiple_of(64) { enrolment(fixture) } else { Vec::new() },
    }
}

/// An entry of the chain, with a body that its sequence allows.
pub(super) fn entry(fixture: &Fixture, sequence: u64) -> Vec<u8> {
    let body = if sequence == 0 {
        let text = |text: &str| text.to_owned();
        record::encode(&EnrolBody { host: text("golden-host"), user: text("göldi"), program: text("holdfast 0.0.0") })
    } else {
        record::encode(&CheckpointBody { run: RunId(id("run")) })
    };
    let environment = environment(&format!("entry {sequence}"));
    let header = header(fixture, sequence);
    compose(fixture.writer, &signing_key(fixture), &fixture.keyring, &header, &body, &environment)
}

/// The public key that all entries here are signed with.
pub(super) fn public_key(fixture: &Fixture) -> [u8; 32] {
    signing_key(fixture).public()
}

fn vector(fixture: &Fixture, raw: &RawEntry<'_>) -> Value {
    let body = Entry::from_raw(raw).open(&fixture.keyring).unwrap().into_owned();
    let kind = record::kind(&body).unwrap();
    let enrolment = &raw.header.enrolment;
    let enrolment = enrolment.split_last_chunk::<SIGNATURE_BYTES>();
    let enrolment = enrolment.map(|(record, _)| record::decode::<Enrolment>(record).unwrap());
    json!({
        "name": format!("entry {} of class '{}'", raw.header.sequence, raw.header.class), "hex": hex(raw.bytes),
        "ledger_key": hex(fixture.keyring.ledger_key(&raw.header.class).expose()), "public_key": hex(&public_key(fixture)),
        "admin_key": hex(&fixture.keyring.admin_key()), "id": hex(&hash(raw.bytes)), "writer": raw.object.writer,
        "header": raw.header.json(), "kind": name_of(kind), "body": (known(kind).unwrap().fields)(&body).unwrap(),
        "enrolment": enrolment.json(),
    })
}

pub(super) fn entries(fixture: &Fixture) -> Vec<Value> {
    let mut objects = fixture.objects("ledger/");
    objects.extend([0, 64, 65].map(|sequence| entry(fixture, sequence)));
    let of_object =
        |object: &Vec<u8>| -> Vec<Value> { split(object).unwrap().iter().map(|raw| vector(fixture, raw)).collect() };
    objects.iter().flat_map(of_object).collect()
}

/// The record behind a header and its length.
fn clear_record(object: &[u8]) -> &[u8] {
    let length = u32::from_le_bytes(object[HEADER_BYTES..HEADER_BYTES + 4].try_into().unwrap()) as usize;
    &object[HEADER_BYTES + 4..HEADER_BYTES + 4 + length]
}

pub(super) fn repositories(fixture: &Fixture) -> Vec<Value> {
    let object = fixture.storage.read("repository", u64::MAX).unwrap();
    let fields = (known(RECORD_REPOSITORY).unwrap().fields)(clear_record(&object)).unwrap();
    vec![json!({"hex": hex(&object), "fields": fields})]
}

pub(super) fn slots(fixture: &Fixture) -> Vec<Value> {
    let keyring = KeyringBody {
        role: ROLE_ADMIN,
        repository: fixture.keyring.repository(),
        admin_key: fixture.keyring.admin_key(),
        root: Some(fixture.root),
        repository_ledger_key: None,
        classes: Vec::new(),
        ledger_keys: Vec::new(),
    };
    let vector = |object: Vec<u8>| {
        let slot: SlotBody = record::decode(clear_record(&object)).unwrap();
        let mut vector =
            json!({"hex": hex(&object), "id": hex(&hash(&object)), "slot": slot.json(), "keyring": keyring.json()});
        match slot.holder {
            HOLDER_PASSPHRASE => vector["passphrase_hex"] = hex(PASSPHRASE.as_bytes()),
            _ => vector["key_file"] = json!(*fixture.key_file.to_text()),
        }
        vector
    };
    fixture.objects("keys/").into_iter().map(vector).collect()
}

pub(super) fn periods(fixture: &Fixture) -> Vec<Value> {
    let vector = |object: Vec<u8>| {
        ObjectHeader::decode(&object, OBJECT_PERIOD).unwrap();
        let class_key = fixture.keyring.class_key("standard");
        json!({
            "hex": hex(&object), "id": hex(&hash(&object)), "class_key": hex(class_key.expose()),
            "fields": fixture.secrets.json(),
        })
    };
    fixture.objects("periods/").into_iter().map(vector).collect()
}
