//! The write-ahead log of a database, as bytes: the file that section 4 of SQLite's [file format](https://www.sqlite.org/fileformat2.html#walformat) describes.
//!
//! A log is a header and *slots* of equal length behind it, each for one page. What is valid is a chain: every frame carries the header's salts, and checksums over all before it. A reset does not
//! empty the file: the header gets new salts, and the first slots are written over. So behind the chain of now lie remains of older ones, which [`LogHeader::follows`] and the salts tell apart.
//! A transaction counts once the frame that commits it is there; frames behind the last such frame are not reported.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of the header.
const HEADER_BYTES: usize = 32;
/// Bytes of the index that tell how far the log counts: the same twice.
pub(super) const INDEX_HEADER_BYTES: usize = 96;
/// Bytes in front of each page.
const FRAME_HEADER_BYTES: usize = 24;
/// First bytes of a log whose checksums are those of 32-bit numbers with the least significant byte first; one more says the opposite order.
const MAGIC: u32 = 0x377f_0682;
/// The only version of the format there is.
const VERSION: u32 = 3_007_000;
/// Bytes read at once.
const BLOCK_BYTES: usize = 256 << 10;

/// A checksum of all bytes so far.
type Sums = [u32; 2];

/// The header of a log whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogHeader {
    is_big_endian: bool,
    /// Bytes of a page.
    pub(super) page_bytes: u32,
    salts: [u32; 2],
    sums: Sums,
}

impl LogHeader {
    /// Parses the first bytes of a log. `None` if they are not whole.
    fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let is_big_endian = match number(bytes, 0).checked_sub(MAGIC)? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let page_bytes = number(bytes, 8);
        let is_page = page_bytes.is_power_of_two() && (512..=65536).contains(&page_bytes);
        let sums = checksum(is_big_endian, &bytes[..24], [0, 0]);
        let is_whole = number(bytes, 4) == VERSION && is_page && sums == pair(bytes, 24);
        is_whole.then_some(Self { is_big_endian, page_bytes, salts: pair(bytes, 16), sums })
    }

    /// Reads the header of a log; `None` if there is no whole one.
    pub(super) fn read(file: &File) -> io::Result<Option<Self>> {
        let mut bytes = [0; HEADER_BYTES];
        let length = read_up_to(file, &mut bytes, 0)?;
        Ok(if length == HEADER_BYTES { Self::parse(&bytes) } else { None })
    }

    /// The position in front of the first frame.
    pub(super) fn beginning(&self) -> Position {
        Position { frame: 0, sums: self.sums }
    }

    /// Whether this header was written at the next reset after another one. SQLite counts resets in the first salt, for all programs alike; whoever begins a log anew without one before draws both salts.
    pub(super) fn follows(&self, before: &Self) -> bool {
        self.salts[0] == before.salts[0].wrapping_add(1) && self.page_bytes == before.page_bytes
    }

    /// Whether both headers belong to the same stretch of the log between two resets.
    pub(super) fn has_salts_of(&self, other: &Self) -> bool {
        (self.salts, self.page_bytes, self.is_big_endian) == (other.salts, other.page_bytes, other.is_big_endian)
    }

    /// Whether readers that begin now see what lies in front of a position, as the index beside the log tells (section 2 of SQLite's
    /// [description](https://www.sqlite.org/walformat.html)): a commit is in the log before it counts.
    pub(super) fn is_shown(&self, index: &[u8; INDEX_HEADER_BYTES], position: &Position) -> bool {
        let (first, second) = index.split_at(INDEX_HEADER_BYTES / 2);
        // Numbers are the machine's there, but salts stand as in the log.
        let frames = u32::from_ne_bytes([first[16], first[17], first[18], first[19]]);
        let salts = pair(first, 32);
        let is_reset = salts[0] == self.salts[0].wrapping_add(1);
        first == second && (is_reset || (salts == self.salts && u64::from(frames) >= position.frame))
    }

    fn slot_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.page_bytes as usize
    }

    /// Where a slot begins in the file.
    pub(super) fn offset(&self, frame: u64) -> u64 {
        HEADER_BYTES as u64 + frame * self.slot_bytes() as u64
    }

    /// Whether the slot in front of a position still holds the frame that led to it. In front of the first there is none.
    pub(super) fn still_leads_to(&self, file: &File, position: &Position) -> io::Result<bool> {
        let Some(frame) = position.frame.checked_sub(1) else { return Ok(false) };
        let mut bytes = [0; FRAME_HEADER_BYTES];
        let length = read_up_to(file, &mut bytes, self.offset(frame))?;
        Ok(length == bytes.len() && pair(&bytes, 8) == self.salts && pair(&bytes, 16) == position.sums)
    }
}

