//! Walks every tree of every snapshot once, and finds the paths that need what is lost.
//!
//! Nodes that lead to nothing lost are remembered, so that what snapshots share is read once.

use std::collections::HashMap;

use crate::error::{Result, unless_damage};
use crate::format::constants::*;
use crate::format::record;
use crate::format::tree::{Content, Entry, Item, ListInner, ListLeaf, TreeInner, TreeLeaf};
use crate::id::{ChunkId, ChunkPrefix, EntryId};
use crate::index::supported::Supported;
use crate::index::{Location, Marks};
use crate::path;
use crate::progress::Progress;
use crate::repository::load::Loader;

/// A path that needs a lost chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) snapshot: EntryId,
    pub(crate) path: Vec<u8>,
    pub(crate) chunk: ChunkPrefix,
}

/// What the walk found.
pub(crate) struct Trace {
    pub(crate) needs: Vec<Need>,
    /// Nodes read.
    pub(crate) nodes: u64,
}

struct Tracer<'t, 'l> {
    loader: &'t Loader<'l>,
    /// Whether chunks can be decoded.
    supported: Supported<'l>,
    /// First locations of nodes below which nothing is lost.
    clean: Marks,
    /// What each node that is not clean needs: paths relative to it.
    needing: HashMap<ChunkPrefix, Vec<(Vec<u8>, ChunkPrefix)>>,
    nodes: u64,
}

/// Nodes below one node, with their names relative to it; empty for parts of the same directory or file.
type Children = Vec<(Vec<u8>, ChunkId)>;

/// What lies below one node, relative to it.
type Needs = Vec<(Vec<u8>, ChunkPrefix)>;

impl Trace {
    /// Walks everything.
    pub(crate) fn run<'l>(loader: &Loader<'l>, supported: Supported<'l>, progress: &dyn Progress) -> Result<Self> {
        let mut tracer = Tracer { loader, supported, clean: Marks::default(), needing: HashMap::new(), nodes: 0 };
        let mut needs = Vec::new();
        for snapshot in loader.repository.snapshots() {
            loader.repository.options.cancel.check()?;
            for root in snapshot.manifest.roots() {
                let above = path::components(&root.path).count().saturating_sub(1);
                let above: Vec<u8> =
                    path::components(&root.path).take(above).fold(b"/".to_vec(), |path, name| path::join(&path, name));
                for (relative, chunk) in tracer.trace(root.root)? {
                    let path = if root.path == b"/" || relative.is_empty() {
                        // The root `/` is named `-` in its own tree.
                        relative.strip_prefix(b"-").map_or_else(|| root.path.clone(), |rest| path_of(b"/", rest))
                    } else {
                        path_of(&above, &relative)
                    };
                    needs.push(Need { snapshot: snapshot.id, path, chunk });
                }
            }
            let told: [Option<ChunkId>; 2] = [snapshot.manifest.warnings, snapshot.probes()];
            for node in told.into_iter().flatten().filter(|node| !tracer.is_there(node)) {
                needs.push(Need { snapshot: snapshot.id, path: b"/".to_vec(), chunk: node.prefix() });
            }
            progress.advanced(1, 0);
        }
        Ok(Self { needs, nodes: tracer.nodes })
    }
}

fn path_of(above: &[u8], relative: &[u8]) -> Vec<u8> {
    path::components(relative).fold(above.to_vec(), |path, name| path::join(&path, name))
}

/// A node whose children are being traced.
struct Open {
    id: ChunkId,
    /// Children still to trace: their names relative to the node, and themselves.
    children: Children,
    /// The name of the child that is being traced.
    name: Vec<u8>,
    needs: Needs,
}

impl Tracer<'_, '_> {
    fn is_there(&mut self, id: &ChunkId) -> bool {
        self.supported.has(&id.prefix())
    }

    fn location(&self, id: &ChunkId) -> Option<Location> {
        self.loader.index.locations(&id.prefix()).next()
    }

