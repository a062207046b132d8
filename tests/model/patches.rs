//! Any sequence of edits, stored once with patches and once without: every snapshot is what the files were, and both repositories hold the same contents.

use backup_core::Repository;
use backup_core::id::EntryId;
use backup_core::ops::backup::BackupOptions;
use backup_core::repository::open::InitOptions;
use proptest::prelude::*;

use crate::config;
use crate::kit::model_source::{ModelSource, Node, Part};
use crate::kit::noise;
use crate::kit::world::{World, backup_with, check_clean, dump, paths, snapshot};

const FILES: [&str; 3] = ["a", "d/b", "d/c"];

/// A change of one file's content; places and lengths are taken modulo what there is.
#[derive(Clone, Debug)]
enum Change {
    Set {
        place: usize,
        length: usize,
        seed: u64,
    },
    Insert {
        place: usize,
        length: usize,
        seed: u64,
    },
    Remove {
        place: usize,
        length: usize,
    },
    /// Moves the beginning to the end.
    Turn {
        place: usize,
    },
    /// Content of another file.
    Copy {
        from: usize,
    },
}

fn change() -> impl Strategy<Value = Change> {
    let (place, length) = (any::<usize>(), prop_oneof![1..100usize, 1000..40_000usize]);
    prop_oneof![
        4 => (place, length.clone(), any::<u64>()).prop_map(|(place, length, seed)| Change::Set { place, length, seed }),
        2 => (place, length.clone(), any::<u64>()).prop_map(|(place, length, seed)| Change::Insert { place, length, seed }),
        2 => (place, length).prop_map(|(place, length)| Change::Remove { place, length }),
        1 => place.prop_map(|place| Change::Turn { place }),
        1 => (0..FILES.len()).prop_map(|from| Change::Copy { from }),
    ]
}

impl Change {
    fn apply(&self, files: &mut [Vec<u8>], file: usize) {
        let length_before = files[file].len();
        let at = |place: usize| place % (length_before + 1);
        match *self {
            Self::Set { place, length, seed } => {
                let (start, end) = (at(place), (at(place) + length).min(length_before));
                files[file][start..end].copy_from_slice(&noise(seed, end - start));
            }
            Self::Insert { place, length, seed } => {
                drop(files[file].splice(at(place)..at(place), noise(seed, length)));
            }
            Self::Remove { place, length } => {
                drop(files[file].drain(at(place)..(at(place) + length).min(length_before)));
            }
            Self::Turn { place } => files[file].rotate_left(at(place)),
            Self::Copy { from } => files[file] = files[from].clone(),
        }
    }
}

/// One repository, and what each of its snapshots must hold.
struct Kept {
    repository: Repository,
    patches: bool,
    snapshots: Vec<EntryId>,
    stored_bytes: u64,
}

impl Kept {
    fn new(world: &World, patches: bool) -> Self {
        let init = InitOptions::new().chunk_bytes_avg(8 << 10).frame_bytes(64 << 10).pack_bytes(1 << 20);
        let repository = world.init_with(&init, world.options());
        Self { repository, patches, snapshots: Vec::new(), stored_bytes: 0 }
    }

    fn backup(&mut self, source: &ModelSource) {
        let report = backup_with(&mut self.repository, source, &BackupOptions::new().patches(self.patches));
        self.stored_bytes += report.counts.stored_bytes;
        self.snapshots.push(report.snapshot_id.unwrap());
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn patches_change_what_is_stored_and_nothing_else(
        steps in proptest::collection::vec(proptest::collection::vec((0..FILES.len(), change()), 1..4), 1..20),
    ) {
        let worlds = [World::new(), World::new()];
        let mut kept = [Kept::new(&worlds[0], true), Kept::new(&worlds[1], false)];
        let mut files: Vec<Vec<u8>> = (0u64..).zip(FILES).map(|(seed, _)| noise(seed, 100_000)).collect();
        let mut source = ModelSource::new("/data");
        let mut expected = Vec::new();
        for (step, changes) in (0i64..).zip(&steps) {
            changes.iter().for_each(|(file, change)| change.apply(&mut files, *file));
            for (name, content) in FILES.iter().zip(&files) {
                let entry = source.put(name, Node::File(vec![Part::Bytes(content[..].into())]));
                (entry.mtime.seconds, entry.ctime.seconds) = (1_700_000_000 + step, 1_700_000_000 + step);
            }
            kept.iter_mut().for_each(|kept| kept.backup(&source));
            expected.push(files.clone());
        }
        for (world, kept) in worlds.iter().zip(&kept) {
            let mut repository = world.open();
            for (id, files) in kept.snapshots.iter().zip(&expected) {
                let snapshot = snapshot(&repository, *id);
                prop_assert_eq!(paths(&repository, &snapshot).len(), FILES.len() + 2);
                for (name, content) in FILES.iter().zip(files) {
                    let path = [b"/data/", name.as_bytes()].concat();
                    prop_assert!(dump(&repository, &snapshot, &path) == *content, "{}", name);
                }
            }
            check_clean(&mut repository);
        }
        // Padding may cost a little more in one than in the other.
        prop_assert!(kept[0].stored_bytes <= kept[1].stored_bytes + 4096 * steps.len() as u64);
    }
}
