//! Follows a database from the outside: which pages were committed since a snapshot was made of it, told by its log.
//!
//! Nothing here opens the main file, and nothing takes part in SQLite's locks, which lie on the main file and on the index. What is collected is at least what changed. Where that cannot be shown, the
//! follower is *lost*, says why, and must be set anew by a snapshot for which the whole database was read:
//!
//! | found | what follows |
//! |---|---|
//! | the header of before | frames behind the last known transaction |
//! | that of the next reset, and the place of the last known transaction not written over yet | what the old chain still had, then the new one |
//! | any other header, or none where there was one, and the main file changed | lost |
//! | no log before and after, and the main file changed | lost: it is written through a journal, or was checkpointed in between |
//! | another main file | lost |
//!
//! The last known transaction is read again each time. It may not count: where a program dies between writing a commit and telling the others, the next one writes over it. And until they are told, a
//! snapshot does not see it: so it is left to the next one as well, unless the index says that it counted before.

use std::fs::File;
use std::io;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::chain::Chain;
use super::changes::Changes;
use super::doubt::Doubt;
use super::held::{Readings, open_files};
use super::open::Place;
use crate::source::files::{Identity, Stat, open_parent};
use crate::time::Time;

/// A file whose times are this close to a look at it may have been written again in the same tick of its clock.
const TICK_SECONDS: i64 = 2;

/// What differs once a file was replaced or written.
type Looks = (Identity, u64, Time, Time);

/// Follows one database.
#[derive(Debug)]
pub(crate) struct Follower {
    path: Vec<u8>,
    state: State,
    /// What was noticed since the snapshot under way began, or the last one.
    changes: Changes,
    /// What the snapshot under way is to hold.
    under_way: Option<Changes>,
}

#[derive(Debug)]
enum State {
    Lost(Doubt),
    /// There is no log that can be followed: main file and log as they looked.
    Still {
        main: Looks,
        log: Option<Looks>,
        is_settled: bool,
    },
    Following(Following),
}

/// A log that is followed.
#[derive(Clone, Debug)]
struct Following {
    /// The main file as it looked before the log was read last, and whether that look can be relied on.
    main: (Looks, bool),
    /// The same of the log.
    log: (Looks, bool),
    chain: Chain,
}

impl Follower {
    /// Makes a follower that is lost: it must be set before it collects anything.
    pub(crate) fn new(path: Vec<u8>) -> Self {
        let mut changes = Changes::default();
        changes.note();
        Self { path, state: State::Lost(Doubt::Start), changes, under_way: None }
    }

    /// The absolute path of the main file.
    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Where the main file lies now.
    pub(super) fn place(&self) -> io::Result<Place> {
        let (directory, name) = open_parent(&self.path)?;
        Ok(Place { directory: std::sync::Arc::new(directory), name: name.to_vec() })
    }

    /// Why changes cannot be told; `None` if they can.
    pub(crate) fn doubt(&self) -> Option<Doubt> {
        match self.state {
            State::Lost(doubt) => Some(doubt),
            _ => None,
        }
    }

    /// When the first change that is in no snapshot was noticed; `None` if all is stored.
    pub(crate) fn waiting_since(&self) -> Option<std::time::Instant> {
        let under_way = self.under_way.as_ref().and_then(|changes| changes.since);
        under_way.into_iter().chain(self.changes.since).min()
    }

    /// Collects what was committed since the last look.
    ///
    /// # Errors
    /// The system's answer: then the follower is where it was, and holds that something may have changed.
    pub(crate) fn poll(&mut self, now: Time) -> io::Result<()> {
        let looked = self.look(now);
        if looked.is_err() {
            self.changes.note();
        }
        looked
    }

