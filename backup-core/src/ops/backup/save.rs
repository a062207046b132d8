//! The second half of a walk: saves what was read, in order, and builds trees from it.

use super::content::{Ended, FileRead, Named, Piece, Standing};
use super::events::{Event, Found, Settled, Status};
use super::walk::Walk;
use crate::error::Result;
use crate::format::manifest::Root;
use crate::format::tree::{Content, Item};
use crate::path;
use crate::progress::Warning;
use crate::repository::build::{ListBuilder, TreeBuilder};
use crate::repository::save::Form;
use crate::source::Visitor;
use crate::source::files::is_sqlite;

/// The directories and files that are being saved.
#[derive(Default)]
pub(super) struct Building {
    root: Option<Vec<u8>>,
    /// The path that the saving is at.
    path: Vec<u8>,
    /// Open directories; the first, without an entry, holds the root alone.
    directories: Vec<(Option<Found>, TreeBuilder)>,
    file: Option<(Found, ListBuilder, bool)>,
    /// Bytes of the long file under way that the progress knows of already.
    streamed_bytes: u64,
    pub(super) roots: Vec<Root>,
}

impl Walk<'_, '_> {
    /// Saves one step of the walk.
    pub(super) fn save(&mut self, settled: Settled) -> Result<()> {
        match settled {
            Settled::Step(event) => self.save_step(event),
            Settled::File(found, read) => self.save_file(found, read),
            Settled::PatchedFile(found, mut read, patched) => {
                if let Ok(content) = &mut read.content {
                    content.named = patched.wait();
                }
                self.save_file(found, read)
            }
            Settled::Segment(named) => self.save_segment(named),
            Settled::PatchedSegment(patched) => self.save_segment(patched.wait()),
        }
    }

    fn save_step(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Root(path, old) => {
                self.end_root()?;
                self.building.path = path.clone();
                self.building.root = Some(path);
                self.building.directories.push((None, TreeBuilder::new(old)));
                Ok(())
            }
            Event::Enter(found) => {
                self.counts.directories += 1;
                if self.building.directories.len() > 1 {
                    self.building.path = path::join(&self.building.path, &found.entry.name);
                }
                let tree = TreeBuilder::new(found.old_tree());
                self.building.directories.push((Some(found), tree));
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
            Event::Begin(found, group_bytes) => {
                let list = ListBuilder::new(group_bytes, found.before.as_deref());
                self.building.file = Some((found, list, false));
                Ok(())
            }
            Event::Again => {
                if let Some((found, list, _)) = &mut self.building.file {
                    *list = ListBuilder::new(list.group_bytes(), found.before.as_deref());
                }
                Ok(())
            }
            Event::End(end) => self.end_file(end),
            Event::File(_) | Event::Segment(_) => unreachable!("content is settled before it is saved"),
        }
    }

    /// Adds a complete entry to the directory that is being built.
    fn add(&mut self, found: Found) -> Result<()> {
        let entry = &found.entry;
        if entry.is_file() {
            let size_bytes = entry.size_bytes();
            self.counts.source_bytes += size_bytes;
            let same = found.before.as_deref() == Some(&entry.content);
            match found.status {
                Status::Changed if same => self.counts.files_unchanged += 1,
                Status::New => self.counts.files_new += 1,
                Status::Changed => self.counts.files_changed += 1,
                Status::Unchanged => self.counts.files_unchanged += 1,
                Status::Other => {}
            }
            self.progress.advanced(1, size_bytes - std::mem::take(&mut self.building.streamed_bytes).min(size_bytes));
        }
        if let Some(first) = self.links.get_mut(&entry.link_group) {
            first.get_or_insert_with(|| entry.clone());
        }
        let Found { entry, owner, .. } = found;
        let (_, tree) = self.building.directories.last_mut().expect("entries come below a root");
        tree.push(entry, owner.user, owner.group, &mut self.run.saver, &self.loader)
    }

    fn leave_directory(&mut self) -> Result<()> {
        let (found, tree) = self.building.directories.pop().expect("a directory is left after it was entered");
        let (root, sums) = tree.finish(&mut self.run.saver, &self.loader)?;
        let Some(mut found) = found else { return Ok(()) };
        if self.building.directories.len() > 1 {
            let parent_length = self.building.path.len() - found.entry.name.len() - 1;
            self.building.path.truncate(parent_length.max(1));
        }
        found.entry.content = Content::Tree { root, sums };
        self.add(found)
    }

