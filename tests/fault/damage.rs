//! The damage matrix: what is done to an object x every kind of object. It is noticed, named exactly, and harmless to the rest.

use std::collections::BTreeSet;

use backup_core::ErrorKind;
use backup_core::id::EntryId;
use opendal::Operator;

use crate::heal::restore;
use crate::source::Tree;
use crate::world::{Objects, World, backup, check, medium, medium_of, objects, snapshot_ids, storage};

/// What is done to one object; `usize` is a place in it.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Delete,
    Truncate,
    Flip(usize),
    Swap,
}

/// A repository with two snapshots that share nothing but the root's name.
struct Place {
    world: World,
    objects: Objects,
    first: (EntryId, Tree),
    second: (EntryId, Tree),
}

impl Place {
    fn new() -> Self {
        let (world, medium) = (World::lasting(), medium());
        let (first, second) = (Tree::sample(11, 200_000), Tree::default().with("other", vec![b'x'; 30_000]));
        let mut repository = world.init(&medium).unwrap();
        let first = (backup(&mut repository, &first).unwrap(), first);
        let second = (backup(&mut repository, &second).unwrap(), second);
        drop(repository);
        Self { world, objects: objects(&medium), first, second }
    }

    /// Names of objects in an area, those of the first backup first.
    fn names(&self, area: &str) -> Vec<String> {
        let mut names: Vec<&String> = self.objects.keys().filter(|name| name.starts_with(area)).collect();
        names.sort_by_key(|name| std::cmp::Reverse(self.objects[*name].len()));
        names.into_iter().cloned().collect()
    }

    fn harmed(&self, name: &str, harm: Harm) -> Operator {
        let mut objects = self.objects.clone();
        let bytes = objects[name].clone();
        match harm {
            Harm::Delete => drop(objects.remove(name)),
            Harm::Truncate => drop(objects.insert(name.to_owned(), bytes[..bytes.len() / 2].to_vec())),
            Harm::Flip(place) => {
                let place = place.min(bytes.len() - 1);
                objects.get_mut(name).unwrap()[place] ^= 0x10;
            }
            Harm::Swap => {
                let area = name.split('/').next().unwrap();
                let other = objects.keys().find(|other| *other != name && other.starts_with(area)).unwrap().clone();
                let others = objects.insert(other, bytes).unwrap();
                objects.insert(name.to_owned(), others);
            }
        }
        medium_of(&objects)
    }

    /// Harms something that opening does without, and asserts that check and restore name the same, and leave the rest whole.
    fn expect_named(&self, name: &str, harm: Harm) {
        let (world, medium) = (self.world.copied(), self.harmed(name, harm));
        let when = format!("{harm:?} of {name}");
        let mut repository = world.open(&medium).unwrap_or_else(|error| panic!("{when}: {error}"));
        let damage = check(&mut repository).damage;
        assert!(damage.iter().any(|damage| damage.object.contains(name)), "{when}: {damage:?}");
        let world = self.world.copied();
        let mut repository = world.open(&medium).unwrap();
        let mut lost = BTreeSet::new();
        for (id, tree) in [&self.first, &self.second] {
            if !snapshot_ids(&repository).contains(id) {
                continue;
            }
            let damaged = restore(&mut repository, *id, tree).files_damaged;
            let is_named = damage.iter().any(|damage| damage.snapshots.contains(id));
            assert_eq!(!damaged.is_empty(), is_named, "{when}: {damage:?}, {damaged:?}");
            lost.extend(damaged);
        }
        let named: BTreeSet<_> = damage.into_iter().flat_map(|damage| damage.paths).collect();
        assert_eq!(lost, named, "{when}");
    }
}

fn harms(length: usize) -> Vec<Harm> {
    let places = [0, 50, 97, length / 3, length / 2, length - 100, length - 1];
    [Harm::Delete, Harm::Truncate, Harm::Swap].into_iter().chain(places.map(Harm::Flip)).collect()
}

#[test]
fn damage_to_packs_is_named_by_check_and_restore_alike() {
    let place = Place::new();
    for area in ["packs/", "meta/"] {
        for name in place.names(area) {
            for harm in harms(place.objects[&name].len()) {
                if !(matches!(harm, Harm::Swap) && place.names(area).len() < 2) {
                    place.expect_named(&name, harm);
                }
            }
        }
    }
}

