//! The crash sweep: the storage mutations of a verb are counted, then for every one of them the verb fails there, stops there, tears that write, or is told
//! of a failure though the write arrived. Afterwards nothing that was committed is harmed, and the verb can be done again.

use backup_core::id::EntryId;
use backup_core::ops::restore::RestoreOptions;
use backup_core::progress::Silent;
use backup_core::{PasswordCost, Repository, Result};

use crate::faulty::{Faults, Mode};
use crate::source::Tree;
use crate::world::{Objects, medium};
use crate::world::{World, assert_holds, backup, check, medium_of, objects, snapshot_ids};

/// What can happen at the k-th mutation.
const FATES: [fn(u64) -> Mode; 4] = [Mode::FailAt, Mode::StopFrom, Mode::Tear, Mode::Unanswered];

/// A repository with one snapshot, to begin from again and again.
struct Start {
    world: World,
    objects: Objects,
    snapshots: Vec<(EntryId, Tree)>,
}

impl Start {
    fn new(world: World) -> Self {
        let (medium, tree) = (medium(), Tree::sample(7, 90_000));
        let id = backup(&mut world.init(&medium).unwrap(), &tree).unwrap();
        Self { world, objects: objects(&medium), snapshots: vec![(id, tree)] }
    }

    /// Does something once with each fate of each of its mutations. `also` may be in a snapshot afterwards.
    fn sweep(&self, also: Option<&Tree>, verb: &dyn Fn(&mut Repository) -> Result<()>) {
        let faults = Faults::new(Mode::Count);
        let world = self.world.copied();
        verb(&mut world.open(&medium_of(&self.objects).layer(faults.layer())).unwrap()).unwrap();
        assert!(faults.mutations() > 0);
        for k in 1..=faults.mutations() {
            for fate in FATES {
                self.crash(fate(k), also, verb);
            }
        }
    }

    fn crash(&self, mode: Mode, also: Option<&Tree>, verb: &dyn Fn(&mut Repository) -> Result<()>) {
        let when = format!("{mode:?}");
        let (world, medium, faults) = (self.world.copied(), medium_of(&self.objects), Faults::new(mode));
        let outcome = {
            let mut repository = world.open(&medium.clone().layer(faults.layer())).unwrap();
            verb(&mut repository)
        };
        let torn = torn(&self.objects, &objects(&medium), mode);
        let mut repository = world.open(&medium).unwrap();
        let done = self.assert_unharmed(&repository, also, &when);
        assert!(outcome.is_err() || also.is_none() || done >= 1, "{when}: success was reported");
        for damage in check(&mut repository).damage {
            let of_torn = torn.as_ref().is_some_and(|torn| damage.object.contains(torn.as_str()));
            assert!(of_torn && damage.snapshots.is_empty(), "{when}: {damage:?}");
        }
        drop(repository);
        let mut repository = world.open(&medium).unwrap();
        verb(&mut repository).unwrap_or_else(|error| panic!("{when}: again: {error}"));
        drop(repository);
        let repository = world.open(&medium).unwrap();
        let done = self.assert_unharmed(&repository, also, &when);
        assert!(also.is_none() || done >= 1, "{when}: again");
        self.assert_no_forks(&repository, &when);
    }

    /// Asserts that snapshots from before hold what they held, and others `also`. Returns how many others there are.
    fn assert_unharmed(&self, repository: &Repository, also: Option<&Tree>, when: &str) -> usize {
        let mut others = snapshot_ids(repository);
        for (id, tree) in &self.snapshots {
            assert!(others.contains(id), "{when}: a snapshot is gone");
            others.retain(|other| other != id);
            assert_holds(repository, *id, tree, when);
        }
        for id in &others {
            assert_holds(repository, *id, also.unwrap(), when);
        }
        others.len()
    }

    fn assert_no_forks(&self, repository: &Repository, when: &str) {
        assert_eq!(repository.forks(), [], "{when}");
    }
}

