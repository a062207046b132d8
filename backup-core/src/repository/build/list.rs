//! Builds the chunk list of a file.

use super::{Levels, Old, Sink, is_full};
use crate::error::{Error, Result};
use crate::format::constants::ROW_VERSION;
use crate::format::record;
use crate::format::tree::{Content, Item, ListChild, ListLeaf, Sums};
use crate::repository::load::Loader;
use crate::repository::old::{OldNode, Place};
use crate::repository::save::Saver;

/// Items that stand in the entry itself; more become a list.
const ITEMS_DIRECT: usize = 32;
/// Items of a leaf of a page map, which ends at fixed places: a page that changes changes one leaf and no other.
const PAGE_MAP_ITEMS: usize = 256;
/// Children of an inner node of a page map, which ends at fixed places, too.
const PAGE_MAP_CHILDREN: usize = 256;

/// Builds the content of one file from its items in order.
pub(crate) struct ListBuilder {
    /// Of a database: bytes of a group. Nodes then end at fixed places.
    group_bytes: Option<u64>,
    items: Vec<Item>,
    sums: Sums,
    levels: Levels<ListChild>,
    /// Where in the file the next item begins, and where the first of `items` does.
    offset: u64,
    leaf_start: u64,
    old: Old,
    /// What the parent held, if it was no list.
    old_items: Vec<Item>,
}

impl ListBuilder {
    /// Begins a file of which the parent may have had a version; `group_bytes` is given where it is a database.
    pub(crate) fn new(group_bytes: Option<u64>, old: Option<&Content>) -> Self {
        let (root, old_items) = match old {
            Some(Content::List { root, .. }) => (Some(*root), Vec::new()),
            Some(Content::Items { items }) => (None, items.clone()),
            _ => (None, Vec::new()),
        };
        Self {
            group_bytes,
            items: Vec::new(),
            sums: Sums::default(),
            levels: Levels::new(group_bytes.map(|_| PAGE_MAP_CHILDREN)),
            offset: 0,
            leaf_start: 0,
            old: Old::new(root),
            old_items,
        }
    }

    /// Of a database: bytes of a group.
    pub(crate) fn group_bytes(&self) -> Option<u64> {
        self.group_bytes
    }

    /// Whether it is a database.
    pub(crate) fn is_grouped(&self) -> bool {
        self.group_bytes.is_some()
    }

    /// Adds the next item; neighbouring holes and neighbouring zeros become one, except where each group has a place of its own.
    pub(crate) fn push(&mut self, item: Item, saver: &mut Saver, loader: &Loader<'_>) -> Result<()> {
        self.sums.add(&Sums { entries: 0, plaintext_bytes: item.length(), decode_bytes: item.decode_bytes() });
        self.offset += item.length();
        match (self.items.last_mut().filter(|_| self.group_bytes.is_none()), &item) {
            (Some(Item::Hole { length }), Item::Hole { length: more })
            | (Some(Item::Zeros { length }), Item::Zeros { length: more }) => {
                *length += more;
                return Ok(());
            }
            _ => {}
        }
        let ends = matches!(&item, Item::Chunk { id, .. } if id.0[0] < 2);
        self.items.push(item);
        let is_full = match self.is_grouped() {
            true => self.items.len() >= PAGE_MAP_ITEMS,
            false => is_full(self.items.len(), ends),
        };
        if is_full {
            self.end_leaf(saver, loader)?;
        }
        Ok(())
    }

    /// Adds what the parent held of this file in the next `bytes`, at a cost in proportion to the nodes at both ends.
    ///
    /// # Errors
    /// [`Error::Input`] where the parent held no such thing: who said so compared with another snapshot. Damage of the parent.
    pub(crate) fn keep(&mut self, mut bytes: u64, saver: &mut Saver, loader: &Loader<'_>) -> Result<()> {
        while bytes > 0 {
            let kept = match self.keep_node(bytes, saver, loader)? {
                0 => self.keep_items(bytes, saver, loader)?,
                kept => kept,
            };
            bytes -= kept;
        }
        Ok(())
    }

