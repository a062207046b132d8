//! Receives the walk of a source: compares, hands reading to workers, and saves what they return, in order.

use std::collections::HashMap;
use std::sync::Arc;

use super::content::{self, FileRead, Piece, SMALL_FILE_BYTES_MAX, Streaming};
use super::events::{Event, Found, Queue, Status};
use super::parent::{Parent, is_whole};
use super::{Outcome, Run};
use crate::error::{Error, Result};
use crate::format::manifest::{Counts, Root};
use crate::format::tree::{Content, Entry, Item};
use crate::limits::ROOTS_MAX;
use crate::path;
use crate::progress::{Progress, Warning};
use crate::repository::Snapshot;
use crate::repository::build::{ListBuilder, TreeBuilder};
use crate::repository::load::Loader;
use crate::source::files::is_sqlite;
use crate::source::{Finish, Handle, Owner, Visitor};

/// A batch of small files goes to a worker when it has so many bytes or files.
const BATCH_BYTES: u64 = 1 << 20;
const BATCH_FILES: usize = 64;

/// The walk of one source.
pub(super) struct Walk<'r, 'a> {
    run: &'r mut Run<'a>,
    loader: Loader<'a>,
    progress: &'r dyn Progress,
    parent: Option<Parent>,
    /// The path that the walk is at, for warnings.
    here: Vec<Vec<u8>>,
    batch: Batch,
    queue: Queue,
    /// Files with several names, by their group: the first name's entry, once it is complete.
    links: HashMap<u64, Option<Entry>>,
    building: Building,
    counts: Counts,
    warnings: Vec<Warning>,
    notes: Vec<Warning>,
}

/// Small files that no worker reads yet.
#[derive(Default)]
struct Batch {
    handles: Vec<Box<dyn Handle>>,
    bytes: u64,
}

/// The directories and files that are being saved.
#[derive(Default)]
struct Building {
    root: Option<Vec<u8>>,
    /// The path that the saving is at.
    path: Vec<u8>,
    /// Open directories; the first, without an entry, holds the root alone.
    directories: Vec<(Option<Found>, TreeBuilder)>,
    file: Option<(Found, ListBuilder, bool)>,
    roots: Vec<Root>,
}

