//! Extends one writer's chain. The entry is the commit: all that it names must be durable before.

use std::collections::HashSet;

use crate::crypto::{Secret, hash};
use crate::environment::{Environment, PROGRAM};
use crate::error::{Error, Result};
use crate::format::bodies::EnrolBody;
use crate::format::constants::ROLE_ADMIN;
use crate::format::ledger::{AddedPack, DomainRow, ENROLMENT_INTERVAL, Enrolment, EntryHeader};
use crate::format::name::ObjectName;
use crate::format::record;
use crate::id::{EntryId, WriterId};
use crate::keyring::Keyring;
use crate::ledger::entry::{Entry, compose, compose_enrolment};
use crate::ledger::fetch::{Fetched, ObjectKey};
use crate::ledger::read::{Ledger, Standing};
use crate::ledger::state::{LastEntry, PendingObject, WriterState};
use crate::limits::ENTRY_PARENTS_MAX;
use crate::pack::reader::PackPlace;
use crate::storage::Storage;
use crate::time::Time;

/// An entry to be written.
pub(crate) struct Draft {
    /// Whose key seals the body: a class's name, or empty.
    pub(crate) class: String,
    /// The record of the body.
    pub(crate) body: Vec<u8>,
    /// Packs that it adds.
    pub(crate) packs: Vec<PackPlace>,
    /// Whether it is the last of an ephemeral writer.
    pub(crate) closes: bool,
}

impl Draft {
    /// Makes an entry of the repository's own, without packs.
    pub(crate) fn new(class: &str, body: Vec<u8>) -> Self {
        Self { class: class.to_owned(), body, packs: Vec::new(), closes: false }
    }
}

/// One writer's chain, and the right to extend it.
pub(crate) struct Chain {
    state: WriterState,
    keyring: Keyring,
    environment: Environment,
    parents: Vec<EntryId>,
    closed: bool,
    /// Another copy of this installation writes to the chain, too: before the next entry a new writer is made.
    shared: bool,
    /// When the storage received the last own object, where that is known already.
    received: Option<Option<Time>>,
    /// Objects that were committed and not taken yet.
    committed: Vec<Fetched>,
}

/// What happened to the writer's state when the chain was taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakenUp {
    /// The chain goes on.
    Same,
    /// It is a new writer's: there was none, or it was closed.
    Enrolled,
    /// It is a new writer's, because the storage knows more of the old one than this installation.
    Cloned,
    /// It is a new writer's, because two entries stand at one place of the old one.
    Forked,
}

fn fresh_writer(environment: &Environment) -> (WriterId, Secret) {
    (WriterId(environment.random()), Secret::new(environment.random()))
}

impl Chain {
    /// Begins the first chain of a new repository, in the slot of an installation or without one.
    pub(crate) fn begin(
        keyring: &Keyring,
        directory: Option<&std::path::Path>,
        environment: &Environment,
    ) -> Result<Self> {
        let fresh = || fresh_writer(environment);
        let state = match directory {
            Some(directory) => WriterState::acquire(directory, keyring.repository(), fresh)?,
            None => {
                let (writer, seed) = fresh();
                WriterState::ephemeral(keyring.repository(), writer, seed)
            }
        };
        Ok(Self {
            state,
            keyring: keyring.clone(),
            environment: environment.clone(),
            parents: Vec::new(),
            closed: false,
            shared: false,
            received: None,
            committed: Vec::new(),
        })
    }

    /// Takes up the chain of this installation in a repository whose ledger was read; makes a new writer where needed, whose enrolment comes with the first entry.
    ///
    /// # Errors
    /// [`Error::RolledBack`] if the storage has lost what was committed from here.
    pub(crate) fn take_up(
        keyring: &Keyring,
        directory: Option<&std::path::Path>,
        environment: &Environment,
        ledger: &Ledger,
        storage: &Storage,
        was_just_read: bool,
    ) -> Result<(Self, TakenUp)> {
        let mut chain = Self::begin(keyring, directory, environment)?;
        let taken_up = chain.go_on(ledger, storage, was_just_read)?;
        Ok((chain, taken_up))
    }