    fn look(&mut self, now: Time) -> io::Result<()> {
        if matches!(self.state, State::Lost(_)) {
            return Ok(());
        }
        let place = self.place()?;
        // In this order: a log that is gone was moved into the main file before.
        let log = look_at_log(&place);
        let main = place.stat()?;
        match std::mem::replace(&mut self.state, State::Lost(Doubt::LogReset)) {
            State::Lost(doubt) => self.lose(doubt),
            State::Still { main: before, log: log_before, is_settled } => {
                self.poll_still(&place, (main, log), (before, log_before, is_settled), now)?;
            }
            State::Following(following) => {
                let before = following.clone();
                if let Err(error) = self.poll_log(&place, (main, log), following, now) {
                    self.state = State::Following(before);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Looks at a database that had no log to follow.
    fn poll_still(
        &mut self,
        place: &Place,
        (main, log): (Stat, Option<Stat>),
        (main_before, log_before, was_settled): (Looks, Option<Looks>, bool),
        now: Time,
    ) -> io::Result<()> {
        let log_looks = log.as_ref().map(Stat::looks);
        let still = |is_settled| State::Still { main: main_before, log: log_before, is_settled };
        if main.looks() != main_before {
            self.lose(if main.identity != main_before.0 { Doubt::Replaced } else { Doubt::NoLog });
        } else if log_looks == log_before {
            let is_settled = is_settled(&main, now) && log.as_ref().is_none_or(|log| is_settled(log, now));
            match is_settled && !was_settled {
                // What was written in the tick of the last look does not show.
                true => self.lose(Doubt::Unsettled),
                false => self.state = still(was_settled),
            }
        } else if let (Some(log), None, true) = (log, log_before, was_settled) {
            // Nothing reached the main file since: so this log holds all that was committed.
            let file = open_log(place, log.identity);
            self.state = still(was_settled);
            let file = file?;
            match Chain::begin(&file)? {
                Some(chain) => {
                    let following = Following { main: (main.looks(), true), log: (log.looks(), false), chain };
                    self.poll_log(place, (main, Some(log)), following, now)?;
                    if place.stat()?.looks() != main_before {
                        self.lose(Doubt::NoLog);
                    }
                }
                None => self.lose(Doubt::LogReset),
            }
        } else {
            self.lose(Doubt::NoLog);
        }
        Ok(())
    }

    /// Looks at a database whose log is followed.
    fn poll_log(
        &mut self,
        place: &Place,
        (main, log): (Stat, Option<Stat>),
        mut following: Following,
        now: Time,
    ) -> io::Result<()> {
        if main.identity != following.main.0.0 {
            self.lose(Doubt::Replaced);
            return Ok(());
        }
        let Some(log) = log.filter(|log| log.identity == following.log.0.0) else {
            // What was in the log and not read would be in the main file by now.
            match following.main == (main.looks(), true) && look_at_log(place).is_none() {
                true => self.state = State::Still { main: main.looks(), log: None, is_settled: true },
                false => self.lose(Doubt::LogGone),
            }
            return Ok(());
        };
        if following.log != (log.looks(), true) {
            let file = open_log(place, log.identity)?;
            let mut found = Vec::new();
            if !following.chain.read_on(&file, &mut found)? {
                self.lose(Doubt::LogReset);
                return Ok(());
            }
            found.iter().for_each(|committed| self.changes.add(&committed.pages, committed.database_pages));
        }
        following.main = (main.looks(), is_settled(&main, now));
        following.log = (log.looks(), is_settled(&log, now));
        self.state = State::Following(following);
        Ok(())
    }

    /// Begins a snapshot that reads what changed. What is noticed from now on is for the next one, too.
    pub(super) fn begin(&mut self, now: Time) -> io::Result<()> {
        self.poll(now)?;
        self.begin_anew();
        Ok(())
    }

    fn begin_anew(&mut self) {
        self.under_way = Some(std::mem::take(&mut self.changes));
        if let State::Following(following) = &self.state
            && let Some((pages, database_pages)) = &following.chain.last
            && !self.place().is_ok_and(|place| is_shown(&place, following))
        {
            self.changes.add(pages, *database_pages);
        }
    }

    /// Everything that the snapshot under way may have to hold: at least what changed since the last one. Fails where that cannot be told.
    pub(super) fn pending(&mut self, now: Time) -> io::Result<Result<(Changes, u32), Doubt>> {
        self.poll(now)?;
        let mut changes = self.changes.clone();
        changes.merge(self.under_way.as_ref().unwrap_or(&Changes::default()));
        Ok(match &self.state {
            State::Lost(doubt) => Err(*doubt),
            State::Following(following) => Ok((changes, following.chain.page_bytes())),
            State::Still { .. } => Err(Doubt::NoLog),
        })
    }

    /// Sets the follower to what is committed now: a snapshot that reads the whole database must begin after this.
    ///
    /// # Errors
    /// The system's answer: then nothing changed.
    pub(crate) fn set(&mut self, now: Time) -> io::Result<()> {
        let place = self.place()?;
        let main = place.stat()?;
        let log = look_at_log(&place);
        let followed = match &log {
            Some(log) => read_whole(&place, log, &main, now)?,
            None => None,
        };
        let are_settled = is_settled(&main, now) && log.as_ref().is_none_or(|log| is_settled(log, now));
        let still = State::Still { main: main.looks(), log: log.as_ref().map(Stat::looks), is_settled: are_settled };
        self.state = followed.map_or(still, State::Following);
        self.begin_anew();
        Ok(())
    }

    /// The snapshot that was under way is there.
    pub(crate) fn committed(&mut self) {
        self.under_way = None;
    }

    /// The snapshot that was under way is not there: what it was to hold is for the next one. Without its content the follower may be lost.
    pub(crate) fn failed(&mut self, doubt: Option<Doubt>) {
        if let Some(changes) = self.under_way.take() {
            self.changes.merge(&changes);
        }
        if let Some(doubt) = doubt {
            self.lose(doubt);
        }
    }

    fn lose(&mut self, doubt: Doubt) {
        self.state = State::Lost(doubt);
        self.changes.note();
    }
}

/// Reads a log to its end; `None` if it cannot be followed.
fn read_whole(place: &Place, log: &Stat, main: &Stat, now: Time) -> io::Result<Option<Following>> {
    let file = match open_log(place, log.identity) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let Some(mut chain) = Chain::begin(&file)? else { return Ok(None) };
    let is_whole = chain.read_on(&file, &mut Vec::new())?;
    let (main, log) = ((main.looks(), is_settled(main, now)), (log.looks(), false));
    Ok(is_whole.then_some(Following { main, log, chain }))
}

/// Whether a snapshot that begins now sees the last known transaction. Where that cannot be looked at, it may not.
fn is_shown(place: &Place, following: &Following) -> bool {
    // Closing the index would drop the locks of whoever in this process reads the database.
    let readings = Readings::lock();
    let main = following.main.0.0;
    if readings.find(main).is_some() || open_files().contains(&main) {
        return false;
    }
    match open_beside(place, b"-shm").and_then(|index| following.chain.is_shown(&index)) {
        Ok(is_shown) => is_shown,
        // Nobody has the database open: whoever opens it next recovers all that is committed in the log.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn is_settled(stat: &Stat, now: Time) -> bool {
    let is_old = |time: Time| time.seconds < now.seconds - TICK_SECONDS;
    is_old(stat.mtime) && is_old(stat.ctime)
}

/// The log beside a database, if it has content.
fn look_at_log(place: &Place) -> Option<Stat> {
    place.companions().log.0.filter(|log| log.size_bytes > 0)
}

/// Opens a log that must be the one that was seen. SQLite has no locks on it that closing could drop.
fn open_log(place: &Place, seen: Identity) -> io::Result<File> {
    let file = open_beside(place, b"-wal")?;
    match crate::source::files::stat_open(&file)?.identity == seen {
        true => Ok(file),
        false => Err(Errno::STALE.into()),
    }
}

fn open_beside(place: &Place, suffix: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let name = [place.name.as_slice(), suffix].concat();
    Ok(File::from(rustix::fs::openat(&place.directory, name, flags, Mode::empty())?))
}

#[cfg(test)]
mod tests;
