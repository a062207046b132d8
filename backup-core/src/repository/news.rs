//! What others commit is found: at the start of a verb that writes, when an embedding program asks, and by a running backup at its checkpoints.

use std::collections::HashSet;
use std::sync::OnceLock;

use super::Repository;
use super::fold::State;
use crate::error::Result;
use crate::format::name::Domain;
use crate::id::ChunkPrefix;
use crate::index;
use crate::ledger::fetch::{self, Batch, ObjectKey};
use crate::ledger::gather;
use crate::ledger::read::{Ledger, Rights};
use crate::pack::reader::{OpenPack, PackPlace};
use crate::progress::Warning;

impl Repository {
    /// Finds what others committed since this process looked last: one list, and the new objects of the ledger.
    ///
    /// # Errors
    /// [`crate::Error::Storage`].
    pub fn refresh(&mut self) -> Result<()> {
        self.absorb_commits()?;
        let mut listed = fetch::list(&self.storage)?;
        listed.retain(|object| !self.ledger.has(&object.key));
        if listed.is_empty() {
            return Ok(());
        }
        let batch = fetch::read(&self.storage, &self.workers, self.id(), listed)?;
        self.take_in(batch, Vec::new())
    }

    /// Whether something of the ledger may have been remembered, rather than read.
    pub(crate) fn remembers_ledger(&self) -> bool {
        self.memory.is_some()
    }

    /// Reads the whole ledger anew, and trusts nothing that was remembered of it.
    pub(crate) fn read_ledger_anew(&mut self) -> Result<()> {
        let batch = fetch::read(&self.storage, &self.workers, self.id(), fetch::list(&self.storage)?)?;
        let mut ledger = Ledger::default();
        let admin_key = self.keyring.admin_key();
        let rights = Rights { admin_key: &admin_key, keyring: Some(&self.keyring) };
        ledger.take_in(batch, rights, &self.workers);
        self.ledger = ledger;
        self.fold_anew()
    }

    fn fold_anew(&mut self) -> Result<()> {
        self.state = State::fold(&self.ledger, &self.keyring, &self.workers);
        self.index = OnceLock::new();
        self.load_keys()
    }

    /// Makes entries that this process committed part of the ledger that it knows.
    pub(crate) fn absorb_commits(&mut self) -> Result<()> {
        let objects = self.chain().as_mut().map(|chain| chain.take_committed()).unwrap_or_default();
        self.take_in(Batch { objects, ..Batch::default() }, Vec::new())
    }

    /// Makes objects that were fetched part of what this process knows; `opened` are packs that they name and whose tables are at hand.
    fn take_in(&mut self, batch: Batch, opened: Vec<OpenPack>) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let admin_key = self.keyring.admin_key();
        let rights = Rights { admin_key: &admin_key, keyring: Some(&self.keyring) };
        let taken = self.ledger.take_in(batch, rights, &self.workers);
        if self.ledger.is_outdated {
            return self.read_ledger_anew();
        }
        if let Some(memory) = &mut self.memory {
            memory.remember(&taken, &self.ledger);
        }
        match self.state.extend(&self.ledger, &taken.entries, &self.keyring, &self.workers) {
            None => self.fold_anew(),
            Some(news) if news.has_voids => {
                self.index = OnceLock::new();
                Ok(())
            }
            Some(news) => self.extend_index(news.packs, opened),
        }
    }

    /// Adds packs that others committed to the index, if it was loaded.
    fn extend_index(&mut self, mut places: Vec<PackPlace>, opened: Vec<OpenPack>) -> Result<()> {
        if self.index.get().is_none() {
            return Ok(());
        }
        let given: HashSet<_> = opened.iter().map(|pack| pack.place.id).collect();
        places.retain(|place| !given.contains(&place.id));
        let (more, unreadable) = index::read_tables(&self.storage, &self.workers, &self.keys, places)?;
        self.grow_index(opened.into_iter().chain(more).collect(), unreadable);
        Ok(())
    }

    /// Gathers small objects of the own chain into a larger one, when there are enough. The repository is as good without; so a failure here is nobody's.
    pub(crate) fn gather_ledger(&mut self) {
        if !self.chain().as_ref().is_some_and(|chain| chain.is_lasting()) {
            return;
        }
        if let Ok(Some(gathered)) = gather::gather(&self.storage, &self.ledger, self.writer()) {
            let _ = self.take_in(Batch { objects: vec![gathered], ..Batch::default() }, Vec::new());
        }
    }
}

/// What others committed while a backup runs.
#[derive(Default)]
pub(crate) struct Others {
    batch: Batch,
    objects: HashSet<ObjectKey>,
    packs: Vec<OpenPack>,
    /// Chunks that those packs hold: they need not be saved again.
    chunks: HashSet<ChunkPrefix>,
    surplus_bytes: u64,
    notes: Vec<Warning>,
}

impl Others {
    /// Whether somebody else committed a chunk meanwhile.
    pub(crate) fn have(&self, chunk: &ChunkPrefix) -> bool {
        self.chunks.contains(chunk)
    }

