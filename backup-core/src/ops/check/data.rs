//! Reads packs whole: every byte by the pack's id, every frame by its seal, every chunk by its own hash.

use std::collections::HashSet;

use super::{Finding, ReadData};
use crate::crypto::hash;
use crate::error::Result;
use crate::format::constants::FRAME_NODE;
use crate::id::{ChunkPrefix, PackId};
use crate::index::Voids;
use crate::limits::PACK_BYTES_MAX;
use crate::pack::reader::OpenPack;
use crate::progress::Progress;
use crate::repository::load::{Loader, chunk_id};
use crate::time::Time;

/// What reading found.
#[derive(Default)]
pub(super) struct Read {
    pub(super) read_bytes: u64,
    /// Packs that are good.
    pub(super) good: Vec<PackId>,
    pub(super) bad: Voids,
    pub(super) findings: Vec<Finding>,
}

/// Reads as many packs as are asked for.
pub(super) fn run(loader: &Loader<'_>, read_data: ReadData, progress: &dyn Progress) -> Result<Read> {
    let packs = choose(loader, read_data);
    let mut read = Read::default();
    let workers = &loader.repository.workers;
    // A few packs at a time, so that memory is bounded and a stop is heard.
    for group in packs.chunks(workers.count()) {
        loader.repository.options.cancel.check()?;
        for result in workers.map(group.to_vec(), |number| check_pack(loader, number)) {
            let checked = result?;
            let pack = loader.index.pack(checked.number);
            read.read_bytes += pack.place.length;
            progress.advanced(1, pack.place.length);
            match checked.finding {
                None => read.good.push(pack.place.id),
                Some(finding) => {
                    read.bad.add(pack.place.id, checked.frames);
                    read.findings.push(finding);
                }
            }
        }
    }
    Ok(read)
}

/// Numbers of the packs to read, the least recently read first.
fn choose(loader: &Loader<'_>, read_data: ReadData) -> Vec<u32> {
    let mut packs: Vec<(Time, PackId, u32, u64)> = (0u32..)
        .zip(loader.index.packs())
        .map(|(number, pack)| {
            let last = loader.repository.state.packs_read.get(&pack.place.id);
            (last.copied().unwrap_or_default(), pack.place.id, number, pack.place.length)
        })
        .collect();
    packs.sort_unstable();
    let all: u64 = packs.iter().map(|pack| pack.3).sum();
    let wanted = match read_data {
        ReadData::All => return packs.into_iter().map(|pack| pack.2).collect(),
        ReadData::Bytes(bytes) => bytes,
        ReadData::Percent(percent) => (all as f64 * percent / 100.0).ceil() as u64,
    };
    let mut sum = 0;
    let enough = |pack: &(Time, PackId, u32, u64)| {
        let before = sum;
        sum += pack.3;
        before < wanted
    };
    packs.into_iter().take_while(enough).map(|pack| pack.2).collect()
}

struct Checked {
    number: u32,
    finding: Option<Finding>,
    /// Frames that are bad; `None` is the whole pack.
    frames: Option<Vec<u32>>,
}

fn check_pack(loader: &Loader<'_>, number: u32) -> Result<Checked> {
    let pack = loader.index.pack(number);
    let name = pack.place.name();
    let bytes = match loader.repository.storage.read(&name, PACK_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.is_damage() => {
            let chunks = pack.table.prefixes().iter().copied().collect();
            let finding = Finding { object: name, kind: "missing", pack: Some(pack.place.id), chunks: Some(chunks) };
            return Ok(Checked { number, finding: Some(finding), frames: None });
        }
        Err(error) => return Err(error),
    };
    let is_intact = hash(&bytes) == pack.place.id.0;
    let mut bad_frames = Vec::new();
    let mut chunks: HashSet<ChunkPrefix> = HashSet::new();
    for (number, frame) in (0u32..).zip(pack.table.frames()) {
        let blob = bytes.get(frame.offset as usize..frame.offset as usize + frame.stored as usize);
        let payloads = blob.and_then(|blob| pack.open_frame(number, blob.to_vec()).ok());
        if !payloads.is_some_and(|payloads| chunks_are_good(loader, pack, number, &payloads)) {
            bad_frames.push(number);
            let rows = frame.first_row as usize..(frame.first_row + frame.rows) as usize;
            chunks.extend(&pack.table.prefixes()[rows]);
        }
    }
    if is_intact && bad_frames.is_empty() {
        return Ok(Checked { number, finding: None, frames: Some(Vec::new()) });
    }
    let kind = if (bytes.len() as u64) < pack.place.length { "truncated" } else { "altered" };
    let object = match bad_frames[..] {
        [frame] => format!("{name} frame {frame}"),
        _ => name,
    };
    let finding = Finding { object, kind, pack: Some(pack.place.id), chunks: Some(chunks) };
    Ok(Checked { number, finding: Some(finding), frames: Some(bad_frames) })
}

/// Whether every chunk of a frame hashes to its prefix. Patches are checked through their bases.
fn chunks_are_good(loader: &Loader<'_>, pack: &OpenPack, number: u32, payloads: &[u8]) -> bool {
    let Some(keys) = loader.repository.keys.get(&pack.place.domain) else { return false };
    let Some(frame) = pack.table.frames().get(number as usize) else { return false };
    (frame.first_row..frame.first_row + frame.rows).all(|row| {
        let Some((row, _, offset)) = pack.table.row(row) else { return false };
        let Some(payload) = payloads.get(offset as usize..offset as usize + row.payload as usize) else { return false };
        let is_node = frame.kind == FRAME_NODE;
        match row.base {
            None => chunk_id(keys, is_node, payload).prefix() == row.prefix,
            Some(base) => loader
                .decode_patch(&base, row.depth, payload, row.plain)
                .is_some_and(|plaintext| chunk_id(keys, is_node, &plaintext).prefix() == row.prefix),
        }
    })
}
