//! The bytes of a tree in memory, and how they are divided: into jobs for whoever reads or writes files, into parts for whoever cuts and hashes, into frames for whoever compresses.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Directory;

pub(super) const FRAME_BYTES: usize = 3 << 20;
/// Long files are divided, so that all threads have work.
pub(super) const PART_BYTES: usize = 1 << 20;
const STRETCH_BYTES: usize = 8 << 20;
/// So many small files of a directory are one job.
const JOB_FILES: usize = 64;
const TRIAL_BYTES: usize = 4096;
const CHUNK_BYTES: usize = 64 << 10;
const PAGE_BYTES: usize = 4096;

/// The bytes of a tree.
pub(crate) struct Bytes {
    pub(super) directories: Vec<Place>,
    pub(super) files: Vec<Kept>,
    pub(super) jobs: Vec<Job>,
    pub(super) parts: Vec<Part>,
    pub(super) frames: Vec<Frame>,
    /// Where parts begin that are all zeros.
    pub(super) zeros: HashSet<usize>,
    pub(super) data: Vec<u8>,
}

/// A directory: where it is, and where it lies in the tree.
pub(super) struct Place {
    pub path: PathBuf,
    pub below: PathBuf,
}

/// A file's name and where its bytes are.
pub(super) struct Kept {
    pub name: OsString,
    pub range: Range<usize>,
}

/// Small files of one directory, or a stretch of a large one.
pub(super) struct Job {
    pub directory: usize,
    pub files: Range<usize>,
    /// Of the only file; all of every file otherwise.
    pub stretch: Option<Range<usize>>,
}

/// A stretch of a file that is not all zeros.
pub(super) struct Part {
    pub range: Range<usize>,
    pub chunk_bytes: usize,
    /// Databases have chunks of a page each and are not cut.
    pub is_cut: bool,
}

/// What is compressed together.
pub(super) struct Frame {
    pub range: Range<usize>,
    pub is_compressible: bool,
}

impl Bytes {
    /// Reads a tree.
    pub(crate) fn load(tree: &Path) -> std::io::Result<Self> {
        Self::load_those(tree, |_, _| true)
    }

    /// Reads the files of a tree that another tree does not have with the same bytes.
    pub(crate) fn load_changed(tree: &Path, old: &Path) -> std::io::Result<Self> {
        Self::load_those(tree, |below, bytes| std::fs::read(old.join(below)).map_or(true, |before| before != bytes))
    }

    /// Parts and frames of zeros are left out, as the library stores none; whether a frame compresses is tried in its middle. Logs of databases are left out: what
    /// they hold is among the database's pages.
    fn load_those(tree: &Path, wanted: impl Fn(&Path, &[u8]) -> bool) -> std::io::Result<Self> {
        let found = super::directories_below(tree)?;
        let mut bytes = Self {
            directories: Vec::new(),
            files: Vec::new(),
            jobs: Vec::new(),
            parts: Vec::new(),
            frames: Vec::new(),
            zeros: HashSet::new(),
            data: Vec::with_capacity(usize::try_from(super::stored_bytes(tree)?).unwrap_or(0)),
        };
        for directory in &found {
            let below = directory.path.strip_prefix(tree).unwrap_or(&directory.path).to_owned();
            bytes.take(directory, &below, &wanted)?;
            bytes.directories.push(Place { path: directory.path.clone(), below });
        }
        let data = &bytes.data;
        let ranges = (0..data.len()).step_by(FRAME_BYTES).map(|start| start..data.len().min(start + FRAME_BYTES));
        let ranges = ranges.filter(|range| !is_zeros(&data[range.clone()]));
        bytes.frames = ranges.map(|range| Frame { is_compressible: compresses(&data[range.clone()]), range }).collect();
        Ok(bytes)
    }

    fn take(
        &mut self,
        directory: &Directory,
        below: &Path,
        wanted: &impl Fn(&Path, &[u8]) -> bool,
    ) -> std::io::Result<()> {
        let number = self.directories.len();
        let mut first = self.files.len();
        for name in directory.names.iter().filter(|name| !is_log(name)) {
            let start = self.data.len();
            File::open(directory.path.join(name))?.read_to_end(&mut self.data)?;
            if !wanted(&below.join(name), &self.data[start..]) {
                self.data.truncate(start);
                continue;
            }
            let range = start..self.data.len();
            self.divide(range.clone());
            let file = self.files.len();
            self.files.push(Kept { name: name.clone(), range: range.clone() });
            if range.len() > STRETCH_BYTES {
                self.job(number, first..file);
                first = file + 1;
                let stretches = (0..range.len()).step_by(STRETCH_BYTES);
                let stretches = stretches.map(|at| at..range.len().min(at + STRETCH_BYTES));
                self.jobs.extend(stretches.map(|stretch| Job {
                    directory: number,
                    files: file..file + 1,
                    stretch: Some(stretch),
                }));
            } else if file + 1 - first == JOB_FILES {
                self.job(number, first..file + 1);
                first = file + 1;
            }
        }
        self.job(number, first..self.files.len());
        Ok(())
    }

    fn job(&mut self, directory: usize, files: Range<usize>) {
        if !files.is_empty() {
            self.jobs.push(Job { directory, files, stretch: None });
        }
    }

    fn divide(&mut self, range: Range<usize>) {
        let is_cut = !self.data[range.clone()].starts_with(b"SQLite format 3\0");
        let chunk_bytes = if is_cut { CHUNK_BYTES } else { PAGE_BYTES };
        for start in range.clone().step_by(PART_BYTES) {
            let part = start..range.end.min(start + PART_BYTES);
            if is_zeros(&self.data[part.clone()]) {
                self.zeros.insert(start);
            } else {
                self.parts.push(Part { range: part, chunk_bytes, is_cut });
            }
        }
    }

    /// All bytes, zeros included.
    pub(crate) fn len(&self) -> u64 {
        self.data.len() as u64
    }

    /// How many files they come from.
    pub(crate) fn count_files(&self) -> usize {
        self.files.len()
    }

    /// Bytes in frames that are compressed.
    pub(crate) fn compressible(&self) -> u64 {
        self.frames.iter().filter(|frame| frame.is_compressible).map(|frame| frame.range.len() as u64).sum()
    }

    /// Bytes that are not zeros.
    pub(crate) fn solid(&self) -> u64 {
        self.frames.iter().map(|frame| frame.range.len() as u64).sum()
    }
}

fn is_log(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    name.ends_with("-wal") || name.ends_with("-shm")
}

fn is_zeros(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

fn compresses(frame: &[u8]) -> bool {
    let start = frame.len().saturating_sub(TRIAL_BYTES) / 2;
    let sample = &frame[start..frame.len().min(start + TRIAL_BYTES)];
    zstd::bulk::compress(sample, 1).is_ok_and(|packed| packed.len() < sample.len() - sample.len() / 32)
}
