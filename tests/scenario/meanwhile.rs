//! What others commit while a backup runs, or between two backups of a program that keeps the repository open.

use std::sync::{Arc, Barrier, Mutex};

use backup_core::ops::backup::{BackupOptions, BackupReport};
use backup_core::ops::restore::RestoreOptions;
use backup_core::repository::RepositoryOptions;
use backup_core::repository::open::InitOptions;

use crate::kit::meanwhile::Meanwhile;
use crate::kit::model_source::ModelSource;
use crate::kit::noise;
use crate::kit::world::{World, backup, backup_with, check_clean, dump, made, restore};

const FILE_BYTES: usize = 256 << 10;

/// Files by number, each of its own content, wherever they stand.
fn files(root: &str, numbers: std::ops::Range<u64>) -> ModelSource {
    numbers
        .fold(ModelSource::new(root), |source, number| source.file(&format!("{number:03}"), &noise(number, FILE_BYTES)))
}

fn small_packs(world: &World) {
    drop(world.init_with(&InitOptions::new().pack_bytes(1 << 20), world.options()));
}

fn assert_holds(world: &World, root: &str, report: &BackupReport, numbers: std::ops::Range<u64>) {
    let repository = world.open();
    let snapshot = made(&repository, report);
    for number in numbers {
        assert_eq!(dump(&repository, &snapshot, format!("{root}/{number:03}").as_bytes()), noise(number, FILE_BYTES));
    }
}

#[test]
fn a_repository_that_stays_open_finds_what_others_committed_at_the_cost_of_what_is_new() {
    let world = World::new();
    let mut first = world.init();
    for number in 0..8 {
        backup(&mut world.open(), &files("/early", number..number + 1));
    }
    backup(&mut first, &files("/first", 0..2));
    assert_eq!(first.snapshots().len(), 9);
    let two = backup(&mut world.open(), &files("/second", 2..4));
    let reads = first.storage().counts().reads;
    let three = backup(&mut first, &files("/third", 2..4));
    // A process without state writes two objects, and one pack.
    assert_eq!(first.storage().counts().reads - reads, 3);
    assert_eq!(first.snapshots().len(), 11);
    // Its own nodes are new, the content is not.
    assert!(three.counts.new_chunk_bytes < 10_000, "{:?}", three.counts);
    assert_eq!(dump(&first, &made(&first, &two), b"/second/003"), noise(3, FILE_BYTES));
    let lists = first.storage().counts().lists;
    first.refresh().unwrap();
    let counts = first.storage().counts();
    assert_eq!((counts.lists - lists, first.snapshots().len()), (1, 11));
    check_clean(&mut first);
}

#[test]
fn two_that_store_the_same_at_once_both_succeed_and_the_later_one_reports_the_surplus() {
    let world = World::new();
    drop(world.init());
    let (other, reports) = (world.clone(), Arc::new(Mutex::new(Vec::new())));
    let into = Arc::clone(&reports);
    let meanwhile = move || into.lock().unwrap().push(backup(&mut other.open(), &files("/data", 0..6)));
    let late = backup(&mut world.open(), &Meanwhile::new(files("/data", 0..6), 6, meanwhile));
    let early = reports.lock().unwrap().pop().unwrap();
    assert_eq!((early.surplus_bytes, late.counts.new_chunks), (0, early.counts.new_chunks));
    assert_eq!(late.surplus_bytes, late.counts.stored_bytes);
    for report in [&early, &late] {
        assert_holds(&world, "/data", report, 0..6);
    }
    check_clean(&mut world.open());
}

#[test]
fn only_what_others_committed_counts_as_surplus() {
    let world = World::new();
    drop(world.init());
    let other = world.clone();
    let meanwhile = move || drop(backup(&mut other.open(), &files("/other", 2..4)));
    let report = backup(&mut world.open(), &Meanwhile::new(files("/data", 0..8), 8, meanwhile));
    let share = report.surplus_bytes as f64 / report.counts.stored_bytes as f64;
    assert!((0.24..0.26).contains(&share), "{share} of {report:?}");
    // Alone, there is none.
    let report = backup(&mut world.open(), &files("/alone", 10..12));
    assert_eq!(report.surplus_bytes, 0);
}