    /// What lies below a node and is lost. Without recursion: trees may be deep.
    fn trace(&mut self, root: ChunkId) -> Result<Needs> {
        let mut open: Vec<Open> = Vec::new();
        let mut next = Some((Vec::new(), root));
        loop {
            if let Some((name, id)) = next.take() {
                let known = if self.location(&id).is_some_and(|location| self.clean.contains(location)) {
                    Some(Vec::new())
                } else {
                    self.needing.get(&id.prefix()).cloned()
                };
                match known {
                    Some(needs) => match open.last_mut() {
                        Some(parent) => extend(&mut parent.needs, &name, needs),
                        None => return Ok(needs),
                    },
                    None => {
                        let (children, needs) = self.read(id)?;
                        open.push(Open { id, children, name, needs });
                    }
                }
            }
            let Some(node) = open.last_mut() else { return Ok(Vec::new()) };
            if let Some(child) = node.children.pop() {
                next = Some(child);
                continue;
            }
            let Some(node) = open.pop() else { return Ok(Vec::new()) };
            if node.needs.is_empty() {
                let location = self.location(&node.id);
                location.map(|location| self.clean.insert(location, self.loader.index));
            } else {
                self.needing.insert(node.id.prefix(), node.needs.clone());
            }
            match open.last_mut() {
                Some(parent) => extend(&mut parent.needs, &node.name, node.needs),
                None => return Ok(node.needs),
            }
        }
    }

    /// Reads one node: its children, and what of its own is lost.
    fn read(&mut self, id: ChunkId) -> Result<(Children, Needs)> {
        self.nodes += 1;
        let lost = || Ok((Vec::new(), vec![(Vec::new(), id.prefix())]));
        if !self.is_there(&id) {
            return lost();
        }
        let Some(node) = unless_damage(self.loader.load(&id))? else { return lost() };
        let (mut children, mut needs) = (Vec::new(), Vec::new());
        match record::kind(&node) {
            Some(RECORD_TREE_INNER) => match record::decode::<TreeInner>(&node) {
                Ok(inner) => children.extend(inner.children.iter().map(|child| (Vec::new(), child.id))),
                Err(_) => return lost(),
            },
            Some(RECORD_LIST_INNER) => match record::decode::<ListInner>(&node) {
                Ok(inner) => children.extend(inner.children.iter().map(|child| (Vec::new(), child.id))),
                Err(_) => return lost(),
            },
            Some(RECORD_LIST_LEAF) => match record::decode::<ListLeaf>(&node) {
                Ok(leaf) => self.items(b"", &leaf.items, &mut needs),
                Err(_) => return lost(),
            },
            _ => match record::decode::<TreeLeaf>(&node) {
                Ok(leaf) => leaf.rows.iter().for_each(|entry| self.entry(entry, &mut children, &mut needs)),
                Err(_) => return lost(),
            },
        }
        Ok((children, needs))
    }

    fn entry(&mut self, entry: &Entry, children: &mut Children, needs: &mut Needs) {
        match &entry.content {
            Content::Tree { root, .. } | Content::List { root, .. } => children.push((entry.name.clone(), *root)),
            Content::Items { items } => self.items(&entry.name, items, needs),
            _ => {}
        }
    }

    fn items(&mut self, name: &[u8], items: &[Item], needs: &mut Needs) {
        let chunks = items.iter().filter_map(|item| match item {
            Item::Chunk { id, .. } => Some(id),
            _ => None,
        });
        needs.extend(chunks.filter(|id| !self.is_there(id)).map(|id| (name.to_vec(), id.prefix())));
    }
}

fn extend(needs: &mut Needs, name: &[u8], below: Needs) {
    needs.extend(below.into_iter().map(|(relative, chunk)| {
        let path = match (name.is_empty(), relative.is_empty()) {
            (true, _) => relative,
            (_, true) => name.to_vec(),
            _ => path::join(name, &relative),
        };
        (path, chunk)
    }));
}
