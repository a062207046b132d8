//! Objects of formats to come: refused with a word of their own, never taken for damage, and what is understood stays readable.

use backup_core::progress::Silent;
use backup_core::{Error, ErrorKind, Repository};

use crate::kit::model_source::ModelSource;
use crate::kit::world::{World, backup, dump};

/// Place of the least version that a reader must have, in the header of every object.
const READER_VERSION: usize = 12;
/// Place of the flags that a reader must understand.
const FLAGS: usize = 16;

fn open_error(world: &World) -> Error {
    Repository::open(world.storage(), &world.key, world.options()).expect_err("it cannot be opened")
}

fn stored() -> World {
    let world = World::new();
    backup(&mut world.init(), &ModelSource::new("/data").file("a", &crate::kit::noise(1, 10_000)));
    world
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_string()
}

#[test]
fn storage_without_a_repository_says_so() {
    let error = open_error(&World::new());
    assert!(matches!(error, Error::NoRepository { .. }));
    assert_eq!(error.kind(), ErrorKind::NoRepository);
}

#[test]
fn a_newer_repository_is_refused() {
    for place in [READER_VERSION - 2, FLAGS] {
        let world = stored();
        let mut object = world.storage().read("repository", 1 << 20).unwrap();
        object[place] = 2;
        object[READER_VERSION] = if place == FLAGS { 1 } else { 2 };
        world.storage().write("repository", object).unwrap();
        let error = open_error(&world);
        assert!(matches!(&error, Error::Newer { object, .. } if object == "repository"), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::NoRepository);
    }
}

#[test]
fn a_newer_key_slot_is_told_apart_from_a_wrong_key() {
    let world = stored();
    let name = world.names("keys/").remove(0);
    let mut object = world.storage().read(&name, 1 << 20).unwrap();
    object[FLAGS] = 1;
    world.storage().write(&format!("keys/{}", hash(&object)), object).unwrap();
    // The old one still opens.
    world.open();
    world.storage().delete(&name).unwrap();
    assert!(matches!(open_error(&world), Error::Newer { .. }));
}

#[test]
fn a_newer_ledger_entry_makes_the_repository_read_only() {
    let world = stored();
    let name = world.names("ledger/").pop().unwrap();
    let mut object = world.storage().read(&name, 1 << 20).unwrap();
    object[FLAGS] = 1;
    let (writer, sequence) = (name.split('/').nth(1).unwrap(), "00000000000000ff");
    world.storage().write(&format!("ledger/{writer}/{sequence}-{}", hash(&object)), object).unwrap();
    let mut repository = world.open();
    let before = world.names("");
    let snapshot = repository.snapshots()[0].clone();
    assert_eq!(dump(&repository, &snapshot, b"/data/a"), crate::kit::noise(1, 10_000));
    let error = repository.backup(&ModelSource::new("/data"), &Default::default(), &Silent).unwrap_err();
    assert!(matches!(error, Error::Newer { .. }), "{error:?}");
    let directory = tempfile::tempdir().unwrap();
    let report = repository.restore(snapshot.id, None, directory.path(), &Default::default(), &Silent).unwrap();
    assert_eq!(report.notes.iter().map(|note| note.kind).collect::<Vec<_>>(), ["unrecorded"]);
    assert_eq!(world.names(""), before);
}

#[test]
fn objects_that_no_program_made_are_ignored() {
    let world = stored();
    for name in ["README", "packs/standard/notes", "ledger/x", "keys/zz", "index/standard/aa/bb"] {
        world.storage().write(name, b"what is this".to_vec()).unwrap();
    }
    let mut repository = world.open();
    assert_eq!(repository.problems().count(), 0);
    crate::kit::world::check_clean(&mut repository);
}
