//! Long backups that are cut off do not begin anew.

use backup_core::Error;
use backup_core::ops::backup::BackupOptions;
use backup_core::progress::{Cancel, Silent};
use backup_core::repository::open::InitOptions;

use crate::kit::model_source::ModelSource;
use crate::kit::noise;
use crate::kit::world::{World, backup, check_clean, dump, made};

fn source(files: u64) -> ModelSource {
    (0..files)
        .fold(ModelSource::new("/data"), |source, number| source.file(&format!("{number:03}"), &noise(number, 1 << 20)))
}

fn small_packs() -> InitOptions {
    InitOptions::new().pack_bytes(1 << 20)
}

#[test]
fn a_cancelled_backup_leaves_no_snapshot_and_the_next_one_stores_less() {
    let world = World::new();
    let cancel = Cancel::new();
    let mut repository = world.init_with(&small_packs(), world.options().cancel(cancel.clone()));
    let options = BackupOptions::new().checkpoint_bytes(1 << 20);
    let outcome = repository.backup(&source(40).cancel_after(30, cancel), &options, &Silent);
    assert!(matches!(outcome, Err(Error::Interrupted)), "{outcome:?}");
    drop(repository);
    let mut repository = world.open();
    assert_eq!((repository.snapshots().len(), repository.problems().count()), (0, 0));
    let report = backup(&mut repository, &source(40));
    assert_eq!(report.counts.files_new, 40);
    assert!(report.counts.new_chunk_bytes < 38 << 20, "{:?}", report.counts);
    assert_eq!(dump(&repository, &made(&repository, &report), b"/data/007"), noise(7, 1 << 20));
    check_clean(&mut repository);
}

#[test]
fn checkpoints_come_after_bytes_and_after_time() {
    let entries = |options: BackupOptions| {
        let world = World::new();
        let mut repository = world.init_with(&small_packs(), world.options());
        // So much that packs have arrived long before the walk ends: only those can be named.
        repository.backup(&source(64), &options, &Silent).unwrap();
        world.open().stats().unwrap().entries
    };
    let none = entries(BackupOptions::new());
    assert!(entries(BackupOptions::new().checkpoint_bytes(2 << 20)) > none);
    assert!(entries(BackupOptions::new().checkpoint_seconds(0)) > none);
}

#[test]
fn what_checkpoints_named_is_not_stored_again_in_the_same_run_or_process() {
    let world = World::new();
    let mut repository = world.init_with(&small_packs(), world.options());
    // The same contents once more, behind all checkpoints of the first.
    let twice =
        (0..40).fold(source(40), |source, number| source.file(&format!("again-{number:03}"), &noise(number, 1 << 20)));
    let options = BackupOptions::new().checkpoint_chunks(20);
    let entries = world.open().stats().unwrap().entries;
    let report = repository.backup(&twice, &options, &Silent).unwrap();
    assert!(world.open().stats().unwrap().entries > entries + 2, "checkpoints come after chunks");
    assert_eq!((report.counts.files_new, report.counts.new_chunk_bytes >> 20), (80, 40));
    assert_eq!(dump(&repository, &made(&repository, &report), b"/data/again-039"), noise(39, 1 << 20));
    let again = repository.backup(&twice, &options.clone().parent(None), &Silent).unwrap();
    assert_eq!((again.counts.new_chunk_bytes, again.counts.packs_written), (0, 0));
    check_clean(&mut repository);
}

#[test]
fn a_cancelled_verb_ends_at_once_and_can_be_repeated() {
    let world = World::new();
    backup(&mut world.init(), &source(3));
    let cancel = Cancel::new();
    let mut repository = world.open_with(world.options().cancel(cancel.clone()));
    let id = repository.snapshots()[0].id;
    cancel.cancel();
    let directory = tempfile::tempdir().unwrap();
    let restored = repository.restore(id, None, &directory.path().join("x"), &Default::default(), &Silent);
    assert!(matches!(restored, Err(Error::Interrupted)), "{restored:?}");
    assert!(matches!(repository.check(&Default::default(), &Silent), Err(Error::Interrupted)));
    assert!(matches!(repository.backup(&source(3), &Default::default(), &Silent), Err(Error::Interrupted)));
    check_clean(&mut world.open());
}
