//! What saves requests is never relied on: index segments may be damaged, lost or swapped, and slots of other holders, too.

use backup_core::keyring::Key;
use backup_core::progress::Silent;
use backup_core::{Error, PasswordCost};

use crate::faulty::{Faults, Mode};
use crate::source::{Tree, noise};
use crate::world::{Objects, World, assert_holds, backup, check, medium, medium_of, objects};

/// A tree of many packs.
fn tree_of_many_packs() -> Tree {
    (0..8u64).fold(Tree::sample(5, 50_000), |tree, part| tree.with(&format!("parts/{part}"), noise(part + 50, 400_000)))
}

fn names(objects: &Objects, area: &str) -> Vec<String> {
    objects.keys().filter(|name| name.starts_with(area)).cloned().collect()
}

#[test]
fn a_damaged_index_segment_changes_nothing() {
    let (world, medium, tree) = (World::lasting(), medium(), tree_of_many_packs());
    let mut repository = world.init(&medium).unwrap();
    let id = backup(&mut repository, &tree).unwrap();
    drop(repository);
    let whole = objects(&medium);
    let segments = names(&whole, "index/");
    assert!(!segments.is_empty(), "{:?}", whole.keys());
    for name in &segments {
        let length = whole[name].len();
        for place in [0, 20, 60, 97, length / 2, length - 1].map(Some).into_iter().chain([None]) {
            let mut objects = whole.clone();
            match place {
                Some(place) => objects.get_mut(name).unwrap()[place] ^= 4,
                None => drop(objects.insert(name.clone(), whole[name][..length / 2].to_vec())),
            }
            let when = format!("{name} at {place:?}");
            let mut repository = world.copied().open(&medium_of(&objects)).unwrap();
            assert_holds(&repository, id, &tree, &when);
            assert_eq!(check(&mut repository).damage, [], "{when}");
        }
    }
}

#[test]
fn repair_makes_segments_anew() {
    let (world, medium, tree) = (World::lasting(), medium(), tree_of_many_packs());
    let mut repository = world.init(&medium).unwrap();
    let id = backup(&mut repository, &tree).unwrap();
    drop(repository);
    let mut without = objects(&medium);
    without.retain(|name, _| !name.starts_with("index/"));
    let medium = medium_of(&without);
    let mut repository = world.copied().open(&medium).unwrap();
    assert_holds(&repository, id, &tree, "without segments");
    let report = repository.repair_index(&Silent).unwrap();
    assert!(report.segments_written > 0 && report.segments_removed == 0, "{report:?}");
    assert_eq!(names(&objects(&medium), "index/").len() as u64, report.segments_written);
    assert_holds(&world.copied().open(&medium).unwrap(), id, &tree, "with new segments");
}

#[test]
fn swapped_slots_are_noticed_and_do_not_open() {
    let (world, medium) = (World::lasting(), medium());
    let mut repository = world.init(&medium).unwrap();
    let other: Key = world.new_key();
    repository.add_key(&other, "other", PasswordCost::default()).unwrap();
    drop(repository);
    let mut swapped = objects(&medium);
    let [one, two] = names(&swapped, "keys/").try_into().unwrap();
    let bytes = swapped.insert(one, swapped[&two].clone()).unwrap();
    swapped.insert(two, bytes);
    let opened = world.copied().open(&medium_of(&swapped));
    assert!(matches!(opened, Err(Error::Damaged { .. })), "{opened:?}");
}

#[test]
fn recording_what_was_found_bad_can_fail_at_every_write() {
    let (world, medium, tree) = (World::lasting(), medium(), tree_of_many_packs());
    let mut repository = world.init(&medium).unwrap();
    let id = backup(&mut repository, &tree).unwrap();
    drop(repository);
    let mut harmed = objects(&medium);
    let pack = names(&harmed, "packs/").remove(0);
    let middle = harmed[&pack].len() / 2;
    harmed.get_mut(&pack).unwrap()[middle] ^= 1;
    let faults = Faults::new(Mode::Count);
    check(&mut world.copied().open(&medium_of(&harmed).layer(faults.layer())).unwrap());
    assert!(faults.mutations() >= 2, "a void and a check are recorded");
    for k in 1..=faults.mutations() {
        for mode in [Mode::FailAt(k), Mode::StopFrom(k), Mode::Tear(k), Mode::Unanswered(k)] {
            let (world, medium) = (world.copied(), medium_of(&harmed));
            let found = check(&mut world.open(&medium.clone().layer(Faults::new(mode).layer())).unwrap()).damage;
            assert!(found.iter().any(|damage| damage.object.contains(&pack)), "{mode:?}: {found:?}");
            // Whatever was recorded: the next backup makes everything whole again.
            let mut repository = world.open(&medium).unwrap();
            check(&mut repository);
            let again = backup(&mut repository, &tree).unwrap();
            assert_holds(&repository, again, &tree, &format!("{mode:?}"));
            assert_holds(&world.open(&medium).unwrap(), id, &tree, &format!("{mode:?}, the snapshot before"));
        }
    }
}
