//! Opens tables and frames of stored packs. Everything from storage is hostile until the seal opened and the table was checked.

use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

use crate::compress;
use crate::crypto::Sealer;
use crate::error::{Error, Result};
use crate::format::constants::{ENCODING_ZSTD, OBJECT_PACK};
use crate::format::header::{HEADER_BYTES, ObjectHeader, decode_trailer};
use crate::format::name::{Area, Domain, ObjectName};
use crate::format::record::{self, Flaw};
use crate::format::table::{Frame, Table, TableBody, TableSource};
use crate::id::{PackId, WriterId};
use crate::keyring::PeriodKeys;
use crate::limits::TRAILER_BYTES;
use crate::pack::builder::TABLE_ORDINAL;
use crate::storage::Storage;

/// So many bytes before a table are read with it, where they can be kept.
const BEFORE_TABLE_BYTES: u64 = 256 << 10;
/// Frames that begin or end so near to one that is read come with it, where they can be kept.
const NEIGHBOUR_BYTES_MAX: u64 = 512 << 10;
/// So much room each thread keeps for what it opened and must decompress.
const OPENED_BYTES_MAX: usize = 2 << 20;

thread_local! {
    static OPENED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Where a pack is, as a ledger entry tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackPlace {
    pub(crate) id: PackId,
    pub(crate) area: Area,
    pub(crate) domain: Arc<Domain>,
    pub(crate) length: u64,
    pub(crate) table_offset: u64,
    pub(crate) table_length: u32,
}

impl PackPlace {
    /// The object's name.
    pub(crate) fn name(&self) -> String {
        ObjectName::Pack(self.area, (*self.domain).clone(), self.id).to_string()
    }

    /// The end of the pack, as offset and length: table and trailer.
    fn end(&self) -> (u64, u64) {
        (self.table_offset, u64::from(self.table_length) + TRAILER_BYTES)
    }

    /// Opens the table without a request, if the cache has it.
    pub(crate) fn cached_table(&self, keys: &PeriodKeys, storage: &Storage) -> Option<OpenPack> {
        let end = self.end();
        self.open_table(keys, storage.cached_piece(&self.name(), Some(end), end.1)?).ok()
    }

    /// Keeps the pieces of a pack that later readers ask for: the table, and where nodes lie or `with_content` the frames. `at_hand` gives those that are, by offset and length.
    pub(crate) fn keep<'a>(
        &self,
        pack: &OpenPack,
        at_hand: impl Fn(u64, u64) -> Option<&'a [u8]>,
        storage: &Storage,
        with_content: bool,
    ) {
        if !storage.has_cache() {
            return;
        }
        let name = self.name();
        let frames = pack.table.frames().iter().filter(|_| with_content || self.area == Area::Meta);
        let pieces = frames.map(|frame| (frame.offset, u64::from(frame.stored))).chain([self.end()]);
        for (offset, length) in pieces {
            if let Some(piece) = at_hand(offset, length) {
                storage.keep_piece(&name, Some((offset, length)), piece);
            }
        }
    }

    /// Reads the table with what stands before it, so that frames there need no request of their own: all of a small pack, and of a large one the nodes near the root. `None` where that is not
    /// worth it, or does not verify.
    fn read_table_with_frames(&self, keys: &PeriodKeys, storage: &Storage) -> Option<OpenPack> {
        if self.area != Area::Meta || !storage.has_cache() {
            return None;
        }
        let start = self.table_offset.saturating_sub(BEFORE_TABLE_BYTES);
        let bytes = storage.read_range(&self.name(), start, self.length - start).ok()?;
        let end = bytes.get((self.table_offset - start) as usize..)?;
        let pack = self.open_table(keys, end.to_vec()).ok()?;
        let at_hand = |offset: u64, length| {
            let place = offset.checked_sub(start)? as usize;
            bytes.get(place..place + length as usize)
        };
        self.keep(&pack, at_hand, storage, false);
        Some(pack)
    }

    /// Reads and opens the table: one request.
    pub(crate) fn read_table(&self, keys: &PeriodKeys, storage: &Storage) -> Result<OpenPack> {
        if let Some(pack) = self.read_table_with_frames(keys, storage) {
            return Ok(pack);
        }
        let name = self.name();
        let length = u64::from(self.table_length) + TRAILER_BYTES;
        let bytes = storage.read_range_cached(&name, self.table_offset, length)?;
        match self.open_table(keys, bytes) {
            Err(error) if error.is_damage() => {
                storage.forget_cached(&name, Some((self.table_offset, length)));
                self.open_table_again(keys, storage, storage.read_range(&name, self.table_offset, length)?)
            }
            result => result,
        }
    }

    /// Opens a table whose end of the pack did not verify as it stood: the header stands at both ends, so one of them may be damaged.
    fn open_table_again(&self, keys: &PeriodKeys, storage: &Storage, mut end: Vec<u8>) -> Result<OpenPack> {
        match self.open_table(keys, end.clone()) {
            Err(error) if error.is_damage() => {
                let front = storage.read_range(&self.name(), 0, HEADER_BYTES as u64)?;
                let Ok((header, clear)) = ObjectHeader::decode(&front, OBJECT_PACK) else { return Err(error) };
                end.truncate(self.table_length as usize);
                self.open_sealed_table(keys, header, clear, &mut end)
            }
            result => result,
        }
    }

    /// Opens a table from the end of the pack: sealed table and trailer.
    pub(crate) fn open_table(&self, keys: &PeriodKeys, mut end: Vec<u8>) -> Result<OpenPack> {
        let table_length = end.len().saturating_sub(TRAILER_BYTES as usize);
        let (table, trailer) = end.split_at_mut(table_length);
        let (header, clear, announced) = decode_trailer(trailer).map_err(|flaw| self.flawed(flaw))?;
        if announced as usize != table_length || announced != self.table_length {
            return Err(Error::damaged(self.name(), "the trailer contradicts the ledger"));
        }
        self.open_sealed_table(keys, header, clear, table)
    }

    fn open_sealed_table(
        &self,
        keys: &PeriodKeys,
        header: ObjectHeader,
        clear: [u8; HEADER_BYTES],
        table: &mut [u8],
    ) -> Result<OpenPack> {
        let sealer = keys.pack_sealer(&header.salt);
        let padded = sealer
            .open(&clear, TABLE_ORDINAL, table)
            .map_err(|_| Error::damaged(self.name(), "the table does not open"))?;
        let record = record::decode_padded(padded).map_err(|flaw| self.flawed(flaw))?;
        let body: TableBody = record::decode(&record).map_err(|flaw| self.flawed(flaw))?;
        let table = Table::new(&body, self.table_offset).map_err(|flaw| self.flawed(flaw))?;
        let sealing = Sealing::Made(Box::new(Seal { header, clear, sealer }));
        Ok(OpenPack { place: self.clone(), table, record: record.into(), sealing })
    }

    /// A program that knows more would have said so in the ledger: in a pack that the ledger names, what is not known is damage.
    fn flawed(&self, flaw: Flaw) -> Error {
        match flaw {
            Flaw::Malformed(what) | Flaw::Newer(what) => Error::damaged(self.name(), what),
        }
    }
}

