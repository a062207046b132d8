//! Key slots, and that secrets do not show.

use backup_core::keyring::{Key, KeyFile};
use backup_core::repository::open::InitOptions;
use backup_core::{Error, ErrorKind, PasswordCost, Repository};

use crate::kit::model_source::ModelSource;
use crate::kit::world::{World, backup};

fn key_file(world: &World) -> Key {
    Key::File(KeyFile::generate(&world.surroundings.environment()))
}

fn open(world: &World, key: &Key) -> backup_core::Result<Repository> {
    Repository::open(world.storage(), key, world.options())
}

#[test]
fn a_key_that_was_added_opens_until_it_is_removed() {
    let world = World::new();
    let mut repository = world.init();
    backup(&mut repository, &ModelSource::new("/data").file("a", b"a"));
    let second = key_file(&world);
    assert!(matches!(open(&world, &second), Err(Error::WrongKey { slots: 1 })));
    let id = repository.add_key(&second, "second", PasswordCost::default()).unwrap();
    assert_eq!(open(&world, &second).unwrap().snapshots().len(), 1);
    let labels: Vec<String> = repository.slots().unwrap().into_iter().map(|slot| slot.label).collect();
    assert_eq!(labels, ["first", "second"]);
    assert_eq!(repository.remove_key(&id.to_string()[..8]).unwrap(), id);
    assert!(matches!(open(&world, &second), Err(Error::WrongKey { slots: 1 })));
    assert_eq!(world.open().snapshots().len(), 1);
    assert_eq!(world.open().problems().count(), 0);
}

#[test]
fn whoever_was_added_can_remove_the_first_key() {
    let world = World::new();
    let mut repository = world.init();
    let second = key_file(&world);
    repository.add_key(&second, "second", PasswordCost::default()).unwrap();
    let mut other = open(&world, &second).unwrap();
    let first = other.slots().unwrap().into_iter().find(|slot| slot.label == "first").unwrap();
    other.remove_key(&first.id.to_string()).unwrap();
    assert_eq!(open(&world, &world.key).unwrap_err().kind(), ErrorKind::WrongKey);
    backup(&mut open(&world, &second).unwrap(), &ModelSource::new("/data"));
}

#[test]
fn the_last_key_slot_is_not_removed() {
    let world = World::new();
    let mut repository = world.init();
    let id = repository.slots().unwrap()[0].id.to_string();
    let error = repository.remove_key(&id).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    world.open();
    for unclear in ["", "zz"] {
        assert!(matches!(repository.remove_key(unclear), Err(Error::Usage { .. })));
    }
}

#[test]
fn a_passphrase_opens_and_another_one_does_not() {
    let world = World::new();
    let (right, wrong) = (Key::passphrase(*b"correct horse"), Key::passphrase(*b"correct horsf"));
    let init = InitOptions::new().label("me").further_key(world.key.clone(), "sheet");
    Repository::init(world.storage(), &right, &init, world.options()).unwrap();
    open(&world, &right).unwrap();
    assert!(matches!(open(&world, &wrong), Err(Error::WrongKey { slots: 2 })));
    let repository = world.open();
    let slots = repository.slots().unwrap();
    let mut holders: Vec<_> = slots.iter().map(|slot| (slot.holder, slot.label.as_str())).collect();
    holders.sort_unstable();
    assert_eq!(holders, [("key file", "sheet"), ("passphrase", "me")]);
}

#[test]
fn a_second_repository_is_not_made_over_the_first() {
    let world = World::new();
    world.init();
    let names = world.names("");
    let again = Repository::init(world.storage(), &world.key, &InitOptions::new(), world.options());
    assert!(matches!(again, Err(Error::RepositoryExists { .. })));
    assert_eq!(world.names(""), names);
}

#[test]
fn sizes_and_costs_outside_their_limits_are_refused_before_anything_is_written() {
    let world = World::new();
    let cheap = PasswordCost { memory_kib: 1024, passes: 3, lanes: 1 };
    let wrong = [
        InitOptions::new().chunk_bytes_avg(100_000),
        InitOptions::new().chunk_bytes_avg(2048),
        InitOptions::new().frame_bytes(1),
        InitOptions::new().pack_bytes(u32::MAX),
        InitOptions::new().password_cost(cheap),
    ];
    for init in wrong {
        let outcome = Repository::init(world.storage(), &world.key, &init, world.options());
        assert!(matches!(outcome, Err(Error::Usage { .. })), "{init:?}");
    }
    assert_eq!(world.names(""), Vec::<String>::new());
}

#[test]
fn secrets_do_not_show_when_values_are_printed() {
    let world = World::new();
    let mut repository = world.init();
    let passphrase = Key::passphrase(*b"correct horse battery staple");
    let Key::File(file) = &world.key else { panic!("the world has a key file") };
    let text = file.to_text();
    let digits: String = text.trim_start_matches("holdfast-key-1-").chars().filter(char::is_ascii_hexdigit).collect();
    repository.add_key(&passphrase, "second", PasswordCost::default()).unwrap();
    let init = InitOptions::new().further_key(passphrase.clone(), "further");
    let mut shown = vec![
        format!("{passphrase:#?} {:#?} {file:#?}", world.key),
        format!("{:#?} {:#?}", world.options(), init),
        format!("{repository:#?} {:#?}", repository.storage()),
        format!("{:#?}", open(&world, &Key::passphrase(*b"wrong")).unwrap_err()),
    ];
    shown.extend(world.names("").iter().map(|name| repository.cat(name).unwrap()));
    let secrets = ["correct horse".to_owned(), digits[..16].to_owned(), text.trim().to_owned()];
    let numbers: String =
        (0..8).map(|at| format!("{}, ", u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())).collect();
    for shown in &shown {
        let one_line: String = shown.split_whitespace().map(|word| format!("{word} ")).collect();
        for secret in secrets.iter().chain([&numbers]) {
            assert!(!one_line.contains(secret.as_str()), "{shown}");
        }
    }
}

#[test]
fn nothing_stored_holds_names_or_content_in_the_clear() {
    let world = World::new();
    let mut repository = world.init();
    let source = ModelSource::new("/secret-root").file("secret-name", &b"secret-content ".repeat(100));
    backup(&mut repository, &source);
    for name in world.names("") {
        let bytes = world.storage().read(&name, 1 << 30).unwrap();
        let found = bytes.windows(6).any(|window| window == b"secret");
        assert!(!found && !name.contains("secret"), "{name}");
    }
}
