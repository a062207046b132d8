//! Records of every kind that version 1 defines, and what decodes them by their kind.

use serde_json::{Value, json};

use super::fixture::{Fixture, PASSPHRASE, TIME, id};
use super::json::{Json, hex};
use super::{packs, trees};
use crate::format::bodies::*;
use crate::format::constants::*;
use crate::format::keys::*;
use crate::format::ledger::*;
use crate::format::manifest::*;
use crate::format::probes::{self, ProbeResult, Probes, TableResult};
use crate::format::record::{self, Body, Extension, Flaw};
use crate::format::table::{IndexBody, TableBody};
use crate::format::tree::*;
use crate::id::*;
use crate::time::Time;

/// What can be done with a record once its kind is known.
pub(super) struct Known {
    /// Its fields, as vectors write them.
    pub(super) fields: fn(&[u8]) -> Result<Value, Flaw>,
    /// Itself, decoded and encoded again.
    pub(super) again: fn(&[u8]) -> Result<Vec<u8>, Flaw>,
}

fn of<B: Body + Json>() -> Known {
    Known {
        fields: |bytes| record::decode::<B>(bytes).map(|body| body.json()),
        again: |bytes| record::decode::<B>(bytes).map(|body| record::encode(&body)),
    }
}

/// Every kind that this version defines.
pub(super) const DEFINED: [u16; 23] = [
    RECORD_REPOSITORY,
    RECORD_SLOT,
    RECORD_KEYRING,
    RECORD_PERIOD_SECRETS,
    RECORD_ENTRY_HEADER,
    RECORD_ENROLMENT,
    RECORD_TABLE,
    RECORD_INDEX,
    RECORD_TREE_LEAF,
    RECORD_TREE_INNER,
    RECORD_LIST_LEAF,
    RECORD_LIST_INNER,
    RECORD_WARNINGS,
    RECORD_PROBES,
    RECORD_ENROL,
    RECORD_CLASS,
    RECORD_PERIOD,
    RECORD_SNAPSHOT,
    RECORD_CHECKPOINT,
    RECORD_VOID,
    RECORD_CHECK,
    RECORD_RESTORE,
    RECORD_KEY,
];

/// What decodes a record of a kind.
pub(super) fn known(kind: u16) -> Option<Known> {
    Some(match kind {
        RECORD_REPOSITORY => of::<RepositoryBody>(),
        RECORD_SLOT => of::<SlotBody>(),
        RECORD_KEYRING => of::<KeyringBody>(),
        RECORD_PERIOD_SECRETS => of::<PeriodSecretsBody>(),
        RECORD_ENTRY_HEADER => of::<EntryHeader>(),
        RECORD_ENROLMENT => of::<Enrolment>(),
        RECORD_TABLE => of::<TableBody>(),
        RECORD_INDEX => of::<IndexBody>(),
        RECORD_TREE_LEAF => of::<TreeLeaf>(),
        RECORD_TREE_INNER => of::<TreeInner>(),
        RECORD_LIST_LEAF => of::<ListLeaf>(),
        RECORD_LIST_INNER => of::<ListInner>(),
        RECORD_WARNINGS => of::<Warnings>(),
        RECORD_PROBES => of::<Probes>(),
        RECORD_ENROL => of::<EnrolBody>(),
        RECORD_CLASS => of::<ClassBody>(),
        RECORD_PERIOD => of::<PeriodBody>(),
        RECORD_SNAPSHOT => of::<Manifest>(),
        RECORD_CHECKPOINT => of::<CheckpointBody>(),
        RECORD_VOID => of::<VoidBody>(),
        RECORD_CHECK => of::<CheckBody>(),
        RECORD_RESTORE => of::<RestoreBody>(),
        RECORD_KEY => of::<KeyBody>(),
        _ => return None,
    })
}

/// The page's name of a kind.
pub(super) fn name_of(kind: u16) -> &'static str {
    let fits = |(name, value): &&(&str, u64)| name.starts_with("RECORD_") && *value == u64::from(kind);
    ALL.iter().find(fits).unwrap().0
}

fn vector<B: Body + Json>(name: &str, body: &B) -> Value {
    json!({"name": name, "kind": name_of(B::KIND), "hex": hex(&record::encode(body)), "fields": body.json()})
}

