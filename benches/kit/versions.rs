//! All versions of a database's pages, kept in memory, and what zstd makes of one with another as its prefix.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use zstd::zstd_safe::{CCtx, DCtx, compress_bound};

use super::trading::PAGE_BYTES;

/// Bytes that are read and compared at once.
const BLOCK_BYTES: usize = 64 << 10;

/// A database's image and what changed of it, step by step.
pub(crate) struct Versions {
    first: Vec<u8>,
    last: Vec<u8>,
    pages: HashMap<u32, Vec<(u16, Box<[u8]>)>>,
    changed: Vec<Vec<u32>>,
    lengths: Vec<usize>,
}

impl Versions {
    /// Begins with the database in a file.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let first = fs::read(path)?;
        let lengths = vec![first.len()];
        Ok(Self { last: first.clone(), first, pages: HashMap::new(), changed: vec![Vec::new()], lengths })
    }

    /// Adds what the file is now, and returns how many pages changed. Databases do not shrink here.
    pub(crate) fn add(&mut self, path: &Path) -> io::Result<usize> {
        let (mut file, step) = (fs::File::open(path)?, self.lengths.len() as u16);
        let length = file.metadata()?.len() as usize;
        let (mut changed, mut block, mut start) = (Vec::new(), vec![0; BLOCK_BYTES], 0);
        while start < length {
            let block = &mut block[..BLOCK_BYTES.min(length - start)];
            file.read_exact(block)?;
            if self.last.get(start..start + block.len()) != Some(&*block) {
                self.last.resize(self.last.len().max(start + block.len()), 0);
                for (page, at) in block.chunks(PAGE_BYTES).zip((start..).step_by(PAGE_BYTES)) {
                    let is_new = at >= self.lengths[usize::from(step) - 1];
                    let last = &mut self.last[at..at + page.len()];
                    if is_new || last != page {
                        last.copy_from_slice(page);
                        let number = (at / PAGE_BYTES) as u32;
                        self.pages.entry(number).or_default().push((step, page.into()));
                        changed.push(number);
                    }
                }
            }
            start += block.len();
        }
        self.lengths.push(length);
        let count = changed.len();
        self.changed.push(changed);
        Ok(count)
    }

    /// The database after the last step.
    pub(crate) fn last(&self) -> &[u8] {
        &self.last
    }

    /// The database before the first step.
    pub(crate) fn first(&self) -> &[u8] {
        &self.first
    }

    /// Steps that were added.
    pub(crate) fn steps(&self) -> usize {
        self.lengths.len() - 1
    }

    /// Bytes of the database after a step.
    pub(crate) fn bytes(&self, step: usize) -> usize {
        self.lengths[step]
    }

    /// The groups of `pages` pages that changed in a step.
    pub(crate) fn changed(&self, step: usize, pages: usize) -> BTreeSet<u32> {
        self.changed[step].iter().map(|page| page / pages as u32).collect()
    }

    /// A group of pages after a step; empty where there was none yet.
    pub(crate) fn group(&self, number: u32, pages: usize, step: usize) -> Vec<u8> {
        let mut group = Vec::with_capacity(pages * PAGE_BYTES);
        for page in number * pages as u32..(number + 1) * pages as u32 {
            group.extend_from_slice(self.page(page, step));
        }
        group
    }

    /// One page after a step; empty where there was none yet.
    pub(crate) fn page(&self, number: u32, step: usize) -> &[u8] {
        let versions = self.pages.get(&number).map_or(&[][..], Vec::as_slice);
        let until = versions.partition_point(|(at, _)| usize::from(*at) <= step);
        if until > 0 {
            return &versions[until - 1].1;
        }
        let start = number as usize * PAGE_BYTES;
        self.first.get(start..start + PAGE_BYTES).unwrap_or(&[])
    }
}

thread_local! {
    static CONTEXTS: RefCell<(CCtx<'static>, DCtx<'static>)> = RefCell::new((CCtx::create(), DCtx::create()));
}

/// One frame with its content size, made with `base` as its prefix where it is not empty: a dictionary that has no header is one, and takes a kept context.
pub(crate) fn frame(level: i32, base: &[u8], input: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(compress_bound(input.len()));
    CONTEXTS.with_borrow_mut(|(context, _)| {
        context.compress_using_dict(&mut output, input, base, level).expect("the buffer has the bound's size");
    });
    output
}

/// What [`frame`] was given.
pub(crate) fn unframe(base: &[u8], input: &[u8], length: usize) -> Vec<u8> {
    let mut output = Vec::with_capacity(length);
    CONTEXTS.with_borrow_mut(|(_, context)| {
        context.decompress_using_dict(&mut output, input, base).expect("it was compressed just now");
    });
    output
}

/// Bytes of some parts, compressed together in frames of at least `bytes` each.
pub(crate) fn together<'a>(level: i32, bytes: usize, parts: impl Iterator<Item = &'a [u8]>) -> usize {
    let (mut total, mut buffer) = (0, Vec::new());
    for part in parts {
        buffer.extend_from_slice(part);
        if buffer.len() >= bytes {
            total += frame(level, &[], &buffer).len();
            buffer.clear();
        }
    }
    if buffer.is_empty() { total } else { total + frame(level, &[], &buffer).len() }
}
