//! Mapped segments: the tables of many packs in one file of the local cache, which is searched where it lies.
//!
//! They save time and memory, and nothing depends on them. A segment is used for packs that the ledger names with the very place that stands in it; all else in it is passed over, and dropped
//! when it is merged ([`merge`]). A head binds a file to the keyring, to the repository and to a tag of each block; a block is compared with its tag when it is first touched, since a wrong "is
//! stored" would lose data. Where one differs, the file is unlinked, and what it should have said is read from the tables again, for as long as this process lives.

mod filter;
pub(crate) mod gather;
mod layout;
pub(super) mod merge;
pub(super) mod open;
mod write;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::crypto::{Secret, hash};
use crate::error::{Error, Result};
use crate::format::name::{Area, Domain};
use crate::format::table::{Columns, Table, TableSource};
use crate::id::{ChunkPrefix, PackId, RepositoryId, WriterId, encode_hex};
use crate::keyring::{Keyring, PeriodKeys};
use crate::pack::reader::PackPlace;
use crate::storage::{Cache, Folder, Mapping, Storage};
use layout::{BLOCK_BYTES, Counts, Entry, Head, Layout, MAGIC, PackRecord, Part, TAG_BYTES, key};

/// The folder of a cache with the segments of one repository and keyring.
#[derive(Clone)]
pub(crate) struct LocalIndex {
    folder: Folder,
    repository: RepositoryId,
    head_key: Secret,
    block_key: Secret,
    /// Fewer new rows stay in memory, where each has 48 bytes.
    rows_min: usize,
    /// So many new rows become a segment; in memory they and their entries have 20 MiB.
    lot_rows: usize,
}

impl LocalIndex {
    /// Takes the folder that belongs to a keyring.
    pub(crate) fn new(cache: &Cache, keyring: &Keyring) -> Self {
        let key = keyring.local_index_key();
        let name = encode_hex(&hash(key.derive("holdfast v1 local index name", b"").expose())[..8]);
        Self {
            folder: cache.folder(&name),
            repository: keyring.repository(),
            head_key: key.derive("holdfast v1 local index heads", b""),
            block_key: key.derive("holdfast v1 local index blocks", b""),
            rows_min: 1 << 15,
            lot_rows: 1 << 19,
        }
    }

    /// Whether so many rows in memory are enough for a segment.
    pub(super) fn is_worth(&self, rows: usize) -> bool {
        rows >= self.rows_min
    }

    /// Whether so many more bytes may be written: segments may take up half of the cache, and all of it while they are merged.
    fn has_room(&self, bytes: u64, is_merge: bool) -> bool {
        let limit = self.folder.limit_bytes() / if is_merge { 1 } else { 2 };
        self.used_bytes().saturating_add(bytes) <= limit
    }

    fn used_bytes(&self) -> u64 {
        self.folder.list().iter().map(|(_, length)| length).sum()
    }
}

/// How tables are read again that a segment does not have as it should.
pub(super) struct Reread {
    storage: Storage,
    keys: HashMap<Arc<Domain>, Arc<PeriodKeys>>,
    /// The first failure of the storage: what it kept from being read is not lost.
    trouble: Mutex<Option<Error>>,
}

impl Reread {
    pub(super) fn new(storage: &Storage, keys: &HashMap<Arc<Domain>, Arc<PeriodKeys>>) -> Self {
        Self { storage: storage.clone(), keys: keys.clone(), trouble: Mutex::new(None) }
    }

    /// The table of a pack, from storage, without rows where it is damaged; `None` where the storage fails now.
    fn read(&self, record: &PackRecord) -> Option<Table> {
        let found = self.keys.iter().find(|(domain, _)| domain_tag(domain) == record.domain);
        let place = found.and_then(|(domain, _)| {
            let area = Area::from_number(record.area as u8)?;
            let (length, table_offset, table_length) = (record.length, record.table_offset, record.table_length);
            let domain = Arc::clone(domain);
            Some(PackPlace { id: PackId(record.pack), area, domain, length, table_offset, table_length })
        });
        let (Some(place), Some((_, keys))) = (place, found) else { return Some(Table::default()) };
        match place.read_table(keys, &self.storage) {
            Ok(pack) => Some(pack.table),
            Err(error) if error.is_damage() => Some(Table::default()),
            Err(error) => {
                self.trouble.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                None
            }
        }
    }

