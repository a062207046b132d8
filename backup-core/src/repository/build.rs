//! Builds trees and chunk lists: nodes are saved as they fill, so a directory of any size costs the memory of one node for each level. Sections 8 and 9 of `docs/format.md`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::load::Loader;
use super::save::Saver;
use crate::error::{Error, Result};
use crate::format::constants::ROW_VERSION;
use crate::format::record::{self, Flaw};
use crate::format::tree::{
    Content, Entry, Item, ListChild, ListInner, ListLeaf, OwnerName, Sums, TreeChild, TreeInner, TreeLeaf,
};
use crate::id::ChunkId;
use crate::keyring::PeriodKeys;
use crate::limits::{NODE_BYTES_TARGET, NODE_ROWS_MAX, NODE_ROWS_MIN};

/// Items that stand in the entry itself; more become a list.
const ITEMS_DIRECT: usize = 32;
/// Items of a leaf of a page map, which ends at fixed places: a page that changes changes one leaf and no other.
const PAGE_MAP_ITEMS: usize = 256;

/// A reference to a node from the node above.
trait Child: Sized {
    fn sums(&self) -> &Sums;
    /// Whether the node above may end after this child.
    fn ends_node(&self, keys: &PeriodKeys) -> bool;
    /// Encodes the node above these children.
    fn encode_inner(height: u8, children: &[Self]) -> Vec<u8>;
    /// Refers to the node above these children.
    fn above(children: &[Self], id: ChunkId, sums: Sums) -> Self;
    fn id(&self) -> ChunkId;
}

impl Child for TreeChild {
    fn sums(&self) -> &Sums {
        &self.sums
    }

    fn ends_node(&self, keys: &PeriodKeys) -> bool {
        keys.ends_node(&self.first_name)
    }

    fn encode_inner(height: u8, children: &[Self]) -> Vec<u8> {
        record::encode(&TreeInner { row_version: ROW_VERSION, height, children: children.to_vec() })
    }

    fn above(children: &[Self], id: ChunkId, sums: Sums) -> Self {
        Self { first_name: children[0].first_name.clone(), id, sums }
    }

    fn id(&self) -> ChunkId {
        self.id
    }
}

impl Child for ListChild {
    fn sums(&self) -> &Sums {
        &self.sums
    }

    fn ends_node(&self, _: &PeriodKeys) -> bool {
        self.id.0[0] < 2
    }

    fn encode_inner(height: u8, children: &[Self]) -> Vec<u8> {
        record::encode(&ListInner { row_version: ROW_VERSION, height, children: children.to_vec() })
    }

    fn above(_: &[Self], id: ChunkId, sums: Sums) -> Self {
        Self { id, sums }
    }

    fn id(&self) -> ChunkId {
        self.id
    }
}

/// Whether a node of so many rows ends where a boundary is, or is none.
fn is_full(rows: usize, at_boundary: bool) -> bool {
    let rows = rows as u64;
    rows >= NODE_ROWS_MAX || (rows >= NODE_ROWS_MIN && at_boundary)
}

/// The unfinished inner nodes above leaves, lowest first.
struct Levels<C>(Vec<Vec<C>>);

impl<C: Child> Levels<C> {
    fn push(&mut self, mut level: usize, mut child: C, saver: &mut Saver, loader: &Loader<'_>) -> Result<()> {
        loop {
            if self.0.len() == level {
                self.0.push(Vec::new());
            }
            let ends = child.ends_node(saver.keys());
            self.0[level].push(child);
            if !is_full(self.0[level].len(), ends) {
                return Ok(());
            }
            child = self.close(level, saver, loader)?;
            level += 1;
        }
    }

    fn close(&mut self, level: usize, saver: &mut Saver, loader: &Loader<'_>) -> Result<C> {
        let children = std::mem::take(&mut self.0[level]);
        let height = u8::try_from(level + 1).expect("32 children a node make few levels of any number of entries");
        let id = saver.save_node(loader, &C::encode_inner(height, &children))?;
        let mut sums = Sums::default();
        children.iter().for_each(|child| sums.add(child.sums()));
        Ok(C::above(&children, id, sums))
    }

    /// Closes all levels and returns the root.
    fn finish(mut self, saver: &mut Saver, loader: &Loader<'_>) -> Result<(ChunkId, Sums)> {
        let mut level = 0;
        loop {
            let is_top = self.0[level + 1..].iter().all(Vec::is_empty);
            if is_top && self.0[level].len() == 1 {
                return Ok((self.0[level][0].id(), *self.0[level][0].sums()));
            }
            if !self.0[level].is_empty() {
                let child = self.close(level, saver, loader)?;
                self.push(level + 1, child, saver, loader)?;
            }
            level += 1;
        }
    }
}

/// Builds the tree of one directory from its entries in order.
pub(crate) struct TreeBuilder {
    leaf: TreeLeaf,
    users: BTreeMap<u32, Arc<OwnerName>>,
    groups: BTreeMap<u32, Arc<OwnerName>>,
    bytes: usize,
    sums: Sums,
    levels: Levels<TreeChild>,
    last_name: Option<Vec<u8>>,
}

impl Default for TreeBuilder {
    fn default() -> Self {
        Self {
            leaf: TreeLeaf { row_version: ROW_VERSION, owners: Vec::new(), groups: Vec::new(), rows: Vec::new() },
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
            bytes: 0,
            sums: Sums::default(),
            levels: Levels(Vec::new()),
            last_name: None,
        }
    }
}

