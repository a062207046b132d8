//! Directory trees of the file system, as a [`Source`].
//!
//! [`Files`] owns what was asked for: roots and what stays out. [`walk`] visits, [`ahead`] lets it do so on a thread of its own, [`metadata`] turns the system's answers into entries, [`content`] and [`attributes`]
//! read later on other threads, [`database`] tells databases from other files, [`exclude`] decides what stays out, [`owners`] names users and groups. The order is that of the names' bytes, whatever the file system says.

mod ahead;
mod attributes;
mod content;
mod database;
mod exclude;
mod listing;
mod metadata;
mod owners;
#[cfg(test)]
mod tests;
mod walk;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

pub(super) use self::content::read_beginning;
use self::database::Databases;
use self::exclude::{Excludes, LeftOut, Rule};
pub(super) use self::listing::open_parent;
pub(super) use self::metadata::{Identity, Stat, stat_at, stat_open};
use self::walk::Walker;
use super::sqlite::{PageReader, SharedConnection, SqliteMode};
use super::{Source, SourceKind, Visitor};
use crate::error::{Error, Result};
use crate::path;

/// Whether content begins as a SQLite database does.
pub fn is_sqlite(prefix: &[u8]) -> bool {
    prefix.starts_with(super::sqlite::MAGIC)
}

/// Directory trees, and single files, under their absolute paths.
#[derive(Clone)]
pub struct Files {
    roots: Vec<Vec<u8>>,
    rules: Vec<Rule>,
    exclude_caches: bool,
    one_file_system: bool,
    left_out: Vec<(PathBuf, &'static str)>,
    sqlite: SqliteMode,
    page_reader: Option<PageReader>,
    connections: Vec<(PathBuf, SharedConnection)>,
}

impl Files {
    /// Takes paths as a user types them: relative ones begin at the current directory, `..` is taken textually, and a symbolic link stands for itself.
    ///
    /// # Errors
    /// [`Error::Usage`] without any path; [`Error::File`] if there is no current directory.
    pub fn new(paths: impl IntoIterator<Item = PathBuf>) -> Result<Self> {
        let current = std::env::current_dir().map_err(Error::file("find", "."))?;
        let absolute = |typed: PathBuf| path::absolute(typed.as_os_str().as_bytes(), current.as_os_str().as_bytes());
        let mut roots: Vec<Vec<u8>> = paths.into_iter().map(absolute).collect();
        roots.sort_unstable();
        roots.dedup();
        if roots.is_empty() {
            return Err(Error::Usage { what: "there is no path to back up".to_owned() });
        }
        Ok(Self {
            roots,
            rules: Vec::new(),
            exclude_caches: false,
            one_file_system: false,
            left_out: Vec::new(),
            sqlite: SqliteMode::default(),
            page_reader: None,
            connections: Vec::new(),
        })
    }

    /// Leaves out what fits a pattern of `.gitignore` syntax, anchored at each root; `!` keeps what an earlier one left out. Roots themselves are never left out.
    pub fn exclude(mut self, glob: &str) -> Self {
        self.rules.push(Rule::Glob(glob.to_owned()));
        self
    }

    /// Leaves out what fits the patterns in a file, one a line.
    pub fn exclude_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.rules.push(Rule::File(path.into()));
        self
    }

    /// Whether to keep of directories marked by a `CACHEDIR.TAG` only that file. Default: no.
    pub fn exclude_caches(mut self, yes: bool) -> Self {
        self.exclude_caches = yes;
        self
    }

    /// Whether to stay on the file system of each root: where another one is mounted, only the directory is kept. Default: no.
    pub fn one_file_system(mut self, yes: bool) -> Self {
        self.one_file_system = yes;
        self
    }

    /// Leaves out a file or directory under whatever name the walk meets it, with a note that it is `what`: `the repository`, say.
    pub fn leave_out(mut self, path: impl Into<PathBuf>, what: &'static str) -> Self {
        self.left_out.push((path.into(), what));
        self
    }

    /// Whether SQLite databases are found by their header and read through SQLite. Default: they are.
    pub fn sqlite(mut self, mode: SqliteMode) -> Self {
        self.sqlite = mode;
        self
    }

    /// How pages of databases are read. Default: what the linked SQLite allows.
    pub fn page_reader(mut self, reader: PageReader) -> Self {
        self.page_reader = Some(reader);
        self
    }

    /// Reads the database at a path through a connection that the embedding program has open for it. A database that this process has open, and for which no connection was given, is a
    /// warning: opening its file a second time would drop the locks of the first.
    pub fn connection(mut self, path: impl Into<PathBuf>, connection: SharedConnection) -> Self {
        self.connections.push((path.into(), connection));
        self
    }

    /// Says whether the patterns can be used, before anything is done.
    ///
    /// # Errors
    /// [`Error::Usage`] for a bad pattern, [`Error::File`] for a file of patterns that cannot be read.
    pub fn check(&self) -> Result<()> {
        Excludes::compile(&self.rules).map(drop)
    }

    fn databases(&self) -> Databases {
        let reader = self.page_reader.unwrap_or_else(PageReader::of_this_library);
        Databases::new(self.sqlite, reader, &self.connections)
    }

    /// Walks on this thread.
    fn walk_here(&self, visitor: &mut dyn Visitor) -> Result<()> {
        let excludes = Excludes::compile(&self.rules)?;
        let mut walker = Walker::new(self, excludes, LeftOut::find(&self.left_out), visitor);
        let mut found = 0;
        for root in self.wanted_roots() {
            found += u32::from(walker.root(&root)?);
        }
        if found == 0 {
            return Err(Error::Input { what: "none of the paths to back up can be found".to_owned() });
        }
        Ok(())
    }

    /// Without those inside others, unless each may be a file system of its own.
    fn wanted_roots(&self) -> Vec<Vec<u8>> {
        let mut roots: Vec<Vec<u8>> = Vec::new();
        for root in &self.roots {
            let is_inside = roots.iter().any(|outer| path::below(root, outer).is_some());
            if self.one_file_system || !is_inside {
                roots.push(root.clone());
            }
        }
        roots
    }
}

impl Source for Files {
    fn kind(&self) -> SourceKind {
        SourceKind::Directories
    }

    fn roots(&self) -> Vec<Vec<u8>> {
        // A path that is not there is not in the snapshot, so it says nothing about which snapshot comes before.
        let is_there = |root: &Vec<u8>| std::fs::symlink_metadata(OsStr::from_bytes(root)).is_ok();
        self.wanted_roots().into_iter().filter(is_there).collect()
    }

    fn walk(&self, visitor: &mut dyn Visitor) -> Result<()> {
        ahead::run(visitor, |visitor| self.walk_here(visitor))
    }
}
