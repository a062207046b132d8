//! Builds trees and chunk lists: nodes are saved as they fill, so a directory of any size costs the memory of one node for each level. Sections 8 and 9 of `docs/format.md`.

mod list;
mod tree;

use super::load::Loader;
use super::old::{OldNodes, Place};
use super::save::Saver;
use crate::error::{Result, unless_damage};
use crate::format::constants::ROW_VERSION;
use crate::format::record;
use crate::format::tree::{ListChild, ListInner, Sums, TreeChild, TreeInner};
use crate::id::ChunkId;
use crate::keyring::PeriodKeys;
use crate::limits::{NODE_ROWS_MAX, NODE_ROWS_MIN};

pub(crate) use list::ListBuilder;
pub(crate) use tree::TreeBuilder;

/// A reference to a node from the node above.
trait Child: Sized {
    fn sums(&self) -> &Sums;
    /// Whether the node above may end after this child.
    fn ends_node(&self, keys: &PeriodKeys) -> bool;
    /// Where the node above these children begins.
    fn place(children: &[Self], start: u64) -> Place<'_>;
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

    fn place(children: &[Self], _: u64) -> Place<'_> {
        Place::Name(&children[0].first_name)
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

    fn place(_: &[Self], start: u64) -> Place<'_> {
        Place::Offset(start)
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

/// The nodes that new ones may replace, where the parent has some.
struct Old(Option<OldNodes>);

impl Old {
    fn new(root: Option<ChunkId>) -> Self {
        Self(root.map(OldNodes::new))
    }

    /// The node that stood at a place. What the parent has lost is no base.
    fn find(&mut self, loader: &Loader<'_>, place: Place<'_>, height: u8) -> Result<Option<ChunkId>> {
        let Some(nodes) = &mut self.0 else { return Ok(None) };
        let found = unless_damage(nodes.find(loader, place, height))?;
        Ok(found.flatten().map(|node| node.id))
    }
}

/// The unfinished inner nodes above leaves, lowest first.
struct Levels<C> {
    open: Vec<Level<C>>,
    /// Children of each node, where their number is fixed.
    fixed: Option<usize>,
}

struct Level<C> {
    children: Vec<C>,
    /// Where in the file the first of them begins; of no meaning in directories.
    start: u64,
}

impl<C: Child> Levels<C> {
    fn new(fixed: Option<usize>) -> Self {
        Self { open: Vec::new(), fixed }
    }

    /// Adds a child that begins at `start`, and closes what is full.
    fn push(&mut self, mut level: usize, mut child: C, mut start: u64, sink: &mut Sink<'_, '_>) -> Result<()> {
        loop {
            while self.open.len() <= level {
                self.open.push(Level { children: Vec::new(), start });
            }
            let ends = child.ends_node(sink.saver.keys());
            let open = &mut self.open[level];
            if open.children.is_empty() {
                open.start = start;
            }
            open.children.push(child);
            let rows = open.children.len();
            if !self.fixed.map_or_else(|| is_full(rows, ends), |fixed| rows >= fixed) {
                return Ok(());
            }
            (child, start) = self.close(level, sink)?;
            level += 1;
        }
    }

    fn close(&mut self, level: usize, sink: &mut Sink<'_, '_>) -> Result<(C, u64)> {
        let Level { start, .. } = self.open[level];
        let children = std::mem::take(&mut self.open[level].children);
        let height = u8::try_from(level + 1).expect("32 children a node make few levels of any number of entries");
        let id = sink.save(C::encode_inner(height, &children), C::place(&children, start), height)?;
        let mut sums = Sums::default();
        children.iter().for_each(|child| sums.add(child.sums()));
        Ok((C::above(&children, id, sums), start))
    }

    /// Closes all levels and returns the root.
    fn finish(mut self, sink: &mut Sink<'_, '_>) -> Result<(ChunkId, Sums)> {
        let mut level = 0;
        loop {
            let is_top = self.open[level + 1..].iter().all(|above| above.children.is_empty());
            if let ([child], true) = (&self.open[level].children[..], is_top) {
                return Ok((child.id(), *child.sums()));
            }
            if !self.open[level].children.is_empty() {
                let (child, start) = self.close(level, sink)?;
                self.push(level + 1, child, start, sink)?;
            }
            level += 1;
        }
    }

    /// Whether nothing is open up to a level.
    fn is_empty_to(&self, level: usize) -> bool {
        self.open.iter().take(level + 1).all(|level| level.children.is_empty())
    }
}

/// Where nodes are saved, and what they may be patches of.
struct Sink<'s, 'l> {
    saver: &'s mut Saver,
    loader: &'s Loader<'l>,
    old: &'s mut Old,
}

impl Sink<'_, '_> {
    fn save(&mut self, record: Vec<u8>, place: Place<'_>, height: u8) -> Result<ChunkId> {
        let Self { saver, loader, old } = self;
        saver.save_node(loader, record, || old.find(loader, place, height))
    }
}