/// A pack whose table was opened.
pub(crate) struct OpenPack {
    pub(crate) place: PackPlace,
    pub(crate) table: Table,
    record: Box<[u8]>,
    sealing: Sealing,
}

/// What opens frames. Of millions of packs few are read from, so it can be made when it is first needed.
enum Sealing {
    Made(Box<Seal>),
    Later(Arc<PeriodKeys>, OnceLock<Box<Seal>>),
}

struct Seal {
    header: ObjectHeader,
    clear: [u8; HEADER_BYTES],
    sealer: Sealer,
}

impl Seal {
    fn new(keys: &PeriodKeys, writer: WriterId, salt: [u8; 32]) -> Box<Self> {
        let header = ObjectHeader { kind: OBJECT_PACK, writer, salt };
        Box::new(Self { header, clear: header.encode(), sealer: keys.pack_sealer(&salt) })
    }
}

impl OpenPack {
    /// Takes a table that an index segment gathered, with the pack's header.
    pub(crate) fn from_segment(
        place: PackPlace,
        keys: &PeriodKeys,
        salt: [u8; 32],
        writer: WriterId,
        record: Vec<u8>,
    ) -> Result<Self> {
        let at = |flaw: Flaw| flaw.at(place.name());
        let body: TableBody = record::decode(&record).map_err(at)?;
        let table = Table::new(&body, place.table_offset).map_err(at)?;
        let sealing = Sealing::Made(Seal::new(keys, writer, salt));
        Ok(Self { table, record: record.into(), place, sealing })
    }

