//! Builds the tree of a directory.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Levels, Old, Sink, is_full};
use crate::error::{Error, Result};
use crate::format::constants::ROW_VERSION;
use crate::format::record::{self, Flaw};
use crate::format::tree::{Content, Entry, OwnerName, Sums, TreeChild, TreeLeaf};
use crate::id::ChunkId;
use crate::limits::NODE_BYTES_TARGET;
use crate::repository::load::Loader;
use crate::repository::old::Place;
use crate::repository::save::Saver;

/// Builds the tree of one directory from its entries in order.
pub(crate) struct TreeBuilder {
    leaf: TreeLeaf,
    users: BTreeMap<u32, Arc<OwnerName>>,
    groups: BTreeMap<u32, Arc<OwnerName>>,
    bytes: usize,
    sums: Sums,
    levels: Levels<TreeChild>,
    /// The last name of the leaf before.
    last_name: Vec<u8>,
    old: Old,
}

impl TreeBuilder {
    /// Begins a directory that the parent may have had, with the root of its tree.
    pub(crate) fn new(old: Option<ChunkId>) -> Self {
        Self {
            leaf: TreeLeaf { row_version: ROW_VERSION, owners: Vec::new(), groups: Vec::new(), rows: Vec::new() },
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
            bytes: 0,
            sums: Sums::default(),
            levels: Levels::new(None),
            last_name: Vec::new(),
            old: Old::new(old),
        }
    }

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

    fn require_acceptable(&self, entry: &Entry) -> Result<()> {
        let refused = |what: &str| {
            let name = crate::words::printable(&entry.name);
            Err(Error::Input { what: format!("the source yields an entry {name} that cannot be stored: {what}") })
        };
        match entry.check() {
            Err(Flaw::Malformed(what) | Flaw::Newer(what)) => refused(what),
            Ok(()) if *self.leaf.rows.last().map_or(&self.last_name, |last| &last.name) >= entry.name => {
                refused("names are out of order")
            }
            Ok(()) => Ok(()),
        }
    }

    fn end_leaf(&mut self, saver: &mut Saver, loader: &Loader<'_>) -> Result<()> {
        let names = |names: &mut BTreeMap<u32, Arc<OwnerName>>| {
            std::mem::take(names).into_values().map(|name| (*name).clone()).collect()
        };
        self.leaf.owners = names(&mut self.users);
        self.leaf.groups = names(&mut self.groups);
        let first_name = self.leaf.rows.first().map(|entry| entry.name.clone()).unwrap_or_default();
        let mut sink = Sink { saver, loader, old: &mut self.old };
        let id = sink.save(record::encode(&self.leaf), Place::Name(&first_name), 0)?;
        self.last_name = self.leaf.rows.pop().map(|entry| entry.name).unwrap_or_default();
        self.leaf.rows.clear();
        self.bytes = 0;
        let child = TreeChild { first_name, id, sums: std::mem::take(&mut self.sums) };
        self.levels.push(0, child, 0, &mut sink)
    }

    /// Ends the directory and returns what its entry holds.
    pub(crate) fn finish(mut self, saver: &mut Saver, loader: &Loader<'_>) -> Result<(ChunkId, Sums)> {
        if !self.leaf.rows.is_empty() || self.levels.open.is_empty() {
            self.end_leaf(saver, loader)?;
        }
        self.levels.finish(&mut Sink { saver, loader, old: &mut self.old })
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
