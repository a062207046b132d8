//! All versions of a database's pages, kept in memory, and what zstd makes of one with another as its prefix.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use zstd::zstd_safe::{CCtx, CParameter, DCtx, compress_bound};

use super::trading::{PAGE_BYTES, Trading};

/// A page as it was from a step on.
type Version = (u16, Box<[u8]>);

/// A database's image and what changed of it, step by step.
pub(crate) struct Versions {
    first: Vec<u8>,
    last: Vec<u8>,
    pages: HashMap<u32, Vec<Version>>,
    changed: Vec<Vec<u32>>,
    lengths: Vec<usize>,
}

impl Versions {
    /// Begins with a database as it is.
    pub(crate) fn new(of: &Trading) -> rusqlite::Result<Self> {
        let mut first = Vec::new();
        of.for_each_page(|page| first.extend_from_slice(page))?;
        let lengths = vec![first.len()];
        Ok(Self { last: first.clone(), first, pages: HashMap::new(), changed: vec![Vec::new()], lengths })
    }

    /// Adds what the database is now, and returns how many pages changed. It must not have shrunk.
    pub(crate) fn add(&mut self, of: &Trading) -> rusqlite::Result<usize> {
        let (step, mut changed, mut at) = (self.lengths.len() as u16, Vec::new(), 0);
        let (last, pages) = (&mut self.last, &mut self.pages);
        of.for_each_page(|page| {
            match last.get_mut(at..at + page.len()) {
                Some(old) if old == page => {
                    at += page.len();
                    return;
                }
                Some(old) => old.copy_from_slice(page),
                None => last.extend_from_slice(page),
            }
            let number = (at / PAGE_BYTES) as u32;
            pages.entry(number).or_default().push((step, page.into()));
            changed.push(number);
            at += page.len();
        })?;
        self.lengths.push(at);
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

/// Bytes of one long frame, made with `base` as its prefix and with matching over long distances, as `zstd --patch-from` makes it.
pub(crate) fn long(level: i32, base: &[u8], input: &[u8]) -> usize {
    let mut context = CCtx::create();
    let window = (base.len() + input.len()).next_power_of_two().ilog2().clamp(20, 30);
    let parameters = [
        CParameter::CompressionLevel(level),
        CParameter::EnableLongDistanceMatching(true),
        CParameter::WindowLog(window),
    ];
    for parameter in parameters {
        context.set_parameter(parameter).expect("the parameter exists");
    }
    context.ref_prefix(base).expect("a prefix may be set before a frame");
    let mut output = Vec::with_capacity(compress_bound(input.len()));
    context.compress2(&mut output, input).expect("the buffer has the bound's size")
}

/// What a step must store at least, by several ideas of that: bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Bounds {
    pub pages: u64,
    /// The changed pages as they are.
    pub plain: u64,
    /// Each compressed for itself.
    pub alone: u64,
    /// Each compressed with its old version as prefix.
    pub against: u64,
    /// All, one after another, as one long frame with all their old versions as prefix.
    pub stream: u64,
}

impl Bounds {
    /// Counts one step with zstd's level.
    pub(crate) fn of(versions: &Versions, step: usize, level: i32) -> Self {
        let (mut bounds, mut olds, mut news) = (Self::default(), Vec::new(), Vec::new());
        for page in versions.changed(step, 1) {
            let (old, new) = (versions.page(page, step - 1), versions.page(page, step));
            bounds.pages += 1;
            bounds.plain += new.len() as u64;
            bounds.alone += frame(level, &[], new).len() as u64;
            bounds.against += frame(level, old, new).len() as u64;
            olds.extend_from_slice(old);
            news.extend_from_slice(new);
        }
        bounds.stream = long(level, &olds, &news) as u64;
        bounds
    }
}