    /// Takes a table that a source has, with the pack's header there.
    pub(crate) fn from_source(
        place: PackPlace,
        keys: Arc<PeriodKeys>,
        source: Arc<dyn TableSource>,
        number: u32,
    ) -> Self {
        let table = Table::elsewhere(source, number);
        Self { place, table, record: Box::default(), sealing: Sealing::Later(keys, OnceLock::new()) }
    }

    fn seal(&self) -> &Seal {
        match &self.sealing {
            Sealing::Made(seal) => seal,
            Sealing::Later(keys, made) => made.get_or_init(|| {
                let (writer, salt) = self.table.header().expect("who has a table has the header of its pack");
                Seal::new(keys, writer, salt)
            }),
        }
    }

    /// What the pack's header says.
    pub(crate) fn header(&self) -> &ObjectHeader {
        &self.seal().header
    }

    /// The table's record, as it was sealed, until it was dropped.
    pub(crate) fn record(&self) -> &[u8] {
        &self.record
    }

    /// Frees the table's record.
    pub(crate) fn drop_record(&mut self) {
        self.record = Box::default();
    }

    /// Opens a frame from its blob and returns its payloads.
    pub(crate) fn open_frame(&self, number: u32, blob: &[u8]) -> Result<Vec<u8>> {
        let mut payloads = Vec::new();
        self.open_frame_into(number, blob, &mut payloads)?;
        Ok(payloads)
    }

    /// Opens a frame from its blob; its payloads come into a buffer whose room is used again. Nothing is copied on the way.
    pub(crate) fn open_frame_into(&self, number: u32, blob: &[u8], payloads: &mut Vec<u8>) -> Result<()> {
        let damaged = |what| Error::damaged(format!("{} frame {number}", self.place.name()), what);
        let frame = self.table.frames().get(number as usize).ok_or_else(|| damaged("there is no such frame"))?;
        let open = |out: &mut Vec<u8>| {
            let seal = self.seal();
            let opened = seal.sealer.open_into(&seal.clear, u64::from(number), blob, out);
            opened.map_err(|_| damaged("the frame does not open"))
        };
        if frame.encoding != ENCODING_ZSTD {
            return open(payloads);
        }
        OPENED.with_borrow_mut(|opened| {
            open(opened)?;
            let decompressed = compress::decompress_into(opened, frame.payload as usize, payloads);
            opened.shrink_to(OPENED_BYTES_MAX);
            decompressed.map_err(|_| damaged("the frame does not decompress"))
        })
    }

    /// Reads and opens a frame: one request.
    pub(crate) fn read_frame(&self, number: u32, storage: &Storage) -> Result<Vec<u8>> {
        let frame = self.frame(number)?;
        let name = self.place.name();
        if self.place.area == Area::Packs {
            return self.open_frame(number, &storage.read_range(&name, frame.offset, u64::from(frame.stored))?);
        }
        let blob = match storage.cached_piece(&name, Some((frame.offset, u64::from(frame.stored))), frame.stored.into())
        {
            Some(blob) => blob,
            None => self.read_with_neighbours(number, storage)?,
        };
        match self.open_frame(number, &blob) {
            Err(error) if error.is_damage() => {
                storage.forget_cached(&name, Some((frame.offset, u64::from(frame.stored))));
                self.open_frame(number, &storage.read_range(&name, frame.offset, u64::from(frame.stored))?)
            }
            result => result,
        }
    }

