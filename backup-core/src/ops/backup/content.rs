//! What workers do for a backup: read files, cut their content into chunks, name them, and try whether they compress.

use std::sync::Arc;

use crate::compress::is_incompressible;
use crate::crypto::Hasher;
use crate::format::tree::Attribute;
use crate::id::ChunkId;
use crate::keyring::PeriodKeys;
use crate::limits::ZERO_RUN_BYTES_MIN;
use crate::repository::base::Patch;
use crate::source::{ContentReader, Findings, Finish, Handle, Stretch};

/// Files up to this size are read whole by one worker, small ones in batches; longer ones stream, and only their naming is shared among workers.
pub(super) const WHOLE_FILE_BYTES_MAX: u64 = 8 << 20;
/// Content up to this length stands in the entry.
const INLINE_BYTES: usize = 64;
const ZERO_RUN: usize = ZERO_RUN_BYTES_MIN as usize;

/// A piece of a file, its bytes in the buffer beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// `buffer[start..end]`; whether it does not compress, where that was tried.
    Chunk { id: ChunkId, start: usize, end: usize, incompressible: Option<bool>, standing: Standing },
    /// What the parent holds of the file at this place, so many bytes.
    Same(u64),
    /// Zero bytes.
    Zeros(u64),
    /// A hole.
    Hole(u64),
    /// `buffer[start..end]`, to stand in the entry.
    Inline { start: usize, end: usize },
}

/// What the repository has of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody asked yet.
    Unknown,
    /// It is stored, or will be before this piece is saved; how many bytes reading it decodes, where the parent said so.
    Stored(Option<u32>),
    /// It is this piece that must be saved, as a patch if there is one.
    New(Option<Patch>),
}

/// A stretch that was found in a buffer, not yet named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Chunk { start: usize, end: usize },
    Zeros(u64),
    Hole(u64),
    Same(u64),
}

/// Cuts the content of one file, given piece by piece. Runs of zeros are found at multiples of their length within the file.
pub(super) struct Cutter {
    keys: Arc<PeriodKeys>,
    /// Where content changes by pages in place: bytes of the groups that are cut, wherever they lie.
    group_bytes: Option<usize>,
    /// Bytes of the file before the buffer that [`Cutter::cut`] gets.
    offset: u64,
}

impl Cutter {
    pub(super) fn new(keys: Arc<PeriodKeys>, page_bytes: Option<u32>) -> Self {
        // A group is some pages of a database, and of one with large pages one.
        let group_bytes = page_bytes.map(|bytes| bytes.max(keys.parameters().page_group_bytes).max(1) as usize);
        Self { keys, group_bytes, offset: 0 }
    }

    /// Bytes of a group, where it cuts at fixed places.
    pub(super) fn group_bytes(&self) -> Option<u64> {
        self.group_bytes.map(|bytes| bytes as u64)
    }

    /// Begins anew, at the beginning of the file.
    pub(super) fn restart(&mut self) {
        self.offset = 0;
    }

    /// Cuts at multiples of the group's length, so that a change in place changes the groups that it lies in and no other.
    fn cut_groups(&mut self, buffer: &[u8], group_bytes: usize, is_end: bool, cuts: &mut Vec<Cut>) -> usize {
        let mut place = 0;
        while place < buffer.len() && (is_end || buffer.len() - place >= group_bytes) {
            let end = (place + group_bytes).min(buffer.len());
            let is_zeros = buffer[place..end].iter().all(|&byte| byte == 0);
            cuts.push(if is_zeros { Cut::Zeros((end - place) as u64) } else { Cut::Chunk { start: place, end } });
            place = end;
        }
        self.offset += place as u64;
        buffer.len() - place
    }

