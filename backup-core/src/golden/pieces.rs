//! The small parts: keys, sealed blobs, padding, key files, cut points, names of chunks. Sections 2, 3, 5 and 6.1 of `docs/format.md`.

use serde_json::{Value, json};

use super::fixture::{Fixture, bytes, id};
use super::json::hex;
use crate::chunker::{ChunkSizes, Chunker};
use crate::crypto::{Sealer, Secret, extend, hash};
use crate::format::record::{decode_padded, encode_padded, padded_length};

pub(super) fn keys(fixture: &Fixture) -> Vec<Value> {
    let [entry_salt, period_salt, pack_salt, index_salt, slot_secret, slot_salt]: [[u8; 32]; 6] =
        ["entry salt", "period salt", "pack salt", "index salt", "slot secret", "slot salt"].map(id);
    let (ring, data_key) = (&fixture.keyring, Secret::new(fixture.secrets.data_key));
    let shown = |secret: Secret| hex(secret.expose());
    let slot = Secret::new(slot_secret);
    let expect = json!({
        "admin_seed": shown(Secret::new(fixture.root).derive("holdfast v1 admin signing key", b"")),
        "admin_public_key": hex(&ring.admin_signing_key().public()),
        "repository_ledger_key": shown(ring.ledger_key("")),
        "class_key": shown(ring.class_key("photos-2")),
        "class_ledger_key": shown(ring.ledger_key("photos-2")),
        "entry_key_repository": shown(ring.ledger_key("").derive("holdfast v1 entry key", &entry_salt)),
        "entry_key_class": shown(ring.ledger_key("photos-2").derive("holdfast v1 entry key", &entry_salt)),
        "period_sealing_key": shown(ring.class_key("photos-2").derive("holdfast v1 period sealing key", &period_salt)),
        "pack_key": shown(data_key.derive("holdfast v1 pack key", &pack_salt)),
        "index_key": shown(data_key.derive("holdfast v1 index key", &index_salt)),
        "slot_key": shown(slot.derive("holdfast v1 slot key", &slot_salt)),
        "slot_commitment": shown(slot.derive("holdfast v1 slot commitment", &slot_salt)),
    });
    vec![json!({
        "root": hex(&fixture.root), "class_name": "photos-2", "entry_salt": hex(&entry_salt), "period_salt": hex(&period_salt),
        "data_key": hex(&fixture.secrets.data_key), "pack_salt": hex(&pack_salt), "index_salt": hex(&index_salt),
        "slot_secret": hex(&slot_secret), "slot_salt": hex(&slot_salt), "expect": expect,
    })]
}

pub(super) fn sealed() -> Vec<Value> {
    let key = id("sealing key");
    let sealer = Sealer::new(&Secret::new(key));
    let cases = [(0, 0, 0), (0, 1, 1), (96, 7, 64), (500, u64::MAX, 65), (96, 1 << 40, 1000)];
    let vector = |(prefix, ordinal, plaintext): (usize, u64, usize)| {
        let (prefix, plaintext) = (bytes("prefix", prefix), bytes("plaintext", plaintext));
        let blob = sealer.seal(&prefix, ordinal, &plaintext);
        json!({"key": hex(&key), "prefix": hex(&prefix), "ordinal": ordinal, "plaintext": hex(&plaintext), "blob": hex(&blob)})
    };
    cases.into_iter().map(vector).collect()
}

pub(super) fn padded_lengths() -> Vec<Value> {
    let powers = (0..29).flat_map(|e| [(1u64 << e) - 1, 1 << e, (1 << e) + 1]);
    let lengths: Vec<u64> = powers.chain([1000, 100_000, 1_000_000, 16_000_001, 200_000_003]).collect();
    let vector = |minimum: u64| {
        let table: Vec<_> = lengths.iter().map(|length| json!([length, padded_length(*length, minimum)])).collect();
        json!({"minimum": minimum, "table": table})
    };
    [0, 256, 65_536, 1_000_003].map(vector).to_vec()
}

pub(super) fn padded_records() -> Vec<Value> {
    let vector = |(name, record, others): (&str, Vec<u8>, u64)| {
        let padded = encode_padded(&record, others, 256);
        assert_eq!(decode_padded(&padded), Ok(record.clone()));
        json!({"name": name, "padded": hex(&padded), "record": hex(&record)})
    };
    let cases =
        [("empty", Vec::new(), 96), ("raw", bytes("record", 300), 128), ("zstd", b"squeeze me ".repeat(50), 128)];
    cases.map(vector).to_vec()
}

