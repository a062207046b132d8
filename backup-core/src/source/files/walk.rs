//! Visits roots and all below them, in order.
//!
//! The stack is explicit, and only its newest levels keep their directories open; older ones are opened again on the way back, and must then be what they were.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::Files;
use super::content::{Place, read_beginning};
use super::database::{Candidate, Databases};
use super::exclude::{CACHE_TAG, CACHE_TAG_SIGNATURE, Excludes, LeftOut};
use super::listing::{self, Listed};
use super::metadata::{Identity, Stat, stat_at, stat_open};
use super::owners::Owners;
use crate::error::Result;
use crate::format::tree::{Content, Entry};
use crate::limits::{PATH_BYTES_MAX, TREE_DEPTH_MAX};
use crate::path;
use crate::progress::Warning;
use crate::source::Visitor;
use crate::source::sqlite::base_of;

/// Directories that the stack keeps open.
const OPEN_LEVELS_MAX: usize = 64;

/// Walks over one root after the other.
pub(super) struct Walker<'a> {
    files: &'a Files,
    excludes: Excludes,
    left_out: LeftOut,
    databases: Arc<Databases>,
    owners: Owners,
    visitor: &'a mut dyn Visitor,
    /// Where the walk is.
    path: Vec<u8>,
    /// Bytes of `path` that are the root's, with the `/` behind it.
    root_prefix_bytes: usize,
    root_device: (u32, u32),
    levels: Vec<Level>,
    /// Room for listings.
    answer: Vec<u8>,
}

/// A directory that was entered.
struct Level {
    /// `None` while deeper levels need the room.
    directory: Option<Arc<OwnedFd>>,
    identity: Identity,
    /// Length of its path.
    path_bytes: usize,
    rest: std::vec::IntoIter<Listed>,
    /// Names beside which lie files that would be a database's, sorted.
    companioned: Vec<Vec<u8>>,
    /// The last of them that was looked at, and whether those files are its own.
    last_base: Option<(Vec<u8>, bool)>,
    is_incomplete: bool,
}

/// A name that the walk is at.
struct Found<'n> {
    parent: &'n Arc<OwnedFd>,
    /// The name in the parent.
    name: &'n [u8],
    stat: Stat,
}

impl Found<'_> {
    fn place(&self, databases: &Arc<Databases>, has_companions: bool) -> Box<Place> {
        Box::new(Place {
            directory: Arc::clone(self.parent),
            name: self.name.to_vec(),
            identity: self.stat.identity,
            size_bytes: self.stat.size_bytes,
            has_companions,
            databases: Arc::clone(databases),
        })
    }
}

