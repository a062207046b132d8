//! Writes mapped segments as streams: what lies in memory is a block of each part and the tags, whatever the size.

use std::io;

use zerocopy::{Immutable, IntoBytes};

use super::LocalIndex;
use super::filter;
use super::layout::{BLOCK_BYTES, Counts, Entry, Head, Layout, MAGIC, PackRecord, Part, TAG_BYTES};
use crate::crypto::{Secret, keyed_hash};
use crate::environment::Environment;
use crate::format::table::Columns;
use crate::id::encode_hex;
use crate::storage::Begun;

/// Fills in where the columns of each pack are, in the order of the directory, and counts them.
pub(super) fn place(records: &mut [PackRecord]) -> Counts {
    let mut counts = Counts::default();
    for record in records {
        *record = counts.next(record);
    }
    counts
}

/// Whether records are as [`place`] leaves them, and come to these counts.
pub(super) fn are_placed(records: &[PackRecord], expected: &Counts) -> bool {
    let mut counts = Counts::default();
    records.iter().all(|record| counts.next(record) == *record) && counts == *expected
}

impl Counts {
    /// Places the next pack behind those counted, and counts it.
    fn next(&mut self, record: &PackRecord) -> PackRecord {
        let placed =
            PackRecord { first_frame: self.frames, first_row: self.rows, first_patch: self.patches, ..*record };
        self.packs += 1;
        self.frames += u64::from(record.frames);
        self.rows += u64::from(record.rows);
        self.patches += u64::from(record.patches);
        placed
    }
}

/// Bytes of a segment of so many packs and rows, about.
pub(super) fn bytes_of(counts: &Counts) -> u64 {
    Layout::new(counts).map_or(u64::MAX, |layout| layout.length())
}

/// Writes a segment: `records` in the order of ids, as [`place`] left and counted them, their columns, and all entries in the order of keys. Returns its name.
///
/// `None` where it cannot be written, or where one of the sources cannot be read to its end.
pub(super) fn write<'c>(
    local: &LocalIndex,
    environment: &Environment,
    counts: Counts,
    records: &[PackRecord],
    columns: impl Fn(usize) -> Option<Columns<'c>>,
    entries: impl Iterator<Item = Option<Entry>>,
) -> Option<String> {
    let layout = Layout::new(&counts)?;
    let begun = local.folder.begin(environment).ok()?;
    let stream = |part| Stream::new(&begun, &local.block_key, &layout, part);
    let mut directory = stream(Part::Directory);
    directory.push(records).ok()?;
    let mut tags = directory.finish()?;
    tags.extend(write_entries(&layout, entries, counts.rows, stream)?);
    let mut parts = [Part::Frames, Part::Prefixes, Part::Rows, Part::Patches].map(stream);
    for (number, record) in records.iter().enumerate() {
        let columns = columns(number)?;
        let lengths = [columns.frames.len(), columns.prefixes.len(), columns.rows.len(), columns.patches.len()];
        if lengths != [record.frames, record.rows, record.rows, record.patches].map(|count| count as usize) {
            return None;
        }
        let [frames, prefixes, rows, patches] = &mut parts;
        frames.push(columns.frames).ok()?;
        prefixes.push(columns.prefixes).ok()?;
        rows.push(columns.rows).ok()?;
        patches.push(columns.patches).ok()?;
    }
    for part in parts {
        tags.extend(part.finish()?);
    }
    begun.write_at(&tags, layout.tags_offset()).ok()?;
    let mut head = Head { magic: MAGIC, repository: local.repository.0, counts, tag: [0; 32] };
    head.tag = head_tag(&local.head_key, &head, &tags);
    let mut block = head.as_bytes().to_vec();
    block.resize(BLOCK_BYTES, 0);
    begun.write_at(&block, 0).ok()?;
    let name = encode_hex(&head.tag[..16]);
    begun.publish(&name).ok()?;
    Some(name)
}

/// Binds a head to a keyring, and all tags with it.
pub(super) fn head_tag(key: &Secret, head: &Head, tags: &[u8]) -> [u8; 32] {
    let head = Head { tag: keyed_hash(key, tags), ..*head };
    keyed_hash(key, head.as_bytes())
}

/// Tag of a block. Where it stands is bound by the order of tags.
pub(super) fn block_tag(key: &Secret, block: &[u8]) -> [u8; TAG_BYTES] {
    let mut tag = [0; TAG_BYTES];
    tag.copy_from_slice(&keyed_hash(key, block)[..TAG_BYTES]);
    tag
}

/// Writes filter and entries side by side. Returns their tags.
fn write_entries<'b>(
    layout: &Layout,
    entries: impl Iterator<Item = Option<Entry>>,
    rows: u64,
    stream: impl Fn(Part) -> Stream<'b>,
) -> Option<Vec<u8>> {
    let (mut filter, mut sorted) = (stream(Part::Filter), stream(Part::Entries));
    let (mut block, mut number, mut count) = (filter::Block::new(0), 0, 0u64);
    for entry in entries {
        let entry = entry?;
        while number < filter::block_of(entry.key, layout.filter_blocks).0 {
            filter.push(&[std::mem::replace(&mut block, filter::Block::new(count as u32))]).ok()?;
            number += 1;
        }
        block.add(entry.key);
        sorted.push(&[entry]).ok()?;
        count += 1;
    }
    while number <= layout.filter_blocks {
        filter.push(&[std::mem::replace(&mut block, filter::Block::new(count as u32))]).ok()?;
        number += 1;
    }
    let mut tags = filter.finish()?;
    tags.extend(sorted.finish()?);
    (count == rows).then_some(tags)
}

/// A part that is being written, a block at a time.
struct Stream<'b> {
    begun: &'b Begun,
    key: &'b Secret,
    offset: u64,
    blocks: u64,
    buffer: Vec<u8>,
    tags: Vec<u8>,
}

impl<'b> Stream<'b> {
    fn new(begun: &'b Begun, key: &'b Secret, layout: &Layout, part: Part) -> Self {
        let (offset, blocks) = (Layout::offset(layout.first_block(part)), layout.part_blocks(part));
        Self { begun, key, offset, blocks, buffer: Vec::with_capacity(BLOCK_BYTES), tags: Vec::new() }
    }

    fn push<T: IntoBytes + Immutable>(&mut self, items: &[T]) -> io::Result<()> {
        let mut bytes = items.as_bytes();
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == BLOCK_BYTES {
                self.write_block()?;
            }
        }
        Ok(())
    }

    fn write_block(&mut self) -> io::Result<()> {
        self.tags.extend_from_slice(&block_tag(self.key, &self.buffer));
        self.begun.write_at(&self.buffer, self.offset)?;
        self.offset += BLOCK_BYTES as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Ends the part and returns its tags; `None` where it is not as long as was planned.
    fn finish(mut self) -> Option<Vec<u8>> {
        if !self.buffer.is_empty() {
            self.buffer.resize(BLOCK_BYTES, 0);
            self.write_block().ok()?;
        }
        (self.tags.len() as u64 == self.blocks * TAG_BYTES as u64).then_some(self.tags)
    }
}