impl TreeBuilder {
    /// Adds the next entry.
    ///
    /// # Errors
    /// [`Error::Input`] for what no reader would accept, such as names out of order: sources may be anybody's.
    pub(crate) fn push(
        &mut self,
        entry: Entry,
        user: Option<Arc<OwnerName>>,
        group: Option<Arc<OwnerName>>,
        saver: &mut Saver,
        loader: &Loader<'_>,
    ) -> Result<()> {
        self.require_acceptable(&entry)?;
        let bytes = entry_bytes(&entry);
        if !self.leaf.rows.is_empty() && (self.bytes + bytes) as u64 > NODE_BYTES_TARGET {
            self.end_leaf(saver, loader)?;
        }
        self.bytes += bytes;
        self.users.extend(user.map(|user| (user.id, user)));
        self.groups.extend(group.map(|group| (group.id, group)));
        let mut sums = entry.content.sums();
        sums.entries += 1;
        self.sums.add(&sums);
        let ends = saver.keys().ends_node(&entry.name);
        self.leaf.rows.push(entry);
        if is_full(self.leaf.rows.len(), ends) {
            self.end_leaf(saver, loader)?;
        }
        Ok(())
    }

    fn require_acceptable(&mut self, entry: &Entry) -> Result<()> {
        let refused = |what: &str| {
            let name = crate::words::printable(&entry.name);
            Err(Error::Input { what: format!("the source yields an entry {name} that cannot be stored: {what}") })
        };
        match entry.check() {
            Err(Flaw::Malformed(what) | Flaw::Newer(what)) => return refused(what),
            Ok(()) if self.last_name.as_ref().is_some_and(|last| *last >= entry.name) => {
                return refused("names are out of order");
            }
            Ok(()) => {}
        }
        self.last_name = Some(entry.name.clone());
        Ok(())
    }

    fn end_leaf(&mut self, saver: &mut Saver, loader: &Loader<'_>) -> Result<()> {
        let names = |names: &mut BTreeMap<u32, Arc<OwnerName>>| {
            std::mem::take(names).into_values().map(|name| (*name).clone()).collect()
        };
        self.leaf.owners = names(&mut self.users);
        self.leaf.groups = names(&mut self.groups);
        let id = saver.save_node(loader, &record::encode(&self.leaf))?;
        let first_name = self.leaf.rows.first().map(|entry| entry.name.clone()).unwrap_or_default();
        self.leaf.rows.clear();
        self.bytes = 0;
        let child = TreeChild { first_name, id, sums: std::mem::take(&mut self.sums) };
        self.levels.push(0, child, saver, loader)
    }

    /// Ends the directory and returns what its entry holds.
    pub(crate) fn finish(mut self, saver: &mut Saver, loader: &Loader<'_>) -> Result<(ChunkId, Sums)> {
        if !self.leaf.rows.is_empty() || self.levels.0.is_empty() {
            self.end_leaf(saver, loader)?;
        }
        self.levels.finish(saver, loader)
    }
}

fn entry_bytes(entry: &Entry) -> usize {
    const FIXED: usize = 150;
    const ITEM: usize = 41;
    let attributes: usize = entry.attributes.iter().map(|a| 16 + a.name.len() + a.value.len()).sum();
    let content = match &entry.content {
        Content::Inline { bytes } | Content::Link { target: bytes } => bytes.len(),
        Content::Items { items } => items.len() * ITEM,
        _ => 0,
    };
    FIXED + entry.name.len() + attributes + content
}

/// Builds the content of one file from its items in order.
pub(crate) struct ListBuilder {
    /// Whether nodes end at fixed places: the file is a database.
    is_grouped: bool,
    items: Vec<Item>,
    sums: Sums,
    levels: Option<Levels<ListChild>>,
}

impl ListBuilder {
    pub(crate) fn new(is_grouped: bool) -> Self {
        Self { is_grouped, items: Vec::new(), sums: Sums::default(), levels: None }
    }

    pub(crate) fn is_grouped(&self) -> bool {
        self.is_grouped
    }

    /// Adds the next item; neighbouring holes and neighbouring zeros become one, except where each group has a place of its own.
    pub(crate) fn push(&mut self, item: Item, saver: &mut Saver, loader: &Loader<'_>) -> Result<()> {
        self.sums.add(&Sums { entries: 0, plaintext_bytes: item.length(), decode_bytes: item.decode_bytes() });
        match (self.items.last_mut().filter(|_| !self.is_grouped), &item) {
            (Some(Item::Hole { length }), Item::Hole { length: more })
            | (Some(Item::Zeros { length }), Item::Zeros { length: more }) => {
                *length += more;
                return Ok(());
            }
            _ => {}
        }
        let ends = matches!(&item, Item::Chunk { id, .. } if id.0[0] < 2);
        self.items.push(item);
        let is_full = match self.is_grouped {
            true => self.items.len() >= PAGE_MAP_ITEMS,
            false => is_full(self.items.len(), ends),
        };
        if is_full {
            self.end_leaf(saver, loader)?;
        }
        Ok(())
    }

    fn end_leaf(&mut self, saver: &mut Saver, loader: &Loader<'_>) -> Result<()> {
        let items = std::mem::take(&mut self.items);
        let id = saver.save_node(loader, &record::encode(&ListLeaf { row_version: ROW_VERSION, items }))?;
        let child = ListChild { id, sums: std::mem::take(&mut self.sums) };
        self.levels.get_or_insert_with(|| Levels(Vec::new())).push(0, child, saver, loader)
    }

    /// Ends the file and returns its content.
    pub(crate) fn finish(mut self, saver: &mut Saver, loader: &Loader<'_>) -> Result<Content> {
        if self.levels.is_none() && self.items.len() <= ITEMS_DIRECT {
            return Ok(Content::Items { items: self.items });
        }
        if !self.items.is_empty() {
            self.end_leaf(saver, loader)?;
        }
        let (root, sums) = self.levels.expect("a leaf was ended").finish(saver, loader)?;
        Ok(Content::List { root, sums })
    }
}