#[test]
fn a_running_backup_finds_at_its_checkpoints_what_others_committed() {
    let world = World::new();
    small_packs(&world);
    let other = world.clone();
    let meanwhile = move || drop(backup(&mut other.open(), &files("/other", 100..200)));
    let options = BackupOptions::new().checkpoint_bytes(4 << 20);
    let mut repository = world.open();
    let report = backup_with(&mut repository, &Meanwhile::new(files("/data", 0..200), 40, meanwhile), &options);
    // Up to the checkpoint that comes next everything is stored, from there on nothing that the other one has.
    let stored = report.counts.new_chunk_bytes / FILE_BYTES as u64;
    assert!((100..130).contains(&stored), "{stored} files' worth were stored");
    assert_eq!(repository.snapshots().len(), 2);
    assert_eq!(dump(&repository, &made(&repository, &report), b"/data/180"), noise(180, FILE_BYTES));
    // The same process can rely on it afterwards.
    let again = backup(&mut repository, &files("/again", 100..200));
    assert!(again.counts.new_chunk_bytes < 100_000, "{:?}", again.counts);
    assert_holds(&world, "/data", &report, 95..105);
    check_clean(&mut world.open());
}

/// Runs four backups of equal data on threads of their own, which wait for one another before they commit.
fn four_at_once(world: &World, options: &(dyn Fn(usize) -> RepositoryOptions + Sync)) -> Vec<BackupReport> {
    let barrier = Arc::new(Barrier::new(4));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let barrier = Arc::clone(&barrier);
                let source = Meanwhile::new(files("/data", 0..20), 20, move || {
                    barrier.wait();
                });
                scope.spawn(move || backup(&mut world.open_with(options(number)), &source))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn four_at_once_on_equal_data_all_succeed_and_report_the_surplus() {
    let world = World::new();
    drop(world.init());
    let directory = tempfile::tempdir().unwrap();
    let reports = four_at_once(&world, &|_| world.lasting(&directory.path().join("state")));
    let stored: u64 = reports.iter().map(|report| report.counts.stored_bytes).sum();
    let surplus: u64 = reports.iter().map(|report| report.surplus_bytes).sum();
    let one = reports[0].counts.stored_bytes;
    assert!(surplus >= 3 * one / 100 * 95, "{surplus} of {stored}");
    let mut repository = world.open();
    assert_eq!((repository.snapshots().len(), repository.problems().count(), repository.forks().len()), (4, 0, 0));
    for report in &reports {
        assert!(report.surplus_bytes <= report.counts.stored_bytes);
        let target = directory.path().join(report.snapshot_id.unwrap().to_string());
        let restored = restore(&mut repository, report.snapshot_id, None, &target, &RestoreOptions::new());
        assert_eq!(restored.files_written, 20);
    }
    check_clean(&mut repository);
}

#[test]
fn readers_go_on_while_others_write() {
    let world = World::new();
    small_packs(&world);
    let kept = backup(&mut world.open(), &files("/kept", 0..10));
    let reader = world.clone();
    let (kept_too, seen) = (kept.clone(), Arc::new(Mutex::new(0)));
    let counted = Arc::clone(&seen);
    // In the middle of a backup, between two of its checkpoints.
    let meanwhile = move || {
        let mut repository = reader.open();
        assert_eq!(repository.snapshots().len(), 1);
        check_clean(&mut repository);
        let target = tempfile::tempdir().unwrap();
        let restored = restore(&mut repository, kept_too.snapshot_id, None, target.path(), &RestoreOptions::new());
        *counted.lock().unwrap() = restored.files_written;
    };
    let options = BackupOptions::new().checkpoint_bytes(2 << 20);
    let report = backup_with(&mut world.open(), &Meanwhile::new(files("/data", 20..80), 40, meanwhile), &options);
    assert_eq!(*seen.lock().unwrap(), 10);
    assert_holds(&world, "/data", &report, 20..25);
    check_clean(&mut world.open());
}