    /// Takes over the highest node of the parent that begins here, is full, and ends within the next `bytes`. Returns its length; 0 if there is none.
    fn keep_node(&mut self, bytes: u64, saver: &mut Saver, loader: &Loader<'_>) -> Result<u64> {
        let (Some(group_bytes), Some(old), true) = (self.group_bytes, &mut self.old.0, self.items.is_empty()) else {
            return Ok(0);
        };
        let mut node_bytes = group_bytes * PAGE_MAP_ITEMS as u64;
        let (mut best, mut height) = (None, 0u8);
        while node_bytes <= bytes && (height == 0 || self.levels.is_empty_to(usize::from(height) - 1)) {
            let found = old.find(loader, Place::Offset(self.offset), height)?;
            let fits = |node: &OldNode| {
                node.start == self.offset && node.sums.is_some_and(|sums| sums.plaintext_bytes == node_bytes)
            };
            best = found.filter(fits).or(best);
            if found.is_none() {
                break;
            }
            node_bytes *= PAGE_MAP_CHILDREN as u64;
            height += 1;
        }
        let Some(OldNode { id, sums: Some(sums), height, .. }) = best else { return Ok(0) };
        let start = self.offset;
        self.offset += sums.plaintext_bytes;
        self.leaf_start = self.offset;
        let mut sink = Sink { saver, loader, old: &mut self.old };
        self.levels.push(usize::from(height), ListChild { id, sums }, start, &mut sink)?;
        Ok(sums.plaintext_bytes)
    }

    /// Takes over items of the parent's leaf here, up to its end or to `bytes`. Returns their length.
    fn keep_items(&mut self, bytes: u64, saver: &mut Saver, loader: &Loader<'_>) -> Result<u64> {
        let unknown = || Error::Input {
            what: "a source says that content is as it was in a snapshot that holds no such content".to_owned(),
        };
        let (items, start) = match &mut self.old.0 {
            Some(old) => {
                let leaf = old.find(loader, Place::Offset(self.offset), 0)?.ok_or_else(unknown)?;
                (old.items(loader, &leaf)?, leaf.start)
            }
            None => (self.old_items.clone(), 0),
        };
        let (mut place, mut kept) = (start, 0);
        for item in items {
            let length = item.length();
            if place >= self.offset && kept + length <= bytes {
                if place > self.offset {
                    return Err(unknown());
                }
                self.push(item, saver, loader)?;
                kept += length;
            }
            place += length;
        }
        if kept > 0 { Ok(kept) } else { Err(unknown()) }
    }

    fn end_leaf(&mut self, saver: &mut Saver, loader: &Loader<'_>) -> Result<()> {
        let items = std::mem::take(&mut self.items);
        let start = std::mem::replace(&mut self.leaf_start, self.offset);
        let mut sink = Sink { saver, loader, old: &mut self.old };
        let leaf = record::encode(&ListLeaf { row_version: ROW_VERSION, items });
        let id = sink.save(leaf, Place::Offset(start), 0)?;
        let child = ListChild { id, sums: std::mem::take(&mut self.sums) };
        self.levels.push(0, child, start, &mut sink)
    }

    /// Ends the file and returns its content.
    pub(crate) fn finish(mut self, saver: &mut Saver, loader: &Loader<'_>) -> Result<Content> {
        if self.levels.open.is_empty() && self.items.len() <= ITEMS_DIRECT {
            return Ok(Content::Items { items: self.items });
        }
        if !self.items.is_empty() {
            self.end_leaf(saver, loader)?;
        }
        let (root, sums) = self.levels.finish(&mut Sink { saver, loader, old: &mut self.old })?;
        Ok(Content::List { root, sums })
    }
}
