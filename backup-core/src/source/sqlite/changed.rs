//! Reads of a followed database only the groups of pages that changed, within one transaction.

use std::io;

use rusqlite::Connection;

use super::changes::{Changes, PageSet};
use super::doubt::Doubt;
use super::held::{ReadingMark, Readings, open_files};
use super::open::{self, Place, Trouble, Way};
use super::pages;
use super::probe::{self, ProbeRequest};
use super::slices::read_pages;
use super::watched::{Failure, SharedFollower, lock};
use super::{HEADER_BYTES, Header};
use crate::environment::Environment;
use crate::format::database::DatabaseState;
use crate::format::probes::ProbeResult;
use crate::source::files::{Identity, read_beginning};
use crate::source::{ContentReader, Findings, Finish, Stretch};

/// Reads the groups of pages that changed, within one transaction.
pub(super) struct ChangedReader {
    /// `None` once all is read: from then on nothing holds the log.
    connection: Option<Connection>,
    _mark: ReadingMark,
    changed: PageSet,
    page_bytes: u32,
    group_pages: u64,
    /// Pages of the database.
    pages: u64,
    /// So many pages at its beginning can be the same as in the parent.
    same_pages: u64,
    /// Pages that were dealt with.
    next: u64,
    part: Vec<u8>,
    taken: usize,
    finish: Finish,
    state: DatabaseState,
    requests: Vec<ProbeRequest>,
    probes: Vec<ProbeResult>,
}

impl ChangedReader {
    /// Begins the transaction between two looks at the log: what is committed before the first, it sees, and what it sees, the second has seen.
    pub(super) fn open(
        follower: &SharedFollower,
        is_given: bool,
        environment: &Environment,
        (group_bytes, parent_bytes): (u32, u64),
    ) -> Result<Self, Failure> {
        let unreadable = |error: io::Error| Failure::Unreadable(error.to_string());
        let place = lock(follower).place().map_err(unreadable)?;
        lock(follower).begin(environment.now()).map_err(unreadable)?;
        let before = place.stat().map_err(unreadable)?;
        let (mark, header) = begin_reading(&place, before.identity, is_given)?;
        let connection = connect(&place, header)?;
        // Before the transaction begins: what is committed from here on is noticed by the next backup.
        let state = pages::state(&place, &before, header);
        let (page_bytes, pages) = begin(&connection)?;
        let state = DatabaseState { page_bytes, ..state };
        let pending = lock(follower).pending(environment.now()).map_err(unreadable)?;
        let (changes, log_page_bytes) = pending.map_err(Failure::Doubt)?;
        if log_page_bytes != page_bytes {
            return Err(Failure::Doubt(Doubt::Replaced));
        }
        let Changes { pages: changed, pages_min, .. } = changes;
        let fewest = pages_min.map_or(pages, |fewest| pages.min(fewest.into()));
        Ok(Self {
            connection: Some(connection),
            _mark: mark,
            changed,
            page_bytes,
            group_pages: u64::from((group_bytes / page_bytes).max(1)),
            pages,
            same_pages: fewest.min(parent_bytes / u64::from(page_bytes)),
            next: 0,
            part: Vec::new(),
            taken: 0,
            finish: Finish { changed: false, mtime: before.mtime, ctime: before.ctime },
            state,
            requests: Vec::new(),
            probes: Vec::new(),
        })
    }

    /// How many pages are read because they may have changed.
    pub(super) fn changed_pages(&self) -> u64 {
        self.changed.len()
    }

    /// How many pages from here on are the parent's, in whole groups; asked at the beginning of a group.
    fn same_pages_here(&self) -> u64 {
        let first = u32::try_from(self.next + 1).unwrap_or(u32::MAX);
        let changed = self.changed.first_from(first).map_or(u64::MAX, |page| u64::from(page) - 1);
        let end = changed.min(self.same_pages) / self.group_pages * self.group_pages;
        end.saturating_sub(self.next)
    }

