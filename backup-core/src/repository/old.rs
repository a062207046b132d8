//! The nodes that the parent has for a directory or a chunk list, found by where they begin: bases for those that replace them, and what is kept of a file that is known to be the same.

use super::load::Loader;
use crate::error::{Error, Result};
use crate::format::constants::{RECORD_LIST_INNER, RECORD_TREE_INNER};
use crate::format::record::{self, Flaw};
use crate::format::tree::{Item, ListInner, ListLeaf, Sums, TreeInner};
use crate::id::ChunkId;
use crate::limits::NODE_HEIGHT_MAX;

/// Where a node is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// In a directory: what holds this name, or would.
    Name(&'a [u8]),
    /// In a chunk list: what holds this byte of the file.
    Offset(u64),
}

/// The nodes below one root.
pub(crate) struct OldNodes {
    root: ChunkId,
    /// The nodes read last, from the root down.
    path: Vec<(ChunkId, Node)>,
}

enum Node {
    Tree(TreeInner),
    List(ListInner),
    Leaf,
}

/// A node that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OldNode {
    pub(crate) id: ChunkId,
    /// In a chunk list: where in the file it begins.
    pub(crate) start: u64,
    /// Its totals, unless it is the root.
    pub(crate) sums: Option<Sums>,
    /// 0 for a leaf.
    pub(crate) height: u8,
}

impl OldNodes {
    pub(crate) fn new(root: ChunkId) -> Self {
        Self { root, path: Vec::new() }
    }

    /// The node of a height at a place; `None` where there is none.
    ///
    /// # Errors
    /// Damage on the way, and [`Error::Storage`].
    pub(crate) fn find(&mut self, loader: &Loader<'_>, place: Place<'_>, height: u8) -> Result<Option<OldNode>> {
        let mut found = OldNode { id: self.root, start: 0, sums: None, height: 0 };
        for depth in 0..=NODE_HEIGHT_MAX as usize {
            let known = found.height;
            found.height = self.read(loader, depth, found.id)?;
            if depth > 0 && found.height != known {
                return Err(Error::damaged(format!("node {}", found.id), "its height is wrong"));
            }
            if found.height <= height {
                return Ok((found.height == height).then_some(found));
            }
            let Some(next) = child_at(&self.path[depth].1, found.start, place) else { return Ok(None) };
            found = OldNode { height: found.height - 1, ..next };
            if found.height == height {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The items of a leaf of a chunk list that was found.
    pub(crate) fn items(&mut self, loader: &Loader<'_>, leaf: &OldNode) -> Result<Vec<Item>> {
        let node = loader.load(&leaf.id)?;
        let leaf: ListLeaf = record::decode(&node).map_err(|flaw: Flaw| flaw.at(format!("node {}", leaf.id)))?;
        Ok(leaf.items)
    }

    /// Makes a node the one at a depth of the path, and returns its height.
    fn read(&mut self, loader: &Loader<'_>, depth: usize, id: ChunkId) -> Result<u8> {
        if self.path.get(depth).is_none_or(|(known, _)| *known != id) {
            self.path.truncate(depth);
            let node = loader.load(&id)?;
            let at = |flaw: Flaw| flaw.at(format!("node {id}"));
            let node = match record::kind(&node) {
                Some(RECORD_TREE_INNER) => Node::Tree(record::decode(&node).map_err(at)?),
                Some(RECORD_LIST_INNER) => Node::List(record::decode(&node).map_err(at)?),
                _ => Node::Leaf,
            };
            self.path.push((id, node));
        }
        Ok(match &self.path[depth].1 {
            Node::Tree(inner) => inner.height,
            Node::List(inner) => inner.height,
            Node::Leaf => 0,
        })
    }
}

/// The child of a node, which begins at `start`, that a place lies in.
fn child_at(node: &Node, start: u64, place: Place<'_>) -> Option<OldNode> {
    match (node, place) {
        (Node::Tree(inner), Place::Name(name)) => {
            let behind = inner.children.partition_point(|child| child.first_name.as_slice() <= name);
            let child = inner.children.get(behind.saturating_sub(1))?;
            Some(OldNode { id: child.id, start: 0, sums: Some(child.sums), height: 0 })
        }
        (Node::List(inner), Place::Offset(offset)) => {
            let mut start = start;
            for child in &inner.children {
                let end = start.checked_add(child.sums.plaintext_bytes)?;
                if offset < end {
                    return Some(OldNode { id: child.id, start, sums: Some(child.sums), height: 0 });
                }
                start = end;
            }
            None
        }
        _ => None,
    }
}
