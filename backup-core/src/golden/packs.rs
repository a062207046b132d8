//! Packs and an index segment: raw, compressed and patched frames, content and nodes. Sections 7 and 10 of `docs/format.md`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::fixture::{Fixture, bytes, environment, id};
use super::json::{Json, hex};
use super::trees;
use crate::buffers::Buffers;
use crate::compress;
use crate::crypto::{Sealer, hash};
use crate::format::constants::*;
use crate::format::header::{ObjectHeader, encode_trailer};
use crate::format::name::{Area, Domain};
use crate::format::record;
use crate::format::table::{IndexBody, Row, TableBody};
use crate::id::{ChunkId, PackId};
use crate::index::segment;
use crate::limits::{PAD_BYTES_MIN_DEFAULT, SEAL_OVERHEAD_BYTES, TRAILER_BYTES};
use crate::pack::builder::{PackBuilder, PlainFrame, TABLE_ORDINAL};
use crate::pack::reader::PackPlace;
use crate::pipeline::Workers;

/// A chunk of a pack, as the vectors list it.
struct Chunk {
    id: ChunkId,
    kind: u8,
    frame: u32,
    depth: u8,
    plaintext: Vec<u8>,
}

/// A patch: one zstd frame made with the base as its prefix.
fn patch(base: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut context = zstd::zstd_safe::CCtx::create();
    context.set_parameter(zstd::zstd_safe::CParameter::CompressionLevel(3)).unwrap();
    context.ref_prefix(base).unwrap();
    let mut patch = Vec::with_capacity(zstd::zstd_safe::compress_bound(plaintext.len()));
    context.compress2(&mut patch, plaintext).unwrap();
    assert_eq!(compress::decompress_patch(base, &patch, plaintext.len()).as_deref(), Ok(plaintext));
    patch
}

fn place(fixture: &Fixture, bytes: &[u8], table_offset: u64, area: Area) -> PackPlace {
    let table_length = bytes.len() as u64 - table_offset - TRAILER_BYTES;
    PackPlace {
        id: PackId(hash(bytes)),
        area,
        domain: Arc::new(Domain { class: "standard".to_owned(), period: fixture.period }),
        length: bytes.len() as u64,
        table_offset,
        table_length: u32::try_from(table_length).unwrap(),
    }
}

/// Puts a pack together from frames of rows and payloads, without the builder, which makes no patches.
fn assemble(fixture: &Fixture, salt: [u8; 32], frames: &[(u8, u8, Vec<Row>, Vec<u8>)]) -> (Vec<u8>, TableBody, u64) {
    let header = ObjectHeader { kind: OBJECT_PACK, writer: fixture.writer, salt }.encode();
    let sealer: Sealer = fixture.keys.pack_sealer(&salt);
    let (mut pack, mut table) = (header.to_vec(), TableBody { row_version: ROW_VERSION, ..TableBody::default() });
    for (ordinal, (kind, encoding, rows, payloads)) in (0u64..).zip(frames) {
        let mut compressed = Vec::new();
        compress::compress(3, payloads, &mut compressed);
        let plain = if *encoding == ENCODING_ZSTD { &compressed } else { payloads };
        let blob = sealer.seal(&header, ordinal, plain);
        table.push_frame(blob.len() as u32, *encoding, *kind, rows);
        pack.extend_from_slice(&blob);
    }
    let table_offset = pack.len() as u64;
    let others = table_offset + SEAL_OVERHEAD_BYTES + TRAILER_BYTES;
    let padded = record::encode_padded(&record::encode(&table), others, PAD_BYTES_MIN_DEFAULT);
    let blob = sealer.seal(&header, TABLE_ORDINAL, &padded);
    pack.extend_from_slice(&blob);
    pack.extend_from_slice(&encode_trailer(&header, blob.len() as u32));
    (pack, table, table_offset)
}

/// A pack of a page of content, two patches on it one above the other, and a patched node.
/// A frame's kind and encoding, its rows, and its payloads.
type Framed = (u8, u8, Vec<Row>, Vec<u8>);

fn patched_chunks(fixture: &Fixture) -> (Vec<Chunk>, Vec<Framed>) {
    let page = bytes("page", 3000);
    let mut second = page.clone();
    second[1000..1040].copy_from_slice(&bytes("change", 40));
    let third = [&second[..2000], b"inserted", &second[2000..]].concat();
    let node = record::encode(&trees::list_leaf());
    let changed = record::encode(&trees::leaf());
    let content = |frame, depth, plaintext: &[u8]| Chunk {
        id: fixture.keys.content_id(plaintext),
        kind: FRAME_CONTENT,
        frame,
        depth,
        plaintext: plaintext.to_vec(),
    };
    let nodes = |frame, depth, record: &[u8]| Chunk {
        kind: FRAME_NODE,
        id: fixture.keys.node_id(record),
        ..content(frame, depth, record)
    };
    let chunks = vec![
        content(0, 0, &page),
        content(1, 1, &second),
        content(1, 2, &third),
        nodes(2, 0, &node),
        nodes(3, 1, &changed),
    ];
    let payloads = [page.clone(), patch(&page, &second), patch(&second, &third), node.clone(), patch(&node, &changed)];
    let row = |i: usize, base: Option<usize>| Row {
        prefix: chunks[i].id.prefix(),
        payload: payloads[i].len() as u32,
        plain: chunks[i].plaintext.len() as u32,
        depth: chunks[i].depth,
        base: base.map(|base| chunks[base].id.prefix()),
    };
    let frames = vec![
        (FRAME_CONTENT, ENCODING_RAW, vec![row(0, None)], payloads[0].clone()),
        (
            FRAME_CONTENT,
            ENCODING_RAW,
            vec![row(1, Some(0)), row(2, Some(1))],
            [&payloads[1][..], &payloads[2]].concat(),
        ),
        (FRAME_NODE, ENCODING_ZSTD, vec![row(3, None)], payloads[3].clone()),
        (FRAME_NODE, ENCODING_RAW, vec![row(4, Some(3))], payloads[4].clone()),
    ];
    (chunks, frames)
}