    /// Fails if the storage did since it was asked last, so that nothing is taken for lost that only could not be read.
    pub(super) fn take_trouble(&self) -> Result<()> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

/// Names class and period in a record.
fn domain_tag(domain: &Domain) -> [u8; 16] {
    let mut tag = [0; 16];
    tag.copy_from_slice(&hash(format!("{}/{}", domain.class, domain.period).as_bytes())[..16]);
    tag
}

/// Whether a record is of the pack at a place, whose domain has this tag.
fn agrees(record: &PackRecord, place: &PackPlace, domain: &[u8; 16]) -> bool {
    record.pack == place.id.0
        && record.domain == *domain
        && record.area == u32::from(place.area.number())
        && (record.length, record.table_offset, record.table_length)
            == (place.length, place.table_offset, place.table_length)
}

/// An open segment.
pub(super) struct Segment {
    local: LocalIndex,
    name: String,
    map: Mapping,
    layout: Layout,
    counts: Counts,
    /// A bit for each block that was compared with its tag.
    verified: Box<[AtomicU64]>,
    /// Packs whose columns were compared.
    touched: Box<[AtomicBool]>,
    reread: Arc<Reread>,
    /// Whether a block was not what it was when it was written.
    damaged: AtomicBool,
    /// Tables that were read again, by the number of the pack.
    spare: OnceLock<Box<[OnceLock<Table>]>>,
}

impl Segment {
    /// Opens a file; `None` if it is not whole, or not one of this repository, keyring, machine and version.
    pub(super) fn open(local: &LocalIndex, name: &str, reread: &Arc<Reread>) -> Option<Self> {
        let map = local.folder.map(name)?;
        let (head, _) = Head::read_from_prefix(&map).ok()?;
        if head.magic != MAGIC || head.repository != local.repository.0 {
            return None;
        }
        let layout = Layout::new(&head.counts).filter(|layout| layout.length() == map.len() as u64)?;
        let tags = map.get(usize::try_from(layout.tags_offset()).ok()?..)?;
        if write::head_tag(&local.head_key, &Head { tag: [0; 32], ..head }, tags) != head.tag {
            return None;
        }
        let verified = (0..layout.blocks().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let touched = (0..head.counts.packs).map(|_| AtomicBool::new(false)).collect();
        let (local, name, reread) = (local.clone(), name.to_owned(), Arc::clone(reread));
        let (counts, damaged, spare) = (head.counts, AtomicBool::new(false), OnceLock::new());
        let segment = Self { local, name, map, layout, counts, verified, touched, reread, damaged, spare };
        let records: &[PackRecord] = segment.slice(Part::Directory, 0..segment.counts.packs)?;
        let is_sorted = records.is_sorted_by(|a, b| a.pack < b.pack);
        (is_sorted && write::are_placed(records, &segment.counts)).then_some(segment)
    }

    /// All packs, by id. The directory was verified when the segment was opened.
    fn records(&self) -> &[PackRecord] {
        self.part(Part::Directory, &(0..self.counts.packs)).unwrap_or_default()
    }

    /// Whether something of it was found not to be as it was written.
    fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    fn record(&self, number: u32) -> Option<&PackRecord> {
        self.records().get(number as usize)
    }

    /// Items of a part, as they stand there.
    fn part<T: FromBytes + Immutable + KnownLayout>(&self, part: Part, range: &Range<u64>) -> Option<&[T]> {
        let start = Layout::offset(self.layout.first_block(part)) as usize;
        let end = Layout::offset(self.layout.first_block(part) + self.layout.part_blocks(part)) as usize;
        let item = size_of::<T>();
        let bytes = self.map.get(start..end)?.get(range.start as usize * item..range.end as usize * item)?;
        <[T]>::ref_from_bytes(bytes).ok()
    }

    /// Items of a part, from blocks that are what they were when they were written.
    fn slice<T: FromBytes + Immutable + KnownLayout>(&self, part: Part, range: Range<u64>) -> Option<&[T]> {
        if range.start < range.end {
            let (item, block) = (size_of::<T>() as u64, BLOCK_BYTES as u64);
            let first = self.layout.first_block(part);
            for number in first + range.start * item / block..=first + (range.end * item - 1) / block {
                self.verify(number)?;
            }
        }
        self.part(part, &range)
    }

    #[inline]
    fn verify(&self, block: u64) -> Option<()> {
        let (word, bit) = (self.verified.get((block / 64) as usize)?, 1 << (block % 64));
        if word.load(Ordering::Acquire) & bit != 0 {
            return Some(());
        }
        let start = usize::try_from(Layout::offset(block)).ok()?;
        let tag = usize::try_from(self.layout.tags_offset()).ok()? + block as usize * TAG_BYTES;
        let (bytes, tag) = (self.map.get(start..start + BLOCK_BYTES)?, self.map.get(tag..tag + TAG_BYTES)?);
        if write::block_tag(&self.local.block_key, bytes) != *tag {
            // The next opening makes a new one.
            self.local.folder.remove(&self.name);
            self.damaged.store(true, Ordering::Relaxed);
            return None;
        }
        word.fetch_or(bit, Ordering::Release);
        Some(())
    }

    /// All entries of a key; `None` where they are not as they were written.
    fn entries_of(&self, key: u64) -> Option<&[Entry]> {
        let (block, place) = filter::block_of(key, self.layout.filter_blocks);
        let [block, next] = self.slice::<filter::Block>(Part::Filter, block..block + 2)? else { return None };
        if !block.may_have(key) {
            return Some(&[]);
        }
        let entries = self.slice::<Entry>(Part::Entries, block.first.into()..next.first.into())?;
        // Keys are spread evenly, so one is near where it would be if they were so exactly.
        let mut first = ((entries.len() as u128 * u128::from(place)) >> 64) as usize;
        while first > 0 && entries[first - 1].key >= key {
            first -= 1;
        }
        while entries.get(first).is_some_and(|entry| entry.key < key) {
            first += 1;
        }
        let rest = entries.get(first..)?;
        Some(&rest[..rest.iter().take_while(|entry| entry.key == key).count()])
    }

    fn prefix(&self, first_row: u32, row: u32) -> Option<&ChunkPrefix> {
        let row = u64::from(first_row) + u64::from(row);
        self.slice::<ChunkPrefix>(Part::Prefixes, row..row + 1)?.first()
    }

    /// The columns of a pack as they stand in the file; `None` where they are not as they were written.
    fn kept_columns(&self, number: u32) -> Option<Columns<'_>> {
        let record = self.record(number)?;
        let range = |first: u64, count: u32| first..first + u64::from(count);
        let (frames, rows) = (range(record.first_frame, record.frames), range(record.first_row, record.rows));
        let patches = range(record.first_patch, record.patches);
        let touched = self.touched.get(number as usize)?;
        if touched.load(Ordering::Acquire) {
            return Some(Columns {
                frames: self.part(Part::Frames, &frames)?,
                prefixes: self.part(Part::Prefixes, &rows)?,
                rows: self.part(Part::Rows, &rows)?,
                patches: self.part(Part::Patches, &patches)?,
            });
        }
        let columns = Columns {
            frames: self.slice(Part::Frames, frames)?,
            prefixes: self.slice(Part::Prefixes, rows.clone())?,
            rows: self.slice(Part::Rows, rows)?,
            patches: self.slice(Part::Patches, patches)?,
        };
        touched.store(true, Ordering::Release);
        Some(columns)
    }

