//! Ten thousand steps of a file that is stored by pages: depth and closure stay bounded, and what was stored comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::Repository;
use crate::environment::{Environment, Surroundings};
use crate::error::Result;
use crate::format::constants::ENTRY_FILE;
use crate::format::tree::{Attribute, Entry};
use crate::keyring::{Key, KeyFile};
use crate::limits::PATCH_DEPTH_MAX;
use crate::ops::backup::BackupOptions;
use crate::ops::check::{CheckOptions, ReadData};
use crate::progress::Silent;
use crate::repository::RepositoryOptions;
use crate::repository::open::InitOptions;
use crate::source::{ContentReader, Finish, Handle, Owner, Source, SourceKind, Stretch, Visitor};
use crate::storage::{Storage, StorageOptions};
use crate::time::Time;

const STEPS: u64 = 10_000;
const PAGE: usize = 4096;
const PAGES: usize = 48;

/// A clock that goes on by a second whenever it is looked at.
#[derive(Default)]
struct Clock(AtomicI64);

impl Surroundings for Clock {
    fn now(&self) -> Time {
        Time::new(1_700_000_000 + self.0.fetch_add(1, Ordering::Relaxed), 0)
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        let drawn = self.0.fetch_add(1, Ordering::Relaxed);
        crate::crypto::extend(&crate::crypto::Secret::new([8; 32]), &drawn.to_le_bytes(), bytes);
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

/// A file of pages.
#[derive(Clone)]
struct Pages {
    bytes: Arc<Vec<u8>>,
    place: usize,
}

impl Source for Pages {
    fn kind(&self) -> SourceKind {
        SourceKind::Other
    }

    fn roots(&self) -> Vec<Vec<u8>> {
        vec![b"/pages".to_vec()]
    }

    fn walk(&self, visitor: &mut dyn Visitor) -> Result<()> {
        visitor.root(b"/pages")?;
        let entry = Entry::new(ENTRY_FILE, "pages");
        visitor.file(entry, Owner::default(), self.bytes.len() as u64, Box::new(self.clone()))
    }
}

impl Handle for Pages {
    fn attributes(&self) -> std::io::Result<Vec<Attribute>> {
        Ok(Vec::new())
    }

    fn open(&self) -> std::io::Result<Box<dyn ContentReader>> {
        Ok(Box::new(self.clone()))
    }

    /// So that it is read each time, whatever its times are.
    fn is_logged(&self) -> bool {
        true
    }
}

impl ContentReader for Pages {
    fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> std::io::Result<Stretch> {
        let length = limit.min(self.bytes.len() - self.place);
        buffer.extend_from_slice(&self.bytes[self.place..self.place + length]);
        self.place += length;
        Ok(if length == 0 { Stretch::End } else { Stretch::Data(length) })
    }

    fn finish(&mut self) -> std::io::Result<Finish> {
        Ok(Finish { changed: false, mtime: Time::default(), ctime: Time::default() })
    }

    fn page_bytes(&self) -> Option<u32> {
        Some(PAGE as u32)
    }
}

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

#[test]
fn depth_and_closure_stay_bounded_over_ten_thousand_steps() {
    let environment = Environment::new(Clock::default());
    let key = Key::File(KeyFile::generate(&environment));
    let storage = Storage::from_uri("memory://", StorageOptions::new()).unwrap();
    let options = || RepositoryOptions::new().environment(environment.clone()).threads(1);
    let state = tempfile::tempdir().unwrap();
    let mut repository =
        Repository::init(storage.clone(), &key, &InitOptions::new(), options().state_dir(state.path())).unwrap();
    let mut bytes = vec![0; PAGES * PAGE];
    crate::crypto::extend(&crate::crypto::Secret::new([7; 32]), b"", &mut bytes);
    let (mut random, mut samples) = (Random(1), Vec::new());
    let (mut closure_max, mut whole) = (0.0f64, 0);
    for step in 0..STEPS {
        // Some pages are hot, all are warm.
        for page in [random.below(3), random.below(PAGES), random.below(PAGES)] {
            let place = page * PAGE + random.below(PAGE - 64);
            (0..64).for_each(|i| bytes[place + i] = random.below(256) as u8);
        }
        let source = Pages { bytes: Arc::new(bytes.clone()), place: 0 };
        let report = repository.backup(&source, &BackupOptions::new().trusted_seconds(u64::MAX), &Silent).unwrap();
        let sums = repository.snapshots().last().unwrap().manifest.sums();
        closure_max = closure_max.max(sums.decode_bytes as f64 / sums.plaintext_bytes as f64);
        whole += u64::from(report.counts.stored_bytes > 4000);
        if step % 997 == 0 || step + 1 == STEPS {
            samples.push((report.snapshot_id, bytes.clone()));
        }
    }
    assert!(closure_max <= 3.2, "{closure_max} times the plaintext must be decoded");
    assert!(closure_max > 1.5, "{closure_max}: patches are made");
    assert!(whole < STEPS / 2, "{whole} steps stored a page whole");
    let mut repository = Repository::open(storage, &key, options()).unwrap();
    let index = repository.index().unwrap();
    let depths = index.packs().iter().flat_map(|pack| (0..pack.table.len() as u32).map(|row| pack.table.depth(row)));
    assert!(depths.clone().all(|depth| u64::from(depth) <= PATCH_DEPTH_MAX) && depths.max() > Some(4));
    for (id, bytes) in samples {
        let snapshot = repository.snapshots().iter().find(|snapshot| Some(snapshot.id) == id).unwrap().clone();
        let mut out = Vec::new();
        repository.dump(&snapshot, b"/pages", &mut out).unwrap();
        assert!(out == bytes);
    }
    let report = repository.check(&CheckOptions::new().read_data(ReadData::All), &Silent).unwrap();
    assert_eq!(report.damage.len(), 0);
}