/// The pack with patches: its bytes, its table, its place.
pub(super) fn patched(fixture: &Fixture) -> (Vec<u8>, TableBody, PackPlace) {
    let frames = patched_chunks(fixture).1;
    let (bytes, table, table_offset) = assemble(fixture, id("patched pack"), &frames);
    let place = place(fixture, &bytes, table_offset, Area::Meta);
    (bytes, table, place)
}

/// A pack as backups make it: content that compresses, content that does not, and nodes.
fn built(fixture: &Fixture) -> (Vec<u8>, PackPlace, Vec<Chunk>) {
    let environment = environment("built pack");
    let mut builder = PackBuilder::new(&fixture.keys, fixture.writer, PAD_BYTES_MIN_DEFAULT, &environment);
    let texts = vec![b"squeeze me ".repeat(100), b"and me ".repeat(30)];
    let nodes = [record::encode(&trees::leaf()), record::encode(&trees::inner()), record::encode(&trees::warnings())];
    let frames = [
        (FRAME_CONTENT, Some(3), texts),
        (FRAME_CONTENT, None, vec![bytes("noise", 2000), Vec::new(), b"x".to_vec()]),
        (FRAME_NODE, Some(19), nodes.to_vec()),
    ];
    let mut chunks = Vec::new();
    for (number, (kind, level, plaintexts)) in (0u32..).zip(frames) {
        let mut frame = PlainFrame::new(kind, &Buffers::new(0, 0));
        for plaintext in plaintexts {
            let is_node = kind == FRAME_NODE;
            let id = if is_node { fixture.keys.node_id(&plaintext) } else { fixture.keys.content_id(&plaintext) };
            frame.push(id.prefix(), &plaintext);
            chunks.push(Chunk { id, kind, frame: number, depth: 0, plaintext });
        }
        builder.push(frame.compress(level), &Workers::new(Some(1)));
    }
    let pack = builder.finish();
    let bytes = pack.parts.concat();
    let place = place(fixture, &bytes, pack.table_offset, Area::Packs);
    (bytes, place, chunks)
}

fn vector(fixture: &Fixture, name: &str, bytes: &[u8], place: &PackPlace, chunks: &[Chunk]) -> Value {
    let chunk = |chunk: &Chunk| {
        json!({
            "id": chunk.id, "kind": chunk.kind, "frame": chunk.frame, "depth": chunk.depth, "plaintext": hex(&chunk.plaintext),
        })
    };
    json!({
        "name": name, "hex": hex(bytes), "data_key": hex(&fixture.secrets.data_key),
        "content_id_key": hex(&fixture.secrets.content_id_key), "tree_id_key": hex(&fixture.secrets.tree_id_key),
        "id": place.id, "writer": fixture.writer, "table_offset": place.table_offset, "table_length": place.table_length,
        "chunks": chunks.iter().map(chunk).collect::<Vec<_>>(),
    })
}

pub(super) fn packs(fixture: &Fixture) -> Vec<Value> {
    let (bytes, _, place) = patched(fixture);
    let chunks = patched_chunks(fixture).0;
    let (other, other_place, other_chunks) = built(fixture);
    let (empty, _, empty_offset) = assemble(fixture, id("empty pack"), &[]);
    let empty_place = self::place(fixture, &empty, empty_offset, Area::Packs);
    vec![
        vector(fixture, "patches", &bytes, &place, &chunks),
        vector(fixture, "of a backup", &other, &other_place, &other_chunks),
        vector(fixture, "without chunks", &empty, &empty_place, &[]),
    ]
}

/// The segment over both packs, as it is written.
fn segment(fixture: &Fixture) -> Vec<u8> {
    let opened = |bytes: &[u8], place: &PackPlace| {
        place.open_table(&fixture.keys, bytes[place.table_offset as usize..].to_vec()).unwrap()
    };
    let (bytes, _, place) = patched(fixture);
    let (other, other_place, _) = built(fixture);
    let packs = [opened(&bytes, &place), opened(&other, &other_place)];
    let mut gathering =
        segment::Gathering::new(&fixture.storage, &fixture.keys, fixture.writer, &environment("segment"));
    packs.iter().for_each(|pack| gathering.push(pack).unwrap());
    fixture.storage.read(&gathering.finish().unwrap()[0], u64::MAX).unwrap()
}

/// What the segment says.
pub(super) fn index_body(fixture: &Fixture) -> IndexBody {
    segment(fixture);
    let name = &fixture.storage.list("index/").unwrap()[0].name;
    segment::read(&fixture.storage, &fixture.keys, name).unwrap()
}

pub(super) fn index(fixture: &Fixture) -> Vec<Value> {
    let bytes = segment(fixture);
    vec![json!({
        "hex": hex(&bytes), "data_key": hex(&fixture.secrets.data_key), "id": hex(&hash(&bytes)), "writer": fixture.writer,
        "fields": index_body(fixture).json(),
    })]
}
