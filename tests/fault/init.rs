//! The crash sweep over `init`: whatever it left, it can be done again, and what it reported to be a repository is one.

use crate::faulty::{Faults, Mode};
use crate::source::Tree;
use crate::world::{World, assert_holds, backup, check, medium};

fn init_again(mode: Mode) {
    for world in [World::lasting(), World::ephemeral()] {
        let (medium, faults, when) = (medium(), Faults::new(mode), format!("{mode:?}"));
        let is_made = world.init(&medium.clone().layer(faults.layer())).is_ok();
        let found = world.open(&medium);
        assert!(!is_made || found.is_ok(), "{when}");
        let mut repository = match found {
            Ok(repository) => repository,
            Err(_) => world.init(&medium).unwrap_or_else(|error| panic!("{when}: again: {error}")),
        };
        let tree = Tree::sample(1, 20_000);
        let id = backup(&mut repository, &tree).unwrap();
        assert_holds(&repository, id, &tree, &when);
        assert_eq!(check(&mut repository).damage, [], "{when}");
    }
}

#[test]
fn an_init_that_stopped_can_be_done_again_with_the_same_key() {
    let faults = Faults::new(Mode::Count);
    World::ephemeral().init(&medium().layer(faults.layer())).unwrap();
    for k in 1..=faults.mutations() {
        [Mode::FailAt, Mode::StopFrom, Mode::Unanswered].into_iter().for_each(|fate| init_again(fate(k)));
    }
}

#[test]
fn a_torn_init_can_be_done_again() {
    let faults = Faults::new(Mode::Count);
    World::ephemeral().init(&medium().layer(faults.layer())).unwrap();
    init_again(Mode::Tear(faults.mutations()));
}
