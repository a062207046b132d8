//! Plays verbs against a model: a map from names to bytes, in one directory of a source that lies in memory.
//!
//! Every snapshot must hold what the model held when it was made, after everything that came later, and a check must find nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::Repository;
use crate::environment::{Environment, Surroundings};
use crate::error::Result;
use crate::format::constants::{ENTRY_DIRECTORY, ENTRY_FILE};
use crate::format::tree::{Attribute, Entry};
use crate::keyring::{Key, KeyFile};
use crate::ops::backup::BackupOptions;
use crate::ops::check::CheckOptions;
use crate::progress::Silent;
use crate::repository::RepositoryOptions;
use crate::repository::names::SnapshotFilter;
use crate::repository::open::InitOptions;
use crate::source::{ContentReader, Finish, Handle, Owner, Source, SourceKind, Stretch, Visitor};
use crate::storage::{Storage, StorageOptions};
use crate::time::Time;

/// Most operations of one play; each takes three bytes.
const OPERATIONS_MAX: usize = 48;

/// A clock that goes on by ten seconds whenever it is looked at, and a source of numbers that repeat from play to play.
#[derive(Default)]
struct Made {
    seconds: AtomicI64,
    drawn: AtomicU64,
}

impl Surroundings for Made {
    fn now(&self) -> Time {
        Time::new(1_700_000_000 + self.seconds.fetch_add(10, Ordering::Relaxed), 0)
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        crate::crypto::extend(&crate::crypto::Secret::new([9; 32]), &drawn.to_le_bytes(), bytes);
    }

    fn host(&self) -> String {
        "host".to_owned()
    }

    fn user(&self) -> String {
        "user".to_owned()
    }

    fn zone_offset_seconds(&self, _: Time) -> i32 {
        0
    }
}

/// Files by name: when they changed last, and what they hold.
#[derive(Clone, Default)]
struct Model(BTreeMap<Vec<u8>, (Time, Vec<u8>)>);

struct Content {
    time: Time,
    bytes: Vec<u8>,
    place: usize,
}

impl Source for Model {
    fn kind(&self) -> SourceKind {
        SourceKind::Other
    }

    fn roots(&self) -> Vec<Vec<u8>> {
        vec![b"/d".to_vec()]
    }

    fn walk(&self, visitor: &mut dyn Visitor) -> Result<()> {
        let handle = |time: Time, bytes: &[u8]| -> Box<dyn Handle> {
            Box::new(Content { time, bytes: bytes.to_vec(), place: 0 })
        };
        visitor.root(b"/d")?;
        visitor.enter(Entry::new(ENTRY_DIRECTORY, "d"), Owner::default(), handle(Time::default(), b""))?;
        for (name, (time, bytes)) in &self.0 {
            let mut entry = Entry::new(ENTRY_FILE, name.clone());
            (entry.mode, entry.mtime, entry.ctime, entry.inode) = (0o644, *time, *time, 1);
            visitor.file(entry, Owner::default(), bytes.len() as u64, handle(*time, bytes))?;
        }
        visitor.leave(false)
    }
}

impl Handle for Content {
    fn attributes(&self) -> std::io::Result<Vec<Attribute>> {
        Ok(Vec::new())
    }

    fn open(&self) -> std::io::Result<Box<dyn ContentReader>> {
        Ok(Box::new(Content { time: self.time, bytes: self.bytes.clone(), place: 0 }))
    }
}

impl ContentReader for Content {
    fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> std::io::Result<Stretch> {
        let rest = &self.bytes[self.place..];
        let length = rest.len().min(limit);
        buffer.extend_from_slice(&rest[..length]);
        self.place += length;
        Ok(if length == 0 { Stretch::End } else { Stretch::Data(length) })
    }

    fn finish(&mut self) -> std::io::Result<Finish> {
        Ok(Finish { changed: false, mtime: self.time, ctime: self.time })
    }
}

impl Model {
    /// Carries out an edit: which file, what happens to it, and how much of it.
    fn edit(&mut self, now: Time, action: u8, file: u8, amount: u8) {
        let name = vec![b'a' + file % 8];
        if action == 0 {
            self.0.remove(&name);
            return;
        }
        let (time, bytes) = self.0.entry(name).or_default();
        *time = now;
        let mut more = vec![0; usize::from(amount) * 150];
        match action {
            1 => crate::crypto::extend(&crate::crypto::Secret::new([amount; 32]), &[file], &mut more),
            2 => more = vec![amount; usize::from(amount) * 1500],
            3 => bytes.truncate(usize::from(amount) * 100),
            _ => more.fill(file),
        }
        bytes.extend_from_slice(&more);
    }
}

/// Plays what the bytes say, and compares every snapshot with the model of its time.
///
/// # Errors
/// What a verb returns; none is expected.
///
/// # Panics
/// Where the repository and the model differ.
pub fn play(bytes: &[u8]) -> Result<()> {
    let environment = Environment::new(Made::default());
    let key = Key::File(KeyFile::generate(&environment));
    let storage = Storage::from_uri("memory://", StorageOptions::new().pause_ms(0))?;
    let options = || RepositoryOptions::new().environment(environment.clone()).threads(1);
    let init = InitOptions::new().chunk_bytes_avg(4 << 10).frame_bytes(64 << 10).pack_bytes(64 << 10);
    let mut repository = Repository::init(storage.clone(), &key, &init, options())?;
    let (mut model, mut history) = (Model::default(), Vec::new());
    for step in bytes.as_chunks::<3>().0.iter().take(OPERATIONS_MAX) {
        match step[0] % 8 {
            0..=4 => model.edit(environment.now(), step[0] % 8, step[1], step[2]),
            5 => repository = Repository::open(storage.clone(), &key, options())?,
            6 => repository.refresh()?,
            _ => {
                let report = repository.backup(&model, &BackupOptions::new(), &Silent)?;
                history.push((report.snapshot_id, model.clone()));
            }
        }
    }
    let mut repository = Repository::open(storage, &key, options())?;
    for (id, model) in &history {
        let id = id.map(|id| id.to_string()).unwrap_or_default();
        let snapshot = repository.find_snapshot(&id, &SnapshotFilter::new())?;
        let mut found = BTreeMap::new();
        repository.list(snapshot, Some(b"/d"), &mut |listed| {
            if listed.entry.is_file() {
                found.insert(listed.path, listed.entry.size_bytes());
            }
            Ok(())
        })?;
        let path = |name: &[u8]| [b"/d/", name].concat();
        let expected = model.0.iter().map(|(name, (_, bytes))| (path(name), bytes.len() as u64)).collect();
        assert_eq!(found, expected, "a snapshot holds other files");
        for (name, (_, bytes)) in &model.0 {
            let mut out = Vec::new();
            repository.dump(snapshot, &path(name), &mut out)?;
            assert!(out == *bytes, "a file came back different");
        }
    }
    assert_eq!(repository.problems().count(), 0);
    assert_eq!(repository.check(&CheckOptions::new(), &Silent)?.damage.len(), 0);
    Ok(())
}
