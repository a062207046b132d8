//! What a corpus begins with: one small input for each layout, made by the encoders.

use crate::compress;
use crate::crypto::{PasswordCost, Secret, SigningKey};
use crate::environment::Environment;
use crate::format::bodies::*;
use crate::format::constants::*;
use crate::format::header::{ObjectHeader, encode_trailer};
use crate::format::ledger::{Enrolment, EntryHeader};
use crate::format::manifest::{Manifest, WarningRow, Warnings};
use crate::format::name::{Area, Domain, ObjectName};
use crate::format::record;
use crate::format::table::{IndexBody, IndexedPack, Row, TableBody};
use crate::format::tree::{Attribute, Content, Entry, Item, ListLeaf, OwnerName, TreeLeaf};
use crate::id::{ChunkId, EntryId, ObjectId, PackId, PeriodId, RepositoryId, RunId, WriterId};
use crate::keyring::{Key, KeyFile, Keyring, slot};
use crate::ledger::entry::{compose, compose_enrolment};
use crate::time::Time;

/// A key that opens nothing.
pub(super) fn other_key() -> KeyFile {
    KeyFile::generate(&Environment::default())
}

/// Names of targets, and inputs that they accept.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let header = ObjectHeader { kind: OBJECT_PACK, writer: WriterId([1; 16]), salt: [2; 32] }.encode();
    let table = record::encode(&table());
    let index = record::encode(&index(&table));
    let mut frame = vec![0];
    compress::compress(3, &b"all work and no play ".repeat(8), &mut frame);
    let domain = Domain { class: "standard".to_owned(), period: PeriodId([3; 16]) };
    let name = ObjectName::Pack(Area::Meta, domain, PackId([4; 32])).to_string();
    let mut seeds = vec![
        ("header", header.to_vec()),
        ("trailer", encode_trailer(&header, 77).to_vec()),
        ("padded", record::encode_padded(&table, 128, 256)),
        ("padded", record::encode_padded(&vec![7; 1000], 128, 256)),
        ("table", [&OFFSET.to_le_bytes()[..], &table].concat()),
        ("index", index.clone()),
        ("ledger", ledger()),
        ("slot", slot_object()),
        ("frame", frame),
        ("key_file", other_key().to_text().as_bytes().to_vec()),
        ("key_file", b"holdfast-key-1-".to_vec()),
        ("names", name.into_bytes()),
        ("names", b"@2025-01-05T14:30:00Z:/x:y".to_vec()),
        ("names", b"latest:/a/../b/./c".to_vec()),
    ];
    seeds.extend(records().into_iter().chain([table, index]).map(|record| ("record", record)));
    seeds
}

/// Where the table of [`table`] begins: after the header and two frames.
const OFFSET: u64 = 96 + 42 + 60;

fn table() -> TableBody {
    let row = |prefix, payload| Row { prefix: [prefix; 16], payload, plain: payload, depth: 0, base: None };
    let mut table = TableBody::default();
    table.push_frame(42, ENCODING_RAW, FRAME_CONTENT, &[row(1, 4), row(2, 6)]);
    let patch = Row { plain: 900, depth: 1, base: Some([1; 16]), ..row(3, 50) };
    table.push_frame(60, ENCODING_ZSTD, FRAME_NODE, &[patch]);
    table
}

fn index(table: &[u8]) -> IndexBody {
    let pack = IndexedPack {
        pack: PackId([1; 32]),
        area: AREA_META,
        length: 1000,
        table_offset: OFFSET,
        table_length: 500,
        writer: WriterId([1; 16]),
        salt: [2; 32],
        table: table.to_vec(),
    };
    IndexBody { row_version: ROW_VERSION, packs: vec![pack] }
}

fn entry() -> Entry {
    let mut entry = Entry::new(ENTRY_FILE, "file");
    let chunk = Item::Chunk { length: 9, decode_bytes: 9, id: ChunkId([5; 32]) };
    entry.content = Content::Items { items: vec![chunk, Item::Hole { length: 7 }, Item::Inline { bytes: vec![1] }] };
    entry.attributes = vec![Attribute { name: b"user.a".to_vec(), value: b"b".to_vec() }];
    entry.birth = Some(Time::new(1, 2));
    entry
}

fn records() -> Vec<Vec<u8>> {
    let owners = vec![OwnerName { id: 0, name: "root".to_owned() }];
    let leaf = TreeLeaf { row_version: ROW_VERSION, owners, groups: Vec::new(), rows: vec![entry()] };
    let row = WarningRow { kind: "changed".to_owned(), path: b"/a".to_vec(), message: "it changed".to_owned() };
    let manifest = Manifest {
        time: Time::new(5, 0),
        started: Time::new(5, 0),
        zone_offset_seconds: 3600,
        host: "host".to_owned(),
        user: "user".to_owned(),
        program: "program 1".to_owned(),
        class: "standard".to_owned(),
        period: PeriodId([1; 16]),
        tags: vec!["a".to_owned(), "b".to_owned()],
        parent: Some(EntryId([2; 32])),
        run: RunId([3; 16]),
        sources: Vec::new(),
        counts: Default::default(),
        warnings: None,
    };
    let void = VoidRow { pack: PackId([1; 32]), frames: vec![1, 2], whole: false };
    vec![
        record::encode(&leaf),
        record::encode(&ListLeaf { row_version: ROW_VERSION, items: vec![Item::Zeros { length: 4 }] }),
        record::encode(&Warnings { row_version: ROW_VERSION, rows: vec![row] }),
        record::encode(&manifest),
        record::encode(&VoidBody { voids: vec![void], reason: "it did not open".to_owned() }),
        record::encode(&KeyBody { action: KEY_ADDED, slot: ObjectId([1; 32]), label: "key".to_owned() }),
        record::encode(&ClassBody { name: "a".to_owned(), description: String::new(), pad_bytes_min: 256 }),
    ]
}

fn keyring() -> Keyring {
    Keyring::create(RepositoryId([1; 32]), Secret::new([2; 32]))
}

fn slot_object() -> Vec<u8> {
    let key = Key::File(other_key());
    slot::wrap(&keyring(), &key, PasswordCost::default(), "label", &Environment::default()).unwrap_or_default()
}

fn ledger() -> Vec<u8> {
    let (keyring, writer, key) = (keyring(), WriterId([3; 16]), SigningKey::from_seed(&Secret::new([4; 32])));
    let enrolment = Enrolment {
        repository: keyring.repository(),
        writer,
        key: key.public(),
        role: ROLE_ADMIN,
        kinds: Vec::new(),
        classes: Vec::new(),
        valid_from: None,
        valid_until: None,
    };
    let header = EntryHeader {
        repository: keyring.repository(),
        sequence: 0,
        time: Time::new(1, 0),
        previous_received: None,
        parents: Vec::new(),
        class: String::new(),
        last: true,
        domains: Vec::new(),
        packs_added: Vec::new(),
        packs_deleted: Vec::new(),
        enrolment: compose_enrolment(&enrolment, &keyring.admin_signing_key()),
    };
    let body = record::encode(&CheckpointBody { run: RunId([1; 16]) });
    compose(writer, &key, &keyring, &header, &body, &Environment::default())
}
