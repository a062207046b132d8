//! What the walk yields of trees that are made for it.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};

use super::*;
use crate::format::tree::{Content, Entry};
use crate::progress::Warning;
use crate::source::sqlite::SqliteMode;
use crate::source::{Handle, Owner, Stretch};
use crate::time::Time;

/// Writes down what it is shown.
#[derive(Default)]
struct Recorder {
    path: Vec<u8>,
    depth: usize,
    entries: Vec<(Vec<u8>, Entry, Box<dyn Handle>)>,
    roots: Vec<Vec<u8>>,
    incomplete: usize,
    warnings: Vec<Warning>,
    notes: Vec<Warning>,
    /// Removed as soon as a directory is entered.
    to_remove: Option<PathBuf>,
}

impl Recorder {
    fn of(files: &Files) -> Self {
        let mut recorder = Self::default();
        files.walk(&mut recorder).unwrap();
        recorder
    }

    fn add(&mut self, entry: Entry, handle: Box<dyn Handle>) -> Vec<u8> {
        let path = if self.depth == 0 { self.path.clone() } else { path::join(&self.path, &entry.name) };
        self.entries.push((path.clone(), entry, handle));
        path
    }

    /// Paths below the first root, printable.
    fn names(&self) -> Vec<String> {
        let below = |path: &[u8]| path::below(path, &self.roots[0]).map(crate::words::printable);
        self.entries.iter().filter_map(|(path, ..)| below(path)).filter(|name| !name.is_empty()).collect()
    }

    fn find(&self, path: &Path) -> &(Vec<u8>, Entry, Box<dyn Handle>) {
        self.entries.iter().find(|(found, ..)| found == path.as_os_str().as_bytes()).unwrap()
    }

    fn entry(&self, path: &Path) -> &Entry {
        &self.find(path).1
    }

    fn handle(&self, path: &Path) -> &dyn Handle {
        &*self.find(path).2
    }

    fn note_kinds(&self) -> Vec<&str> {
        self.notes.iter().map(|note| note.kind).collect()
    }

    fn warning_kinds(&self) -> Vec<&str> {
        self.warnings.iter().map(|warning| warning.kind).collect()
    }
}

impl Visitor for Recorder {
    fn root(&mut self, path: &[u8]) -> Result<()> {
        self.roots.push(path.to_vec());
        self.path = path.to_vec();
        Ok(())
    }

    fn enter(&mut self, entry: Entry, _owner: Owner, handle: Box<dyn Handle>) -> Result<()> {
        self.path = self.add(entry, handle);
        self.depth += 1;
        if let Some(path) = self.to_remove.take() {
            fs::remove_file(path).unwrap();
        }
        Ok(())
    }

    fn leave(&mut self, incomplete: bool) -> Result<()> {
        self.depth -= 1;
        self.incomplete += usize::from(incomplete);
        if self.depth > 0 {
            let parent = self.path.iter().rposition(|&b| b == b'/').unwrap();
            self.path.truncate(parent.max(1));
        }
        Ok(())
    }

    fn file(&mut self, entry: Entry, _owner: Owner, _size_bytes: u64, handle: Box<dyn Handle>) -> Result<()> {
        self.add(entry, handle);
        Ok(())
    }

    fn other(&mut self, entry: Entry, _owner: Owner, handle: Box<dyn Handle>) -> Result<()> {
        self.add(entry, handle);
        Ok(())
    }

    fn warning(&mut self, warning: Warning) {
        self.warnings.push(warning);
    }

    fn note(&mut self, note: Warning) {
        self.notes.push(note);
    }
}

fn files(root: &Path) -> Files {
    Files::new([root.to_path_buf()]).unwrap()
}

/// Makes files, with their own names as content, in directories that are made too.
fn make(root: &Path, names: &[&str]) {
    for name in names {
        fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        fs::write(root.join(name), name).unwrap();
    }
}

fn read(handle: &dyn Handle, limit: usize) -> (Vec<Stretch>, Vec<u8>, bool) {
    let mut reader = handle.open().unwrap();
    let (mut stretches, mut bytes) = (Vec::new(), Vec::new());
    loop {
        match reader.read(&mut bytes, limit).unwrap() {
            Stretch::Same(_) | Stretch::Again => panic!("plain files are read once, and whole"),
            Stretch::End => return (stretches, bytes, reader.finish().unwrap().changed),
            stretch => stretches.push(stretch),
        }
    }
}

