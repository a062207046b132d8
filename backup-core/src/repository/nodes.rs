//! Reads trees and chunk lists: sections 8 and 9 of `docs/format.md`. Nodes come one at a time, so a directory of any size costs the memory of one path through its nodes.

use std::sync::Arc;

use super::Snapshot;
use super::load::Loader;
use crate::error::{Error, Result};
use crate::format::constants::*;
use crate::format::probes::{ProbeResult, Probes};
use crate::format::record::{self, Flaw};
use crate::format::tree::{Content, Entry, Item, ListInner, ListLeaf, OwnerName, TreeInner, TreeLeaf};
use crate::id::ChunkId;
use crate::limits::NODE_HEIGHT_MAX;

/// Names of the owners of a leaf's entries.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    pub(crate) users: Vec<OwnerName>,
    pub(crate) groups: Vec<OwnerName>,
}

impl Owners {
    /// The user's name, if it was recorded.
    pub(crate) fn user(&self, uid: u32) -> Option<&str> {
        find(&self.users, uid)
    }

    /// The group's name, if it was recorded.
    pub(crate) fn group(&self, gid: u32) -> Option<&str> {
        find(&self.groups, gid)
    }
}

fn find(names: &[OwnerName], id: u32) -> Option<&str> {
    names.binary_search_by_key(&id, |name| name.id).ok().map(|i| names[i].name.as_str())
}

/// An entry with the names of its owners.
pub(crate) type OwnedEntry = (Entry, Arc<Owners>);

/// Yields the entries of one directory, in order.
pub(crate) struct TreeEntries {
    /// Nodes still to be read, the next one last, with the height each must have; a root may have any.
    nodes: Vec<(ChunkId, Option<u8>)>,
    leaf: std::vec::IntoIter<Entry>,
    owners: Arc<Owners>,
    /// The last name of the leaf before.
    last_name: Vec<u8>,
}

impl TreeEntries {
    /// Begins at the root of a tree.
    pub(crate) fn new(root: ChunkId) -> Self {
        Self { nodes: vec![(root, None)], leaf: Vec::new().into_iter(), owners: Arc::default(), last_name: Vec::new() }
    }

    /// The next entry; `None` at the end. After an error of damage, the entries behind the damaged node can still be had.
    pub(crate) fn next(&mut self, loader: &Loader<'_>) -> Result<Option<OwnedEntry>> {
        loop {
            if let Some(entry) = self.leaf.next() {
                return Ok(Some((entry, Arc::clone(&self.owners))));
            }
            let Some((id, height)) = self.nodes.pop() else { return Ok(None) };
            self.read(loader, id, height)?;
        }
    }

    fn read(&mut self, loader: &Loader<'_>, id: ChunkId, height: Option<u8>) -> Result<()> {
        let node = loader.load(&id)?;
        let at = |flaw: Flaw| flaw.at(format!("node {id}"));
        if record::kind(&node) == Some(RECORD_TREE_INNER) {
            let inner: TreeInner = record::decode(&node).map_err(at)?;
            check_height(&id, height, inner.height)?;
            self.nodes.extend(inner.children.iter().rev().map(|child| (child.id, Some(inner.height - 1))));
            return Ok(());
        }
        let leaf: TreeLeaf = record::decode(&node).map_err(at)?;
        check_height(&id, height, 0)?;
        if height.is_some() && leaf.rows.is_empty() {
            return Err(Error::damaged(format!("node {id}"), "it is empty and not a root"));
        }
        // Within a leaf they are in order, or it does not decode; no name is empty.
        if let (Some(first), Some(last)) = (leaf.rows.first(), leaf.rows.last()) {
            if first.name <= self.last_name {
                return Err(Error::damaged("a tree", "entries are out of order"));
            }
            self.last_name.clone_from(&last.name);
        }
        self.owners = Arc::new(Owners { users: leaf.owners, groups: leaf.groups });
        self.leaf = leaf.rows.into_iter();
        Ok(())
    }
}

/// A child stands exactly one below its parent, a leaf at 0.
fn check_height(id: &ChunkId, expected: Option<u8>, found: u8) -> Result<()> {
    if expected.is_none_or(|expected| expected == found) {
        return Ok(());
    }
    Err(Error::damaged(format!("node {id}"), "its height is wrong"))
}