fn extended<B: Body + Json>(name: &str, body: &B, extensions: &[Extension]) -> Value {
    let bytes = record::encode_extended(body, extensions);
    let shown = |extension: &Extension| json!({"tag": extension.tag, "value": hex(&extension.value)});
    let shown: Vec<Value> = extensions.iter().map(shown).collect();
    json!({"name": name, "kind": name_of(B::KIND), "hex": hex(&bytes), "fields": body.json(), "extensions": shown})
}

/// A record of a later program that added what need not be understood.
fn of_later() -> Value {
    let extension = |tag, value: &[u8]| Extension { tag, value: value.to_vec() };
    let extensions = [extension(1, b"a hint"), extension(7, b""), extension(0x7fff, b"\0\xff")];
    extended("extended", &CheckpointBody { run: RunId(id("run")) }, &extensions)
}

fn probes() -> Probes {
    let table = |name: &str, state, rows, digest, message: &str| TableResult {
        name: name.to_owned(),
        state,
        rows,
        digest,
        message: message.to_owned(),
    };
    let tables = vec![
        table("orders", TABLE_READ, 12_345_678_901, Some(id("digest")), ""),
        table("\"quoted\", twice", TABLE_READ, 0, None, ""),
        table("gone", TABLE_MISSING, 0, None, "there is no such table"),
        table("torn", TABLE_DAMAGED, 0, None, "database disk image is malformed"),
        table("foreign", TABLE_UNREADABLE, 0, None, "no such module: foreign"),
    ];
    let probed = ProbeResult {
        path: b"/srv/\xff.db".to_vec(),
        failure: None,
        schema_version: i32::MAX,
        user_version: i32::MIN,
        integrity: INTEGRITY_FULL,
        complaints: vec!["row 1 missing from index a".to_owned(), "wrong # of entries in index a".to_owned()],
        tables,
    };
    let failed = ProbeResult {
        path: b"/srv/other.db".to_vec(),
        failure: Some("file is not a database".to_owned()),
        integrity: INTEGRITY_QUICK,
        ..ProbeResult::default()
    };
    Probes { row_version: ROW_VERSION, rows: vec![probed, failed] }
}

pub(super) fn vectors(fixture: &Fixture) -> Vec<Value> {
    let mut vectors = of_keys(fixture);
    vectors.extend(of_ledger(fixture));
    vectors.extend([
        vector("table with patches", &packs::patched(fixture).1),
        vector("table of nothing", &TableBody { row_version: ROW_VERSION, ..TableBody::default() }),
        vector("index", &packs::index_body(fixture)),
        vector("every kind of entry", &trees::leaf()),
        vector("empty directory", &trees::empty_leaf()),
        vector("databases", &trees::databases_leaf()),
        vector("inner", &trees::inner()),
        vector("every kind of item", &trees::list_leaf()),
        vector("list", &trees::list_inner()),
        vector("warnings", &trees::warnings()),
        vector("probes", &probes()),
    ]);
    vectors.extend(of_entries(fixture));
    vectors.push(of_later());
    vectors.push(extended("snapshot with probes", &manifest(fixture), &[probes::to_extension(ChunkId(id("probes")))]));
    vectors
}

fn of_keys(fixture: &Fixture) -> Vec<Value> {
    let (repository, admin_key) = (fixture.keyring.repository(), fixture.keyring.admin_key());
    let slot = SlotBody {
        holder: HOLDER_PASSPHRASE,
        argon2_memory_kib: 2_097_152,
        argon2_passes: 64,
        argon2_lanes: 16,
        commitment: id("commitment"),
        label: PASSPHRASE.to_owned(),
        created: TIME,
    };
    let class = |name: &str| ClassKey { name: name.to_owned(), key: id(name) };
    let admin = KeyringBody {
        role: ROLE_ADMIN,
        repository,
        admin_key,
        root: Some(fixture.root),
        repository_ledger_key: None,
        classes: Vec::new(),
        ledger_keys: Vec::new(),
    };
    let reader = KeyringBody {
        role: ROLE_READER,
        repository,
        admin_key,
        root: None,
        repository_ledger_key: Some(id("ledger key")),
        classes: vec![class("standard"), class("photos-2")],
        ledger_keys: vec![class("standard")],
    };
    vec![
        vector("repository", &RepositoryBody { repository, admin_key, created: TIME }),
        vector("slot", &slot),
        vector("admin", &admin),
        vector("reader", &reader),
        vector("secrets", &fixture.secrets),
    ]
}

