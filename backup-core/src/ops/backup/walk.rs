//! Receives the walk of a source: compares, hands reading to workers, and saves what they return, in order.

use std::collections::HashMap;
use std::sync::Arc;

use super::content::{self, Ended, Named, WHOLE_FILE_BYTES_MAX};
use super::events::{Event, Found, Queue, Status};
use super::parent::{Parent, is_whole};
use super::patching::Patching;
use super::probes::Probing;
use super::save::Building;
use super::streaming::{Segment, Segments, Streaming, segment_buffers};
use super::{Outcome, Run};
use crate::buffers::Buffers;
use crate::error::{Error, Result, unless_damage};
use crate::format::database::DatabaseState;
use crate::format::manifest::Counts;
use crate::format::tree::Entry;
use crate::limits::ROOTS_MAX;
use crate::path;
use crate::progress::{Progress, Warning};
use crate::repository::Snapshot;
use crate::repository::load::Loader;
use crate::source::sqlite::probe;
use crate::source::{Handle, Owner, Visitor};

/// A batch of small files goes to a worker when it has so many bytes or files, or lies in so many directories.
const BATCH_BYTES: u64 = 1 << 20;
const BATCH_FILES: usize = 256;
const BATCH_DIRECTORIES: usize = 32;

/// The walk of one source.
pub(super) struct Walk<'r, 'a> {
    pub(super) run: &'r mut Run<'a>,
    pub(super) loader: Loader<'a>,
    pub(super) progress: &'r dyn Progress,
    pub(super) parent: Option<Parent>,
    /// The path that the walk is at, for warnings.
    pub(super) here: Vec<Vec<u8>>,
    batch: Batch,
    /// Directories entered and left so far: while it is equal, files lie in the same directory.
    entered: u64,
    pub(super) queue: Queue,
    /// What segments of long files lie in.
    pub(super) segments: Buffers,
    pub(super) patching: Patching,
    /// Files with several names, by their group: the first name's entry, once it is complete.
    pub(super) links: HashMap<u64, Option<Entry>>,
    pub(super) building: Building,
    pub(super) counts: Counts,
    pub(super) warnings: Vec<Warning>,
    pub(super) notes: Vec<Warning>,
    pub(super) probing: Probing,
}

/// Small files that no worker reads yet.
#[derive(Default)]
struct Batch {
    handles: Vec<Box<dyn Handle>>,
    bytes: u64,
    /// Directories that the files lie in.
    directories: usize,
    /// How many directories the walk had entered when the last file came.
    entered: u64,
}

impl Batch {
    fn add(&mut self, handle: Box<dyn Handle>, size_bytes: u64, entered: u64) {
        self.directories += usize::from(self.handles.is_empty() || self.entered != entered);
        self.entered = entered;
        self.handles.push(handle);
        self.bytes += size_bytes;
    }

    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.handles.len() >= BATCH_FILES || self.directories >= BATCH_DIRECTORIES
    }
}

impl<'r, 'a> Walk<'r, 'a> {
    pub(super) fn new(run: &'r mut Run<'a>, parent: Option<&Snapshot>, progress: &'r dyn Progress) -> Result<Self> {
        let mut loader = Loader::new(run.repository)?;
        if run.options.trusted_seconds > 0 {
            loader = loader.remembering();
        }
        let work_max = 2 * run.repository.workers.count() + 2;
        let segments = segment_buffers(run.saver.keys(), work_max);
        let requests = run.options.probes.clone();
        // What the parent found is a saving only: where it is lost, databases are read again.
        let before = match parent.filter(|_| !requests.is_empty()) {
            Some(parent) => unless_damage(parent.probe_results(&loader))?.unwrap_or_default(),
            None => Vec::new(),
        };
        let patching = Patching::new(parent, &run.repository.workers);
        Ok(Self {
            run,
            loader,
            progress,
            parent: parent.map(Parent::new),
            here: Vec::new(),
            batch: Batch::default(),
            entered: 0,
            queue: Queue::new(work_max),
            segments,
            patching,
            links: HashMap::new(),
            building: Building::default(),
            counts: Counts::default(),
            warnings: Vec::new(),
            notes: Vec::new(),
            probing: Probing::new(requests, before),
        })
    }

    /// Saves what is still under way.
    pub(super) fn finish(mut self) -> Result<Outcome> {
        self.send_batch();
        while let Some(event) = self.queue.next() {
            self.settle(event)?;
        }
        self.patching.send();
        while let Some(settled) = self.patching.next() {
            self.save(settled)?;
        }
        self.end_root()?;
        let probes = std::mem::take(&mut self.probing).finish();
        for result in &probes {
            if let Some(message) = probe::outcome(result) {
                self.warning(Warning { kind: "probe", subject: result.path.clone(), message });
            }
        }
        self.counts.warnings = self.warnings.len() as u64;
        self.counts.new_chunks = self.run.saver.saved.new_chunks;
        self.counts.new_chunk_bytes = self.run.saver.saved.new_chunk_bytes;
        let Self { building, counts, warnings, notes, loader, .. } = self;
        Ok(Outcome { roots: building.roots, counts, warnings, notes, bad: loader.bad(), probes })
    }

