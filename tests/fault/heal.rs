//! Damage, and what heals it: a restore or a check voids what it found bad, the next backup of the same source stores it anew, and old snapshots are whole again.

use backup_core::id::EntryId;
use backup_core::ops::restore::{RestoreOptions, RestoreReport};
use backup_core::progress::Silent;
use backup_core::{ErrorKind, Repository};
use opendal::Operator;

use crate::faulty::{Faults, Mode};
use crate::source::{ROOT, Tree};
use crate::world::{World, assert_holds, backup, check, contents, medium, objects, snapshot_ids, storage};

/// Restores all, and asserts that what is there is right and what is not there is named.
pub(crate) fn restore(repository: &mut Repository, id: EntryId, tree: &Tree) -> RestoreReport {
    let target = tempfile::tempdir().unwrap();
    let report = repository.restore(id, None, target.path(), &RestoreOptions::new(), &Silent).unwrap();
    for (path, bytes) in tree.contents() {
        let place = target.path().join(std::str::from_utf8(&path[1..]).unwrap());
        let is_damaged = report.files_damaged.iter().any(|damaged| path.starts_with(damaged));
        match std::fs::read(&place) {
            Ok(found) => assert!(found == bytes && !is_damaged, "{} is not what it was", place.display()),
            Err(_) => assert!(is_damaged, "{} is missing, and nothing said so", place.display()),
        }
    }
    report
}

/// The longest object in an area.
pub(crate) fn longest(medium: &Operator, area: &str) -> (String, Vec<u8>) {
    let all = objects(medium).into_iter().filter(|(name, _)| name.starts_with(area));
    all.max_by_key(|(_, bytes)| bytes.len()).unwrap()
}

/// Damages a repository, lets a restore find it, backs the same source up again, and asserts that both snapshots are whole.
fn heal(harm: &dyn Fn(&Operator)) {
    let (world, medium, tree) = (World::lasting(), medium(), Tree::sample(3, 300_000));
    let old = backup(&mut world.init(&medium).unwrap(), &tree).unwrap();
    harm(&medium);
    let mut repository = world.open(&medium).unwrap();
    assert!(!restore(&mut repository, old, &tree).files_damaged.is_empty());
    drop(repository);
    let mut repository = world.open(&medium).unwrap();
    let new = backup(&mut repository, &tree).unwrap();
    for mut repository in [repository, world.open(&medium).unwrap()] {
        for id in [old, new] {
            assert_holds(&repository, id, &tree, "healed");
            assert_eq!(restore(&mut repository, id, &tree).files_damaged, Vec::<Vec<u8>>::new());
        }
        let harmed: Vec<_> =
            check(&mut repository).damage.into_iter().filter(|damage| !damage.snapshots.is_empty()).collect();
        assert_eq!(harmed, []);
    }
}

fn flip(medium: &Operator, area: &str, place: usize) {
    let (name, mut bytes) = longest(medium, area);
    bytes[place] ^= 1;
    storage(medium).write(&name, bytes).unwrap();
}

#[test]
fn a_damaged_frame_of_content_is_stored_anew() {
    heal(&|medium| flip(medium, "packs/", 2000));
}

#[test]
fn a_pack_that_is_gone_is_stored_anew() {
    heal(&|medium| storage(medium).delete(&longest(medium, "packs/").0).unwrap());
}

#[test]
fn a_damaged_frame_of_nodes_is_stored_anew() {
    heal(&|medium| {
        let (name, mut bytes) = longest(medium, "meta/");
        // The table stands at the end; every frame before it is hit.
        let end = bytes.len() - 1500;
        (200..end).step_by(300).for_each(|place| bytes[place] ^= 1);
        storage(medium).write(&name, bytes).unwrap();
    });
}

#[test]
fn a_pack_of_nodes_that_is_gone_is_stored_anew() {
    heal(&|medium| storage(medium).delete(&longest(medium, "meta/").0).unwrap());
}

#[test]
fn a_backup_that_meets_a_damaged_parent_does_not_rely_on_it() {
    let (world, medium, tree) = (World::lasting(), medium(), Tree::sample(3, 300_000));
    backup(&mut world.init(&medium).unwrap(), &tree).unwrap();
    flip(&medium, "meta/", 300);
    let mut repository = world.open(&medium).unwrap();
    let changed = tree.with("inline", b"other".to_vec());
    let new = backup(&mut repository, &changed).unwrap();
    assert_holds(&repository, new, &changed, "after the parent was damaged");
}

#[test]
fn a_repaired_snapshot_holds_what_is_left() {
    let (world, medium, tree) = (World::lasting(), medium(), Tree::sample(3, 300_000));
    let old = backup(&mut world.init(&medium).unwrap(), &tree).unwrap();
    flip(&medium, "packs/", 2000);
    let mut repository = world.open(&medium).unwrap();
    let lost = restore(&mut repository, old, &tree).files_damaged;
    let report = repository.repair_snapshots(&Silent).unwrap();
    assert_eq!(report.snapshots.len(), 1);
    assert_eq!(report.snapshots[0].lost_paths, lost);
    let mut expected = tree.contents();
    lost.iter().for_each(|path| drop(expected.remove(path)));
    let repository = world.open(&medium).unwrap();
    assert_eq!(snapshot_ids(&repository).len(), 2);
    assert!(contents(&repository, report.snapshots[0].new.unwrap()).unwrap() == expected);
}

#[test]
fn a_storage_that_only_reads_serves_all_that_looks() {
    let (world, medium, tree) = (World::lasting(), medium(), Tree::sample(3, 100_000));
    let id = backup(&mut world.init(&medium).unwrap(), &tree).unwrap();
    let faults = Faults::new(Mode::StopFrom(1));
    let frozen = medium.clone().layer(faults.layer());
    let mut repository = world.open(&frozen).unwrap();
    assert_holds(&repository, id, &tree, "read only");
    let report = restore(&mut repository, id, &tree);
    assert!(report.files_damaged.is_empty() && report.notes.iter().any(|note| note.kind == "unrecorded"));
    let report = check(&mut repository);
    assert!(report.damage.is_empty() && report.notes.iter().any(|note| note.kind == "unrecorded"));
    let verified =
        backup_core::ops::verify::verify_ledger(&storage(&frozen), Some(&world.key()), &[], world.options()).unwrap();
    assert_eq!(verified.problems, []);
    assert_eq!(backup(&mut repository, &tree.with("new", ROOT.to_vec())).unwrap_err().kind(), ErrorKind::Storage);
}