    /// Reads one group, or what there is of it.
    fn read_group(&mut self) -> io::Result<()> {
        let last = (self.next + self.group_pages).min(self.pages);
        self.part.clear();
        self.taken = 0;
        let ended = || io::Error::other("the transaction has ended");
        let connection = self.connection.as_ref().ok_or_else(ended)?;
        read_pages(connection, self.next + 1, last, &mut self.part).map_err(Trouble::into_io)?;
        self.next = last;
        Ok(())
    }

    fn end(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.probes = self.requests.iter().map(|request| probe::run(&connection, request)).collect();
        }
    }
}

impl ContentReader for ChangedReader {
    fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> io::Result<Stretch> {
        let start = buffer.len();
        while buffer.len() - start < limit {
            if self.taken < self.part.len() {
                let wanted = (limit - (buffer.len() - start)).min(self.part.len() - self.taken);
                buffer.extend_from_slice(&self.part[self.taken..self.taken + wanted]);
                self.taken += wanted;
            } else if self.next >= self.pages || self.same_pages_here() > 0 {
                break;
            } else {
                self.read_group()?;
            }
        }
        if buffer.len() > start {
            return Ok(Stretch::Data(buffer.len() - start));
        }
        let same = self.same_pages_here();
        self.next += same;
        if same == 0 {
            self.end();
            return Ok(Stretch::End);
        }
        Ok(Stretch::Same(same * u64::from(self.page_bytes)))
    }

    fn finish(&mut self) -> io::Result<Finish> {
        Ok(self.finish)
    }

    fn page_bytes(&self) -> Option<u32> {
        Some(self.page_bytes)
    }

    fn probe(&mut self, requests: Vec<ProbeRequest>) {
        self.requests = requests;
    }

    fn findings(&mut self) -> Findings {
        let probes = std::mem::take(&mut self.probes);
        Findings { database: Some(self.state.clone()), probes, ..Findings::default() }
    }
}

/// Notes that this process reads the database, and looks at its first bytes where that is allowed. What is open in this process through the SQLite that the library uses, as a connection given for it shows, may be
/// opened through it once more, but not looked at.
fn begin_reading(place: &Place, identity: Identity, is_given: bool) -> Result<(ReadingMark, Option<Header>), Failure> {
    let readings = Readings::lock();
    if let Some(header) = readings.find(identity) {
        return Ok((readings.begin(identity, header), header));
    }
    if open_files().contains(&identity) {
        return match is_given {
            true => Ok((readings.begin(identity, None), None)),
            false => Err(Failure::Unreadable("this process has it open".to_owned())),
        };
    }
    let beginning = read_beginning(&place.directory, &place.name, HEADER_BYTES);
    let header = Header::parse(&beginning.map_err(|error| Failure::Unreadable(error.to_string()))?);
    Ok((readings.begin(identity, header), header))
}

fn failed(trouble: Trouble) -> Failure {
    match trouble {
        Trouble::NeedsRecovery => Failure::Doubt(Doubt::Reading),
        trouble => Failure::Unreadable(trouble.into_io().to_string()),
    }
}

/// Opens the database through its locks and its log: what is read in another way is read whole.
fn connect(place: &Place, header: Option<Header>) -> Result<Connection, Failure> {
    match open::open(place, header, true).map_err(failed)? {
        Way::Shared(connection) => Ok(connection),
        Way::Immutable(_) | Way::Copy(_) => Err(Failure::Doubt(Doubt::Reading)),
    }
}

/// Begins a transaction that reads. Returns the bytes of a page and how many there are.
fn begin(connection: &Connection) -> Result<(u32, u64), Failure> {
    let begin = || -> rusqlite::Result<(String, u32, u64)> {
        connection.execute_batch("BEGIN")?;
        // The schema's table is read for the transaction to begin.
        open::look(connection)?;
        let mode = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        Ok((mode, pages::page_bytes(connection)?, pages.cast_unsigned()))
    };
    let (mode, page_bytes, pages) = begin().map_err(|error| failed(Trouble::of(&error)))?;
    if mode == "wal" { Ok((page_bytes, pages)) } else { Err(Failure::Doubt(Doubt::NoLog)) }
}