    /// Finds the entry in the parent.
    fn compare(&mut self, entry: &Entry, size_bytes: u64) -> Result<(Option<Entry>, bool)> {
        let Some(parent) = &mut self.parent else { return Ok((None, false)) };
        let found = parent.find(&entry.name, &self.loader)?;
        let unchanged = found.as_ref().is_some_and(|before| parent.is_unchanged(entry, size_bytes, before));
        Ok((found, unchanged))
    }

    /// Whether the content of a file that looks unchanged is: a database may have changed in its log alone.
    fn is_same_content(&self, before: &Entry, handle: &dyn Handle) -> bool {
        let settled_seconds = self.parent.as_ref().map_or(i64::MIN, Parent::settled_seconds);
        match DatabaseState::of(before) {
            Some(state) => handle.is_same_database(&state, settled_seconds),
            None => !handle.is_logged(),
        }
    }

    /// Notes a name of a file that may have several. Says whether it is the first.
    fn note_link(&mut self, entry: &Entry) -> bool {
        if entry.link_group == 0 {
            return true;
        }
        let known = self.links.len();
        self.links.entry(entry.link_group).or_default();
        self.links.len() > known
    }

    /// Reads the attributes of what has no content, unless they are the parent's.
    fn attributes(&mut self, entry: &mut Entry, before: Option<Entry>, handle: &dyn Handle) {
        if let Some(before) = before {
            entry.attributes = before.attributes;
            return;
        }
        match handle.attributes() {
            Ok(attributes) => entry.attributes = attributes,
            Err(error) => self.warn_here("attributes", &entry.name, format!("its attributes cannot be read: {error}")),
        }
    }

    fn warn_here(&mut self, kind: &'static str, name: &[u8], message: String) {
        let subject = self.path_here(name);
        self.warning(Warning { kind, subject, message });
    }

    /// The path of an entry where the walk is; a root that is no directory is itself.
    fn path_here(&self, name: &[u8]) -> Vec<u8> {
        let here = self.here.last().cloned().unwrap_or_default();
        if self.here.len() > 1 || !here.ends_with(name) { path::join(&here, name) } else { here }
    }

    /// Takes over what the parent found in a database that is unchanged, if that answers all that is asked.
    fn take_over_probes(&mut self, name: &[u8]) -> bool {
        let path = self.path_here(name);
        self.probing.take_over(&path)
    }

    /// Adds a step, and saves those that are done.
    fn step(&mut self, event: Event) -> Result<()> {
        self.queue.push(event);
        if self.batch.is_full() || self.queue.is_long() {
            self.send_batch();
        }
        while let Some(event) = self.queue.next_ready() {
            self.settle(event)?;
        }
        self.run.repository.options.cancel.check()?;
        self.run.checkpoint_if_due()
    }

    /// Finds out what is new of a step, and saves the steps that are ready for it.
    fn settle(&mut self, event: Event) -> Result<()> {
        self.patching.settle(event, &mut self.queue, &mut self.run.saver, &self.loader)?;
        while let Some(settled) = self.patching.next_ready() {
            self.save(settled)?;
        }
        Ok(())
    }

    fn send_batch(&mut self) {
        if self.batch.handles.is_empty() {
            return;
        }
        let Batch { handles, directories, bytes, .. } = std::mem::take(&mut self.batch);
        let keys = Arc::clone(self.run.saver.keys());
        let with_hash = self.run.options.content_hash;
        let read = move || handles.iter().map(|handle| content::read_file(&**handle, &keys, with_hash)).collect();
        self.queue.push_batch(self.run.repository.workers.submit(read), directories, bytes);
    }

    /// Reads a long file: one thread reads and cuts it, because its cut points depend on one another; naming and trying is left to workers.
    fn stream(&mut self, found: Found, handle: &dyn Handle) -> Result<()> {
        // Nothing behind a file that nobody reads yet can be saved.
        self.send_batch();
        let keys = Arc::clone(self.run.saver.keys());
        let mut found = found;
        match handle.attributes() {
            Ok(attributes) => found.entry.attributes = attributes,
            Err(error) => {
                let name = found.entry.name.clone();
                self.warn_here("attributes", &name, format!("its attributes cannot be read: {error}"));
            }
        }
        let requests = self.probing.requests(&self.path_here(&found.entry.name));
        let streaming = Streaming::open(handle, &keys, self.run.options.content_hash, requests, &self.segments);
        let group_bytes = streaming.as_ref().map_or(None, Streaming::group_bytes);
        // Of a database that was stored before, most groups are there already.
        let tries = group_bytes.is_none() || found.before.is_none();
        self.step(Event::Begin(found, group_bytes))?;
        let end = match streaming {
            Ok(streaming) => self.stream_segments(Segments::of(streaming), &keys, tries)?,
            Err(error) => Err(error),
        };
        self.step(Event::End(end))
    }