    /// The columns of a pack, from the file or from the pack; `None` where the storage fails now.
    fn columns_now(&self, number: u32) -> Option<Columns<'_>> {
        self.kept_columns(number).or_else(|| self.spare(number).map(Table::columns))
    }

    /// The table of a pack as it was read again. A failure is not remembered.
    fn spare(&self, number: u32) -> Option<&Table> {
        let make = || (0..self.counts.packs).map(|_| OnceLock::new()).collect();
        let spare = self.spare.get_or_init(make).get(number as usize)?;
        if spare.get().is_none() {
            let _ = spare.set(self.reread.read(self.record(number)?)?);
        }
        spare.get()
    }
}

impl TableSource for Segment {
    fn columns(&self, number: u32) -> Columns<'_> {
        self.columns_now(number).unwrap_or_default()
    }

    fn header(&self, number: u32) -> (WriterId, [u8; 32]) {
        self.record(number).map_or((WriterId([0; 16]), [0; 32]), |record| (WriterId(record.writer), record.salt))
    }
}

/// A segment as an index uses it.
pub(super) struct Mapped {
    segment: Arc<Segment>,
    /// For each pack of the segment its number in the index, or [`UNUSED`], and its first row.
    packs: Box<[(u32, u32)]>,
    /// What the entries should say, made from the tables if they cannot be relied on.
    spare: OnceLock<super::Sorted>,
}

