//! Passes over the pages of a database, in one transaction or in slices of it.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::open::Trouble;
use super::pages::{Message, page_bytes};
use super::probe::{self, ProbeRequest};
use crate::format::probes::ProbeResult;

/// Bytes that go to the reader's caller at once: what it asks for at once, so that they need not be copied.
pub(super) const PART_BYTES: usize = 2 << 20;
/// How long a lock that keeps writers waiting is held at once.
const SLICE: Duration = Duration::from_millis(100);

/// Where parts go.
pub(super) struct Outlet<'a>(pub(super) &'a SyncSender<Message>);

impl Outlet<'_> {
    pub(super) fn send(&self, message: Message) -> Result<(), Trouble> {
        self.0.send(message).map_err(|_| abandoned())
    }
}

fn abandoned() -> Trouble {
    Trouble::Io(std::io::ErrorKind::Interrupted.into())
}

/// How a pass over the pages ended.
pub(super) enum Pass {
    Whole,
    /// Something was committed in a pause.
    Overtaken,
}

/// A pass over all pages, in one transaction or, where that keeps writers waiting, in several between which nothing may be committed.
pub(super) struct Slices<'a> {
    connection: &'a Connection,
    outlet: &'a Outlet<'a>,
    keeps_waiting: bool,
    began: Instant,
    /// The longest time for which the lock was held.
    pub(super) held: Duration,
    requests: &'a [ProbeRequest],
    /// What is answered to the requests, once a pass was whole.
    pub(super) answers: Vec<ProbeResult>,
}

impl<'a> Slices<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        outlet: &'a Outlet<'a>,
        keeps_waiting: bool,
        requests: &'a [ProbeRequest],
    ) -> Self {
        let (held, answers) = (Duration::ZERO, Vec::new());
        Self { connection, outlet, keeps_waiting, began: Instant::now(), held, requests, answers }
    }

    pub(super) fn pass(&mut self) -> Result<Pass, Trouble> {
        let begun = self.begin()?;
        let outcome = self.read_all(begun).and_then(|pass| self.answer(begun, pass));
        let ended = self.end();
        let outcome = outcome?;
        ended?;
        Ok(outcome)
    }

    fn read_all(&mut self, begun: (i64, u64)) -> Result<Pass, Trouble> {
        let page_bytes = page_bytes(self.connection).map_err(|error| Trouble::of(&error))?.max(1) as usize;
        let pages_at_once = (PART_BYTES / page_bytes).max(1) as u64;
        let mut next = 1;
        while next <= begun.1 {
            let last = (next + pages_at_once - 1).min(begun.1);
            let mut part = Vec::with_capacity((last + 1 - next) as usize * page_bytes);
            read_pages(self.connection, next, last, &mut part)?;
            next = last + 1;
            if !self.keeps_waiting {
                self.outlet.send(Message::Part(part))?;
                continue;
            }
            let full = match self.outlet.0.try_send(Message::Part(part)) {
                Ok(()) => None,
                Err(TrySendError::Full(message)) => Some(message),
                Err(TrySendError::Disconnected(_)) => return Err(abandoned()),
            };
            if next <= begun.1 && (full.is_some() || self.began.elapsed() > SLICE) {
                self.end()?;
                full.map_or(Ok(()), |message| self.outlet.send(message))?;
                if self.begin()? != begun {
                    return Ok(Pass::Overtaken);
                }
            } else if let Some(message) = full {
                self.end()?;
                self.outlet.send(message)?;
            }
        }
        Ok(Pass::Whole)
    }

    /// Answers the requests in the state that was read. The lock may have been let go before the last part was taken.
    fn answer(&mut self, begun: (i64, u64), pass: Pass) -> Result<Pass, Trouble> {
        if self.requests.is_empty() || matches!(pass, Pass::Overtaken) {
            return Ok(pass);
        }
        if self.connection.is_autocommit() && self.begin()? != begun {
            return Ok(Pass::Overtaken);
        }
        self.answers = self.requests.iter().map(|request| probe::run(self.connection, request)).collect();
        Ok(Pass::Whole)
    }

    /// Begins a transaction that reads. Returns a number that changes with every commit of others, and how many pages there are.
    fn begin(&mut self) -> Result<(i64, u64), Trouble> {
        let begin = || -> rusqlite::Result<(i64, u64)> {
            self.connection.execute_batch("BEGIN")?;
            let number = |pragma: &str| self.connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
            // The schema's table is read for the transaction to begin.
            number("SELECT count(*) FROM sqlite_schema")?;
            Ok((number("PRAGMA data_version")?, number("PRAGMA page_count")?.cast_unsigned()))
        };
        let begun = begin();
        self.began = Instant::now();
        begun.map_err(|error| {
            let _ = self.end();
            Trouble::of(&error)
        })
    }

    /// Ends the transaction, if one is open.
    fn end(&mut self) -> Result<(), Trouble> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        self.held = self.held.max(self.began.elapsed());
        self.connection.execute_batch("ROLLBACK").map_err(|error| Trouble::of(&error))
    }
}

/// Appends some pages, `last` included.
pub(super) fn read_pages(connection: &Connection, first: u64, last: u64, part: &mut Vec<u8>) -> Result<(), Trouble> {
    let mut read = || -> rusqlite::Result<()> {
        let mut statement = connection.prepare("SELECT data FROM sqlite_dbpage WHERE pgno = ?1")?;
        for page in first..=last {
            let mut rows = statement.query([page.cast_signed()])?;
            let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            part.extend_from_slice(row.get_ref(0)?.as_blob()?);
        }
        Ok(())
    };
    read().map_err(|error| Trouble::of(&error))
}
