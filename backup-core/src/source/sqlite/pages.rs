//! Reads the pages of a database on a thread of its own, within one transaction.
//!
//! A reader in log mode keeps no writer waiting. In the modes with a rollback journal it does, so there it holds its lock only for short slices, never while nobody takes
//! what it read, and looks after each pause whether anything was committed meanwhile. If so, it begins again; a database that changes all the time is copied in one step in the end.

use std::fs::File;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::copy::{self, Scratch};
use super::held::ReadingMark;
use super::open::{self, Place, Trouble, Way};
use super::probe::{self, ProbeRequest};
use super::slices::{Outlet, PART_BYTES, Pass, Slices};
use super::{Header, PageReader, SharedConnection};
use crate::format::constants::DATABASE_WHOLE;
use crate::format::database::{DatabaseState, LogState};
use crate::format::probes::ProbeResult;
use crate::source::files::Stat;
use crate::source::{ContentReader, Findings, Finish, Stretch};

/// Parts that wait for the caller.
const PARTS: usize = 4;
/// How often a database with a rollback journal is read from its beginning before it is copied in one step.
const PASSES: u32 = 3;

pub(super) enum Message {
    Part(Vec<u8>),
    /// Something was committed meanwhile: all parts so far are void.
    Again,
    End(Box<Done>),
    Failed(io::Error),
}