pub(super) fn key_files(fixture: &Fixture) -> Vec<Value> {
    let text = fixture.key_file.to_text();
    let sheet = format!("# Recovery sheet\r\n#\r\n\r\n  {}\r\n", text.trim().to_uppercase());
    let key = hex(fixture.key_file.secret().expose());
    vec![
        json!({"name": "as written", "text": *text, "key": key}),
        json!({"name": "as typed", "text": sheet, "key": key}),
    ]
}

/// A part of the data that is cut.
enum Part {
    Xof(&'static str, usize),
    Zeros(usize),
    Repeat(&'static [u8], usize),
    Bytes(&'static [u8]),
}

impl Part {
    fn make(&self) -> Vec<u8> {
        match self {
            Part::Xof(text, length) => xof(text, *length),
            Part::Zeros(length) => vec![0; *length],
            Part::Repeat(pattern, length) => pattern.iter().copied().cycle().take(*length).collect(),
            Part::Bytes(bytes) => bytes.to_vec(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Part::Xof(text, length) => json!({"xof": text, "length": length}),
            Part::Zeros(length) => json!({"zeros": length}),
            Part::Repeat(pattern, length) => json!({"repeat": hex(pattern), "length": length}),
            Part::Bytes(bytes) => json!({"hex": hex(bytes)}),
        }
    }
}

/// BLAKE3's extendable output of a text, without a key.
fn xof(text: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(text.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn cut(sizes: ChunkSizes, parts: &[Part]) -> Value {
    let gear_key = id("gear key");
    let mut table = [0; 2048];
    extend(&Secret::new(gear_key), b"holdfast v1 gear table", &mut table);
    let chunker = Chunker::new(&Secret::new(gear_key), sizes);
    let data: Vec<u8> = parts.iter().flat_map(Part::make).collect();
    let (mut rest, mut lengths) = (&data[..], Vec::new());
    while !rest.is_empty() {
        let length = chunker.cut(rest);
        lengths.push(length);
        rest = &rest[length..];
    }
    json!({
        "gear_key": hex(&gear_key), "gear_table_hash": hex(&hash(&table)), "min": sizes.bytes_min, "avg": sizes.bytes_avg,
        "max": sizes.bytes_max, "mask_small": sizes.mask_small, "mask_large": sizes.mask_large,
        "data": parts.iter().map(Part::json).collect::<Vec<_>>(), "lengths": lengths,
    })
}

pub(super) fn cut_points() -> Vec<Value> {
    let around = ChunkSizes::around;
    // Sizes that are no powers of two, and whose halves are odd.
    let odd =
        ChunkSizes { bytes_min: 70, bytes_avg: 302, bytes_max: 1010, mask_small: 0x5353_0000, mask_large: 0x5000_0000 };
    let mixed = [
        Part::Xof("mixed", 20_000),
        Part::Zeros(9_000),
        Part::Repeat(b"abc", 7_001),
        Part::Bytes(b"odd"),
        Part::Xof("tail", 5_001),
    ];
    vec![
        cut(around(4096), &[Part::Xof("cut points", 200_000)]),
        cut(around(4096), &[Part::Bytes(b"x"), Part::Xof("cut points", 100_000)]),
        cut(around(4096), &[Part::Zeros(50_000)]),
        cut(around(65_536), &[Part::Xof("large", 400_000)]),
        cut(around(256), &mixed),
        cut(odd, &mixed),
        cut(odd, &[Part::Xof("short", 70)]),
        cut(odd, &[Part::Xof("short", 73)]),
        cut(odd, &[Part::Repeat(&[0, 1, 2, 3, 4, 5, 6, 7], 4_001)]),
        cut(around(4096), &[]),
    ]
}

pub(super) fn chunk_ids(fixture: &Fixture) -> Vec<Value> {
    let vector = |part: Part| {
        let data = part.make();
        json!({
            "content_id_key": hex(&fixture.secrets.content_id_key), "tree_id_key": hex(&fixture.secrets.tree_id_key),
            "data": [part.json()], "content_id": fixture.keys.content_id(&data), "node_id": fixture.keys.node_id(&data),
        })
    };
    [Part::Bytes(b""), Part::Bytes(b"a"), Part::Xof("chunk", 100_000), Part::Zeros(4096)].map(vector).to_vec()
}
