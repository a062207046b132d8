//! What one patched chunk costs beside its payload: the count that section 7 of `docs/format.md` refers to.

use std::io::Write;

use super::fixture::environment;
use crate::format::constants::*;
use crate::format::record::{encode, encode_padded};
use crate::format::table::{Row, TableBody};
use crate::format::tree::{Item, ListLeaf};
use crate::id::ChunkId;

/// Chunks that one step patches.
const PATCHED: usize = 2000;
/// Page groups of the database.
const GROUPS: usize = 131_072;
/// Items of one leaf of the page map.
const LEAF_ITEMS: usize = 1024;
/// Runs of neighbours that change together, and what each chunk may cost: 64 bytes that do not compress, and what is left of lengths, depths and places.
const COSTS: [(usize, f64); 2] = [(250, 73.0), (1, 77.0)];

fn number(below: usize) -> usize {
    use std::sync::OnceLock;
    static WORLD: OnceLock<crate::environment::Environment> = OnceLock::new();
    let random: [u8; 8] = WORLD.get_or_init(|| environment("count")).random();
    usize::try_from(u64::from_le_bytes(random) % below as u64).unwrap()
}

fn chunk_id() -> ChunkId {
    static WORLD: std::sync::OnceLock<crate::environment::Environment> = std::sync::OnceLock::new();
    ChunkId(WORLD.get_or_init(|| environment("count of ids")).random())
}

/// Bytes of a table of the step's chunks, each with another length, beside the padding.
fn table_bytes(new: &[ChunkId]) -> usize {
    let mut table = TableBody::default();
    for chunks in new.chunks(128) {
        let row = |id: &ChunkId| Row {
            prefix: id.prefix(),
            payload: 50 + u32::try_from(number(850)).unwrap(),
            plain: 16_384,
            depth: 1 + u8::try_from(number(8)).unwrap(),
            base: Some(chunk_id().prefix()),
        };
        let rows: Vec<Row> = chunks.iter().map(row).collect();
        let stored = rows.iter().map(|row| row.payload).sum::<u32>() + 32;
        table.push_frame(stored, ENCODING_RAW, FRAME_CONTENT, &rows);
    }
    let padded = encode_padded(&encode(&table), 0, 0);
    u32::from_le_bytes(padded[4..8].try_into().unwrap()) as usize
}

/// A patch of a leaf against the leaf of the step before, as a page map's node is stored.
fn patch_bytes(base: &[u8], leaf: &[u8]) -> usize {
    let mut context = zstd::zstd_safe::CCtx::create();
    context.set_parameter(zstd::zstd_safe::CParameter::CompressionLevel(3)).unwrap();
    context.set_parameter(zstd::zstd_safe::CParameter::WindowLog(18)).unwrap();
    context.ref_prefix(base).unwrap();
    let mut patch = Vec::with_capacity(zstd::zstd_safe::compress_bound(leaf.len()));
    context.compress2(&mut patch, leaf).unwrap()
}

/// Bytes of patches of all leaves of the page map that changed, where so many neighbours change together.
fn map_bytes(new: &[ChunkId], run_length: usize) -> usize {
    let item = |id| Item::Chunk { length: 16_384, decode_bytes: 16_384, id };
    let mut items: Vec<Item> = (0..GROUPS).map(|_| item(chunk_id())).collect();
    let leaves = |items: &[Item]| -> Vec<Vec<u8>> {
        let leaf = |items: &[Item]| encode(&ListLeaf { row_version: ROW_VERSION, items: items.to_vec() });
        items.chunks(LEAF_ITEMS).map(leaf).collect()
    };
    let before = leaves(&items);
    for run in new.chunks(run_length) {
        let start = number(GROUPS - run.len());
        for (place, id) in items[start..].iter_mut().zip(run) {
            let decode_bytes = 16_384 * (2 + u32::try_from(number(8)).unwrap());
            *place = Item::Chunk { length: 16_384, decode_bytes, id: *id };
        }
    }
    let changed = before.iter().zip(leaves(&items)).filter(|(before, after)| **before != *after);
    changed.map(|(before, after)| patch_bytes(before, &after)).sum()
}

#[test]
fn one_step_of_2000_patched_chunks_costs_what_the_format_says() {
    let new: Vec<ChunkId> = (0..PATCHED).map(|_| chunk_id()).collect();
    let each = |bytes: usize| bytes as f64 / PATCHED as f64;
    let table = each(table_bytes(&new));
    for (run_length, bytes_max) in COSTS {
        let map = each(map_bytes(&new, run_length));
        let line = format!(
            "in runs of {run_length} a patched chunk costs {table:.1} bytes of table and {map:.1} of page map, {:.1} in all\n",
            table + map
        );
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        assert!(table + map <= bytes_max, "{line}");
    }
}
