//! What the user leaves out: globs of `.gitignore` syntax, marked caches, and files known by device and inode.
//!
//! Globs are matched against paths relative to a root, so that `/name` is anchored at each root. Parents are not asked again: the walk does not enter what was left out.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::metadata::{self, Identity};
use crate::error::{Error, Result};
use crate::words::printable;

/// The file that marks a cache; see <https://bford.info/cachedir/>.
pub(super) const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";
/// What that file begins with.
pub(super) const CACHE_TAG_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// What was asked for, in order: later globs override earlier ones.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    Glob(String),
    File(PathBuf),
}

/// Compiled rules.
#[derive(Debug)]
pub(super) struct Excludes {
    globs: Gitignore,
}

impl Excludes {
    pub(super) fn compile(rules: &[Rule]) -> Result<Self> {
        let mut builder = GitignoreBuilder::new(".");
        for rule in rules {
            match rule {
                Rule::Glob(glob) => add(&mut builder, glob, "")?,
                Rule::File(path) => add_file(&mut builder, path)?,
            }
        }
        let usage = |error| Error::Usage { what: format!("the exclude patterns do not work together: {error}") };
        Ok(Self { globs: builder.build().map_err(usage)? })
    }

    /// Whether a path relative to its root is left out.
    pub(super) fn matches(&self, relative: &[u8], is_directory: bool) -> bool {
        !self.globs.is_empty() && self.globs.matched(Path::new(OsStr::from_bytes(relative)), is_directory).is_ignore()
    }
}

fn add_file(builder: &mut GitignoreBuilder, path: &Path) -> Result<()> {
    let text = std::fs::read(path).map_err(Error::file("read", path))?;
    let shown = printable(path.as_os_str().as_bytes());
    let Ok(text) = std::str::from_utf8(&text) else {
        return Err(Error::Usage { what: format!("the exclude file {shown} is not UTF-8") });
    };
    let text = text.trim_start_matches('\u{feff}');
    text.lines().try_for_each(|line| add(builder, line, &format!(" in {shown}")))
}

fn add(builder: &mut GitignoreBuilder, glob: &str, place: &str) -> Result<()> {
    match builder.add_line(None, glob) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Usage { what: format!("not an exclude pattern{place}: {error}") }),
    }
}

/// Files and directories that must not be archived, such as the repository itself, with what they are.
#[derive(Debug, Default)]
pub(super) struct LeftOut(HashMap<Identity, &'static str>);

impl LeftOut {
    /// Looks at what exists; links are followed, since it is their target that must stay out.
    pub(super) fn find(paths: &[(PathBuf, &'static str)]) -> Self {
        let identity = |path: &Path| metadata::stat_followed(path).ok().map(|stat| stat.identity);
        Self(paths.iter().filter_map(|(path, what)| Some((identity(path)?, *what))).collect())
    }

    pub(super) fn get(&self, identity: Identity) -> Option<&'static str> {
        if self.0.is_empty() { None } else { self.0.get(&identity).copied() }
    }
}