impl<'a> Walker<'a> {
    pub(super) fn new(
        files: &'a Files,
        excludes: Excludes,
        left_out: LeftOut,
        visitor: &'a mut dyn Visitor,
    ) -> Walker<'a> {
        Walker {
            files,
            excludes,
            left_out,
            databases: Arc::new(files.databases()),
            owners: Owners::of_this_machine(),
            visitor,
            path: Vec::new(),
            root_prefix_bytes: 0,
            root_device: (0, 0),
            levels: Vec::new(),
            answer: Vec::new(),
        }
    }

    /// Visits a root. Says whether there is one.
    pub(super) fn root(&mut self, root: &[u8]) -> Result<bool> {
        self.path = root.to_vec();
        self.root_prefix_bytes = if root == b"/" { 1 } else { root.len() + 1 };
        let found = listing::open_parent(root).and_then(|(parent, name)| Ok((stat_at(&parent, name)?, parent, name)));
        let (stat, parent, name) = match found {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::NOTDIR) => {
                self.warn("missing", "there is no such file or directory".to_owned());
                return Ok(false);
            }
            Err(error) => {
                self.warn_unreadable(error);
                return Ok(false);
            }
        };
        if self.is_left_out(&stat) {
            return Ok(true);
        }
        self.root_device = stat.identity.device;
        self.visitor.root(root)?;
        let parent = Arc::new(parent);
        self.visit(&Found { parent: &parent, name, stat })?;
        while let Some(level) = self.levels.last_mut() {
            match (level.rest.next(), &level.directory) {
                (Some(listed), Some(directory)) => {
                    let directory = Arc::clone(directory);
                    self.child(&directory, &listed)?;
                }
                _ => self.leave(&parent, name)?,
            }
        }
        Ok(true)
    }

    /// Visits a name in the newest level.
    fn child(&mut self, directory: &Arc<OwnedFd>, listed: &Listed) -> Result<()> {
        if matches!(listed.kind, FileType::RegularFile | FileType::Unknown)
            && self.is_companion(directory, &listed.name)
        {
            return Ok(());
        }
        let (path_bytes, depth) = (self.path.len(), self.levels.len());
        if !self.path.ends_with(b"/") {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&listed.name);
        let is_excluded =
            |kind| self.excludes.matches(&self.path[self.root_prefix_bytes..], kind == FileType::Directory);
        let is_known = listed.kind != FileType::Unknown;
        if !(is_known && is_excluded(listed.kind)) {
            match stat_at(directory, &listed.name) {
                Ok(stat) if (!is_known && is_excluded(stat.kind)) || self.is_left_out(&stat) => {}
                Ok(stat) => self.visit(&Found { parent: directory, name: &listed.name, stat })?,
                Err(error) => self.warn_unreadable(error),
            }
        }
        if self.levels.len() == depth {
            self.path.truncate(path_bytes);
        }
        Ok(())
    }

    fn visit(&mut self, found: &Found<'_>) -> Result<()> {
        let Some(mut entry) = found.stat.entry(path::name(&self.path)) else {
            let message = "a socket, which has no content, is left out".to_owned();
            self.visitor.note(Warning { kind: "socket", subject: self.path.clone(), message });
            return Ok(());
        };
        let owner = self.owners.find(entry.uid, entry.gid);
        match found.stat.kind {
            FileType::Directory => self.enter(found, entry),
            FileType::RegularFile => {
                let handle = found.place(&self.databases, self.has_companions(found.name));
                self.visitor.file(entry, owner, found.stat.size_bytes, handle)
            }
            FileType::Symlink => match rustix::fs::readlinkat(found.parent, found.name, Vec::new()) {
                Ok(target) => {
                    entry.content = Content::Link { target: target.into_bytes() };
                    self.visitor.other(entry, owner, found.place(&self.databases, false))
                }
                Err(error) => {
                    self.warn_unreadable(error);
                    Ok(())
                }
            },
            _ => self.visitor.other(entry, owner, found.place(&self.databases, false)),
        }
    }

    fn enter(&mut self, found: &Found<'_>, entry: Entry) -> Result<()> {
        if self.levels.len() as u64 >= TREE_DEPTH_MAX || self.path.len() as u64 > PATH_BYTES_MAX {
            self.warn("unreadable", "it lies deeper than the format can hold".to_owned());
            return Ok(());
        }
        if self.is_elsewhere(&found.stat) {
            return self.enter_closed(found, entry, false);
        }
        // What is mounted by opening it has other metadata only then.
        let opened = listing::open(found.parent, found.name).and_then(|fd| Ok((stat_open(&fd)?, fd)));
        let (stat, directory) = match opened {
            Ok(opened) => opened,
            Err(error @ (Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => {
                self.warn_unreadable(error);
                return Ok(());
            }
            Err(error) => {
                self.warn_unreadable(error);
                return self.enter_closed(found, entry, true);
            }
        };
        if self.is_elsewhere(&stat) {
            return self.enter_closed(found, entry, false);
        }
        let entry = stat.entry(&entry.name).unwrap_or(entry);
        self.push(entry, stat.identity, Arc::new(directory))
    }

    /// Keeps a directory without what is in it.
    fn enter_closed(&mut self, found: &Found<'_>, entry: Entry, is_incomplete: bool) -> Result<()> {
        let owner = self.owners.find(entry.uid, entry.gid);
        self.visitor.enter(entry, owner, found.place(&self.databases, false))?;
        self.visitor.leave(is_incomplete)
    }

    fn push(&mut self, entry: Entry, identity: Identity, directory: Arc<OwnedFd>) -> Result<()> {
        let (mut listed, outcome) = listing::list(&directory, &mut self.answer);
        let owner = self.owners.find(entry.uid, entry.gid);
        let handle = Place {
            directory: Arc::clone(&directory),
            name: Vec::new(),
            identity,
            size_bytes: 0,
            has_companions: false,
            databases: Arc::clone(&self.databases),
        };
        self.visitor.enter(entry, owner, Box::new(handle))?;
        if self.files.exclude_caches && is_cache(&directory, &listed) {
            listed.retain(|listed| listed.name == CACHE_TAG);
        }
        if let Some(oldest) = self.levels.len().checked_sub(OPEN_LEVELS_MAX) {
            self.levels[oldest].directory = None;
        }
        self.levels.push(Level {
            directory: Some(directory),
            identity,
            path_bytes: self.path.len(),
            companioned: if self.databases.is_on() { find_companioned(&listed) } else { Vec::new() },
            last_base: None,
            rest: listed.into_iter(),
            is_incomplete: false,
        });
        if let Err(error) = outcome {
            self.warn_unreadable(error);
        }
        Ok(())
    }

    fn leave(&mut self, root_parent: &OwnedFd, root_name: &[u8]) -> Result<()> {
        let Some(left) = self.levels.pop() else { return Ok(()) };
        self.visitor.leave(left.is_incomplete)?;
        let Some(level) = self.levels.last() else { return Ok(()) };
        self.path.truncate(level.path_bytes);
        if level.directory.is_some() {
            return Ok(());
        }
        let up = |child: &Arc<OwnedFd>| listing::open_again(child, b"..", level.identity).ok();
        let reopened = match left.directory.as_ref().and_then(up) {
            Some(directory) => Ok(directory),
            // What was left may have been moved away meanwhile.
            None => self.descend(root_parent, root_name),
        };
        match (reopened, self.levels.last_mut()) {
            (Ok(directory), Some(level)) => level.directory = Some(Arc::new(directory)),
            (Err(error), Some(level)) if level.rest.len() > 0 => {
                level.rest = Vec::new().into_iter();
                self.warn("unreadable", format!("the rest of it cannot be read: {}", std::io::Error::from(error)));
            }
            _ => {}
        }
        Ok(())
    }

    /// Opens the newest level again, from the root down.
    fn descend(&self, root_parent: &OwnedFd, root_name: &[u8]) -> rustix::io::Result<OwnedFd> {
        let Some(first) = self.levels.first() else { return Err(Errno::STALE) };
        let mut directory = listing::open_again(root_parent, root_name, first.identity)?;
        for pair in self.levels.windows(2) {
            let name = path::name(&self.path[..pair[1].path_bytes]);
            directory = listing::open_again(&directory, name, pair[1].identity)?;
        }
        Ok(directory)
    }

    fn is_elsewhere(&self, stat: &Stat) -> bool {
        self.files.one_file_system && stat.identity.device != self.root_device
    }

    fn is_left_out(&mut self, stat: &Stat) -> bool {
        let Some(what) = self.left_out.get(stat.identity) else { return false };
        let message = format!("left out, as it is {what}");
        self.visitor.note(Warning { kind: "left_out", subject: self.path.clone(), message });
        true
    }

    /// Whether files lie beside it that would be a database's.
    fn has_companions(&self, name: &[u8]) -> bool {
        let is_listed = |level: &Level| level.companioned.binary_search_by(|base| base.as_slice().cmp(name)).is_ok();
        self.levels.last().is_some_and(is_listed)
    }

    /// Whether a name is that of the log, index or journal of a database beside it: what counts of it is read with the database, and it comes and goes with transactions.
    fn is_companion(&mut self, directory: &Arc<OwnedFd>, name: &[u8]) -> bool {
        let Some(base) = base_of(name).filter(|base| self.has_companions(base)) else { return false };
        let Some(level) = self.levels.last_mut() else { return false };
        if let Some((last, is_database)) = &level.last_base
            && last == base
        {
            return *is_database;
        }
        let candidate = |stat: &Stat| {
            let (identity, size_bytes) = (stat.identity, stat.size_bytes);
            Candidate { directory, name: base, identity, size_bytes, has_companions: true }
        };
        let stat = stat_at(directory, base).ok().filter(|stat| stat.kind == FileType::RegularFile);
        let is_database = stat.is_some_and(|stat| self.databases.owns_companions(&candidate(&stat)));
        level.last_base = Some((base.to_vec(), is_database));
        is_database
    }

    fn warn_unreadable(&mut self, error: Errno) {
        match error {
            Errno::NOENT => self.warn("vanished", "it vanished before it was read".to_owned()),
            Errno::NOTDIR | Errno::LOOP => self.warn("vanished", "something else took its place".to_owned()),
            error => self.warn("unreadable", format!("it cannot be read: {}", std::io::Error::from(error))),
        }
    }

    fn warn(&mut self, kind: &'static str, message: String) {
        if let Some(level) = self.levels.last_mut() {
            level.is_incomplete = true;
        }
        self.visitor.warning(Warning { kind, subject: self.path.clone(), message });
    }
}

fn is_cache(directory: &OwnedFd, listed: &[Listed]) -> bool {
    listed.binary_search_by(|listed| listed.name.as_slice().cmp(CACHE_TAG)).is_ok()
        && read_beginning(directory, CACHE_TAG, CACHE_TAG_SIGNATURE.len())
            .is_ok_and(|beginning| beginning == CACHE_TAG_SIGNATURE)
}

/// Names that are listed together with the name of a file that SQLite would keep beside them.
fn find_companioned(listed: &[Listed]) -> Vec<Vec<u8>> {
    let is_listed = |name: &&[u8]| listed.binary_search_by(|listed| listed.name.as_slice().cmp(name)).is_ok();
    let bases = listed.iter().filter_map(|listed| base_of(&listed.name)).filter(is_listed);
    let mut bases: Vec<Vec<u8>> = bases.map(<[u8]>::to_vec).collect();
    bases.sort_unstable();
    bases.dedup();
    bases
}