    fn stream_segments(
        &mut self,
        mut segments: Segments,
        keys: &Arc<crate::keyring::PeriodKeys>,
        tries: bool,
    ) -> Result<std::io::Result<Ended>> {
        loop {
            match segments.next() {
                Ok(Segment::Content(buffer, cuts)) => {
                    let keys = Arc::clone(keys);
                    let pending = self.run.repository.workers.submit(move || {
                        let pieces = content::name(&keys, &buffer, &cuts, tries);
                        Named { buffer, pieces }
                    });
                    self.step(Event::Segment(pending))?;
                }
                Ok(Segment::Again) => self.step(Event::Again)?,
                Ok(Segment::End) => return Ok(segments.finish()),
                Err(error) => return Ok(Err(error)),
            }
        }
    }
}

impl Visitor for Walk<'_, '_> {
    fn root(&mut self, path: &[u8]) -> Result<()> {
        if self.building.roots.len() as u64 >= ROOTS_MAX {
            return Err(Error::Usage { what: format!("there are more than {ROOTS_MAX} roots") });
        }
        self.here = vec![path.to_vec()];
        let old = self.parent.as_mut().and_then(|parent| parent.root(path));
        self.step(Event::Root(path.to_vec(), old))
    }

    fn enter(&mut self, mut entry: Entry, owner: Owner, handle: Box<dyn Handle>) -> Result<()> {
        let (before, unchanged) = self.compare(&entry, 0)?;
        if let Some(parent) = &mut self.parent {
            parent.enter(before.as_ref());
        }
        let content = before.as_ref().map(|before| Box::new(before.content.clone()));
        self.attributes(&mut entry, before.filter(|_| unchanged), &*handle);
        let path = match (self.here.len(), self.here.last()) {
            (1, Some(root)) => root.clone(),
            (_, Some(here)) => path::join(here, &entry.name),
            (_, None) => entry.name.clone(),
        };
        self.here.push(path);
        self.entered += 1;
        self.step(Event::Enter(Found { before: content, ..Found::new(entry, owner, Status::Other) }))
    }

    fn leave(&mut self, _incomplete: bool) -> Result<()> {
        self.here.pop();
        self.entered += 1;
        if let Some(parent) = &mut self.parent {
            parent.leave();
        }
        self.step(Event::Leave)
    }

    fn file(&mut self, mut entry: Entry, owner: Owner, size_bytes: u64, handle: Box<dyn Handle>) -> Result<()> {
        let (before, unchanged) = self.compare(&entry, size_bytes)?;
        let unchanged = unchanged && before.as_ref().is_some_and(|before| self.is_same_content(before, &*handle));
        let is_probed = self.probing.asks(|| self.path_here(&entry.name));
        let status = if before.is_some() { Status::Changed } else { Status::New };
        if let Some(before) = before.as_ref().filter(|_| unchanged)
            && (!self.loader.index.is_lossy() || is_whole(&before.content, &self.loader)?)
            && (!is_probed || self.take_over_probes(&entry.name))
        {
            entry.content = before.content.clone();
            entry.attributes = before.attributes.clone();
            entry.content_hash = before.content_hash;
            entry.extensions = before.extensions.clone();
            if DatabaseState::of(&entry).is_some_and(|state| !state.is_whole()) {
                let message = "the raw copy of a database, stored by an earlier backup, is kept: it is whole only if nothing wrote to it then";
                self.warn_here("raw_copy", &entry.name, message.to_owned());
            }
            self.note_link(&entry);
            return self.step(Event::Ready(Found::new(entry, owner, Status::Unchanged)));
        }
        let is_first = self.note_link(&entry);
        let before = before.map(|before| Box::new(before.content));
        let found = Found { entry, owner, status, before };
        if !is_first {
            return self.step(Event::Linked(found));
        }
        if size_bytes > WHOLE_FILE_BYTES_MAX || is_probed || handle.is_logged() {
            return self.stream(found, &*handle);
        }
        self.batch.add(handle, size_bytes, self.entered);
        self.step(Event::File(found))
    }

    fn other(&mut self, mut entry: Entry, owner: Owner, handle: Box<dyn Handle>) -> Result<()> {
        let (before, unchanged) = self.compare(&entry, 0)?;
        self.attributes(&mut entry, before.filter(|_| unchanged), &*handle);
        self.step(Event::Ready(Found::new(entry, owner, Status::Other)))
    }

    fn warning(&mut self, warning: Warning) {
        self.progress.warning(&warning);
        self.warnings.push(warning);
    }

    fn note(&mut self, note: Warning) {
        self.progress.note(&note);
        self.notes.push(note);
    }
}