/// Says that the machine lacks what a test needs, which is a failure where everything must be tested.
fn skip(what: &str) {
    assert!(std::env::var("HOLDFAST_TEST_REQUIRE_ALL").as_deref() != Ok("1"), "cannot be tested here: {what}");
    std::io::stderr().write_all(format!("skipped: {what}\n").as_bytes()).unwrap();
}

#[test]
fn names_that_are_not_utf8_come_as_bytes_and_sorted() {
    let root = tempfile::tempdir().unwrap();
    for name in [&b"b\xff"[..], b"a\n", b"b\xfe", b"B"] {
        fs::write(root.path().join(OsStr::from_bytes(name)), b"x").unwrap();
    }
    let seen = Recorder::of(&files(root.path()));
    assert_eq!(seen.names(), ["B", "a\\x0a", "b\\xfe", "b\\xff"]);
    assert!(seen.warnings.is_empty());
}

#[test]
fn content_is_read_in_stretches_of_the_limit_whatever_the_buffer_is() {
    let root = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
    fs::write(root.path().join("a"), &content).unwrap();
    let seen = Recorder::of(&files(root.path()));
    let handle = seen.handle(&root.path().join("a"));
    for limit in [1 << 20, 100_000, 30_000] {
        let (stretches, bytes, changed) = read(handle, limit);
        assert!(bytes == content && !changed);
        assert_eq!(stretches[0], Stretch::Data(limit.min(content.len())));
    }
}

#[test]
fn a_file_that_grows_is_read_to_its_end_and_reported() {
    let root = tempfile::tempdir().unwrap();
    make(root.path(), &["a"]);
    let seen = Recorder::of(&files(root.path()));
    let mut reader = seen.handle(&root.path().join("a")).open().unwrap();
    fs::write(root.path().join("a"), [7; 5000]).unwrap();
    let mut bytes = Vec::new();
    while reader.read(&mut bytes, 1000).unwrap() != Stretch::End {}
    assert_eq!(bytes, [7; 5000]);
    assert!(reader.finish().unwrap().changed);
}

#[test]
fn holes_of_sparse_files_are_told() {
    let root = tempfile::tempdir().unwrap();
    let file = fs::File::create(root.path().join("a")).unwrap();
    file.set_len(4 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[1; 4096], 1 << 20).unwrap();
    if file.metadata().unwrap().blocks() * 512 >= 4 << 20 {
        return skip("no sparse files here");
    }
    drop(file);
    let seen = Recorder::of(&files(root.path()));
    let (stretches, bytes, changed) = read(seen.handle(&root.path().join("a")), 1 << 20);
    let length = |stretch: &Stretch| match stretch {
        Stretch::Data(count) => *count as u64,
        Stretch::Hole(count) => *count,
        Stretch::Same(_) | Stretch::Again | Stretch::End => 0,
    };
    assert_eq!(stretches[0], Stretch::Hole(1 << 20));
    assert!(matches!(stretches[stretches.len() - 1], Stretch::Hole(_)));
    assert_eq!(stretches.iter().map(length).sum::<u64>(), 4 << 20);
    assert!(bytes.starts_with(&[1; 4096]) && !changed);
}

#[test]
fn hard_links_share_a_group_and_single_names_have_none() {
    let root = tempfile::tempdir().unwrap();
    make(root.path(), &["a", "c"]);
    fs::hard_link(root.path().join("a"), root.path().join("b")).unwrap();
    let seen = Recorder::of(&files(root.path()));
    let group = |name: &str| seen.entry(&root.path().join(name)).link_group;
    assert_ne!(group("a"), 0);
    assert_eq!((group("a"), group("c")), (group("b"), 0));
}