/// The object that a torn write left, shorter than its name says.
fn torn(before: &Objects, after: &Objects, mode: Mode) -> Option<String> {
    let is_torn = |(name, bytes): &(&String, &Vec<u8>)| {
        let hash = blake3::hash(bytes).to_hex();
        !before.contains_key(*name) && !name.ends_with(hash.as_str())
    };
    let torn = after.iter().filter(|_| matches!(mode, Mode::Tear(_))).find(is_torn);
    torn.map(|(name, _)| name.clone())
}

/// A tree that shares a part with the first, and needs several packs, a checkpoint and nodes.
fn second_tree() -> Tree {
    let large = crate::source::noise(99, 300_000);
    let tree = Tree::sample(7, 90_000).with("large", large).with("new/file", vec![3; 1000]);
    tree.with("texts/deep/05.txt", b"changed ".repeat(50))
}

fn sweep_backup(world: World) {
    let (start, tree) = (Start::new(world), second_tree());
    start.sweep(Some(&tree), &|repository| backup(repository, &tree).map(drop));
}

#[test]
fn a_backup_of_many_packs_can_stop_at_its_last_writes() {
    let start = Start::new(World::lasting());
    let part = |part: u32| (0..60_000).map(|line| format!("{part} {line:08}\n")).collect::<String>().into_bytes();
    let tree = (0..14).fold(second_tree(), |tree, number| tree.with(&format!("parts/{number}"), part(number)));
    let (medium, faults) = (medium_of(&start.objects), Faults::new(Mode::Count));
    let world = start.world.copied();
    backup(&mut world.open(&medium.clone().layer(faults.layer())).unwrap(), &tree).unwrap();
    let made: Vec<String> = objects(&medium).into_keys().filter(|name| !start.objects.contains_key(name)).collect();
    let count = |area: &str| made.iter().filter(|name| name.starts_with(area)).count();
    assert!(count("packs/") >= 8 && count("ledger/") >= 1 && count("index/") == 1, "{made:?}");
    for mode in [Mode::Tear(faults.mutations()), Mode::StopFrom(faults.mutations() / 2)] {
        start.crash(mode, Some(&tree), &|repository| backup(repository, &tree).map(drop));
    }
}

#[test]
fn a_backup_can_stop_at_any_write() {
    sweep_backup(World::lasting());
}

#[test]
fn a_backup_without_state_can_stop_at_any_write() {
    sweep_backup(World::ephemeral());
}

#[test]
fn a_backup_that_failed_can_be_done_again_by_the_same_process() {
    for world in [World::lasting(), World::ephemeral()] {
        let (start, tree) = (Start::new(world), second_tree());
        let twice = |repository: &mut Repository| match backup(repository, &tree) {
            Ok(_) => Ok(()),
            Err(_) => backup(repository, &tree).map(drop),
        };
        start.sweep(Some(&tree), &twice);
    }
}

#[test]
fn adding_a_key_can_stop_at_any_write() {
    for world in [World::lasting(), World::ephemeral()] {
        let start = Start::new(world);
        let key = start.world.new_key();
        start.sweep(None, &|repository| repository.add_key(&key, "second", PasswordCost::default()).map(drop));
    }
}

#[test]
fn a_restore_can_stop_at_its_entry() {
    for world in [World::lasting(), World::ephemeral()] {
        let start = Start::new(world);
        let id = start.snapshots[0].0;
        start.sweep(None, &|repository| {
            let target = tempfile::tempdir().unwrap();
            let report = repository.restore(id, None, target.path(), &RestoreOptions::new(), &Silent)?;
            assert_eq!(report.files_damaged, Vec::<Vec<u8>>::new());
            Ok(())
        });
    }
}

#[test]
fn a_check_can_stop_at_its_entries() {
    for world in [World::lasting(), World::ephemeral()] {
        let start = Start::new(world);
        start.sweep(None, &|repository| {
            // Of a storage that fails, a check still tells what it found.
            check(repository);
            Ok(())
        });
    }
}
