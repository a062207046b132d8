//! `ls` and `find`: what a snapshot holds, without reading any content.

use crate::error::Result;
use crate::format::probes::ProbeResult;
use crate::format::tree::{Content, Entry};
use crate::path;
use crate::repository::load::Loader;
use crate::repository::names::Place;
use crate::repository::nodes::{OwnedEntry, TreeEntries};
use crate::repository::{Repository, Snapshot};

/// An entry, where it is, and the names of its owners where they were recorded.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its absolute path in the snapshot.
    pub path: Vec<u8>,
    /// Its metadata.
    pub entry: Entry,
    /// Its owner's name.
    pub user: Option<String>,
    /// Its group's name.
    pub group: Option<String>,
}

impl Listed {
    fn new(path: Vec<u8>, (entry, owners): OwnedEntry) -> Self {
        let user = owners.user(entry.uid).map(str::to_owned);
        let group = owners.group(entry.gid).map(str::to_owned);
        Self { path, entry, user, group }
    }
}

impl Repository {
    /// Visits a place in a snapshot, and all below it: depth first, names ascending. Without a path all roots are visited, in the order of the snapshot.
    ///
    /// # Errors
    /// [`crate::Error::PathNotFound`]; damage, and what `each` returns, ends the visit.
    pub fn list(
        &self,
        snapshot: &Snapshot,
        path: Option<&[u8]>,
        each: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        let loader = Loader::new(self)?;
        walk(&loader, snapshot, path.unwrap_or(b"/"), &mut |path, entry| each(Listed::new(path, entry)))
    }
}

impl Repository {
    /// What probes found in a snapshot's databases when it was made; nothing where none was asked for.
    ///
    /// # Errors
    /// [`crate::Error::ChunkLost`] and other damage where that is lost; [`crate::Error::Storage`].
    pub fn probe_results(&self, snapshot: &Snapshot) -> Result<Vec<ProbeResult>> {
        snapshot.probe_results(&Loader::new(self)?)
    }
}

/// What visits entries: their path, and themselves.
type Each<'e> = dyn FnMut(Vec<u8>, OwnedEntry) -> Result<()> + 'e;

/// Visits a place and all below it, roots that lie below included.
fn walk(loader: &Loader<'_>, snapshot: &Snapshot, wanted: &[u8], each: &mut Each<'_>) -> Result<()> {
    let place = match snapshot.find(loader, wanted) {
        Ok(place) => Some(place),
        Err(error) if wanted == b"/" && !error.is_damage() => None,
        Err(error) => return Err(error),
    };
    if let Some(Place::Entry(entry)) = place {
        walk_entry(loader, wanted.to_vec(), *entry, each)?;
    }
    for root in snapshot.manifest.roots() {
        if root.path != wanted && path::below(&root.path, wanted).is_some() {
            walk_entry(loader, root.path.clone(), snapshot.root_entry(loader, root)?, each)?;
        }
    }
    Ok(())
}

/// Visits an entry and all below it, without recursion: trees may be deep.
pub(crate) fn walk_entry(loader: &Loader<'_>, path: Vec<u8>, entry: OwnedEntry, each: &mut Each<'_>) -> Result<()> {
    let mut open: Vec<(Vec<u8>, TreeEntries)> = Vec::new();
    let mut next = Some((path, entry));
    loop {
        if let Some((path, entry)) = next.take() {
            if let Content::Tree { root, .. } = entry.0.content {
                check_depth(open.len())?;
                open.push((path.clone(), TreeEntries::new(root)));
            }
            each(path, entry)?;
        }
        let Some((directory, entries)) = open.last_mut() else { return Ok(()) };
        match entries.next(loader)? {
            Some(entry) => next = Some((path::join(directory, &entry.0.name), entry)),
            None => drop(open.pop()),
        }
    }
}

/// A tree that holds itself cannot be made, but one of absurd depth can.
pub(crate) fn check_depth(depth: usize) -> Result<()> {
    if depth as u64 <= crate::limits::TREE_DEPTH_MAX {
        return Ok(());
    }
    Err(crate::Error::damaged("a tree", "directories are nested too deeply"))
}