    /// Bytes of packs of this run that others had committed before this run did.
    pub(crate) fn surplus_bytes(&self) -> u64 {
        self.surplus_bytes
    }

    /// What should be said about other writers.
    pub(crate) fn take_notes(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.notes)
    }

    /// Looks before `packs` are named: what others have committed by now is surplus in them.
    pub(crate) fn look(&mut self, repository: &Repository, domain: &Domain, packs: &[OpenPack]) -> Result<()> {
        let found = self.find(repository, domain)?;
        self.chunks.extend(found);
        self.surplus_bytes += stored_bytes(packs, &self.chunks);
        Ok(())
    }

    /// Looks after `packs` were named: what others committed since the look before is surplus in them, too. Of two that commit in one moment each may find the other; that none does cannot be.
    pub(crate) fn look_back(&mut self, repository: &Repository, domain: &Domain, packs: &[OpenPack]) -> Result<()> {
        let mut found = self.find(repository, domain)?;
        found.retain(|chunk| !self.chunks.contains(chunk));
        self.surplus_bytes += stored_bytes(packs, &found);
        self.chunks.extend(found);
        Ok(())
    }

    /// Finds the chunks of packs that entries name which this process had not seen.
    fn find(&mut self, repository: &Repository, domain: &Domain) -> Result<HashSet<ChunkPrefix>> {
        let mut listed = fetch::list(&repository.storage)?;
        listed.retain(|object| !repository.ledger.has(&object.key) && !self.objects.contains(&object.key));
        if let Some(chain) = repository.chain().as_ref() {
            listed.retain(|object| !chain.has_committed(&object.key));
        }
        if listed.is_empty() {
            return Ok(HashSet::new());
        }
        let batch = fetch::read(&repository.storage, &repository.workers, repository.id(), listed)?;
        let admin_key = repository.keyring.admin_key();
        let rights = Rights { admin_key: &admin_key, keyring: Some(&repository.keyring) };
        // Only what is new; that it stands on what is known already does not matter here.
        let mut ledger = repository.ledger.beside();
        ledger.take_in(batch.clone(), rights, &repository.workers);
        self.note_writers(repository, &ledger);
        let state = State::fold(&ledger, &repository.keyring, &repository.workers);
        let places: Vec<PackPlace> = state.packs.into_values().filter(|place| *place.domain == *domain).collect();
        let (packs, _) = index::read_tables(&repository.storage, &repository.workers, &repository.keys, places)?;
        self.objects.extend(batch.objects.iter().map(|object| object.key));
        self.batch.extend(batch);
        let mut found = HashSet::new();
        for mut pack in packs {
            pack.drop_record();
            found.extend(index::live_rows(&pack, &state.voids).map(|(_, chunk)| chunk));
            self.packs.push(pack);
        }
        Ok(found)
    }

    /// Names the new entries as parents of the next, and finds those that a copy of this installation wrote.
    fn note_writers(&mut self, repository: &Repository, ledger: &Ledger) {
        let mut chain = repository.chain();
        let Some(chain) = chain.as_mut() else { return };
        chain.see(&ledger.entries);
        if let Some(entry) = ledger.entries.iter().find(|entry| entry.writer == chain.writer()) {
            let is_fork = chain.last_sequence().is_some_and(|last| last >= entry.header.sequence);
            chain.note_shared();
            self.notes.push(shared(is_fork));
        }
    }

    /// Makes what was found part of what the repository knows.
    pub(crate) fn absorb(self, repository: &mut Repository) -> Result<()> {
        repository.take_in(self.batch, self.packs)
    }
}

/// The stored bytes of packs that some of their chunks take up: a frame's are shared out by the lengths of its payloads.
fn stored_bytes(packs: &[OpenPack], chunks: &HashSet<ChunkPrefix>) -> u64 {
    // Usually nobody else writes, and then no row need be looked at.
    if chunks.is_empty() {
        return 0;
    }
    let mut bytes = 0;
    for pack in packs {
        let mut counted: u64 = 0;
        let mut is_whole = true;
        for frame in pack.table.frames() {
            let rows = (frame.first_row..frame.first_row + frame.rows).filter_map(|row| pack.table.row(row));
            let payload: u64 =
                rows.filter(|(row, ..)| chunks.contains(&row.prefix)).map(|(row, ..)| u64::from(row.payload)).sum();
            is_whole &= payload == u64::from(frame.payload);
            counted += u64::from(frame.stored) * payload / u64::from(frame.payload).max(1);
        }
        bytes += if is_whole { pack.place.length } else { counted };
    }
    bytes
}

/// What is said of a copy of this installation.
pub(super) fn shared(is_fork: bool) -> Warning {
    let (kind, message) = match is_fork {
        true => (
            "forked",
            "another copy of this installation has written the same place of the ledger; both count, and this one goes on as a new writer",
        ),
        false => (
            "cloned",
            "another copy of this installation has written, or its state is an old one; it goes on as a new writer",
        ),
    };
    Warning { kind, subject: Vec::new(), message: message.to_owned() }
}