    /// Looks how the chain stands, before something is written. Where the ledger's objects were read a moment ago, the last own one need not be asked for again.
    ///
    /// # Errors
    /// As for [`Chain::take_up`].
    pub(crate) fn go_on(&mut self, ledger: &Ledger, storage: &Storage, was_just_read: bool) -> Result<TakenUp> {
        self.send_pending(storage)?;
        let standing = match self.state.last() {
            None => None,
            Some(last) => {
                let key = ObjectKey::parse(&last.object).filter(|_| was_just_read);
                self.received = key.and_then(|key| ledger.received(&key));
                if self.received.is_none() {
                    let info = storage.stat(&last.object)?;
                    let info = info.ok_or_else(|| Error::RolledBack { object: last.object.clone() })?;
                    self.received = Some(info.modified);
                }
                Some(ledger.standing(self.state.writer(), last))
            }
        };
        let taken_up = match standing {
            Some(Standing::Ahead) => TakenUp::Cloned,
            Some(Standing::Forked) => TakenUp::Forked,
            Some(Standing::Own) if !self.closed => TakenUp::Same,
            _ => TakenUp::Enrolled,
        };
        if taken_up != TakenUp::Same {
            self.renew();
        }
        self.parents = ledger.unnamed(self.state.last().map(|last| last.id));
        self.parents.truncate(ENTRY_PARENTS_MAX as usize - 1);
        Ok(taken_up)
    }

    /// Sends the object that was signed and is not known to have arrived, if there is one: for the first time, or again, and then the same bytes, so that the chain cannot fork.
    pub(crate) fn send_pending(&mut self, storage: &Storage) -> Result<()> {
        let Some(pending) = self.state.pending().cloned() else { return Ok(()) };
        storage.write(&pending.last.object, pending.bytes.clone())?;
        self.state.complete()?;
        self.received = None;
        let key = ObjectKey::parse(&pending.last.object);
        let key = key.ok_or_else(|| Error::damaged(&pending.last.object, "not a name of an object of the ledger"))?;
        self.committed.push(Fetched::written(key, &pending.bytes)?);
        if self.is_lasting() {
            // It will be wanted when many are gathered into one.
            storage.keep_piece(&pending.last.object, None, &pending.bytes);
        }
        self.closed = pending.closes;
        Ok(())
    }

    /// Takes note of entries that others committed meanwhile: the next entry names them as parents, too.
    pub(crate) fn see(&mut self, entries: &[Entry]) {
        let named: HashSet<EntryId> = entries.iter().flat_map(|entry| &entry.header.parents).copied().collect();
        self.parents.extend(entries.iter().map(|entry| entry.id));
        self.parents.retain(|parent| !named.contains(parent));
        self.parents.sort();
        self.parents.dedup();
        self.parents.truncate(ENTRY_PARENTS_MAX as usize - 1);
    }

    /// Takes note that somebody else writes to this chain: the next entry is a new writer's.
    pub(crate) fn note_shared(&mut self) {
        self.shared = true;
    }

    /// Whether an object was committed and not taken yet.
    pub(crate) fn has_committed(&self, key: &ObjectKey) -> bool {
        self.committed.iter().any(|object| object.key == *key)
    }

    /// The writer whose chain it is.
    pub(crate) fn writer(&self) -> WriterId {
        self.state.writer()
    }

    /// The objects that were committed since this was asked last.
    pub(crate) fn take_committed(&mut self) -> Vec<Fetched> {
        std::mem::take(&mut self.committed)
    }

    /// Whether a later process can go on with it.
    pub(crate) fn is_lasting(&self) -> bool {
        self.state.is_lasting()
    }

    /// The sequence of the last own entry.
    pub(crate) fn last_sequence(&self) -> Option<u64> {
        self.state.last().map(|last| last.sequence)
    }

    /// Makes a new writer of this one, if it has written already.
    fn renew(&mut self) {
        if self.state.last().is_some() {
            let (writer, seed) = fresh_writer(&self.environment);
            self.state.renew(writer, seed);
        }
        (self.closed, self.shared, self.received) = (false, false, None);
    }

    /// Enrols the writer, if it is not yet: one that nothing remembers must be known before it relies on anything.
    pub(crate) fn enrol(&mut self, storage: &Storage) -> Result<()> {
        if self.state.last().is_none() { self.commit(storage, Vec::new()).map(drop) } else { Ok(()) }
    }