/// A place between two frames, and the checksum of all that lies before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Number of the frame behind it, from 0.
    pub(super) frame: u64,
    sums: Sums,
}

/// A committed transaction.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Transaction {
    /// In front of its first frame.
    pub(super) begin: Position,
    /// Behind the frame that commits it.
    pub(super) end: Position,
    /// Numbers of its pages, from 1, as often as they were written.
    pub(super) pages: Vec<u32>,
    /// Pages of the database after it.
    pub(super) database_pages: u32,
}

/// Where the chain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChainEnd {
    /// In front of a slot that holds something else: of an older chain, or not whole yet.
    Slot,
    /// At this length of the file, which ends with a slot or, if `is_torn`, inside one.
    File { length: u64, is_torn: bool },
}

/// Reads the transactions behind a position, as far as they are committed.
pub(super) fn read(
    file: &File,
    header: &LogHeader,
    from: Position,
    each: &mut dyn FnMut(Transaction),
) -> io::Result<ChainEnd> {
    let slot_bytes = header.slot_bytes();
    let mut block = vec![0; (BLOCK_BYTES / slot_bytes).max(1) * slot_bytes];
    let (mut begin, mut here, mut pages) = (from, from, Vec::new());
    loop {
        let length = read_up_to(file, &mut block, header.offset(here.frame))?;
        for slot in block[..length].chunks_exact(slot_bytes) {
            let Some((end, page, database_pages)) = decode(header, slot, &here) else { return Ok(ChainEnd::Slot) };
            here = end;
            pages.push(page);
            if database_pages > 0 {
                each(Transaction { begin, end, pages: std::mem::take(&mut pages), database_pages });
                begin = end;
            }
        }
        if length < block.len() {
            let rest = length % slot_bytes;
            return Ok(ChainEnd::File { length: header.offset(here.frame) + rest as u64, is_torn: rest > 0 });
        }
    }
}

/// The position behind a frame, its page, and the database's pages if it commits; `None` if it does not go on with the chain.
fn decode(header: &LogHeader, slot: &[u8], before: &Position) -> Option<(Position, u32, u32)> {
    let page = number(slot, 0);
    if page == 0 || pair(slot, 8) != header.salts {
        return None;
    }
    let sums = checksum(header.is_big_endian, &slot[..8], before.sums);
    let sums = checksum(header.is_big_endian, &slot[FRAME_HEADER_BYTES..], sums);
    (sums == pair(slot, 16)).then(|| (Position { frame: before.frame + 1, sums }, page, number(slot, 4)))
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes were taken"))
}

fn pair(bytes: &[u8], at: usize) -> [u32; 2] {
    [number(bytes, at), number(bytes, at + 4)]
}

/// SQLite's checksum of a multiple of eight bytes.
fn checksum(is_big_endian: bool, bytes: &[u8], before: Sums) -> Sums {
    // Two loops: the order of bytes is not asked for at each number.
    if is_big_endian { add_up(bytes, before, u32::from_be_bytes) } else { add_up(bytes, before, u32::from_le_bytes) }
}

fn add_up(bytes: &[u8], [mut first, mut second]: Sums, read: impl Fn([u8; 4]) -> u32) -> Sums {
    for &[a, b, c, d, e, f, g, h] in bytes.as_chunks::<8>().0 {
        first = first.wrapping_add(read([a, b, c, d])).wrapping_add(second);
        second = second.wrapping_add(read([e, f, g, h])).wrapping_add(first);
    }
    [first, second]
}

/// Reads until the buffer is full or the file ends.
pub(super) fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], offset + length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests;
