//! Reads packs whole: every byte by the pack's id, every frame by its seal, every chunk by its own hash.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::{Finding, ReadData};
use crate::crypto::hash;
use crate::error::Result;
use crate::format::constants::FRAME_NODE;
use crate::id::{ChunkPrefix, PackId};
use crate::index::{Location, Voids};
use crate::limits::PACK_BYTES_MAX;
use crate::pack::reader::OpenPack;
use crate::pipeline::{Pending, Scope, Workers};
use crate::progress::Progress;
use crate::repository::load::{Loader, chunk_id};
use crate::time::Time;

/// Bytes of packs that are in memory for each worker, and for reading ahead twice.
const PACK_BYTES: u64 = 16 << 20;
/// Stored bytes of the frames that a worker checks at a time, about.
const RUN_BYTES_MAX: u64 = 1 << 20;

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
    workers.scope(|scope| {
        let mut under_way = UnderWay::new(loader, scope, &packs);
        while let Some((number, checked)) = under_way.next()? {
            let pack = loader.index.pack(number);
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
        Ok(())
    })?;
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

/// What was found in a pack.
struct Checked {
    finding: Option<Finding>,
    /// Frames that are bad; `None` is the whole pack.
    frames: Option<Vec<u32>>,
}

/// Packs on their way: those to come are read, by threads that wait for storage where it is far, while the workers share the hash and the frames of those that are there.
struct UnderWay<'p, 's, 'env> {
    loader: &'env Loader<'env>,
    scope: &'p Scope<'s, 'env>,
    /// Packs that nobody reads yet.
    rest: std::slice::Iter<'p, u32>,
    reading: VecDeque<(u32, Pending<Result<Vec<u8>>>)>,
    checking: VecDeque<Checking>,
    /// Bytes of all packs that are read or checked.
    bytes: u64,
    bytes_max: u64,
}

/// A pack that workers check.
struct Checking {
    number: u32,
    /// Bytes that there are of it; `None` if it is missing.
    length: Option<u64>,
    is_intact: Option<Pending<bool>>,
    /// The bad ones of some frames each.
    frames: Vec<Pending<Vec<u32>>>,
}

impl<'p, 's, 'env> UnderWay<'p, 's, 'env> {
    fn new(loader: &'env Loader<'env>, scope: &'p Scope<'s, 'env>, packs: &'p [u32]) -> Self {
        let bytes_max = (loader.repository.workers.count() as u64 + 2) * PACK_BYTES;
        let (reading, checking) = Default::default();
        Self { loader, scope, rest: packs.iter(), reading, checking, bytes: 0, bytes_max }
    }

    /// What was found in the next pack, in order.
    fn next(&mut self) -> Result<Option<(u32, Checked)>> {
        loop {
            self.loader.repository.options.cancel.check()?;
            self.read_ahead()?;
            let is_read = |(_, pending): &(u32, Pending<_>)| pending.is_done();
            if !self.checking.is_empty() && !self.reading.front().is_some_and(is_read) {
                break;
            }
            let Some((number, pending)) = self.reading.pop_front() else { break };
            self.check(number, pending.wait())?;
        }
        let Some(checking) = self.checking.pop_front() else { return Ok(None) };
        let number = checking.number;
        self.bytes -= self.loader.index.pack(number).place.length;
        Ok(Some((number, checking.settle(self.loader.index.pack(number)))))
    }

    /// Begins to read packs, as many as memory may hold, and one at least. From a directory this thread reads them, whose memory is then used again: pages that are new to a process cost as much as
    /// a third of the reading.
    fn read_ahead(&mut self) -> Result<()> {
        while let Some(&number) = self.rest.as_slice().first() {
            let place = &self.loader.index.pack(number).place;
            if self.bytes > 0 && self.bytes + place.length > self.bytes_max {
                break;
            }
            self.rest.next();
            self.bytes += place.length;
            let (storage, name) = (self.loader.repository.storage.clone(), place.name());
            if storage.is_near() {
                self.check(number, storage.read(&name, PACK_BYTES_MAX))?;
            } else {
                let read = move || storage.read(&name, PACK_BYTES_MAX);
                self.reading.push_back((number, Workers::submit_waiting(read)));
            }
        }
        Ok(())
    }

    /// Hands a pack to the workers.
    fn check(&mut self, number: u32, bytes: Result<Vec<u8>>) -> Result<()> {
        let bytes = match bytes {
            Ok(bytes) => Arc::new(bytes),
            Err(error) if error.is_damage() => {
                self.checking.push_back(Checking { number, length: None, is_intact: None, frames: Vec::new() });
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let (loader, pack) = (self.loader, self.loader.index.pack(number));
        let whole = Arc::clone(&bytes);
        let is_intact = Some(self.scope.submit(move || hash(&whole) == pack.place.id.0));
        let numbers: Vec<u32> = (0u32..).zip(pack.table.frames()).map(|(number, _)| number).collect();
        let runs = pack.coalesce(&numbers, PACK_BYTES_MAX, RUN_BYTES_MAX).into_iter();
        let length = Some(bytes.len() as u64);
        let check = |run| {
            let bytes = Arc::clone(&bytes);
            self.scope.submit(move || bad_frames(loader, pack, run, &bytes))
        };
        self.checking.push_back(Checking { number, length, is_intact, frames: runs.map(check).collect() });
        Ok(())
    }
}

impl Checking {
    fn settle(self, pack: &OpenPack) -> Checked {
        let Some(length) = self.length else {
            let chunks = Some(pack.table.prefixes().iter().copied().collect());
            let finding = Finding { object: pack.place.name(), kind: "missing", pack: Some(pack.place.id), chunks };
            return Checked { finding: Some(finding), frames: None };
        };
        let is_intact = self.is_intact.is_some_and(Pending::wait);
        let bad: Vec<u32> = self.frames.into_iter().flat_map(Pending::wait).collect();
        if is_intact && bad.is_empty() {
            return Checked { finding: None, frames: Some(bad) };
        }
        let kind = if length < pack.place.length { "truncated" } else { "altered" };
        let chunks = Some(chunks_of(pack, bad.iter().copied()));
        let finding = Finding { object: object(pack, &bad), kind, pack: Some(pack.place.id), chunks };
        Checked { finding: Some(finding), frames: Some(bad) }
    }
}

/// The frames of some that do not open, or hold a chunk that does not hash to its prefix.
fn bad_frames(loader: &Loader<'_>, pack: &OpenPack, mut numbers: Vec<u32>, bytes: &[u8]) -> Vec<u32> {
    let mut payloads = Vec::new();
    let mut is_good = |number: u32| {
        let frame = &pack.table.frames()[number as usize];
        let blob = bytes.get(frame.offset as usize..frame.offset as usize + frame.stored as usize);
        blob.is_some_and(|blob| pack.open_frame_into(number, blob, &mut payloads).is_ok())
            && chunks_are_good(loader, pack, number, &payloads)
    };
    numbers.retain(|number| !is_good(*number));
    numbers
}

/// The chunks that lie in some frames of a pack.
fn chunks_of(pack: &OpenPack, frames: impl Iterator<Item = u32>) -> HashSet<ChunkPrefix> {
    let frames = frames.filter_map(|frame| pack.table.frames().get(frame as usize));
    let rows = frames.flat_map(|frame| frame.first_row as usize..(frame.first_row + frame.rows) as usize);
    rows.map(|row| pack.table.prefixes()[row]).collect()
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
        let chunks = chunks_of(pack, frames.iter().copied());
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
