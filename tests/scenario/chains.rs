//! Many snapshots of what changes a little each time: chains of patches read back at every place, with few requests, and it shows what each snapshot cost.

use backup_core::id::EntryId;
use backup_core::ops::backup::BackupOptions;
use backup_core::ops::restore::RestoreOptions;
use backup_core::progress::Silent;
use backup_core::repository::open::InitOptions;

use crate::kit::model_source::ModelSource;
use crate::kit::noise;
use crate::kit::surroundings::next_random;
use crate::kit::world::{World, backup, backup_with, check_clean, dump, made, restore, snapshot};

/// A file of pages in which some change.
struct Pages {
    content: Vec<u8>,
    random: u64,
}

impl Pages {
    fn new(seed: u64, bytes: usize) -> Self {
        Self { content: noise(seed, bytes), random: seed }
    }

    fn change(&mut self, places: usize) -> Vec<u8> {
        for _ in 0..places {
            let place = next_random(&mut self.random) as usize % (self.content.len() - 100);
            let bytes = noise(self.random, 60);
            self.content[place..place + 60].copy_from_slice(&bytes);
        }
        self.content.clone()
    }
}

/// Forty snapshots of three files, and what the files were in each.
fn forty(world: &World) -> Vec<(EntryId, [Vec<u8>; 3])> {
    let mut pages = [Pages::new(1, 3 << 20), Pages::new(2, 200_000), Pages::new(3, 9_000)];
    let mut source = ModelSource::new("/data");
    let mut repository = world.init_with(&InitOptions::new().pack_bytes(1 << 20), world.options());
    let mut snapshots = Vec::new();
    for step in 0..40 {
        let contents = [pages[0].change(8), pages[1].change(3), pages[2].change(1)];
        for (name, content) in ["large", "medium", "small"].iter().zip(&contents) {
            match step {
                0 => source = source.file(name, content),
                _ => source.write(name, content),
            }
        }
        snapshots.push((backup(&mut repository, &source).snapshot_id.unwrap(), contents));
    }
    snapshots
}

#[test]
fn forty_snapshots_deep_every_one_is_what_was_backed_up() {
    let world = World::new();
    let snapshots = forty(&world);
    let mut repository = world.open();
    let stats = repository.stats().unwrap();
    // Whole again now and then, but most of what changed is small.
    assert!(stats.patched_chunks > 200 && stats.stored_bytes < 24 << 20, "{stats:?}");
    for (id, contents) in &snapshots {
        let snapshot = snapshot(&repository, *id);
        for (name, content) in ["large", "medium", "small"].iter().zip(contents) {
            let found = dump(&repository, &snapshot, format!("/data/{name}").as_bytes());
            assert!(found == *content, "{name} of {id}");
        }
    }
    let target = tempfile::tempdir().unwrap();
    // Over what the one before left there: only what differs is fetched.
    for (id, contents) in snapshots.iter().step_by(13).chain(snapshots.last()) {
        restore(&mut repository, Some(*id), None, target.path(), &RestoreOptions::new().verify(true));
        for (name, content) in ["large", "medium", "small"].iter().zip(contents) {
            assert!(std::fs::read(target.path().join("data").join(name)).unwrap() == *content, "{name} of {id}");
        }
    }
    check_clean(&mut repository);
}

#[test]
fn a_restore_and_a_dump_of_a_long_chain_ask_each_pack_a_few_times_at_most() {
    let world = World::new();
    let snapshots = forty(&world);
    let (id, contents) = snapshots.last().unwrap();
    let packs = (world.names("packs/").len() + world.names("meta/").len()) as u64;
    let mut repository = world.open();
    repository.count_chunks().unwrap();
    let target = tempfile::tempdir().unwrap();
    let before = repository.storage().counts();
    restore(&mut repository, Some(*id), None, target.path(), &RestoreOptions::new());
    let reads = repository.storage().counts().reads - before.reads;
    assert!(reads < 4 * packs, "{reads} reads of {packs} packs");
    let snapshot = snapshot(&repository, *id);
    let before = repository.storage().counts();
    assert!(dump(&repository, &snapshot, b"/data/large") == contents[0]);
    let reads = repository.storage().counts().reads - before.reads;
    assert!(reads < 3 * packs, "{reads} reads of {packs} packs");
}

#[test]
fn growth_adds_up_to_all_that_is_stored_and_names_each_source() {
    let world = World::new();
    let snapshots = forty(&world);
    let other = ModelSource::new("/other").file("a", &noise(9, 3 << 20));
    let checkpoints = BackupOptions::new().checkpoint_bytes(1 << 20);
    let report = backup_with(&mut world.open(), &other, &checkpoints);
    let repository = world.open();
    let large = made(&repository, &report);
    let (stats, growth) = (repository.stats().unwrap(), repository.growth().unwrap());
    let roots: Vec<_> = growth.sources.iter().map(|source| source.roots.clone()).collect();
    assert_eq!(roots, [[b"/data".to_vec()], [b"/other".to_vec()]]);
    let ids: Vec<EntryId> = growth.sources[0].snapshots.iter().map(|snapshot| snapshot.id).collect();
    assert_eq!(ids, snapshots.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    let all = |count: fn(&backup_core::ops::stats::StoredBytes) -> u64| {
        let sources: u64 = growth.sources.iter().map(|source| count(&source.stored())).sum();
        sources + count(&growth.unattributed)
    };
    assert_eq!((all(|stored| stored.of_packs()), stats.stored.of_packs()), (stats.stored_bytes, stats.stored_bytes));
    assert_eq!(all(|stored| stored.ledger_bytes), stats.stored.ledger_bytes);
    assert_eq!(growth.unattributed.of_packs(), 0);
    let first = &growth.sources[0].snapshots[0];
    assert!(first.stored.content_whole_bytes > 3 << 20 && first.patched_chunks == 0, "{first:?}");
    let step = &growth.sources[0].snapshots[1];
    assert!(step.patched_chunks > 0 && step.stored.content_patch_bytes > 0 && step.stored.all() < 100_000, "{step:?}");
    // What its checkpoints named is the snapshot's, too.
    let other = &growth.sources[1].snapshots[0];
    assert_eq!((other.id, other.stored.of_packs()), (large.id, large.manifest.counts.stored_bytes));
}

#[test]
fn what_no_snapshot_stored_is_told_apart_in_the_growth() {
    let world = World::new();
    let cancel = backup_core::progress::Cancel::new();
    let options = world.options().cancel(cancel.clone());
    let mut repository = world.init_with(&InitOptions::new().pack_bytes(1 << 20), options);
    let source = (0..40).fold(ModelSource::new("/data"), |source, number| {
        source.file(&format!("{number:03}"), &noise(number, 1 << 20))
    });
    let options = BackupOptions::new().checkpoint_bytes(1 << 20);
    repository.backup(&source.cancel_after(30, cancel), &options, &Silent).unwrap_err();
    drop(repository);
    let repository = world.open();
    let growth = repository.growth().unwrap();
    assert_eq!(growth.sources, []);
    assert!(growth.unattributed.content_whole_bytes > 1 << 20, "{growth:?}");
    assert_eq!(growth.unattributed.of_packs(), repository.stats().unwrap().stored_bytes);
}
