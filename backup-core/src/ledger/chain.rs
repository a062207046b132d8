//! Extends one writer's chain. The entry is the commit: all that it names must be durable before.

use crate::crypto::{Secret, hash};
use crate::environment::{Environment, PROGRAM};
use crate::error::{Error, Result};
use crate::format::bodies::EnrolBody;
use crate::format::constants::ROLE_ADMIN;
use crate::format::ledger::{self, AddedPack, DomainRow, ENROLMENT_INTERVAL, Enrolment, EntryHeader};
use crate::format::name::ObjectName;
use crate::format::record;
use crate::id::{EntryId, WriterId};
use crate::keyring::Keyring;
use crate::ledger::entry::{Entry, compose, compose_enrolment};
use crate::ledger::read::Ledger;
use crate::ledger::state::{LastEntry, PendingObject, WriterState};
use crate::pack::reader::PackPlace;
use crate::storage::Storage;

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
    /// Entries that were committed and not taken yet.
    committed: Vec<Entry>,
}

/// What happened to the writer's state when the chain was taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakenUp {
    /// The chain goes on.
    Same,
    /// A new writer was enrolled: there was none, or it was closed.
    Enrolled,
    /// A new writer was enrolled, because the storage knows more of the old one than this installation.
    Cloned,
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
            committed: Vec::new(),
        })
    }

    /// Takes up the chain of this installation in a repository whose ledger was read; enrols a writer where needed.
    ///
    /// # Errors
    /// [`Error::RolledBack`] if the storage has lost what was committed from here.
    pub(crate) fn take_up(
        keyring: &Keyring,
        directory: Option<&std::path::Path>,
        environment: &Environment,
        ledger: &Ledger,
        storage: &Storage,
    ) -> Result<(Self, TakenUp)> {
        let mut chain = Self::begin(keyring, directory, environment)?;
        chain.send_pending(storage)?;
        let taken_up = match chain.state.last().cloned() {
            None => TakenUp::Enrolled,
            Some(last) => {
                if storage.stat(&last.object)?.is_none() {
                    return Err(Error::RolledBack { object: last.object });
                }
                let head = ledger.heads.get(&chain.state.writer());
                let ahead = head.is_some_and(|head| head.sequence > last.sequence);
                let forked = head.is_some_and(|head| head.sequence == last.sequence && head.entry_id != last.id);
                if ahead || forked { TakenUp::Cloned } else { TakenUp::Same }
            }
        };
        chain.see(ledger);
        if taken_up != TakenUp::Same || chain.closed {
            chain.enrol(storage)?;
        }
        Ok((chain, taken_up))
    }

    /// Sends the object that was signed and is not known to have arrived, if there is one: for the first time, or again, and then the same bytes, so that the chain cannot fork.
    pub(crate) fn send_pending(&mut self, storage: &Storage) -> Result<()> {
        let Some(pending) = self.state.pending().cloned() else { return Ok(()) };
        storage.write(&pending.last.object, pending.bytes.clone())?;
        self.state.complete()?;
        let entries = ledger::split(&pending.bytes).map_err(|flaw| flaw.at(&pending.last.object))?;
        self.committed.extend(entries.iter().map(Entry::from_raw));
        self.closed = pending.closes;
        Ok(())
    }

    /// Takes note of other chains' heads; the next entry names them as parents.
    pub(crate) fn see(&mut self, ledger: &Ledger) {
        let own = self.state.last().map(|last| (self.state.writer(), last.id));
        self.parents = ledger.unseen_heads(own);
        self.parents.truncate(crate::limits::ENTRY_PARENTS_MAX as usize - 1);
    }

    /// The writer whose chain it is.
    pub(crate) fn writer(&self) -> WriterId {
        self.state.writer()
    }

    /// The entries that were committed since this was asked last.
    pub(crate) fn take_committed(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.committed)
    }

    /// Whether a later process can go on with it.
    pub(crate) fn is_lasting(&self) -> bool {
        self.state.is_lasting()
    }

    /// Whether it was closed, so that nothing can follow.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    fn enrol(&mut self, storage: &Storage) -> Result<()> {
        if self.state.last().is_some() {
            let (writer, seed) = fresh_writer(&self.environment);
            self.state.renew(writer, seed);
        }
        self.closed = false;
        self.commit(storage, Vec::new()).map(drop)
    }

    /// Writes entries as one object; a new writer's enrolment comes before them. Returns their ids.
    pub(crate) fn commit(&mut self, storage: &Storage, drafts: Vec<Draft>) -> Result<Vec<EntryId>> {
        self.send_pending(storage)?;
        if self.closed {
            self.enrol(storage)?;
        }
        let mut sequence = self.state.last().map_or(0, |last| last.sequence + 1);
        let first = sequence;
        let mut previous = self.state.last().map(|last| last.id);
        let previous_received = match self.state.last() {
            Some(last) => storage.stat(&last.object)?.and_then(|info| info.modified),
            None => None,
        };
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
