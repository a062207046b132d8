//! The snapshot that a backup is compared with: files that look the same there are not read again.

use std::collections::HashMap;

use crate::error::Result;
use crate::format::database::DatabaseState;
use crate::format::tree::{Content, Entry, Item};
use crate::id::ChunkId;
use crate::repository::Snapshot;
use crate::repository::load::Loader;
use crate::repository::nodes::{Items, OwnedEntry, TreeEntries};
use crate::time::Time;

/// A file whose times are this close to the reading may have been written again in the same tick of its clock.
const TICK_SECONDS: i64 = 2;

/// Follows the walk through the parent's trees.
pub(super) struct Parent {
    roots: HashMap<Vec<u8>, ChunkId>,
    started: Time,
    /// One for each directory that the walk is in; `None` where the parent had none.
    levels: Vec<Option<Level>>,
    /// The root that the walk begins.
    root: Option<Level>,
}

struct Level {
    entries: TreeEntries,
    next: Option<OwnedEntry>,
}

impl Parent {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let roots = snapshot.manifest.roots().map(|root| (root.path.clone(), root.root)).collect();
        Self { roots, started: snapshot.manifest.started, levels: Vec::new(), root: None }
    }

    /// The walk begins a root; returns the root of the parent's tree of it.
    pub(super) fn root(&mut self, path: &[u8]) -> Option<ChunkId> {
        self.levels.clear();
        let root = self.roots.get(path).copied();
        self.root = root.map(|root| Level { entries: TreeEntries::new(root), next: None });
        root
    }

    /// The parent's entry of a name in the directory that the walk is in. Names must come in order.
    pub(super) fn find(&mut self, name: &[u8], loader: &Loader<'_>) -> Result<Option<Entry>> {
        let level = match self.levels.last_mut() {
            Some(level) => level.as_mut(),
            None => self.root.as_mut(),
        };
        let Some(level) = level else { return Ok(None) };
        loop {
            if level.next.is_none() {
                level.next = match level.entries.next(loader) {
                    Ok(next) => next,
                    // What the parent has lost is read anew.
                    Err(error) if error.is_damage() => None,
                    Err(error) => return Err(error),
                };
            }
            match &level.next {
                Some((entry, _)) if entry.name.as_slice() < name => level.next = None,
                Some((entry, _)) if entry.name == name => return Ok(level.next.take().map(|(entry, _)| entry)),
                _ => return Ok(None),
            }
        }
    }

    /// The walk enters a directory, whose entry in the parent was found or not.
    pub(super) fn enter(&mut self, found: Option<&Entry>) {
        let level = match found.map(|entry| &entry.content) {
            Some(Content::Tree { root, .. }) => Some(Level { entries: TreeEntries::new(*root), next: None }),
            _ => None,
        };
        self.levels.push(level);
    }

    /// The walk leaves a directory.
    pub(super) fn leave(&mut self) {
        self.levels.pop();
    }

    /// What changed at this time or later may have changed again unnoticed.
    pub(super) fn settled_seconds(&self) -> i64 {
        self.started.seconds - TICK_SECONDS
    }

    /// Whether an entry's metadata says that nothing changed since the parent read it.
    pub(super) fn is_unchanged(&self, now: &Entry, size_bytes: u64, before: &Entry) -> bool {
        let same = now.kind == before.kind
            && (now.mtime, now.ctime, now.inode) == (before.mtime, before.ctime, before.inode)
            && (!now.is_file() || size_bytes == file_bytes(before));
        let settled = self.settled_seconds();
        same && now.mtime.seconds < settled && now.ctime.seconds < settled
    }
}

/// The length of the file that an entry was made of: of a database, part of the content may have lain in its log.
fn file_bytes(entry: &Entry) -> u64 {
    DatabaseState::of(entry).map_or_else(|| entry.size_bytes(), |state| state.file_bytes)
}

/// Whether all chunks of a file's content can be relied on. Only asked where something was lost: the walk through a chunk list costs reads.
pub(crate) fn is_whole(content: &Content, loader: &Loader<'_>) -> Result<bool> {
    let mut items = Items::new(content);
    loop {
        match items.next(loader) {
            Ok(Some(Item::Chunk { id, .. })) if !loader.relies_on(&id.prefix()) => return Ok(false),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(true),
            Err(error) if error.is_damage() => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}