/// A pack of a segment that the index has from elsewhere, or not at all.
const UNUSED: u32 = u32::MAX;

impl Mapped {
    /// Begins without any pack.
    pub(super) fn new(segment: Arc<Segment>) -> Self {
        let packs = segment.records().iter().map(|record| (UNUSED, record.first_row as u32)).collect();
        Self { segment, packs, spare: OnceLock::new() }
    }

    /// Uses a pack of the segment under a number in the index.
    pub(super) fn take(&mut self, pack: u32, number: u32) {
        if let Some(taken) = self.packs.get_mut(pack as usize) {
            taken.0 = number;
        }
    }

    /// Counts the packs of the index from `first` on.
    pub(super) fn renumber(&mut self, first: u32) {
        self.packs.iter_mut().filter(|(number, _)| *number != UNUSED).for_each(|(number, _)| *number += first);
        self.spare = OnceLock::new();
    }

    /// Gives the segment back.
    pub(super) fn into_segment(self) -> Arc<Segment> {
        self.segment
    }

    /// How many rows a pack of the segment has.
    pub(super) fn rows(&self, pack: u32) -> usize {
        self.segment.record(pack).map_or(0, |record| record.rows as usize)
    }

    /// All locations of a chunk in packs that are used.
    pub(super) fn locations(&self, prefix: &ChunkPrefix) -> Vec<super::Location> {
        if let Some(locations) = self.kept_locations(prefix) {
            return locations;
        }
        if let Some(sorted) = self.spare.get() {
            return super::of_prefix(sorted, prefix).collect();
        }
        let (sorted, is_whole) = self.sort_tables();
        let locations = super::of_prefix(&sorted, prefix).collect();
        if is_whole {
            let _ = self.spare.set(sorted);
        }
        locations
    }

    fn kept_locations(&self, prefix: &ChunkPrefix) -> Option<Vec<super::Location>> {
        let mut locations = Vec::new();
        if self.spare.get().is_some() {
            return None;
        }
        for entry in self.segment.entries_of(key(prefix))? {
            let (number, first_row) = *self.packs.get(entry.pack as usize)?;
            if number != UNUSED && self.segment.prefix(first_row, entry.row)? == prefix {
                locations.push(super::Location { pack: number, row: entry.row });
            }
        }
        Some(locations)
    }

    /// What the entries should say, and whether the storage told all of it.
    fn sort_tables(&self) -> (super::Sorted, bool) {
        let (mut sorted, mut is_whole) = (super::Sorted::new(), true);
        for (pack, (number, _)) in (0u32..).zip(&self.packs).filter(|(_, (number, _))| *number != UNUSED) {
            let columns = self.segment.columns_now(pack);
            is_whole &= columns.is_some();
            let rows = (0u32..).zip(columns.unwrap_or_default().prefixes);
            sorted.extend(rows.map(|(row, prefix)| (*prefix, super::Location { pack: *number, row })));
        }
        sorted.sort_unstable_by_key(|(prefix, _)| *prefix);
        (sorted, is_whole)
    }
}