    pub(super) fn end_root(&mut self) -> Result<()> {
        let Some(path) = self.building.root.take() else { return Ok(()) };
        let (_, tree) = self.building.directories.pop().expect("a root's own tree is open until its end");
        let (root, sums) = tree.finish(&mut self.run.saver, &self.loader)?;
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
        let Named { buffer, pieces } = &content.named;
        if content.end.findings.database.is_none() {
            self.note_sqlite(&found, buffer);
        }
        found.entry.content = match pieces[..] {
            [] => Content::Inline { bytes: Vec::new() },
            [Piece::Inline { start, end }] => Content::Inline { bytes: buffer[start..end].to_vec() },
            _ => {
                let mut list = ListBuilder::new(content.group_bytes, found.before.as_deref());
                self.save_pieces(&mut list, &content.named)?;
                list.finish(&mut self.run.saver, &self.loader)?
            }
        };
        self.complete(found, content.end)
    }

    fn complete(&mut self, mut found: Found, end: Ended) -> Result<()> {
        let Ended { finish, findings, hash } = end;
        found.entry.content_hash = hash;
        self.probing.add(findings.probes);
        found.entry.extensions.extend(findings.database.map(|state| state.to_extension()));
        for (kind, message) in findings.warnings {
            self.warn_saving(kind, &found, message);
        }
        for (kind, message) in findings.notes {
            let subject = self.saving_path(&found.entry.name);
            self.note(Warning { kind, subject, message });
        }
        if finish.changed {
            self.warn_saving("changed", &found, "it changed while it was read".to_owned());
        }
        found.entry.mtime = finish.mtime;
        found.entry.ctime = finish.ctime;
        self.add(found)
    }

    fn save_segment(&mut self, named: Named) -> Result<()> {
        let buffer = &named.buffer;
        let (found, mut list, seen) = self.building.file.take().expect("segments come inside a file");
        if !seen && !list.is_grouped() {
            self.note_sqlite(&found, buffer);
        }
        self.save_pieces(&mut list, &named)?;
        self.building.streamed_bytes += buffer.len() as u64;
        self.progress.advanced(0, buffer.len() as u64);
        self.building.file = Some((found, list, true));
        self.segments.give(named.buffer);
        Ok(())
    }

    fn end_file(&mut self, end: std::io::Result<Ended>) -> Result<()> {
        let (mut found, list, _) = self.building.file.take().expect("an end comes after a beginning");
        let end = match end {
            Ok(end) => end,
            Err(error) => {
                self.warn_saving("unreadable", &found, format!("it cannot be read: {error}"));
                return Ok(());
            }
        };
        found.entry.content = list.finish(&mut self.run.saver, &self.loader)?;
        self.complete(found, end)
    }

    fn save_pieces(&mut self, list: &mut ListBuilder, named: &Named) -> Result<()> {
        let (saver, loader, buffer) = (&mut self.run.saver, &self.loader, &named.buffer);
        for piece in &named.pieces {
            let item = match piece {
                Piece::Zeros(length) => Item::Zeros { length: *length },
                Piece::Hole(length) => Item::Hole { length: *length },
                Piece::Inline { start, end } => Item::Inline { bytes: buffer[*start..*end].to_vec() },
                Piece::Same(length) => {
                    list.keep(*length, saver, loader)?;
                    continue;
                }
                Piece::Chunk { id, start, end, incompressible, standing } => {
                    let length = u32::try_from(end - start).expect("chunks are bounded by CHUNK_BYTES_MAX");
                    if let Standing::New(patch) = standing {
                        let piece = Form::Piece { incompressible: *incompressible };
                        let form = if list.is_grouped() { Form::Pages } else { piece };
                        saver.put_content(id, &buffer[*start..*end], form, patch.as_ref())?;
                    }
                    let decode_bytes = match standing {
                        Standing::Stored(Some(decode_bytes)) => *decode_bytes,
                        _ => saver.decode_bytes(loader, &id.prefix(), length),
                    };
                    Item::Chunk { length, decode_bytes, id: *id }
                }
            };
            list.push(item, saver, loader)?;
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
