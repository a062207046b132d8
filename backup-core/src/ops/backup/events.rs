//! What is under way between the walk and the saving, in the order of the walk.

use std::collections::VecDeque;

use super::content::{Ended, FileRead, Named};
use crate::format::tree::{Content, Entry};
use crate::id::ChunkId;
use crate::pipeline::{Pending, Workers};
use crate::source::Owner;

/// How an entry compares with the parent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    New,
    Changed,
    Unchanged,
    /// Not a file.
    Other,
}

/// An entry, with what is known of it besides.
pub(super) struct Found {
    pub(super) entry: Entry,
    pub(super) owner: Owner,
    pub(super) status: Status,
    /// What a changed file or a directory held in the parent: if a file turns out to hold the same, it did not change.
    pub(super) before: Option<Box<Content>>,
}

impl Found {
    pub(super) fn new(entry: Entry, owner: Owner, status: Status) -> Self {
        Self { entry, owner, status, before: None }
    }

    /// The root of the tree that a directory had in the parent.
    pub(super) fn old_tree(&self) -> Option<ChunkId> {
        match self.before.as_deref() {
            Some(Content::Tree { root, .. }) => Some(*root),
            _ => None,
        }
    }
}

/// One step of the walk.
pub(super) enum Event {
    /// A root begins; with the root of the parent's tree of it.
    Root(Vec<u8>, Option<ChunkId>),
    Enter(Found),
    Leave,
    /// An entry whose content and attributes are known.
    Ready(Found),
    /// Another name of a file whose first name came before.
    Linked(Found),
    /// A file that is read whole; what was read of it comes out of the batches in the same order.
    File(Found),
    /// A long file begins, with the bytes of a group where it is cut at fixed places; segments and an end follow.
    Begin(Found, Option<u64>),
    Segment(Pending<Named>),
    /// The long file's segments so far are void.
    Again,
    End(std::io::Result<Ended>),
}

/// One step of the walk of which it is known what is new, and patches of that are being made.
pub(super) enum Settled {
    /// Nothing of it is content.
    Step(Event),
    /// A file that was read whole.
    File(Found, FileRead),
    /// The same, with patches under way; what was read of it lacks its content until then.
    PatchedFile(Found, FileRead, Patched),
    /// A segment of a long file.
    Segment(Named),
    /// The same, with patches under way.
    PatchedSegment(Patched),
}

/// Content for which patches are being made.
pub(super) struct Patched {
    making: Making,
    /// Its bytes, which it holds in memory.
    bytes: usize,
}

enum Making {
    /// No worker was given the work yet.
    Later(Option<Box<dyn FnOnce() -> Named + Send>>),
    Now(Pending<Named>),
}

impl Patched {
    /// Takes work that makes the patches, for later, on content of so many bytes.
    pub(super) fn later(make: impl FnOnce() -> Named + Send + 'static, bytes: usize) -> Self {
        Self { making: Making::Later(Some(Box::new(make))), bytes }
    }

    /// Hands the work over, if it was not.
    pub(super) fn send(&mut self, workers: &Workers) {
        if let Making::Later(make) = &mut self.making
            && let Some(make) = make.take()
        {
            self.making = Making::Now(workers.submit(make));
        }
    }

    /// Waits for the patches.
    pub(super) fn wait(self) -> Named {
        match self.making {
            Making::Later(make) => make.expect("work is handed over once")(),
            Making::Now(pending) => pending.wait(),
        }
    }
}

impl Settled {
    /// Bytes of content for which patches are under way.
    pub(super) fn patched_bytes(&self) -> usize {
        self.patched().map_or(0, |patched| patched.bytes)
    }

    /// Hands the work on patches over, if there is some and it was not.
    pub(super) fn send(&mut self, workers: &Workers) {
        if let Self::PatchedFile(_, _, patched) | Self::PatchedSegment(patched) = self {
            patched.send(workers);
        }
    }

    /// Whether it can be saved without waiting.
    pub(super) fn is_done(&self) -> bool {
        self.patched().is_none_or(|patched| matches!(&patched.making, Making::Now(pending) if pending.is_done()))
    }

    fn patched(&self) -> Option<&Patched> {
        match self {
            Self::PatchedFile(_, _, patched) | Self::PatchedSegment(patched) => Some(patched),
            _ => None,
        }
    }
}

/// Steps under way, and no more of them than memory should hold.
pub(super) struct Queue {
    events: VecDeque<Event>,
    /// What was read of files read whole, in batches, oldest first.
    batches: VecDeque<ReadBatch>,
    /// Directories that files of those batches hold open.
    directories: usize,
    /// Bytes of those files.
    bytes: u64,
    read: std::vec::IntoIter<FileRead>,
    segments: usize,
    work_max: usize,
}

/// Files that a worker reads.
struct ReadBatch {
    files: Pending<Vec<FileRead>>,
    directories: usize,
    bytes: u64,
}

/// Bytes of files that may be under way, in memory, beyond the last batch.
const BYTES_MAX: u64 = 16 << 20;
/// Directories that files under way may hold open: each is a descriptor, and a process often has 1,024.
const DIRECTORIES_MAX: usize = 256;
/// Steps that wait behind work; each is an entry in memory.
const EVENTS_MAX: usize = 4096;

impl Queue {
    pub(super) fn new(work_max: usize) -> Self {
        Self {
            events: VecDeque::new(),
            batches: VecDeque::new(),
            directories: 0,
            bytes: 0,
            read: Vec::new().into_iter(),
            segments: 0,
            work_max,
        }
    }

    pub(super) fn push(&mut self, event: Event) {
        self.segments += usize::from(matches!(event, Event::Segment(_)));
        self.events.push_back(event);
    }

    /// Adds a batch that a worker reads, of as many files as there were steps of files since the last batch.
    pub(super) fn push_batch(&mut self, files: Pending<Vec<FileRead>>, directories: usize, bytes: u64) {
        self.directories += directories;
        self.bytes += bytes;
        self.batches.push_back(ReadBatch { files, directories, bytes });
    }

    /// The next step, if it is done, or if too much is under way. A file whose batch was not pushed yet is not due.
    pub(super) fn next_ready(&mut self) -> Option<Event> {
        let is_done = match self.events.front()? {
            Event::Segment(pending) => pending.is_done(),
            Event::File(_) => match self.batches.front() {
                _ if self.read.len() > 0 => true,
                Some(batch) => batch.files.is_done(),
                None => return None,
            },
            _ => true,
        };
        let is_due = is_done
            || self.segments + self.batches.len() > self.work_max
            || self.directories > DIRECTORIES_MAX
            || self.bytes > BYTES_MAX;
        if is_due { self.next() } else { None }
    }

    /// Whether so many steps wait that an unfinished batch should be read now.
    pub(super) fn is_long(&self) -> bool {
        self.events.len() > EVENTS_MAX
    }

    /// The next step, done or not.
    pub(super) fn next(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.segments -= usize::from(matches!(event, Event::Segment(_)));
        Some(event)
    }

    /// What was read of the next file that is read whole.
    pub(super) fn next_read(&mut self) -> FileRead {
        loop {
            if let Some(read) = self.read.next() {
                return read;
            }
            let batch = self.batches.pop_front().expect("a batch is pushed before its files are due");
            self.directories -= batch.directories;
            self.bytes -= batch.bytes;
            self.read = batch.files.wait().into_iter();
        }
    }
}
