//! Long files: read and cut segment by segment, by a thread that does nothing else.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use super::content::{ContentHasher, Cut, Cutter, Ended};
use crate::buffers::Buffers;
use crate::keyring::PeriodKeys;
use crate::pipeline::{Pending, Workers};
use crate::source::sqlite::probe::ProbeRequest;
use crate::source::{ContentReader, Handle, Stretch};

/// Bytes of a file that one worker gets at a time, at least.
const SEGMENT_BYTES: usize = 2 << 20;
/// Segments that are read ahead of whoever takes them.
const AHEAD_SEGMENTS: usize = 2;

/// Buffers for segments, of which so many may be under way: what is left behind the last cut point has room in front of the next.
pub(super) fn segment_buffers(keys: &PeriodKeys, under_way: usize) -> Buffers {
    Buffers::new(SEGMENT_BYTES + keys.chunker().bytes_max(), under_way + 2)
}

/// Reads a long file segment by segment.
pub(super) struct Streaming {
    reader: Box<dyn ContentReader>,
    cutter: Cutter,
    /// What segments lie in.
    buffers: Buffers,
    /// What was read behind the last cut point.
    carry: Vec<u8>,
    hasher: Option<ContentHasher>,
    ended: bool,
}

/// What comes next of a long file.
pub(super) enum Segment {
    /// Content, cut but not yet named.
    Content(Vec<u8>, Vec<Cut>),
    /// All segments so far are void.
    Again,
    /// There is no more.
    End,
}

impl Streaming {
    pub(super) fn open(
        handle: &dyn Handle,
        keys: &Arc<PeriodKeys>,
        with_hash: bool,
        requests: Vec<ProbeRequest>,
        buffers: &Buffers,
    ) -> std::io::Result<Self> {
        let mut reader = handle.open()?;
        reader.probe(requests);
        Ok(Self {
            cutter: Cutter::new(Arc::clone(keys), reader.page_bytes()),
            reader,
            buffers: buffers.clone(),
            carry: Vec::new(),
            hasher: with_hash.then(ContentHasher::default),
            ended: false,
        })
    }

    /// Bytes of a group, where it is cut at fixed places.
    pub(super) fn group_bytes(&self) -> Option<u64> {
        self.cutter.group_bytes()
    }

    /// The next segment.
    pub(super) fn next(&mut self) -> std::io::Result<Segment> {
        if self.ended {
            return Ok(Segment::End);
        }
        let mut buffer = self.buffers.take();
        buffer.append(&mut self.carry);
        let mut cuts = Vec::new();
        // A carry of more than there was thought to be room for gets no smaller segment.
        let wanted = self.buffers.bytes().max(buffer.len() + SEGMENT_BYTES / 2);
        let mut gap = None;
        while buffer.len() < wanted && gap.is_none() && !self.ended {
            let limit = wanted - buffer.len();
            match self.reader.read(&mut buffer, limit)? {
                Stretch::Data(_) => {}
                Stretch::Hole(length) => gap = Some(Cut::Hole(length)),
                Stretch::Same(length) => {
                    gap = Some(Cut::Same(length));
                    self.hasher = None;
                }
                Stretch::Again => {
                    self.cutter.restart();
                    self.hasher = self.hasher.as_ref().map(|_| ContentHasher::default());
                    self.buffers.give(buffer);
                    return Ok(Segment::Again);
                }
                Stretch::End => self.ended = true,
            }
        }
        let rest = self.cutter.cut(&buffer, self.ended || gap.is_some(), &mut cuts);
        self.carry.extend_from_slice(&buffer[buffer.len() - rest..]);
        buffer.truncate(buffer.len() - rest);
        if let Some(gap) = gap {
            self.cutter.pass(gap, &mut cuts);
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer, &cuts);
        }
        Ok(Segment::Content(buffer, cuts))
    }

    /// Looks at the file once more after the last segment.
    pub(super) fn finish(mut self) -> std::io::Result<Ended> {
        let finish = self.reader.finish()?;
        let hash = self.hasher.map(|hasher| hasher.finish());
        Ok(Ended { finish, findings: self.reader.findings(), hash })
    }
}

/// The segments of a long file, in order.
pub(super) enum Segments {
    /// Read when they are asked for.
    Here(Box<Streaming>),
    /// Read by a thread of their own, somewhat ahead: whoever takes them has enough to do.
    Ahead { receiver: Receiver<std::io::Result<Segment>>, streaming: Pending<Box<Streaming>> },
}

impl Segments {
    /// Begins to read. A database has a thread already, which holds its transaction.
    pub(super) fn of(streaming: Streaming) -> Self {
        let mut streaming = Box::new(streaming);
        if streaming.group_bytes().is_some() {
            return Self::Here(streaming);
        }
        let (sender, receiver) = sync_channel(AHEAD_SEGMENTS);
        let streaming = Workers::submit_waiting(move || {
            loop {
                let segment = streaming.next();
                let is_last = matches!(segment, Err(_) | Ok(Segment::End));
                if sender.send(segment).is_err() || is_last {
                    return streaming;
                }
            }
        });
        Self::Ahead { receiver, streaming }
    }

    /// The next segment.
    pub(super) fn next(&mut self) -> std::io::Result<Segment> {
        match self {
            Self::Here(streaming) => streaming.next(),
            Self::Ahead { receiver, .. } => {
                receiver.recv().unwrap_or_else(|_| Err(std::io::Error::other("whoever read it ended too early")))
            }
        }
    }

    /// Looks at the file once more after the last segment.
    pub(super) fn finish(self) -> std::io::Result<Ended> {
        match self {
            Self::Here(streaming) => streaming.finish(),
            Self::Ahead { streaming, .. } => streaming.wait().finish(),
        }
    }
}