    /// Writes entries as one object; a new writer's enrolment comes before them. Returns their ids.
    pub(crate) fn commit(&mut self, storage: &Storage, drafts: Vec<Draft>) -> Result<Vec<EntryId>> {
        self.send_pending(storage)?;
        if self.closed || self.shared {
            // What the old chain ends with is not reachable from a new one, unless it is named.
            self.parents.extend(self.state.last().map(|last| last.id));
            self.parents.sort();
            self.renew();
        }
        let mut sequence = self.state.last().map_or(0, |last| last.sequence + 1);
        let first = sequence;
        let mut previous = self.state.last().map(|last| last.id);
        let previous_received = self.ask_received(storage)?;
        let closes = drafts.last().is_some_and(|draft| draft.closes);
        let enrol = (sequence == 0).then(|| Draft::new("", record::encode(&self.enrol_body())));
        let mut object = Vec::new();
        let mut ids = Vec::new();
        let key = self.state.signing_key();
        for draft in enrol.iter().chain(&drafts) {
            let mut header = self.header(draft, sequence, previous);
            header.previous_received = previous_received.filter(|_| sequence == first);
            let bytes = compose(self.writer(), &key, &self.keyring, &header, &draft.body, &self.environment);
            let id = EntryId(hash(&bytes));
            object.extend_from_slice(&bytes);
            ids.push(id);
            previous = Some(id);
            sequence += 1;
            self.parents.clear();
        }
        let name = ObjectName::Ledger(self.writer(), first, EntryId(hash(&object))).to_string();
        let id = *ids.last().expect("an object holds at least one entry");
        let last = LastEntry { sequence: sequence - 1, id, object: name };
        self.state.set_pending(PendingObject { last, bytes: object, closes })?;
        self.send_pending(storage)?;
        if enrol.is_some() {
            ids.remove(0);
        }
        Ok(ids)
    }

    /// When the storage received the last own object.
    fn ask_received(&mut self, storage: &Storage) -> Result<Option<Time>> {
        match (self.state.last(), self.received.take()) {
            (None, _) => Ok(None),
            (Some(_), Some(received)) => Ok(received),
            (Some(last), None) => match storage.stat(&last.object)? {
                Some(info) => Ok(info.modified),
                None => Err(Error::RolledBack { object: last.object.clone() }),
            },
        }
    }

    fn header(&self, draft: &Draft, sequence: u64, previous: Option<EntryId>) -> EntryHeader {
        let mut domains: Vec<DomainRow> = draft
            .packs
            .iter()
            .map(|pack| DomainRow { class: pack.domain.class.clone(), period: pack.domain.period })
            .collect();
        domains.sort();
        domains.dedup();
        let added = |pack: &PackPlace| AddedPack {
            domain: domains
                .iter()
                .position(|row| row.class == pack.domain.class && row.period == pack.domain.period)
                .and_then(|i| u16::try_from(i).ok())
                .expect("every pack's domain is in the list, which is shorter than the list of packs"),
            area: pack.area.number(),
            pack: pack.id,
            length: pack.length,
            table_offset: pack.table_offset,
            table_length: pack.table_length,
        };
        let packs_added = draft.packs.iter().map(added).collect();
        let enrolment = if sequence.is_multiple_of(ENROLMENT_INTERVAL) { self.enrolment() } else { Vec::new() };
        EntryHeader {
            repository: self.keyring.repository(),
            sequence,
            time: self.environment.now(),
            previous_received: None,
            parents: previous.into_iter().chain(self.parents.iter().copied()).collect(),
            class: draft.class.clone(),
            last: draft.closes,
            domains,
            packs_added,
            packs_deleted: Vec::new(),
            enrolment,
        }
    }

    fn enrolment(&self) -> Vec<u8> {
        let enrolment = Enrolment {
            repository: self.keyring.repository(),
            writer: self.writer(),
            key: self.state.signing_key().public(),
            role: ROLE_ADMIN,
            kinds: Vec::new(),
            classes: Vec::new(),
            valid_from: None,
            valid_until: None,
        };
        compose_enrolment(&enrolment, &self.keyring.admin_signing_key())
    }

    fn enrol_body(&self) -> EnrolBody {
        EnrolBody { host: self.environment.host(), user: self.environment.user(), program: PROGRAM.to_owned() }
    }
}