pub(super) struct Done {
    page_bytes: u32,
    warnings: Vec<(&'static str, String)>,
    notes: Vec<(&'static str, String)>,
    requests: Vec<ProbeRequest>,
    probes: Vec<ProbeResult>,
}

/// A database being read.
pub(in crate::source) struct Reading {
    work: Option<Work>,
    receiver: Option<Receiver<Message>>,
    part: Vec<u8>,
    taken: usize,
    page_bytes: u32,
    finish: Finish,
    state: DatabaseState,
    done: Option<Box<Done>>,
    _mark: ReadingMark,
}

/// What the thread needs.
struct Work {
    place: Place,
    way: Origin,
    reader: PageReader,
    before: Stat,
    requests: Vec<ProbeRequest>,
}

enum Origin {
    Own(Way),
    Given(SharedConnection),
}

impl Reading {
    /// Opens a database that this process has not open elsewhere. `header` is what its first bytes told, if they may be looked at.
    pub(in crate::source) fn open(
        place: Place,
        header: Option<Header>,
        reader: PageReader,
        mark: ReadingMark,
    ) -> Result<Self, Trouble> {
        let before = place.stat().map_err(Trouble::Io)?;
        let way = open::open(&place, header, true)?;
        // Only now: where root opens a log, SQLite gives it to the database's owner again, which changes its times.
        let state = state(&place, &before, header);
        let page_bytes = match &way {
            Way::Shared(connection) | Way::Immutable(connection) => page_bytes(connection),
            Way::Copy(scratch) => scratch.connect().and_then(|connection| page_bytes(&connection)),
        };
        let page_bytes = page_bytes.map_err(|error| Trouble::of(&error))?;
        let work = Work { place, way: Origin::Own(way), reader, before, requests: Vec::new() };
        Ok(Self::new(work, page_bytes, state, mark))
    }

    /// Reads through a connection of the embedding program.
    pub(in crate::source) fn given(
        place: Place,
        connection: SharedConnection,
        reader: PageReader,
        mark: ReadingMark,
    ) -> Result<Self, Trouble> {
        let before = place.stat().map_err(Trouble::Io)?;
        let state = state(&place, &before, None);
        let page_bytes = {
            let connection = lock(&connection);
            if !connection.is_autocommit() {
                return Err(Trouble::Io(io::Error::other("the connection given for it is inside a transaction")));
            }
            page_bytes(&connection).map_err(|error| Trouble::of(&error))?
        };
        let work = Work { place, way: Origin::Given(connection), reader, before, requests: Vec::new() };
        Ok(Self::new(work, page_bytes, state, mark))
    }

    fn new(work: Work, page_bytes: u32, state: DatabaseState, mark: ReadingMark) -> Self {
        let finish = Finish { changed: false, mtime: work.before.mtime, ctime: work.before.ctime };
        let (part, taken) = (Vec::new(), 0);
        Self { work: Some(work), receiver: None, part, taken, page_bytes, finish, state, done: None, _mark: mark }
    }

    fn next_message(&mut self) -> Message {
        if let Some(work) = self.work.take() {
            let (sender, receiver) = sync_channel(PARTS);
            self.receiver = Some(receiver);
            let spawned = std::thread::Builder::new().name("holdfast-sqlite".to_owned()).spawn(move || {
                let last = work.run(&Outlet(&sender)).map_or_else(Message::Failed, |done| Message::End(Box::new(done)));
                // Nobody listens any more after a cancellation.
                let _ = sender.send(last);
            });
            if let Err(error) = spawned {
                return Message::Failed(error);
            }
        }
        let died = || Message::Failed(io::Error::other("reading the database broke off"));
        self.receiver.as_ref().map_or_else(died, |receiver| receiver.recv().unwrap_or_else(|_| died()))
    }
}

impl ContentReader for Reading {
    fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> io::Result<Stretch> {
        let start = buffer.len();
        while buffer.len() - start < limit && self.done.is_none() {
            if self.taken == self.part.len() {
                match self.next_message() {
                    Message::Part(part) => (self.part, self.taken) = (part, 0),
                    Message::Again => {
                        self.part.clear();
                        self.taken = 0;
                        return Ok(Stretch::Again);
                    }
                    Message::End(done) => self.done = Some(done),
                    Message::Failed(error) => return Err(error),
                }
            }
            if buffer.is_empty() && self.taken == 0 && self.part.len() <= limit {
                // A whole part changes hands without being copied.
                std::mem::swap(buffer, &mut self.part);
                self.part.clear();
                continue;
            }
            let wanted = (limit - (buffer.len() - start)).min(self.part.len() - self.taken);
            buffer.extend_from_slice(&self.part[self.taken..self.taken + wanted]);
            self.taken += wanted;
        }
        Ok(if buffer.len() > start { Stretch::Data(buffer.len() - start) } else { Stretch::End })
    }

    fn finish(&mut self) -> io::Result<Finish> {
        Ok(self.finish)
    }

    fn page_bytes(&self) -> Option<u32> {
        Some(self.page_bytes)
    }

    fn probe(&mut self, requests: Vec<ProbeRequest>) {
        if let Some(work) = &mut self.work {
            work.requests = requests;
        }
    }

    fn findings(&mut self) -> Findings {
        let Some(done) = self.done.take() else { return Findings::default() };
        self.state.page_bytes = done.page_bytes;
        let Done { warnings, notes, probes, .. } = *done;
        Findings { database: Some(self.state.clone()), probes, warnings, notes }
    }
}

/// The state that the next backup compares with: as it was before pages were read, so that what is written meanwhile is noticed then.
pub(in crate::source) fn state(place: &Place, main: &Stat, header: Option<Header>) -> DatabaseState {
    let log = place.companions().log.0.filter(|log| log.size_bytes > 0);
    DatabaseState {
        reading: DATABASE_WHOLE,
        page_bytes: 0,
        file_bytes: main.size_bytes,
        change_counter: header.map_or(0, |header| header.change_counter),
        log: log.map(|log| LogState {
            bytes: log.size_bytes,
            inode: log.identity.inode,
            mtime: log.mtime,
            ctime: log.ctime,
        }),
    }
}

fn lock(connection: &SharedConnection) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn page_bytes(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA page_size", [], |row| row.get(0))
}

impl Work {
    fn run(self, outlet: &Outlet<'_>) -> io::Result<Done> {
        let Self { place, way, reader, before, requests } = self;
        let (warnings, notes, probes) = (Vec::new(), Vec::new(), Vec::new());
        let mut done = Done { page_bytes: 0, warnings, notes, requests, probes };
        let outcome = match way {
            Origin::Given(connection) => read_shared(&lock(&connection), reader, outlet, &mut done),
            Origin::Own(Way::Shared(connection)) => read_shared(&connection, reader, outlet, &mut done),
            Origin::Own(Way::Copy(scratch)) => {
                let message = "it was left in the middle of a transaction, or may not be recovered where it lies: it was copied, with its log or \
                               journal, and recovered in the copy";
                done.warnings.push(("recovered", message.to_owned()));
                read_copy(&scratch, outlet, &mut done)
            }
            Origin::Own(Way::Immutable(connection)) => {
                read_immutable(&place, &before, connection, reader, outlet, &mut done)
            }
        };
        outcome.map(|()| done).map_err(Trouble::into_io)
    }
}

/// Reads a file that nobody writes to, and looks afterwards whether that was so.
fn read_immutable(
    place: &Place,
    before: &Stat,
    connection: Connection,
    reader: PageReader,
    outlet: &Outlet<'_>,
    done: &mut Done,
) -> Result<(), Trouble> {
    let outcome = match reader {
        PageReader::Table => {
            done.page_bytes = page_bytes(&connection).map_err(|error| Trouble::of(&error))?;
            let mut slices = Slices::new(&connection, outlet, false, &done.requests);
            let outcome = slices.pass().map(drop);
            done.probes = slices.answers;
            outcome
        }
        PageReader::Copy => read_by_copy(&connection, outlet, done).map(drop),
    };
    drop(connection);
    let is_same = place.stat().is_ok_and(|now| now.looks() == before.looks()) && !place.companions().log.has_content();
    if is_same {
        return outcome;
    }
    // Somebody came: from now on through its locks. What failed above may have failed for that.
    outlet.send(Message::Again)?;
    match open::open(place, None, false)? {
        Way::Shared(connection) | Way::Immutable(connection) => read_shared(&connection, reader, outlet, done),
        Way::Copy(scratch) => read_copy(&scratch, outlet, done),
    }
}

fn read_shared(
    connection: &Connection,
    reader: PageReader,
    outlet: &Outlet<'_>,
    done: &mut Done,
) -> Result<(), Trouble> {
    let fail = |error: rusqlite::Error| Trouble::of(&error);
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).map_err(fail)?;
    let keeps_waiting = mode != "wal";
    done.page_bytes = page_bytes(connection).map_err(fail)?;
    let mut held = Duration::ZERO;
    let mut is_read = false;
    if reader == PageReader::Table {
        for pass in 0..PASSES {
            if pass > 0 {
                outlet.send(Message::Again)?;
            }
            let mut slices = Slices::new(connection, outlet, keeps_waiting, &done.requests);
            let outcome = slices.pass();
            held = held.max(slices.held);
            done.probes = slices.answers;
            if matches!(outcome?, Pass::Whole) {
                is_read = true;
                break;
            }
        }
        if !is_read {
            outlet.send(Message::Again)?;
        }
    }
    if !is_read {
        held = held.max(read_by_copy(connection, outlet, done)?);
    }
    if keeps_waiting {
        let message = format!("writers may have been kept waiting for {} ms at a time", held.as_millis());
        done.notes.push(("sqlite", message));
    }
    Ok(())
}

fn read_by_copy(connection: &Connection, outlet: &Outlet<'_>, done: &mut Done) -> Result<Duration, Trouble> {
    let (scratch, held) = copy::by_interface(connection)?;
    read_copy(&scratch, outlet, done)?;
    Ok(held)
}

/// Reads a private copy, which is a file as others are.
fn read_copy(scratch: &Scratch, outlet: &Outlet<'_>, done: &mut Done) -> Result<(), Trouble> {
    let connection = scratch.connect().map_err(|error| Trouble::of(&error))?;
    done.page_bytes = page_bytes(&connection).map_err(|error| Trouble::of(&error))?;
    done.probes = done.requests.iter().map(|request| probe::run(&connection, request)).collect();
    let mut file = File::open(scratch.path()).map_err(Trouble::Io)?;
    loop {
        let mut part = Vec::with_capacity(PART_BYTES);
        (&mut file).take(PART_BYTES as u64).read_to_end(&mut part).map_err(Trouble::Io)?;
        if part.is_empty() {
            return Ok(());
        }
        outlet.send(Message::Part(part))?;
    }
}
