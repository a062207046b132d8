//! The fold over ledgers made by hand: what an enrolment does not allow, and entries that speak of one thing.

use super::*;
use crate::crypto::{Secret, SigningKey, hash};
use crate::environment::Environment;
use crate::format::ledger::EntryHeader;
use crate::format::name::ObjectName;
use crate::id::{ObjectId, PeriodId, RepositoryId};
use crate::ledger::entry::{compose, compose_enrolment};
use crate::ledger::read;
use crate::storage::{Storage, StorageOptions};

const WRITER: WriterId = WriterId([3; 16]);

/// One writer and the entries of its chain.
struct Made {
    storage: Storage,
    keyring: Keyring,
    enrolment: Enrolment,
    bodies: Vec<(u64, &'static str, Vec<u8>)>,
}

impl Made {
    fn new() -> Self {
        let operator = opendal::Operator::new(opendal::services::Memory::default()).unwrap();
        let keyring = Keyring::create(RepositoryId([1; 32]), Secret::new([2; 32]));
        let enrolment = Enrolment {
            repository: keyring.repository(),
            writer: WRITER,
            key: signing_key().public(),
            role: ROLE_WRITER,
            kinds: Vec::new(),
            classes: Vec::new(),
            valid_from: None,
            valid_until: None,
        };
        let storage = Storage::new(operator, StorageOptions::new().pause_ms(0)).unwrap();
        Self { storage, keyring, enrolment, bodies: Vec::new() }
    }

    /// Adds an entry at a time, sealed for a class.
    fn entry(mut self, seconds: u64, class: &'static str, body: &impl record::Body) -> Self {
        self.bodies.push((seconds, class, record::encode(body)));
        self
    }

    fn fold(&self) -> State {
        let environment = Environment::default();
        let (mut object, mut parents) = (Vec::new(), Vec::new());
        for (sequence, (seconds, class, body)) in (0u64..).zip(&self.bodies) {
            let header = EntryHeader {
                repository: self.keyring.repository(),
                sequence,
                time: Time::new(*seconds as i64, 0),
                previous_received: None,
                parents,
                class: (*class).to_owned(),
                last: false,
                domains: Vec::new(),
                packs_added: Vec::new(),
                packs_deleted: Vec::new(),
                enrolment: compose_enrolment(&self.enrolment, &self.keyring.admin_signing_key()),
            };
            let bytes = compose(WRITER, &signing_key(), &self.keyring, &header, body, &environment);
            parents = vec![EntryId(hash(&bytes))];
            object.extend_from_slice(&bytes);
        }
        let name = ObjectName::Ledger(WRITER, 0, EntryId(hash(&object))).to_string();
        self.storage.write(&name, object).unwrap();
        let workers = Workers::new(Some(1));
        let admin_key = self.keyring.admin_key();
        let rights = read::Rights { admin_key: &admin_key, keyring: None };
        let ledger = read::load(&self.storage, &workers, self.keyring.repository(), rights).unwrap();
        let mut state = State::fold(&ledger, &self.keyring, &workers);
        state.problems.splice(..0, ledger.problems);
        state
    }
}

fn signing_key() -> SigningKey {
    SigningKey::from_seed(&Secret::new([4; 32]))
}

fn class(name: &str, pad_bytes_min: u32) -> ClassBody {
    ClassBody { name: name.to_owned(), description: String::new(), pad_bytes_min }
}

fn period(class: &str, object: u8, frame_bytes: u32) -> PeriodBody {
    let sizes = crate::chunker::ChunkSizes::around(4096);
    PeriodBody {
        class: class.to_owned(),
        period: PeriodId([7; 16]),
        object: ObjectId([object; 32]),
        starts: Time::default(),
        ends: None,
        chunk_bytes_min: sizes.bytes_min,
        chunk_bytes_avg: sizes.bytes_avg,
        chunk_bytes_max: sizes.bytes_max,
        mask_small: sizes.mask_small,
        mask_large: sizes.mask_large,
        frame_bytes,
        pack_bytes: 1 << 20,
        page_group_bytes: 4096,
    }
}

fn complaints(state: &State) -> Vec<&str> {
    state.problems.iter().map(|problem| problem.what.as_str()).collect()
}

#[test]
fn entries_outside_the_time_of_an_enrolment_are_ignored_and_its_ends_count() {
    let mut made = Made::new();
    made.enrolment.valid_from = Some(Time::new(10, 0));
    made.enrolment.valid_until = Some(Time::new(20, 0));
    for (seconds, name) in [(9, "early"), (10, "first"), (20, "last"), (21, "late")] {
        made = made.entry(seconds, "", &class(name, 256));
    }
    let state = made.fold();
    assert_eq!(state.classes.keys().collect::<Vec<_>>(), ["first", "last"]);
    assert_eq!(complaints(&state), [BEYOND_ENROLMENT; 2]);
}

#[test]
fn entries_of_kinds_or_classes_that_an_enrolment_does_not_name_are_ignored() {
    let mut made = Made::new();
    made.enrolment.kinds = vec![RECORD_PERIOD];
    made.enrolment.classes = vec!["a".to_owned()];
    let made = made.entry(1, "", &class("a", 256)).entry(2, "a", &period("a", 1, 1 << 16)).entry(
        3,
        "b",
        &period("b", 1, 1 << 16),
    );
    let state = made.fold();
    assert_eq!(state.classes.len(), 0);
    assert_eq!(state.periods.keys().map(|domain| domain.class.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(complaints(&state), [BEYOND_ENROLMENT; 2]);
}

#[test]
fn of_two_entries_about_one_thing_the_one_with_the_later_time_counts() {
    let made = Made::new()
        .entry(9, "", &class("a", 512))
        .entry(8, "", &class("a", 1024))
        .entry(9, "a", &period("a", 1, 1 << 16))
        .entry(8, "a", &period("a", 1, 1 << 17));
    let state = made.fold();
    assert_eq!(state.classes["a"].pad_bytes_min, 512);
    assert_eq!(state.periods.values().next().unwrap().frame_bytes, 1 << 16);
    assert_eq!(complaints(&state), Vec::<&str>::new());
}

#[test]
fn the_object_of_a_period_does_not_change() {
    let made = Made::new().entry(1, "a", &period("a", 1, 1 << 16)).entry(2, "a", &period("a", 2, 1 << 16));
    let state = made.fold();
    assert_eq!(state.periods.values().next().unwrap().object, ObjectId([1; 32]));
    assert_eq!(state.problems.len(), 1);
}

#[test]
fn a_body_of_another_class_than_its_header_is_refused() {
    let state = Made::new().entry(1, "a", &period("b", 1, 1 << 16)).fold();
    assert_eq!(state.periods.len(), 0);
    assert_eq!(state.problems.len(), 1);
}