fn of_ledger(fixture: &Fixture) -> Vec<Value> {
    let enrolment = Enrolment {
        repository: fixture.keyring.repository(),
        writer: fixture.writer,
        key: id("writer key"),
        role: ROLE_WRITER,
        kinds: vec![RECORD_ENROL, RECORD_SNAPSHOT, RECORD_CHECKPOINT],
        classes: vec!["standard".to_owned()],
        valid_from: Some(TIME),
        valid_until: Some(Time { seconds: i64::MAX, nanoseconds: 0 }),
    };
    vec![
        vector("first of a chain", &super::objects::header(fixture, 0)),
        vector("with packs", &super::objects::header(fixture, 65)),
        vector("enrolment", &enrolment),
    ]
}

fn manifest(fixture: &Fixture) -> Manifest {
    let root = |path: &[u8]| Root { path: path.to_vec(), root: ChunkId(id("root")), sums: trees::sums(3) };
    Manifest {
        time: Time { seconds: -1, nanoseconds: 999_999_999 },
        started: TIME,
        zone_offset_seconds: -12_600,
        host: "golden-host".to_owned(),
        user: "göldi".to_owned(),
        program: "holdfast 0.0.0".to_owned(),
        class: "standard".to_owned(),
        period: fixture.period,
        tags: vec!["daily".to_owned(), "vor dem Umzug".to_owned()],
        parent: Some(EntryId(id("parent"))),
        run: RunId(id("run")),
        sources: vec![
            SourceRow { kind: 1, roots: vec![root(b"/"), root(b"/srv/\xff")] },
            SourceRow { kind: 2, roots: vec![root(b"/dump.sql")] },
        ],
        counts: Counts {
            files_new: 1,
            files_changed: 2,
            files_unchanged: 3,
            directories: 4,
            source_bytes: 5,
            new_chunks: 6,
            new_chunk_bytes: 7,
            stored_bytes: 8,
            packs_written: 9,
            warnings: 10,
        },
        warnings: Some(ChunkId(id("warnings"))),
    }
}

fn of_entries(fixture: &Fixture) -> Vec<Value> {
    let text = |text: &str| text.to_owned();
    let enrol = EnrolBody { host: text("golden-host"), user: text("göldi"), program: text("holdfast 0.0.0") };
    let class = ClassBody { name: text("photos-2"), description: text(""), pad_bytes_min: 1 << 20 };
    let mut period = fixture.keys.parameters().clone();
    period.ends = Some(Time { seconds: TIME.seconds + 86_400, nanoseconds: 0 });
    let void =
        |name, frames: &[u32]| VoidRow { pack: PackId(id(name)), frames: frames.to_vec(), whole: frames.is_empty() };
    let voids =
        VoidBody { voids: vec![void("1", &[0, 7, u32::MAX]), void("2", &[])], reason: text("found bad by a check") };
    let packs_read = vec![PackId(id("1")), PackId(id("2"))];
    let check = CheckBody { mode: 2, objects: 12, read_bytes: 1 << 33, damaged: 1, packs_read };
    let paths = vec![b"/srv".to_vec(), b"/\xff".to_vec()];
    let restore = RestoreBody { snapshot: EntryId(id("snapshot")), paths, files: 3, bytes: 4, damaged: 5 };
    let key = KeyBody { action: KEY_REMOVED, slot: ObjectId(id("slot")), label: text("office") };
    let manifest = manifest(fixture);
    let first = Manifest { parent: None, warnings: None, tags: Vec::new(), sources: Vec::new(), ..manifest.clone() };
    vec![
        vector("enrol", &enrol),
        vector("class", &class),
        vector("period without end", fixture.keys.parameters()),
        vector("period", &period),
        vector("snapshot", &manifest),
        vector("first snapshot", &first),
        vector("checkpoint", &CheckpointBody { run: RunId(id("run")) }),
        vector("void", &voids),
        vector("check", &check),
        vector("restore", &restore),
        vector("key", &key),
    ]
}
