//! Reads packs whole: every byte by the pack's id, every frame by its seal, every chunk by its own hash.

use std::collections::HashSet;

use super::{Finding, ReadData};
use crate::crypto::hash;
use crate::error::Result;
use crate::format::constants::FRAME_NODE;
use crate::id::{ChunkPrefix, PackId};
use crate::index::{Location, Voids};
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
    check_patches(loader, &packs, &mut read)?;
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
    let finding = Finding { object: object(pack, &bad_frames), kind, pack: Some(pack.place.id), chunks: Some(chunks) };
    Ok(Checked { number, finding: Some(finding), frames: Some(bad_frames) })
}

/// Whether every chunk of a frame that is stored whole hashes to its prefix. Patches come later, in an order in which bases are at hand.
fn chunks_are_good(loader: &Loader<'_>, pack: &OpenPack, number: u32, payloads: &[u8]) -> bool {
    let Some(keys) = loader.repository.keys.get(&pack.place.domain) else { return false };
    let Some(frame) = pack.table.frames().get(number as usize) else { return false };
    (frame.first_row..frame.first_row + frame.rows).all(|row| {
        let Some((row, _, offset)) = pack.table.row(row) else { return false };
        let Some(payload) = payloads.get(offset as usize..offset as usize + row.payload as usize) else { return false };
        row.base.is_some() || chunk_id(keys, frame.kind == FRAME_NODE, payload).prefix() == row.prefix
    })
}

/// Decodes the patches of packs that were read, and finds what of them, or of what they are made from, is bad though it could be opened.
fn check_patches(loader: &Loader<'_>, packs: &[u32], read: &mut Read) -> Result<()> {
    let bad = &read.bad;
    // One after the other: a list of all would grow with the repository.
    let patches = packs.iter().flat_map(|number| {
        let pack = loader.index.pack(*number);
        let is_bad =
            move |row: u32| pack.table.row(row).is_some_and(|(_, frame, _)| bad.contains(pack.place.id, frame));
        let rows = (0u32..pack.table.len() as u32).filter(move |row| pack.table.depth(*row) > 0 && !is_bad(*row));
        rows.map(|row| Location { pack: *number, row })
    });
    loader.rehash(patches)?;
    let found = loader.bad().without(&read.bad);
    if found.is_empty() {
        return Ok(());
    }
    for pack in loader.index.packs() {
        let Some((_, Some(frames))) = found.iter().find(|(bad, _)| *bad == pack.place.id) else { continue };
        read.good.retain(|good| *good != pack.place.id);
        let rows = frames.iter().filter_map(|frame| pack.table.frames().get(*frame as usize));
        let rows = rows.flat_map(|frame| frame.first_row as usize..(frame.first_row + frame.rows) as usize);
        let chunks = rows.map(|row| pack.table.prefixes()[row]).collect();
        let object = object(pack, &frames.iter().copied().collect::<Vec<_>>());
        read.findings.push(Finding { object, kind: "altered", pack: Some(pack.place.id), chunks: Some(chunks) });
    }
    read.bad.extend(&found);
    Ok(())
}

/// Names a pack, with the frame where one alone is meant.
fn object(pack: &OpenPack, frames: &[u32]) -> String {
    match frames {
        [frame] => format!("{} frame {frame}", pack.place.name()),
        _ => pack.place.name(),
    }
}