#[test]
fn links_fifos_and_sockets_are_told_apart() {
    let root = tempfile::tempdir().unwrap();
    symlink("no/where", root.path().join("link")).unwrap();
    let directory: OwnedFd = fs::File::open(root.path()).unwrap().into();
    rustix::fs::mknodat(&directory, "fifo", FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
    let seen = Recorder::of(&files(root.path()));
    assert_eq!(seen.names(), ["fifo", "link"]);
    assert_eq!(seen.entry(&root.path().join("link")).content, Content::Link { target: b"no/where".to_vec() });
    assert_eq!(seen.entry(&root.path().join("fifo")).content, Content::None {});
    assert!(seen.handle(&root.path().join("fifo")).open().is_err());
    assert_eq!(seen.note_kinds(), ["socket"]);
}

#[test]
fn a_link_given_as_root_stands_for_itself() {
    let root = tempfile::tempdir().unwrap();
    symlink("/", root.path().join("link")).unwrap();
    let seen = Recorder::of(&files(&root.path().join("link")));
    assert_eq!(seen.entries.len(), 1);
    assert_eq!(seen.entries[0].1.name, b"link");
}

#[test]
fn attributes_of_files_and_directories_are_read() {
    let root = tempfile::tempdir().unwrap();
    make(root.path(), &["d/a", "d/plain"]);
    let long = vec![b'v'; 1000];
    for path in [root.path().join("d"), root.path().join("d/a")] {
        let set = rustix::fs::setxattr(&path, "user.note", &long, XattrFlags::empty());
        let set = set.and_then(|()| rustix::fs::setxattr(&path, "user.a", b"", XattrFlags::empty()));
        if set.is_err() {
            return skip("no extended attributes here");
        }
    }
    let seen = Recorder::of(&files(root.path()));
    for name in ["d", "d/a"] {
        let attributes = seen.handle(&root.path().join(name)).attributes().unwrap();
        let users: Vec<_> = attributes.into_iter().filter(|found| found.name.starts_with(b"user.")).collect();
        assert_eq!(users.len(), 2);
        assert_eq!((&users[0].name[..], &users[0].value[..]), (&b"user.a"[..], &b""[..]));
        assert_eq!((&users[1].name[..], &users[1].value), (&b"user.note"[..], &long));
    }
    assert!(seen.handle(&root.path().join("d/plain")).attributes().is_ok());
}

#[test]
fn excludes_are_anchored_and_can_be_taken_back() {
    let root = tempfile::tempdir().unwrap();
    make(root.path(), &["anchored/x", "d/anchored", "d/a.o", "d/keep.o", "d/b.c", "d/tmp/x", "tmp"]);
    let list = root.path().join("d/list");
    fs::write(&list, "# comment\n\ntmp/\n").unwrap();
    let source = files(root.path()).exclude("/anchored").exclude("*.o").exclude("!keep.o").exclude_file(list);
    let seen = Recorder::of(&source);
    assert_eq!(seen.names(), ["d", "d/anchored", "d/b.c", "d/keep.o", "d/list", "tmp"]);
    assert!(seen.notes.is_empty() && seen.warnings.is_empty());
}

#[test]
fn a_bad_pattern_is_refused_before_anything_is_visited() {
    let root = tempfile::tempdir().unwrap();
    let source = files(root.path()).exclude("a/{b");
    assert!(matches!(source.check(), Err(Error::Usage { .. })));
    let mut recorder = Recorder::default();
    assert!(matches!(source.walk(&mut recorder), Err(Error::Usage { .. })));
    assert!(recorder.entries.is_empty());
}

#[test]
fn of_a_marked_cache_only_the_mark_is_kept() {
    let root = tempfile::tempdir().unwrap();
    make(root.path(), &["cache/x", "cache/d/y", "other/CACHEDIR.TAG", "other/x"]);
    fs::write(root.path().join("cache/CACHEDIR.TAG"), b"Signature: 8a477f597d28d172789f06886806bc55\n").unwrap();
    let seen = Recorder::of(&files(root.path()).exclude_caches(true));
    assert_eq!(seen.names(), ["cache", "cache/CACHEDIR.TAG", "other", "other/CACHEDIR.TAG", "other/x"]);
    assert_eq!(Recorder::of(&files(root.path())).entries.len(), 9);
}

#[test]
fn a_missing_root_is_a_warning_unless_it_is_the_only_one() {
    let root = tempfile::tempdir().unwrap();
    make(root.path(), &["a"]);
    let missing = root.path().join("missing");
    let both = Files::new([root.path().join("a"), missing.clone()]).unwrap();
    let seen = Recorder::of(&both);
    assert_eq!((seen.entries.len(), seen.warning_kinds()), (1, vec!["missing"]));
    let mut recorder = Recorder::default();
    assert!(matches!(files(&missing).walk(&mut recorder), Err(Error::Input { .. })));
    assert_eq!(recorder.warning_kinds(), ["missing"]);
}

#[test]
fn what_vanishes_after_it_was_listed_is_a_warning() {
    let root = tempfile::tempdir().unwrap();
    make(root.path(), &["a", "b"]);
    let mut recorder = Recorder { to_remove: Some(root.path().join("a")), ..Recorder::default() };
    files(root.path()).walk_here(&mut recorder).unwrap();
    assert_eq!((recorder.names(), recorder.warning_kinds()), (vec!["b".to_owned()], vec!["vanished"]));
    assert_eq!(
        (&recorder.warnings[0].subject[..], recorder.incomplete),
        (root.path().join("a").as_os_str().as_bytes(), 1)
    );
}

#[test]
fn two_thousand_nested_directories_are_walked_there_and_back() {
    let root = tempfile::tempdir().unwrap();
    let mut directory: OwnedFd = fs::File::open(root.path()).unwrap().into();
    for level in 0..2000 {
        rustix::fs::mkdirat(&directory, "deep", Mode::RWXU).unwrap();
        if level % 500 == 0 {
            let flags = OFlags::CREATE | OFlags::WRONLY;
            rustix::fs::openat(&directory, "last", flags, Mode::RUSR).unwrap();
        }
        directory = listing::open(&directory, b"deep").unwrap();
    }
    let seen = Recorder::of(&files(root.path()));
    // Each file comes after the directory beside it: it is found only if the way back was.
    assert_eq!((seen.entries.len(), seen.depth, seen.incomplete), (2005, 0, 0));
    let files: Vec<_> = seen.entries.iter().filter(|(_, entry, _)| entry.is_file()).collect();
    assert_eq!(files[0].0.len() - files[1].0.len(), 500 * "/deep".len());
    assert!(seen.warnings.is_empty() && files[0].2.open().is_ok());
}

#[test]
fn metadata_is_kept_even_from_before_1970() {
    let root = tempfile::tempdir().unwrap();
    make(root.path(), &["a"]);
    let directory: OwnedFd = fs::File::open(root.path()).unwrap().into();
    rustix::fs::chmodat(&directory, "a", Mode::from_raw_mode(0o4751), rustix::fs::AtFlags::empty()).unwrap();
    let time = Timespec { tv_sec: -1000, tv_nsec: 250_000_000 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(&directory, "a", &times, rustix::fs::AtFlags::empty()).unwrap();
    let seen = Recorder::of(&files(root.path()));
    let (entry, expected) = (seen.entry(&root.path().join("a")), fs::metadata(root.path().join("a")).unwrap());
    assert_eq!((entry.mtime, entry.mode), (Time::new(-1000, 250_000_000), 0o4751));
    assert_eq!((entry.uid, entry.gid, entry.inode), (expected.uid(), expected.gid(), expected.ino()));
}

#[test]
fn roots_are_sorted_and_those_inside_others_dropped() {
    let paths = ["/b/../a/x", "/a", "/ab", "/a/", "/a/y/z"].map(PathBuf::from);
    let source = Files::new(paths).unwrap();
    assert_eq!(source.wanted_roots(), [b"/a".to_vec(), b"/ab".to_vec()]);
    assert_eq!(source.one_file_system(true).wanted_roots().len(), 4);
    assert!(Files::new([]).is_err());
}

#[test]
fn what_is_left_out_is_known_by_any_name_and_noted() {
    let root = tempfile::tempdir().unwrap();
    make(root.path(), &["a", "repository/x"]);
    symlink(root.path(), root.path().join("self")).unwrap();
    let source = files(root.path()).leave_out(root.path().join("self/repository"), "the repository");
    let seen = Recorder::of(&source.leave_out("/no/such", "a cache"));
    assert_eq!((seen.names(), seen.note_kinds()), (vec!["a".to_owned(), "self".to_owned()], vec!["left_out"]));
    assert!(seen.notes[0].message.contains("the repository"));
}

#[test]
fn what_lies_beside_a_database_is_left_out_with_it_and_what_lies_beside_others_is_not() {
    let root = tempfile::tempdir().unwrap();
    make(root.path(), &["a", "a-wal", "b", "b-journal", "b-shm", "b-wal", "c", "d-wal"]);
    let header = [&b"SQLite format 3\0"[..], &[0; 496]].concat();
    fs::write(root.path().join("b"), header).unwrap();
    let seen = Recorder::of(&files(root.path()));
    assert_eq!(seen.names(), ["a", "a-wal", "b", "c", "d-wal"]);
    let seen = Recorder::of(&files(root.path()).sqlite(SqliteMode::Off));
    assert_eq!(seen.names().len(), 8);
}
