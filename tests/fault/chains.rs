//! Damage to what patches were made from: every snapshot and path above it is named, by check and restore alike; a repair leaves out what is lost, and the next backup stores it anew.

use std::collections::{BTreeMap, BTreeSet};

use backup_core::id::EntryId;
use backup_core::ops::check::{CheckOptions, Damage};
use backup_core::progress::Silent;
use opendal::Operator;

use crate::heal::restore;
use crate::source::{Tree, noise};
use crate::world::{Objects, World, assert_holds, backup, check, medium, medium_of, objects, snapshot_ids};

const STEPS: u64 = 12;

/// Snapshots of one file that changes a little each time, of one that changes once, and of one that never does.
struct Place {
    world: World,
    objects: Objects,
    snapshots: Vec<(EntryId, Tree)>,
    /// The objects that each backup added.
    added: Vec<Vec<String>>,
}

impl Place {
    fn new() -> Self {
        let (world, medium) = (World::lasting(), medium());
        let mut repository = world.init(&medium).unwrap();
        let mut content = noise(1, 40_000);
        let mut tree = Tree::default().with("still", noise(2, 9_000)).with("once", noise(3, 20_000));
        let (mut snapshots, mut added, mut known) = (Vec::new(), Vec::new(), BTreeSet::new());
        for step in 0..STEPS {
            let place = (step as usize * 7_919) % 39_000;
            content[place..place + 50].copy_from_slice(&noise(100 + step, 50));
            tree = tree.with("changing", content.clone());
            if step == STEPS / 2 {
                let mut once = noise(3, 20_000);
                once[10_000..10_010].fill(0);
                tree = tree.with("once", once);
            }
            snapshots.push((backup(&mut repository, &tree).unwrap(), tree.clone()));
            let names: BTreeSet<String> = objects(&medium).into_keys().collect();
            added.push(names.difference(&known).cloned().collect());
            known = names;
        }
        let stats = repository.stats().unwrap();
        assert!(stats.patched_chunks > STEPS, "{stats:?}");
        assert!(stats.stored.of_packs() == stats.stored_bytes && stats.stored_bytes < 250_000, "{stats:?}");
        drop(repository);
        Self { world, objects: objects(&medium), snapshots, added }
    }

    fn packs(&self, step: usize) -> Vec<&String> {
        self.added[step].iter().filter(|name| name.starts_with("packs/") || name.starts_with("meta/")).collect()
    }

    fn flipped(&self, name: &str, place: usize) -> Operator {
        let mut objects = self.objects.clone();
        objects.get_mut(name).unwrap()[place] ^= 1;
        medium_of(&objects)
    }

    fn without(&self, name: &str) -> Operator {
        let mut objects = self.objects.clone();
        objects.remove(name);
        medium_of(&objects)
    }

    /// Asserts that check and restore name the same paths of the same snapshots, and returns how many snapshots lack something.
    fn expect_named(&self, medium: &Operator, when: &str) -> usize {
        let damage = check(&mut self.world.copied().open(medium).unwrap()).damage;
        let mut lost: BTreeMap<EntryId, BTreeSet<Vec<u8>>> = BTreeMap::new();
        for (id, tree) in &self.snapshots {
            // Each in a process of its own, which knows nothing of what was found before.
            let mut repository = self.world.elsewhere().open(&medium_of(&objects(medium))).unwrap();
            let damaged = restore(&mut repository, *id, tree).files_damaged;
            if !damaged.is_empty() {
                lost.insert(*id, damaged.into_iter().collect());
            }
        }
        let named: BTreeSet<EntryId> = damage.iter().flat_map(|damage| damage.snapshots.clone()).collect();
        assert_eq!(named, lost.keys().copied().collect(), "{when}: {damage:?}");
        let paths: BTreeSet<Vec<u8>> = damage.iter().flat_map(|damage| damage.paths.clone()).collect();
        assert_eq!(paths, lost.values().flatten().cloned().collect(), "{when}: {damage:?}");
        lost.len()
    }

    /// Asserts that a check that reads no content names what one does that reads it all.
    fn expect_named_without_reading(&self, medium: &Operator, when: &str) {
        let named = |damage: Vec<Damage>| {
            let named = damage.into_iter().map(|damage| (damage.object, damage.snapshots, damage.paths));
            named.collect::<BTreeSet<_>>()
        };
        let structure = self.world.copied().open(medium).unwrap().check(&CheckOptions::new(), &Silent).unwrap();
        let all = check(&mut self.world.elsewhere().open(&medium_of(&objects(medium))).unwrap());
        assert_eq!(named(structure.damage), named(all.damage), "{when}");
    }

    /// Asserts that a backup after a check makes the newest content whole, and that a repair leaves nothing broken in what it makes.
    fn expect_healed(&self, medium: &Operator, when: &str) {
        let (world, newest) = (self.world.copied(), &self.snapshots.last().unwrap().1);
        check(&mut world.open(medium).unwrap());
        let new = backup(&mut world.open(medium).unwrap(), newest).unwrap();
        let mut repository = world.open(medium).unwrap();
        assert_holds(&repository, new, newest, when);
        let repaired = repository.repair_snapshots(&Silent).unwrap().snapshots;
        drop(repository);
        let repository = world.open(medium).unwrap();
        let made: Vec<EntryId> = repaired.iter().filter_map(|repaired| repaired.new).collect();
        assert!(made.iter().all(|id| snapshot_ids(&repository).contains(id)), "{when}");
        for repaired in &repaired {
            let Some(id) = repaired.new else { continue };
            let (_, tree) = self.snapshots.iter().find(|(old, _)| *old == repaired.old).unwrap();
            let found = crate::world::contents(&repository, id).unwrap();
            let is_lost = |path: &Vec<u8>| repaired.lost_paths.iter().any(|lost| path.starts_with(lost));
            let expected: BTreeMap<_, _> = tree.contents().into_iter().filter(|(path, _)| !is_lost(path)).collect();
            assert!(found == expected, "{when}: {:?}", repaired.lost_paths);
        }
    }
}

#[test]
fn a_lost_pack_takes_the_snapshots_above_it_and_no_others() {
    let place = Place::new();
    let mut most = 0;
    for step in 0..STEPS as usize {
        for name in place.packs(step) {
            let when = format!("without {name} of step {step}");
            place.expect_named_without_reading(&place.without(name), &when);
            let lost = place.expect_named(&place.without(name), &when);
            assert!(lost <= STEPS as usize - step, "{when}: {lost}");
            most = most.max(lost);
        }
    }
    assert_eq!(most, STEPS as usize, "everything hangs on the first");
}

#[test]
fn a_flipped_bit_in_any_base_is_named_with_all_that_was_made_from_it() {
    let place = Place::new();
    for step in [0, 1, STEPS as usize / 2] {
        for name in place.packs(step) {
            let length = place.objects[name].len();
            for at in [97, length / 3, length / 2, length - 200] {
                let when = format!("{at} of {name} of step {step}");
                place.expect_named(&place.flipped(name, at), &when);
            }
        }
    }
}

#[test]
fn after_damage_to_a_base_backups_store_it_anew_and_repairs_leave_it_out() {
    let place = Place::new();
    for step in [0, 2, STEPS as usize / 2] {
        for name in place.packs(step) {
            place.expect_healed(&place.without(name), &format!("without {name} of step {step}"));
            let middle = place.objects[name].len() / 3;
            place.expect_healed(&place.flipped(name, middle), &format!("{middle} of {name} of step {step}"));
        }
    }
}