    /// Reads a frame's blob. Where there is a cache, its neighbours come with it: nodes on one path lie close to one another.
    fn read_with_neighbours(&self, number: u32, storage: &Storage) -> Result<Vec<u8>> {
        let frame = self.frame(number)?;
        let (name, end) = (self.place.name(), |frame: &Frame| frame.offset + u64::from(frame.stored));
        if !storage.has_cache() {
            return storage.read_range(&name, frame.offset, u64::from(frame.stored));
        }
        let is_near = |other: &&Frame| {
            end(other) + NEIGHBOUR_BYTES_MAX >= end(frame) && other.offset <= frame.offset + NEIGHBOUR_BYTES_MAX
        };
        let near: Vec<&Frame> = self.table.frames().iter().filter(is_near).collect();
        let (Some(first), Some(last)) = (near.first(), near.last()) else { return Ok(Vec::new()) };
        let bytes = storage.read_range(&name, first.offset, end(last) - first.offset)?;
        let piece = |of: &Frame| &bytes[(of.offset - first.offset) as usize..(end(of) - first.offset) as usize];
        for neighbour in &near {
            storage.keep_piece(&name, Some((neighbour.offset, neighbour.stored.into())), piece(neighbour));
        }
        Ok(piece(frame).to_vec())
    }

    /// Groups frames, ascending, so that each group is fetched in one request: gaps of at most `gap_bytes`, about `bytes_max` together.
    pub(crate) fn coalesce(&self, numbers: &[u32], gap_bytes: u64, bytes_max: u64) -> Vec<Vec<u32>> {
        let mut groups: Vec<Vec<u32>> = Vec::new();
        let (mut start, mut end) = (0, 0);
        for frame in numbers.iter().filter_map(|number| Some((*number, self.frame(*number).ok()?))) {
            let (number, frame) = frame;
            let frame_end = frame.offset + u64::from(frame.stored);
            match groups.last_mut() {
                Some(group) if frame.offset <= end + gap_bytes && frame_end - start <= bytes_max => group.push(number),
                _ => {
                    groups.push(vec![number]);
                    start = frame.offset;
                }
            }
            end = frame_end;
        }
        groups
    }

    /// Reads frames in one request and opens each of them; a frame that does not open harms no other.
    pub(crate) fn read_frames(&self, numbers: &[u32], storage: &Storage) -> Result<Vec<Result<Vec<u8>>>> {
        if let Some(opened) = self.cached_frames(numbers, storage) {
            return Ok(opened);
        }
        let frames = numbers.iter().map(|number| self.frame(*number)).collect::<Result<Vec<_>>>()?;
        let (Some(first), Some(last)) = (frames.first(), frames.last()) else { return Ok(Vec::new()) };
        let length = last.offset + u64::from(last.stored) - first.offset;
        let bytes = storage.read_range(&self.place.name(), first.offset, length)?;
        let open = |(number, frame): (&u32, &&Frame)| {
            let start = (frame.offset - first.offset) as usize;
            self.open_frame(*number, &bytes[start..start + frame.stored as usize])
        };
        Ok(numbers.iter().zip(&frames).map(open).collect())
    }

    /// Opens frames without a request, if the cache has them all, whole.
    fn cached_frames(&self, numbers: &[u32], storage: &Storage) -> Option<Vec<Result<Vec<u8>>>> {
        if self.place.area != Area::Meta || !storage.has_cache() {
            return None;
        }
        let name = self.place.name();
        let open = |number: &u32| {
            let frame = self.frame(*number).ok()?;
            let range = (frame.offset, u64::from(frame.stored));
            self.open_frame(*number, &storage.cached_piece(&name, Some(range), range.1)?).ok().map(Ok)
        };
        numbers.iter().map(open).collect()
    }

    fn frame(&self, number: u32) -> Result<&Frame> {
        let missing = || Error::damaged(self.place.name(), "there is no such frame");
        self.table.frames().get(number as usize).ok_or_else(missing)
    }
}