impl<'r, 'a> Walk<'r, 'a> {
    pub(super) fn new(run: &'r mut Run<'a>, parent: Option<&Snapshot>, progress: &'r dyn Progress) -> Result<Self> {
        let loader = Loader::new(run.repository)?;
        let work_max = 2 * run.repository.workers.count() + 2;
        Ok(Self {
            run,
            loader,
            progress,
            parent: parent.map(Parent::new),
            here: Vec::new(),
            batch: Batch::default(),
            queue: Queue::new(work_max),
            links: HashMap::new(),
            building: Building::default(),
            counts: Counts::default(),
            warnings: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// Saves what is still under way.
    pub(super) fn finish(mut self) -> Result<Outcome> {
        self.send_batch();
        while let Some(event) = self.queue.next() {
            self.save(event)?;
        }
        self.end_root()?;
        self.counts.warnings = self.warnings.len() as u64;
        self.counts.new_chunks = self.run.saver.saved.new_chunks;
        self.counts.new_chunk_bytes = self.run.saver.saved.new_chunk_bytes;
        let Self { building, counts, warnings, notes, .. } = self;
        Ok(Outcome { roots: building.roots, counts, warnings, notes })
    }

    /// Finds the entry in the parent.
    fn compare(&mut self, entry: &Entry, size_bytes: u64) -> Result<(Option<Entry>, bool)> {
        let Some(parent) = &mut self.parent else { return Ok((None, false)) };
        let found = parent.find(&entry.name, &self.loader)?;
        let unchanged = found.as_ref().is_some_and(|before| parent.is_unchanged(entry, size_bytes, before));
        Ok((found, unchanged))
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
        let mut subject = self.here.last().cloned().unwrap_or_default();
        if self.here.len() > 1 || !subject.ends_with(name) {
            subject = path::join(&subject, name);
        }
        self.warning(Warning { kind, subject, message });
    }

    /// Adds a step, and saves those that are done.
    fn step(&mut self, event: Event) -> Result<()> {
        self.queue.push(event);
        if self.batch.bytes >= BATCH_BYTES || self.batch.handles.len() >= BATCH_FILES || self.queue.is_long() {
            self.send_batch();
        }
        while let Some(event) = self.queue.next_ready() {
            self.save(event)?;
        }
        self.run.repository.options.cancel.check()?;
        self.run.checkpoint_if_due()
    }

    fn send_batch(&mut self) {
        if self.batch.handles.is_empty() {
            return;
        }
        let Batch { handles, .. } = std::mem::take(&mut self.batch);
        let keys = Arc::clone(self.run.saver.keys());
        let with_hash = self.run.options.content_hash;
        let read = move || handles.iter().map(|handle| content::read_file(&**handle, &keys, with_hash)).collect();
        self.queue.push_batch(self.run.repository.workers.submit(read));
    }

    /// Reads a long file: here, because its cut points depend on one another; naming and trying is left to workers.
    fn stream(&mut self, found: Found, handle: &dyn Handle) -> Result<()> {
        let keys = Arc::clone(self.run.saver.keys());
        let mut found = found;
        match handle.attributes() {
            Ok(attributes) => found.entry.attributes = attributes,
            Err(error) => {
                let name = found.entry.name.clone();
                self.warn_here("attributes", &name, format!("its attributes cannot be read: {error}"));
            }
        }
        self.step(Event::Begin(found))?;
        let end = match Streaming::open(handle, &keys, self.run.options.content_hash) {
            Ok(streaming) => self.stream_segments(streaming, &keys)?,
            Err(error) => Err(error),
        };
        self.step(Event::End(end))
    }

    fn stream_segments(
        &mut self,
        mut streaming: Streaming,
        keys: &Arc<crate::keyring::PeriodKeys>,
    ) -> Result<std::io::Result<(Finish, Option<[u8; 32]>)>> {
        loop {
            match streaming.next() {
                Ok(Some((buffer, cuts))) => {
                    let keys = Arc::clone(keys);
                    let pending = self.run.repository.workers.submit(move || {
                        let pieces = content::name(&keys, &buffer, &cuts);
                        (buffer, pieces)
                    });
                    self.step(Event::Segment(pending))?;
                }
                Ok(None) => return Ok(streaming.finish()),
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// Saves one step of the walk.
    fn save(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Root(path) => {
                self.end_root()?;
                self.building.path = path.clone();
                self.building.root = Some(path);
                self.building.directories.push((None, TreeBuilder::default()));
                Ok(())
            }
            Event::Enter(found) => {
                self.counts.directories += 1;
                if self.building.directories.len() > 1 {
                    self.building.path = path::join(&self.building.path, &found.entry.name);
                }
                self.building.directories.push((Some(found), TreeBuilder::default()));
                Ok(())
            }
            Event::Leave => self.leave_directory(),
            Event::Ready(found) => self.add(found),
            Event::Linked(mut found) => match self.links.get(&found.entry.link_group).cloned().flatten() {
                Some(first) => {
                    found.entry.content = first.content;
                    found.entry.attributes = first.attributes;
                    found.entry.content_hash = first.content_hash;
                    self.add(found)
                }
                // The first name could not be read, and that was said.
                None => Ok(()),
            },
            Event::File(found) => {
                let read = self.queue.next_read();
                self.save_file(found, read)
            }
            Event::Begin(found) => {
                self.building.file = Some((found, ListBuilder::default(), false));
                Ok(())
            }
            Event::Segment(pending) => {
                let (buffer, pieces) = pending.wait();
                self.save_segment(&buffer, &pieces)
            }
            Event::End(end) => self.end_file(end),
        }
    }

    /// Adds a complete entry to the directory that is being built.
    fn add(&mut self, found: Found) -> Result<()> {
        let entry = &found.entry;
        if entry.is_file() {
            let size_bytes = entry.size_bytes();
            self.counts.source_bytes += size_bytes;
            match found.status {
                Status::New => self.counts.files_new += 1,
                Status::Changed => self.counts.files_changed += 1,
                Status::Unchanged => self.counts.files_unchanged += 1,
                Status::Other => {}
            }
            self.progress.advanced(1, size_bytes);
        }
        if let Some(first) = self.links.get_mut(&entry.link_group) {
            first.get_or_insert_with(|| entry.clone());
        }
        let Found { entry, owner, .. } = found;
        let (_, tree) = self.building.directories.last_mut().expect("entries come below a root");
        tree.push(entry, owner.user, owner.group, &mut self.run.saver, self.loader.index)
    }

    fn leave_directory(&mut self) -> Result<()> {
        let (found, tree) = self.building.directories.pop().expect("a directory is left after it was entered");
        let (root, sums) = tree.finish(&mut self.run.saver, self.loader.index)?;
        let Some(mut found) = found else { return Ok(()) };
        if self.building.directories.len() > 1 {
            let parent_length = self.building.path.len() - found.entry.name.len() - 1;
            self.building.path.truncate(parent_length.max(1));
        }
        found.entry.content = Content::Tree { root, sums };
        self.add(found)
    }

    fn end_root(&mut self) -> Result<()> {
        let Some(path) = self.building.root.take() else { return Ok(()) };
        let (_, tree) = self.building.directories.pop().expect("a root's own tree is open until its end");
        let (root, sums) = tree.finish(&mut self.run.saver, self.loader.index)?;
        // A root of which nothing could be read is not in the snapshot; that was a warning.
        if sums.entries > 0 {
            self.building.roots.push(Root { path, root, sums });
        }
        Ok(())
    }

    fn saving_path(&self, name: &[u8]) -> Vec<u8> {
        match self.building.directories.len() {
            0 | 1 => self.building.path.clone(),
            _ => path::join(&self.building.path, name),
        }
    }

    fn save_file(&mut self, mut found: Found, read: FileRead) -> Result<()> {
        match read.attributes {
            Ok(attributes) => found.entry.attributes = attributes,
            Err(error) => self.warn_saving("attributes", &found, format!("its attributes cannot be read: {error}")),
        }
        let content = match read.content {
            Ok(content) => content,
            Err(error) => {
                self.warn_saving("unreadable", &found, format!("it cannot be read: {error}"));
                return Ok(());
            }
        };
        self.note_sqlite(&found, &content.buffer);
        found.entry.content = match content.pieces[..] {
            [] => Content::Inline { bytes: Vec::new() },
            [Piece::Inline { start, end }] => Content::Inline { bytes: content.buffer[start..end].to_vec() },
            _ => {
                let mut list = ListBuilder::default();
                self.save_pieces(&mut list, &content.buffer, &content.pieces)?;
                list.finish(&mut self.run.saver, self.loader.index)?
            }
        };
        found.entry.content_hash = content.hash;
        self.complete(found, content.finish)
    }

    fn complete(&mut self, mut found: Found, finish: Finish) -> Result<()> {
        if finish.changed {
            self.warn_saving("changed", &found, "it changed while it was read".to_owned());
        }
        found.entry.mtime = finish.mtime;
        found.entry.ctime = finish.ctime;
        self.add(found)
    }

    fn save_segment(&mut self, buffer: &[u8], pieces: &[Piece]) -> Result<()> {
        let (found, mut list, seen) = self.building.file.take().expect("segments come inside a file");
        if !seen {
            self.note_sqlite(&found, buffer);
        }
        self.save_pieces(&mut list, buffer, pieces)?;
        self.building.file = Some((found, list, true));
        Ok(())
    }

    fn end_file(&mut self, end: std::io::Result<(Finish, Option<[u8; 32]>)>) -> Result<()> {
        let (mut found, list, _) = self.building.file.take().expect("an end comes after a beginning");
        let (finish, hash) = match end {
            Ok(end) => end,
            Err(error) => {
                self.warn_saving("unreadable", &found, format!("it cannot be read: {error}"));
                return Ok(());
            }
        };
        found.entry.content = list.finish(&mut self.run.saver, self.loader.index)?;
        found.entry.content_hash = hash;
        self.complete(found, finish)
    }

    fn save_pieces(&mut self, list: &mut ListBuilder, buffer: &[u8], pieces: &[Piece]) -> Result<()> {
        let (saver, index) = (&mut self.run.saver, self.loader.index);
        for piece in pieces {
            let item = match *piece {
                Piece::Zeros(length) => Item::Zeros { length },
                Piece::Hole(length) => Item::Hole { length },
                Piece::Inline { start, end } => Item::Inline { bytes: buffer[start..end].to_vec() },
                Piece::Chunk { id, start, end, incompressible } => {
                    saver.save_content(index, &id, &buffer[start..end], incompressible)?;
                    let length = u32::try_from(end - start).expect("chunks are bounded by CHUNK_BYTES_MAX");
                    Item::Chunk { length, decode_bytes: length, id }
                }
            };
            list.push(item, saver, index)?;
        }
        Ok(())
    }

    fn note_sqlite(&mut self, found: &Found, beginning: &[u8]) {
        if is_sqlite(beginning) {
            let subject = self.saving_path(&found.entry.name);
            let message = "a SQLite database, read as a plain file: it is whole only if nothing wrote to it".to_owned();
            self.note(Warning { kind: "sqlite", subject, message });
        }
    }

    fn warn_saving(&mut self, kind: &'static str, found: &Found, message: String) {
        let subject = self.saving_path(&found.entry.name);
        self.warning(Warning { kind, subject, message });
    }
}

impl Visitor for Walk<'_, '_> {
    fn root(&mut self, path: &[u8]) -> Result<()> {
        if self.building.roots.len() as u64 >= ROOTS_MAX {
            return Err(Error::Usage { what: format!("there are more than {ROOTS_MAX} roots") });
        }
        self.here = vec![path.to_vec()];
        if let Some(parent) = &mut self.parent {
            parent.root(path);
        }
        self.step(Event::Root(path.to_vec()))
    }

    fn enter(&mut self, mut entry: Entry, owner: Owner, handle: Box<dyn Handle>) -> Result<()> {
        let (before, unchanged) = self.compare(&entry, 0)?;
        if let Some(parent) = &mut self.parent {
            parent.enter(before.as_ref());
        }
        self.attributes(&mut entry, before.filter(|_| unchanged), &*handle);
        let path = match (self.here.len(), self.here.last()) {
            (1, Some(root)) => root.clone(),
            (_, Some(here)) => path::join(here, &entry.name),
            (_, None) => entry.name.clone(),
        };
        self.here.push(path);
        self.step(Event::Enter(Found { entry, owner, status: Status::Other }))
    }

    fn leave(&mut self, _incomplete: bool) -> Result<()> {
        self.here.pop();
        if let Some(parent) = &mut self.parent {
            parent.leave();
        }
        self.step(Event::Leave)
    }

    fn file(&mut self, mut entry: Entry, owner: Owner, size_bytes: u64, handle: Box<dyn Handle>) -> Result<()> {
        let (before, unchanged) = self.compare(&entry, size_bytes)?;
        let status = if before.is_some() { Status::Changed } else { Status::New };
        if let Some(before) = before.filter(|_| unchanged)
            && (!self.loader.index.is_lossy() || is_whole(&before.content, &self.loader)?)
        {
            entry.content = before.content;
            entry.attributes = before.attributes;
            entry.content_hash = before.content_hash;
            self.note_link(&entry);
            return self.step(Event::Ready(Found { entry, owner, status: Status::Unchanged }));
        }
        let is_first = self.note_link(&entry);
        let found = Found { entry, owner, status };
        if !is_first {
            return self.step(Event::Linked(found));
        }
        if size_bytes > SMALL_FILE_BYTES_MAX {
            return self.stream(found, &*handle);
        }
        self.batch.handles.push(handle);
        self.batch.bytes += size_bytes;
        self.step(Event::File(found))
    }

    fn other(&mut self, mut entry: Entry, owner: Owner, handle: Box<dyn Handle>) -> Result<()> {
        let (before, unchanged) = self.compare(&entry, 0)?;
        self.attributes(&mut entry, before.filter(|_| unchanged), &*handle);
        self.step(Event::Ready(Found { entry, owner, status: Status::Other }))
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
