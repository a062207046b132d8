//! `diff`: what differs between two snapshots. Directories whose trees are equal are not read.

use crate::error::Result;
use crate::format::tree::{Content, Entry};
use crate::id::ChunkId;
use crate::path;
use crate::repository::load::Loader;
use crate::repository::nodes::{OwnedEntry, TreeEntries};
use crate::repository::{Repository, Snapshot};

/// How an entry differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Only the second snapshot has it.
    Added,
    /// Only the first has it.
    Removed,
    /// Its content differs, and maybe its metadata.
    Content,
    /// Its mode, owner, times or attributes differ.
    Metadata,
    /// It is of another kind: a file that became a directory, say.
    Kind,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The absolute path.
    pub path: Vec<u8>,
    /// What differs.
    pub change: Change,
}

impl Repository {
    /// Visits what differs between two snapshots, in the order of paths within each root. Of a directory that only one of them has, everything below is visited, too.
    ///
    /// # Errors
    /// Damage, and what `each` returns, ends the visit.
    pub fn diff(&self, a: &Snapshot, b: &Snapshot, each: &mut dyn FnMut(Difference) -> Result<()>) -> Result<()> {
        let loader = Loader::new(self)?;
        let mut paths: Vec<&Vec<u8>> = a.manifest.roots().chain(b.manifest.roots()).map(|root| &root.path).collect();
        paths.sort();
        paths.dedup();
        for path in paths {
            let root = |snapshot: &Snapshot| {
                let root = snapshot.manifest.roots().find(|root| root.path == *path);
                root.map(|root| snapshot.root_entry(&loader, root)).transpose()
            };
            let mut comparison = Comparison { loader: &loader, each, open: Vec::new() };
            comparison.compare(path.clone(), root(a)?, root(b)?)?;
            comparison.run()?;
        }
        Ok(())
    }
}

struct Comparison<'c, 'l> {
    loader: &'c Loader<'l>,
    each: &'c mut dyn FnMut(Difference) -> Result<()>,
    open: Vec<Pair>,
}

/// A directory in both snapshots; one of them may lack it.
struct Pair {
    path: Vec<u8>,
    a: Side,
    b: Side,
}

struct Side {
    entries: Option<TreeEntries>,
    next: Option<OwnedEntry>,
}

impl Side {
    fn new(root: Option<ChunkId>) -> Self {
        Self { entries: root.map(TreeEntries::new), next: None }
    }

    fn fill(&mut self, loader: &Loader<'_>) -> Result<()> {
        if let (None, Some(entries)) = (&self.next, &mut self.entries) {
            self.next = entries.next(loader)?;
        }
        Ok(())
    }

    fn name(&self) -> Option<&[u8]> {
        self.next.as_ref().map(|(entry, _)| entry.name.as_slice())
    }
}

impl Comparison<'_, '_> {
    fn run(&mut self) -> Result<()> {
        while let Some(pair) = self.open.last_mut() {
            pair.a.fill(self.loader)?;
            pair.b.fill(self.loader)?;
            let (a, b) = match (pair.a.name(), pair.b.name()) {
                (None, None) => {
                    self.open.pop();
                    continue;
                }
                (Some(a), Some(b)) if a == b => (pair.a.next.take(), pair.b.next.take()),
                (Some(a), Some(b)) if a > b => (None, pair.b.next.take()),
                (None, _) => (None, pair.b.next.take()),
                _ => (pair.a.next.take(), None),
            };
            let name = a.as_ref().or(b.as_ref()).map(|(entry, _)| entry.name.clone()).unwrap_or_default();
            let path = path::join(&pair.path, &name);
            self.compare(path, a, b)?;
        }
        Ok(())
    }

    fn compare(&mut self, path: Vec<u8>, a: Option<OwnedEntry>, b: Option<OwnedEntry>) -> Result<()> {
        let (a, b) = (a.map(|(entry, _)| entry), b.map(|(entry, _)| entry));
        let change = match (&a, &b) {
            (Some(a), Some(b)) => change(a, b),
            (Some(_), None) => Some(Change::Removed),
            (None, Some(_)) => Some(Change::Added),
            (None, None) => None,
        };
        let (tree_a, tree_b) = (a.as_ref().and_then(tree), b.as_ref().and_then(tree));
        if let Some(change) = change {
            (self.each)(Difference { path: path.clone(), change })?;
        }
        if tree_a != tree_b {
            super::list::check_depth(self.open.len())?;
            self.open.push(Pair { path, a: Side::new(tree_a), b: Side::new(tree_b) });
        }
        Ok(())
    }
}

fn tree(entry: &Entry) -> Option<ChunkId> {
    match entry.content {
        Content::Tree { root, .. } => Some(root),
        _ => None,
    }
}

/// How two entries of one path differ. What lies in directories is compared for itself; times of metadata and numbers of inodes are no difference.
fn change(a: &Entry, b: &Entry) -> Option<Change> {
    if a.kind != b.kind {
        return Some(Change::Kind);
    }
    if !a.is_directory() && a.content != b.content {
        return Some(Change::Content);
    }
    let metadata = |entry: &Entry| (entry.mode, entry.uid, entry.gid, entry.mtime);
    let same = metadata(a) == metadata(b) && a.attributes == b.attributes;
    (!same).then_some(Change::Metadata)
}
