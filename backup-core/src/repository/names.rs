//! From what a user typed to a snapshot, and to a place inside: the names of the command line's contract.

use super::load::Loader;
use super::nodes::{OwnedEntry, TreeEntries, find_entry};
use super::wal::{WAL_ROOT, WAL_TAG};
use super::{Repository, Snapshot};
use crate::error::{Error, Result};
use crate::format::manifest::Root;
use crate::format::tree::Content;
use crate::path;
use crate::time::Time;
use crate::words::printable;

/// Which snapshots are meant. Every setter takes and returns the filter by value; what is not set, is not asked.
#[derive(Clone, Debug, Default)]
pub struct SnapshotFilter {
    host: Option<String>,
    tag: Option<String>,
    class: Option<String>,
    path: Option<Vec<u8>>,
}

impl SnapshotFilter {
    /// Makes a filter that everything passes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only snapshots of this machine.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Only snapshots with this tag.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// Only snapshots of this class.
    pub fn class(mut self, class: impl Into<String>) -> Self {
        self.class = Some(class.into());
        self
    }

    /// Only snapshots with a root at or above this absolute path, or below it.
    pub fn path(mut self, path: impl Into<Vec<u8>>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Whether a snapshot passes. WAL files pass only where they are asked for: by the tag `wal`, or by a path at or below `/wal`.
    pub fn passes(&self, snapshot: &Snapshot) -> bool {
        self.fits(snapshot) && (self.asks_for_wal() || snapshot.wal_file().is_none())
    }

    /// Whether a snapshot would pass, were it not a WAL file that nobody asked for.
    pub fn hides(&self, snapshot: &Snapshot) -> bool {
        self.fits(snapshot) && !self.passes(snapshot)
    }

    fn asks_for_wal(&self) -> bool {
        let below = |wanted: &Vec<u8>| path::below(wanted, WAL_ROOT).is_some();
        self.tag.as_deref() == Some(WAL_TAG) || self.path.as_ref().is_some_and(below)
    }

    fn fits(&self, snapshot: &Snapshot) -> bool {
        let manifest = &snapshot.manifest;
        let near = |wanted: &Vec<u8>| {
            manifest
                .roots()
                .any(|root| path::below(wanted, &root.path).is_some() || path::below(&root.path, wanted).is_some())
        };
        self.host.as_ref().is_none_or(|host| *host == manifest.host)
            && self.tag.as_ref().is_none_or(|tag| manifest.tags.contains(tag))
            && self.class.as_ref().is_none_or(|class| *class == manifest.class)
            && self.path.as_ref().is_none_or(near)
    }
}

impl Repository {
    /// Finds the snapshot that a name means: `latest`, `@TIME`, or a unique prefix of an id.
    ///
    /// # Errors
    /// [`Error::SnapshotName`] where none or several fit; [`Error::Usage`] for a time that is none.
    pub fn find_snapshot(&self, name: &str, filter: &SnapshotFilter) -> Result<&Snapshot> {
        let mut passing = self.snapshots().iter().filter(|snapshot| filter.passes(snapshot));
        let missing = || Error::SnapshotName { name: printable(name.as_bytes()), matches: 0 };
        if name == "latest" {
            return passing.next_back().ok_or_else(missing);
        }
        if let Some(time) = name.strip_prefix('@') {
            let wrong = || Error::Usage { what: format!("{} is no time", printable(time.as_bytes())) };
            let time = Time::parse(time).ok_or_else(wrong)?;
            return passing.rfind(|snapshot| snapshot.manifest.time <= time).ok_or_else(missing);
        }
        let prefix = name.to_ascii_lowercase();
        // Who knows an id means this snapshot, whatever it is.
        let fitting = self.snapshots().iter().filter(|snapshot| filter.fits(snapshot));
        let matching: Vec<&Snapshot> =
            fitting.filter(|snapshot| !prefix.is_empty() && snapshot.id.to_string().starts_with(&prefix)).collect();
        match matching[..] {
            [snapshot] => Ok(snapshot),
            _ => Err(Error::SnapshotName { name: printable(name.as_bytes()), matches: matching.len() }),
        }
    }
}

/// A place inside a snapshot.
pub(crate) enum Place {
    /// An entry of a root's tree, or the root itself.
    Entry(Box<OwnedEntry>),
    /// A directory above roots, which no source described.
    Above,
}

impl Snapshot {
    /// The root that a path lies in: the one with the longest path, where roots lie in one another.
    fn root_of(&self, wanted: &[u8]) -> Option<(&Root, Vec<u8>)> {
        let covering = self.manifest.roots().filter_map(|root| Some((root, path::below(wanted, &root.path)?.to_vec())));
        covering.max_by_key(|(root, _)| root.path.len())
    }

    /// The entry of a root itself, renamed to the last component of its path.
    pub(crate) fn root_entry(&self, loader: &Loader<'_>, root: &Root) -> Result<OwnedEntry> {
        let damaged = |what| Error::damaged(format!("snapshot {}", self.id.short()), what);
        let mut entries = TreeEntries::new(root.root);
        let entry = entries.next(loader)?.ok_or_else(|| damaged("a root is empty"))?;
        match entries.next(loader)? {
            None if entry.0.name == path::name(&root.path) => Ok(entry),
            _ => Err(damaged("a root does not hold itself alone")),
        }
    }

    /// Finds what is at an absolute, normalised path.
    ///
    /// # Errors
    /// [`Error::PathNotFound`]; damage on the way.
    pub(crate) fn find(&self, loader: &Loader<'_>, wanted: &[u8]) -> Result<Place> {
        let missing = || Error::PathNotFound { path: printable(wanted), snapshot: self.id.short() };
        let Some((root, rest)) = self.root_of(wanted) else {
            let above = self.manifest.roots().any(|root| path::below(&root.path, wanted).is_some());
            return if above { Ok(Place::Above) } else { Err(missing()) };
        };
        let mut entry = self.root_entry(loader, root)?;
        for name in path::components(&rest) {
            let Content::Tree { root, .. } = entry.0.content else { return Err(missing()) };
            entry = find_entry(loader, root, name)?.ok_or_else(missing)?;
        }
        Ok(Place::Entry(Box::new(entry)))
    }
}
