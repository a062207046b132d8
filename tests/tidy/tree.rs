//! The repository's files as texts: the only module of this test that touches the disk.
//!
//! Paths are relative to the repository, with `/` between components, and sorted.

use std::fs;
use std::path::{Path, PathBuf};

/// A file's path in the repository and its text.
pub(crate) struct File {
    /// Relative to the repository.
    pub(crate) path: String,
    /// All of it.
    pub(crate) text: String,
}

/// Directories of Rust code that the rules for modules hold for.
const RUST_DIRECTORIES: [&str; 5] = ["backup-core", "backup-cli", "tests", "benches", "fuzz"];

/// Names that are never part of the repository, wherever they lie.
const IGNORED: [&str; 6] = [".git", "target", "artifacts", "corpus", "__pycache__", ".venv"];

/// Makes a file for the unit tests of the checks.
pub(crate) fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}

/// Reads one file.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

/// Whether something is there.
pub(crate) fn exists(path: &str) -> bool {
    root().join(path).symlink_metadata().is_ok()
}

/// All Rust files of the project.
pub(crate) fn rust_files() -> Vec<File> {
    RUST_DIRECTORIES.iter().flat_map(|directory| files_below(directory, "rs")).collect()
}

/// All files with an extension below a directory; none if there is no such directory.
pub(crate) fn files_below(directory: &str, extension: &str) -> Vec<File> {
    let is_wanted = |path: &PathBuf| path.extension().is_some_and(|found| found == extension);
    walk(&root().join(directory)).into_iter().filter(is_wanted).filter_map(|path| load(&path)).collect()
}

/// The pages for people.
pub(crate) fn documents() -> Vec<File> {
    let mut pages = files_below("docs", "md");
    pages.extend(["README.md", "CHANGELOG.md"].into_iter().filter_map(|name| load(&root().join(name))));
    pages
}

/// Everything that is text.
pub(crate) fn text_files() -> Vec<File> {
    walk(&root()).iter().filter_map(|path| load(path)).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn load(path: &Path) -> Option<File> {
    let text = String::from_utf8(fs::read(path).ok()?).ok()?;
    let relative = path.strip_prefix(root()).ok()?;
    Some(File { path: relative.to_str()?.to_owned(), text })
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| !IGNORED.iter().any(|ignored| path.ends_with(ignored)));
    paths.into_iter().flat_map(|path| if is_real_directory(&path) { walk(&path) } else { vec![path] }).collect()
}

fn is_real_directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
}