/// Finds one entry of a directory by name, reading one path through its nodes.
pub(crate) fn find_entry(loader: &Loader<'_>, root: ChunkId, name: &[u8]) -> Result<Option<OwnedEntry>> {
    let mut id = root;
    for _ in 0..=NODE_HEIGHT_MAX {
        let node = loader.load(&id)?;
        let at = |flaw: Flaw| flaw.at(format!("node {id}"));
        if record::kind(&node) != Some(RECORD_TREE_INNER) {
            let leaf: TreeLeaf = record::decode(&node).map_err(at)?;
            let owners = Arc::new(Owners { users: leaf.owners, groups: leaf.groups });
            let found = leaf.rows.binary_search_by(|entry| entry.name.as_slice().cmp(name));
            return Ok(found.ok().and_then(|i| leaf.rows.into_iter().nth(i)).map(|entry| (entry, owners)));
        }
        let inner: TreeInner = record::decode(&node).map_err(at)?;
        let behind = inner.children.partition_point(|child| child.first_name.as_slice() <= name);
        match behind.checked_sub(1) {
            Some(i) => id = inner.children[i].id,
            None => return Ok(None),
        }
    }
    Err(Error::damaged(format!("node {root}"), "its height is wrong"))
}

impl Snapshot {
    /// What probes of its databases found; nothing where none was made.
    ///
    /// # Errors
    /// [`Error::ChunkLost`] and other damage where that is lost.
    pub(crate) fn probe_results(&self, loader: &Loader<'_>) -> Result<Vec<ProbeResult>> {
        let Some(id) = self.probes() else { return Ok(Vec::new()) };
        let probes: Probes = record::decode(&loader.load(&id)?).map_err(|flaw| flaw.at(format!("node {id}")))?;
        Ok(probes.rows)
    }
}

/// Yields the items of a file's content, in order.
pub(crate) struct Items {
    nodes: Vec<(ChunkId, Option<u8>)>,
    leaf: std::vec::IntoIter<Item>,
}

impl Items {
    /// Begins at the content of a file; other content has no items.
    pub(crate) fn new(content: &Content) -> Self {
        Self::of(content.clone())
    }

    /// As [`Items::new`], of content that nobody needs besides.
    pub(crate) fn of(content: Content) -> Self {
        let (nodes, items) = match content {
            Content::Inline { bytes } if !bytes.is_empty() => (Vec::new(), vec![Item::Inline { bytes }]),
            Content::Items { items } => (Vec::new(), items),
            Content::List { root, .. } => (vec![(root, None)], Vec::new()),
            _ => (Vec::new(), Vec::new()),
        };
        Self { nodes, leaf: items.into_iter() }
    }

    /// Begins at the leaf that holds the byte at `offset`, without reading those before it. Returns where in the file that leaf begins, too.
    pub(crate) fn seek(content: &Content, offset: u64, loader: &Loader<'_>) -> Result<(Self, u64)> {
        let (mut items, mut start) = (Self::new(content), 0);
        while let Some((id, height)) = items.nodes.pop() {
            let node = loader.load(&id)?;
            if record::kind(&node) != Some(RECORD_LIST_INNER) {
                items.nodes.push((id, height));
                break;
            }
            let inner: ListInner = record::decode(&node).map_err(|flaw: Flaw| flaw.at(format!("node {id}")))?;
            check_height(&id, height, inner.height)?;
            let ends = inner.children.iter().scan(start, |end: &mut u64, child| {
                *end = end.saturating_add(child.sums.plaintext_bytes);
                Some(*end)
            });
            let before = ends.take_while(|end| *end <= offset);
            let (skipped, end) = before.fold((0, start), |(count, _), end| (count + 1, end));
            start = end;
            let rest = inner.children[skipped..].iter().rev();
            items.nodes.extend(rest.map(|child| (child.id, Some(inner.height - 1))));
            if skipped == inner.children.len() {
                break;
            }
        }
        Ok((items, start))
    }

    /// The next item; `None` at the end.
    pub(crate) fn next(&mut self, loader: &Loader<'_>) -> Result<Option<Item>> {
        loop {
            if let Some(item) = self.leaf.next() {
                return Ok(Some(item));
            }
            let Some((id, height)) = self.nodes.pop() else { return Ok(None) };
            let node = loader.load(&id)?;
            let at = |flaw: Flaw| flaw.at(format!("node {id}"));
            if record::kind(&node) == Some(RECORD_LIST_INNER) {
                let inner: ListInner = record::decode(&node).map_err(at)?;
                check_height(&id, height, inner.height)?;
                self.nodes.extend(inner.children.iter().rev().map(|child| (child.id, Some(inner.height - 1))));
            } else {
                let leaf: ListLeaf = record::decode(&node).map_err(at)?;
                check_height(&id, height, 0)?;
                self.leaf = leaf.items.into_iter();
            }
        }
    }
}