#[test]
fn damage_to_the_ledger_is_noticed_and_the_rest_of_it_counts() {
    let place = Place::new();
    for name in place.objects.keys().filter(|name| name.starts_with("ledger/")) {
        for harm in harms(place.objects[name].len()) {
            let world = place.world.copied();
            let repository = world.open(&place.harmed(name, harm));
            let repository = repository.unwrap_or_else(|error| panic!("{harm:?} of {name}: {error}"));
            let newest = place.objects.keys().rfind(|name| name.starts_with("ledger/")) == Some(name);
            let is_noticed = repository.problems().next().is_some();
            // That the newest is gone only the writer can tell, and it refuses to go on.
            assert!(is_noticed || (newest && matches!(harm, Harm::Delete)), "{harm:?} of {name}");
        }
    }
}

#[test]
fn a_writer_whose_last_entry_is_gone_refuses_to_go_on() {
    let place = Place::new();
    let newest = place.objects.keys().rfind(|name| name.starts_with("ledger/")).unwrap();
    let (world, medium) = (place.world.copied(), place.harmed(newest, Harm::Delete));
    let mut repository = world.open(&medium).unwrap();
    assert_eq!(backup(&mut repository, &place.second.1).unwrap_err().kind(), ErrorKind::RolledBack);
}

#[test]
fn a_damaged_repository_object_slot_or_period_is_told_from_a_wrong_key() {
    let place = Place::new();
    for name in place.objects.keys().filter(|name| name.starts_with("repository") || name.starts_with("keys/")) {
        for harm in harms(place.objects[name].len()).into_iter().filter(|harm| !matches!(harm, Harm::Swap)) {
            let opened = place.world.copied().open(&place.harmed(name, harm));
            let kind = opened.err().map(|error| error.kind());
            let right = match (harm, name.as_str()) {
                (Harm::Delete, "repository") => kind == Some(ErrorKind::NoRepository),
                (Harm::Delete, _) => kind == Some(ErrorKind::WrongKey),
                _ => matches!(kind, Some(ErrorKind::Corrupt | ErrorKind::NoRepository)),
            };
            assert!(right, "{harm:?} of {name}: {kind:?}");
        }
    }
    let period = &place.names("periods/")[0];
    for harm in harms(place.objects[period].len()).into_iter().filter(|harm| !matches!(harm, Harm::Swap)) {
        let world = place.world.copied();
        let medium = place.harmed(period, harm);
        let mut repository = world.open(&medium).unwrap();
        assert!(check(&mut repository).damage.iter().any(|damage| damage.object.contains(period.as_str())));
        assert_eq!(backup(&mut repository, &place.first.1).unwrap_err().kind(), ErrorKind::Corrupt);
        storage(&medium).write(period, place.objects[period].clone()).unwrap();
        let mut repository = world.open(&medium).unwrap();
        assert_eq!(restore(&mut repository, place.first.0, &place.first.1).files_damaged, Vec::<Vec<u8>>::new());
    }
}

/// The object of this kind of a second repository, which the same installation made with the same key.
fn foreign(place: &Place, area: &str) -> (String, Vec<u8>) {
    let medium = medium();
    place.world.elsewhere().init(&medium).unwrap();
    objects(&medium).into_iter().find(|(name, _)| name.starts_with(area)).unwrap()
}

#[test]
fn an_object_of_another_repository_with_the_same_key_is_refused_in_its_place() {
    let place = Place::new();
    for area in ["repository", "keys/", "periods/"] {
        let ((foreign_name, foreign), own) = (foreign(&place, area), &place.names(area)[0]);
        assert_ne!(foreign, place.objects[own], "the same {area} says nothing");
        let mut replaced = place.objects.clone();
        replaced.insert(own.clone(), foreign.clone());
        match (area, place.world.copied().open(&medium_of(&replaced))) {
            ("periods/", opened) => {
                let mut repository = opened.unwrap();
                assert!(check(&mut repository).damage.iter().any(|damage| damage.object.contains(own.as_str())));
                assert_eq!(backup(&mut repository, &place.first.1).unwrap_err().kind(), ErrorKind::Corrupt);
            }
            (_, opened) => assert_eq!(opened.err().map(|error| error.kind()), Some(ErrorKind::Corrupt), "{area}"),
        }
        if area != "repository" {
            // Beside the own one, under the name that is its hash, it does no harm.
            let mut beside = place.objects.clone();
            beside.insert(foreign_name, foreign);
            let mut repository =
                place.world.copied().open(&medium_of(&beside)).unwrap_or_else(|error| panic!("{area}: {error}"));
            assert_eq!(restore(&mut repository, place.first.0, &place.first.1).files_damaged, Vec::<Vec<u8>>::new());
        }
    }
}