    /// Cuts `buffer`, and returns how many bytes at its end must come again, in front of what follows. With `is_end` (of the file, or before a hole) none.
    pub(super) fn cut(&mut self, buffer: &[u8], is_end: bool, cuts: &mut Vec<Cut>) -> usize {
        if let Some(group_bytes) = self.group_bytes {
            return self.cut_groups(buffer, group_bytes, is_end, cuts);
        }
        let bytes_max = self.keys.chunker().bytes_max();
        let mut place = 0;
        while place < buffer.len() {
            let zeros = self.zeros_at(buffer, place);
            if zeros > 0 {
                cuts.push(Cut::Zeros(zeros as u64));
                place += zeros;
                continue;
            }
            let stretch_end = self.next_zeros(buffer, place);
            let is_final = is_end || stretch_end < buffer.len();
            while place < stretch_end && (is_final || stretch_end - place >= bytes_max.max(ZERO_RUN)) {
                let length = self.keys.chunker().cut(&buffer[place..stretch_end]);
                cuts.push(Cut::Chunk { start: place, end: place + length });
                place += length;
            }
            if place < stretch_end {
                break;
            }
        }
        self.offset += place as u64;
        buffer.len() - place
    }

    /// Notes a hole, or a stretch that is as it was, which lies behind all that was cut.
    pub(super) fn pass(&mut self, gap: Cut, cuts: &mut Vec<Cut>) {
        if let Cut::Hole(length) | Cut::Same(length) = gap {
            self.offset += length;
        }
        cuts.push(gap);
    }

    /// The length of the aligned run of zeros that begins at `place`.
    fn zeros_at(&self, buffer: &[u8], place: usize) -> usize {
        if !(self.offset + place as u64).is_multiple_of(ZERO_RUN_BYTES_MIN) {
            return 0;
        }
        let blocks = buffer[place..].chunks_exact(ZERO_RUN).take_while(|block| is_zero(block));
        blocks.count() * ZERO_RUN
    }

    /// Where the next aligned run of zeros begins, or the end.
    fn next_zeros(&self, buffer: &[u8], place: usize) -> usize {
        let misaligned = ((self.offset + place as u64) % ZERO_RUN_BYTES_MIN) as usize;
        let mut start = place + (ZERO_RUN - misaligned) % ZERO_RUN;
        while start + ZERO_RUN <= buffer.len() {
            if is_zero(&buffer[start..start + ZERO_RUN]) {
                return start;
            }
            start += ZERO_RUN;
        }
        buffer.len()
    }
}

fn is_zero(block: &[u8]) -> bool {
    // Most blocks differ in their first bytes; the rest is compared in wide steps.
    block[..16] == [0; 16] && block.chunks(512).all(|part| part.iter().fold(0, |all, byte| all | byte) == 0)
}

/// Names what was cut. Where most of it is known to be stored, `tries` is false: whether a chunk compresses is then tried only if it is new.
pub(super) fn name(keys: &PeriodKeys, buffer: &[u8], cuts: &[Cut], tries: bool) -> Vec<Piece> {
    let name = |cut: &Cut| match *cut {
        Cut::Zeros(length) => Piece::Zeros(length),
        Cut::Hole(length) => Piece::Hole(length),
        Cut::Same(length) => Piece::Same(length),
        Cut::Chunk { start, end } => {
            let plaintext = &buffer[start..end];
            let incompressible = tries.then(|| is_incompressible(plaintext));
            let standing = Standing::Unknown;
            Piece::Chunk { id: keys.content_id(plaintext), start, end, incompressible, standing }
        }
    };
    cuts.iter().map(name).collect()
}

/// What became of one file.
pub(super) struct FileRead {
    /// Its attributes, or why they could not be read.
    pub(super) attributes: std::io::Result<Vec<Attribute>>,
    /// Its content, or why it could not be read.
    pub(super) content: std::io::Result<FileContent>,
}

/// The content of a file that was read whole.
pub(super) struct FileContent {
    pub(super) named: Named,
    /// Bytes of a group, where it was cut at fixed places.
    pub(super) group_bytes: Option<u64>,
    pub(super) end: Ended,
}

