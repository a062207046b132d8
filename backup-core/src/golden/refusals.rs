//! What every reader must refuse: one rule of the page broken in each.

use serde_json::{Value, json};

use super::fixture::{Fixture, bytes, id};
use super::json::hex;
use super::{objects, packs, trees};
use crate::crypto::{Sealer, Secret};
use crate::format::bodies::CheckpointBody;
use crate::format::constants::*;
use crate::format::record;
use crate::format::tree::{Item, ListLeaf};
use crate::id::RunId;

fn flip(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

fn end_flip(bytes: &[u8], from_end: usize) -> Vec<u8> {
    flip(bytes, bytes.len() - from_end)
}

fn with_extension(tags: &[u16]) -> Vec<u8> {
    let mut bytes = record::encode(&CheckpointBody { run: RunId(id("run")) });
    for tag in tags {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
    }
    bytes
}

fn records() -> Vec<(&'static str, Vec<u8>)> {
    let good = with_extension(&[]);
    let renumbered = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let mut leaf = trees::leaf();
    leaf.rows.swap(0, 1);
    let mut named = trees::leaf();
    named.rows[0].name = b"..".to_vec();
    let mut misfit = trees::leaf();
    misfit.rows[0].content = misfit.rows.last().unwrap().content.clone();
    misfit.rows[0].kind = ENTRY_DIRECTORY;
    let mut tall = trees::inner();
    tall.height = 17;
    let mut childless = trees::list_inner();
    childless.children.clear();
    let newer = ListLeaf { row_version: 2, items: Vec::new() };
    let empty = ListLeaf { row_version: ROW_VERSION, items: vec![Item::Hole { length: 0 }] };
    let mut count = record::encode(&ListLeaf { row_version: ROW_VERSION, items: Vec::new() });
    count[12..20].copy_from_slice(&u64::MAX.to_le_bytes());
    vec![
        ("nothing", Vec::new()),
        ("cut short", good[..good.len() - 1].to_vec()),
        ("a byte left over", [&good[..], b"\0"].concat()),
        ("a kind that is not defined", renumbered(0, 63)),
        ("another version", renumbered(2, 2)),
        ("a flag", renumbered(5, 0x80)),
        ("a body with bytes left over", [&renumbered(6, 17)[..], b"\0"].concat()),
        ("an extension that must be understood", with_extension(&[0x8001])),
        ("extensions out of order", with_extension(&[7, 1])),
        ("an extension twice", with_extension(&[7, 7])),
        ("entries out of order", record::encode(&leaf)),
        ("a name that leads upwards", record::encode(&named)),
        ("a directory with a file's content", record::encode(&misfit)),
        ("a node too high", record::encode(&tall)),
        ("an inner node without children", record::encode(&childless)),
        ("rows of another version", record::encode(&newer)),
        ("an empty item", record::encode(&empty)),
        ("a count beyond all bytes", count),
    ]
}

fn padded() -> Vec<(&'static str, Vec<u8>)> {
    let good = record::encode_padded(&bytes("record", 40), 96, 256);
    let squeezed = record::encode_padded(&[7; 400], 96, 512);
    vec![
        ("nothing", Vec::new()),
        ("reserved bytes", flip(&good, 2)),
        ("padding that is not zero", end_flip(&good, 1)),
        ("an encoding that is not defined", [&[2], &good[1..]].concat()),
        ("a length beyond the end", flip(&good, 6)),
        ("a frame that does not decompress", flip(&squeezed, 8)),
    ]
}

pub(super) fn refused(fixture: &Fixture) -> Vec<Value> {
    let hexed = |what: &'static str| move |(name, bytes): (&str, Vec<u8>)| json!({"what": what, "name": name, "hex": hex(&bytes)});
    let mut vectors: Vec<Value> = records().into_iter().map(hexed("record")).collect();
    vectors.extend(padded().into_iter().map(hexed("padded")));
    let key = id("sealing key");
    let blob = Sealer::new(&Secret::new(key)).seal(b"prefix", 3, b"plaintext");
    let sealed = |prefix: &[u8], ordinal: u64, blob: &[u8]| json!({"what": "sealed", "key": hex(&key), "prefix": hex(prefix), "ordinal": ordinal, "hex": hex(blob)});
    vectors.extend([
        sealed(b"prefiy", 3, &blob),
        sealed(b"prefix", 4, &blob),
        sealed(b"prefix", 3, &flip(&blob, 0)),
        sealed(b"prefix", 3, &flip(&blob, 20)),
        sealed(b"prefix", 3, &end_flip(&blob, 1)),
        sealed(b"prefix", 3, &blob[..31]),
    ]);
    let text = fixture.key_file.to_text();
    let wrong = text.replacen("-1-", "-2-", 1);
    for text in [String::new(), text.repeat(2), wrong, text.trim()[..86].to_owned(), text.replace('-', "")] {
        vectors.push(json!({"what": "key_file", "text": text}));
    }
    vectors.extend(of_objects(fixture));
    vectors
}

fn of_objects(fixture: &Fixture) -> Vec<Value> {
    let repository = fixture.storage.read("repository", u64::MAX).unwrap();
    let slots = fixture.objects("keys/");
    let slot = slots.iter().find(|slot| slot[110] == HOLDER_KEY_FILE).unwrap();
    let (pack, _, place) = packs::patched(fixture);
    let table = place.table_offset as usize;
    let entry = objects::entry(fixture, 65);
    let mut vectors = Vec::new();
    for (name, at) in
        [("magic", 0), ("flags", 16), ("reserved", 20), ("reserved", 95), ("record", 120), ("signature", 215)]
    {
        vectors.push(json!({"what": "repository", "name": name, "hex": hex(&flip(&repository, at))}));
    }
    for (name, bytes) in [
        ("keyring", end_flip(slot, 40)),
        ("label", end_flip(slot, slot.len() - 170)),
        ("cut short", slot[..101].to_vec()),
    ] {
        vectors
            .push(json!({"what": "slot", "name": name, "hex": hex(&bytes), "key_file": *fixture.key_file.to_text()}));
    }
    let altered = [
        ("the table", flip(&pack, table + 20)),
        ("the trailer's magic", end_flip(&pack, 1)),
        ("the trailer's zeros", end_flip(&pack, 9)),
        ("the table's length", end_flip(&pack, 16)),
        ("the header at the end", end_flip(&pack, 60)),
        ("cut short", pack[..pack.len() - 1].to_vec()),
    ];
    for (name, bytes) in altered {
        let data_key = hex(&fixture.secrets.data_key);
        vectors.push(json!({"what": "pack", "name": name, "hex": hex(&bytes), "data_key": data_key}));
    }
    let altered =
        [("the body", end_flip(&entry, 80)), ("the signature", end_flip(&entry, 1)), ("the salt", flip(&entry, 50))];
    for (name, bytes) in altered {
        let public_key = hex(&objects::public_key(fixture));
        vectors.push(json!({"what": "entry", "name": name, "hex": hex(&bytes), "public_key": public_key}));
    }
    vectors
}