/// Content that was cut and named.
#[derive(Default)]
pub(super) struct Named {
    pub(super) buffer: Vec<u8>,
    pub(super) pieces: Vec<Piece>,
}

/// What is known of a file once it was read.
pub(super) struct Ended {
    pub(super) finish: Finish,
    pub(super) findings: Findings,
    pub(super) hash: Option<[u8; 32]>,
}

/// Reads a file whole that is not long. One that grew beyond all expectation is still read to its end.
pub(super) fn read_file(handle: &dyn Handle, keys: &Arc<PeriodKeys>, with_hash: bool) -> FileRead {
    match handle.open() {
        Ok(reader) => FileRead {
            attributes: reader.attributes().unwrap_or_else(|| handle.attributes()),
            content: read_content(reader, keys, with_hash),
        },
        // What cannot be opened is left out, whatever its attributes are.
        Err(error) => FileRead { attributes: Ok(Vec::new()), content: Err(error) },
    }
}

fn read_content(
    mut reader: Box<dyn ContentReader>,
    keys: &Arc<PeriodKeys>,
    with_hash: bool,
) -> std::io::Result<FileContent> {
    let mut buffer = Vec::new();
    let mut cuts = Vec::new();
    let mut cutter = Cutter::new(Arc::clone(keys), reader.page_bytes());
    let mut stretch_start = 0;
    loop {
        // One byte more than there should be shows that the end was reached.
        let end = match reader.read(&mut buffer, WHOLE_FILE_BYTES_MAX as usize + 1)? {
            Stretch::Data(_) => continue,
            Stretch::Again => {
                buffer.clear();
                cuts.clear();
                cutter.restart();
                stretch_start = 0;
                continue;
            }
            Stretch::Same(length) => Some(Cut::Same(length)),
            Stretch::Hole(length) => Some(Cut::Hole(length)),
            Stretch::End => None,
        };
        let first = cuts.len();
        cutter.cut(&buffer[stretch_start..], true, &mut cuts);
        for cut in &mut cuts[first..] {
            if let Cut::Chunk { start, end } = cut {
                *start += stretch_start;
                *end += stretch_start;
            }
        }
        stretch_start = buffer.len();
        match end {
            Some(gap) => cutter.pass(gap, &mut cuts),
            None => break,
        }
    }
    let finish = reader.finish()?;
    let pieces = match cuts[..] {
        [Cut::Chunk { start, end }] if end - start <= INLINE_BYTES => vec![Piece::Inline { start, end }],
        _ => name(keys, &buffer, &cuts, true),
    };
    let is_read = !cuts.iter().any(|cut| matches!(cut, Cut::Same(_)));
    let hash = (with_hash && is_read).then(|| {
        let mut hasher = ContentHasher::default();
        hasher.update(&buffer, &cuts);
        hasher.finish()
    });
    let end = Ended { finish, findings: reader.findings(), hash };
    Ok(FileContent { named: Named { buffer, pieces }, group_bytes: cutter.group_bytes(), end })
}

/// Plain BLAKE3 over a file's content, holes and zeros included.
#[derive(Default)]
pub(super) struct ContentHasher(Hasher);

impl ContentHasher {
    pub(super) fn update(&mut self, buffer: &[u8], cuts: &[Cut]) {
        for cut in cuts {
            match *cut {
                Cut::Chunk { start, end } => drop(self.0.update(&buffer[start..end])),
                Cut::Zeros(length) | Cut::Hole(length) => self.zeros(length),
                // Whoever was not given all of it has no hash.
                Cut::Same(_) => {}
            }
        }
    }

    fn zeros(&mut self, mut length: u64) {
        const ZEROS: [u8; 4096] = [0; 4096];
        while length > 0 {
            let part = length.min(ZEROS.len() as u64);
            self.0.update(&ZEROS[..part as usize]);
            length -= part;
        }
    }

    pub(super) fn finish(&self) -> [u8; 32] {
        self.0.finish()
    }
}
