//! `watch`: follows live SQLite databases, and commits a snapshot of one whenever it changed, at a cost that follows the changed pages.
//!
//! A thread looks at the logs several times a second ([`crate::source::sqlite::follow`]), also while a snapshot is made or the storage does not answer; snapshots are made one after the other by the caller's. Each is
//! an ordinary one of the database's path, as `backup` makes it. Where it cannot be shown what changed, all is read and compared. [`schedule`] decides when.

mod options;
mod schedule;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::id::EntryId;
use crate::ops::backup::BackupReport;
use crate::path;
use crate::progress::{Progress, Warning};
use crate::repository::Repository;
use crate::source::sqlite::follow::Follower;
use crate::source::sqlite::watched::{self, Extent, Failure, SharedFollower, Watched, lock};
use crate::source::sqlite::{Doubt, PageReader};

pub use options::{Happened, WatchEvent, WatchOptions, WatchReport};
use schedule::{Backoff, Database};

/// How often logs are looked at.
const POLL: Duration = Duration::from_millis(100);
/// How long a cancellation may go unnoticed.
const NAP: Duration = Duration::from_millis(20);
/// How long one look at what the storage holds, and what others committed, counts for the snapshots after it.
const TRUSTED_SECONDS: u64 = 60;
/// Warnings that a report keeps.
const WARNINGS_MAX: usize = 1000;

/// What becomes of events.
type Each<'e> = dyn FnMut(&WatchEvent) -> Result<()> + 'e;

impl Repository {
    /// Follows databases, and commits a snapshot of one whenever it changed, until the time is over or the cancellation comes. `each` hears of every snapshot, and of everything that is in the way of one.
    ///
    /// A database that cannot be read for a while and storage that cannot be reached end nothing: changes are collected, and stored together later. A database that this process has open itself needs [`WatchOptions::connection`].
    ///
    /// # Errors
    /// [`Error::Usage`] for options that cannot be meant; [`Error::File`] for a path where there is no database at the beginning; [`Error::Interrupted`], which is how it usually ends; what `each` returns; and
    /// what no waiting mends, such as [`Error::RolledBack`].
    pub fn watch(
        &mut self,
        databases: &[PathBuf],
        options: &WatchOptions,
        each: &mut Each<'_>,
        progress: &dyn Progress,
    ) -> Result<WatchReport> {
        use std::os::unix::ffi::OsStrExt;
        options.check()?;
        self.require_writable()?;
        self.group_bytes(&options.class)?;
        let current = std::env::current_dir().map_err(Error::file("find", "."))?;
        let absolute = |typed: &PathBuf| path::absolute(typed.as_os_str().as_bytes(), current.as_os_str().as_bytes());
        let mut paths: Vec<Vec<u8>> = databases.iter().map(absolute).collect();
        paths.sort_unstable();
        paths.dedup();
        if paths.is_empty() {
            return Err(Error::Usage { what: "there is no database to watch".to_owned() });
        }
        for path in &paths {
            let path_buf = || PathBuf::from(std::ffi::OsStr::from_bytes(path));
            let is_given = options.connection_to(path).is_some();
            watched::check(path, is_given).map_err(|error| Error::file("watch", path_buf())(error))?;
        }
        let followers: Vec<SharedFollower> =
            paths.into_iter().map(|path| Arc::new(Mutex::new(Follower::new(path)))).collect();
        let databases = followers.iter().map(|follower| Database::new(Arc::clone(follower))).collect();
        let (environment, stop) = (self.environment().clone(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let poller = scope.spawn(|| poll(&followers, &environment, options.every().min(POLL), &stop));
            let _stop = Stop { flag: &stop, poller: poller.thread().clone() };
            Watch { repository: self, options, each, progress, report: WatchReport::default() }.run(databases)
        })
    }

    /// Bytes of a group of pages in the current period of a class.
    fn group_bytes(&self, class: &str) -> Result<u32> {
        Ok(self.period_keys(class, self.environment().now())?.parameters().page_group_bytes)
    }
}

/// Looks at logs until it is told to stop. What cannot be looked at is told when a snapshot of it fails.
fn poll(followers: &[SharedFollower], environment: &Environment, pause: Duration, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        for follower in followers {
            let _ = lock(follower).poll(environment.now());
        }
        std::thread::park_timeout(pause);
    }
}

/// Tells the thread that looks at logs to stop, however watching ends.
struct Stop<'a> {
    flag: &'a AtomicBool,
    poller: Thread,
}

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.flag.store(true, Ordering::Release);
        self.poller.unpark();
    }
}

/// Watching under way.
struct Watch<'a> {
    repository: &'a mut Repository,
    options: &'a WatchOptions,
    each: &'a mut Each<'a>,
    progress: &'a dyn Progress,
    report: WatchReport,
}

/// What became of an attempt to make a snapshot.
enum Attempt {
    Committed,
    /// The database cannot be read now.
    Unreadable,
    /// The storage cannot be reached.
    Unreachable(String),
    /// It must be read whole, for another reason than before.
    Lost,
}

impl Watch<'_> {
    fn run(mut self, mut databases: Vec<Database>) -> Result<WatchReport> {
        let end = self.options.duration_ms.map(|duration| Instant::now() + Duration::from_millis(duration));
        let mut backoff = Backoff::default();
        loop {
            let is_last = end.is_some_and(|end| Instant::now() >= end);
            for database in &mut databases {
                self.repository.options.cancel.check()?;
                if is_last || (backoff.is_over() && database.is_due(self.options)) {
                    self.store(database, &mut backoff)?;
                }
            }
            if is_last {
                databases.iter().for_each(|database| self.warn_if_behind(database));
                return Ok(self.report);
            }
            let next = databases.iter().map(|database| database.next).min();
            let next = next.into_iter().chain(end).min().unwrap_or_else(Instant::now);
            self.sleep_until(next)?;
        }
    }

    fn sleep_until(&self, moment: Instant) -> Result<()> {
        loop {
            self.repository.options.cancel.check()?;
            let left = moment.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(NAP));
        }
    }

    /// Makes a snapshot of a database in which something changed.
    fn store(&mut self, database: &mut Database, backoff: &mut Backoff) -> Result<()> {
        if lock(&database.follower).waiting_since().is_none() {
            return Ok(());
        }
        let mut attempt = self.attempt(database)?;
        if let Attempt::Lost = attempt {
            attempt = self.attempt(database)?;
        }
        database.is_failing = !matches!(attempt, Attempt::Committed);
        match attempt {
            Attempt::Committed => *backoff = Backoff::default(),
            Attempt::Unreadable | Attempt::Lost => self.report.waits += 1,
            Attempt::Unreachable(message) => {
                self.report.outages += 1;
                let retry_ms = backoff.next();
                self.tell(database, Happened::Unreachable { message, retry_ms })?;
            }
        }
        Ok(())
    }

    fn attempt(&mut self, database: &mut Database) -> Result<Attempt> {
        let started = Instant::now();
        let whole = self.whole(database);
        let extent = match (whole, database.last) {
            (None, Some((_, parent_bytes))) => {
                Extent::Changed { group_bytes: self.repository.group_bytes(&self.options.class)?, parent_bytes }
            }
            _ => Extent::Whole,
        };
        if let Some(doubt) = whole
            && let Err(error) = { lock(&database.follower).set(self.repository.environment().now()) }
        {
            return self.wait(database, Some(doubt), error.to_string());
        }
        let environment = self.repository.environment().clone();
        let given = self.options.connection_to(lock(&database.follower).path());
        let source = Watched::new(&database.follower, given, extent, environment)?;
        let options = self.options.backup.clone().only_changed().trusted_seconds(TRUSTED_SECONDS);
        let options = match database.last {
            Some((id, _)) => options.parent(Some(id)),
            None => options,
        };
        match self.repository.backup(&source, &options, self.progress) {
            Ok(made) => {
                database.last = made.snapshot_id.or(made.parent_id).map(|id| (id, made.counts.source_bytes));
                database.note_whole(whole.is_some(), started);
                self.committed(database, &made, whole, source.changed_pages(), started)?;
                Ok(Attempt::Committed)
            }
            Err(error) => self.failed(database, error, whole, source.failure()),
        }
    }

    /// Why all of a database must be read; `None` if what changed is enough.
    fn whole(&self, database: &Database) -> Option<Doubt> {
        let follower = lock(&database.follower);
        let is_table = PageReader::of_this_library() == PageReader::Table;
        follower.doubt().or((!is_table).then_some(Doubt::Reading)).or(database.last.is_none().then_some(Doubt::Parent))
    }

    fn committed(
        &mut self,
        database: &Database,
        made: &BackupReport,
        whole: Option<Doubt>,
        changed_pages: Option<u64>,
        started: Instant,
    ) -> Result<()> {
        let lag_ms = database.lag_ms();
        lock(&database.follower).committed();
        let Some(snapshot_id) = made.snapshot_id else { return Ok(()) };
        self.report.snapshots += 1;
        self.report.whole += u64::from(whole.is_some());
        self.report.changed_pages += changed_pages.unwrap_or(0);
        self.report.stored_bytes += made.counts.stored_bytes;
        self.report.lag_ms_max = self.report.lag_ms_max.max(lag_ms);
        made.warnings.iter().for_each(|warning| self.warn(warning.clone()));
        let (stored_bytes, requests) = (made.counts.stored_bytes, made.requests);
        let elapsed_ms = milliseconds(started.elapsed());
        let what = Happened::Committed { snapshot_id, whole, changed_pages, stored_bytes, requests, elapsed_ms };
        let path = lock(&database.follower).path().to_vec();
        (self.each)(&WatchEvent { path, lag_ms, what })
    }

    /// Decides what a failure means. What was collected stays for the next attempt.
    fn failed(
        &mut self,
        database: &mut Database,
        error: Error,
        whole: Option<Doubt>,
        failure: Option<Failure>,
    ) -> Result<Attempt> {
        let keep = |doubt: Option<Doubt>| lock(&database.follower).failed(doubt);
        match (error, failure) {
            (error, _) if error.kind() == ErrorKind::Interrupted => Err(error),
            (error, _) if error.kind() == ErrorKind::Storage => {
                keep(whole);
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                Ok(Attempt::Unreachable(format!("{error}{cause}")))
            }
            (_, Some(Failure::Doubt(doubt))) => {
                keep(Some(doubt));
                Ok(Attempt::Lost)
            }
            (_, Some(Failure::Unreadable(message))) => self.wait(database, whole, message),
            (Error::SnapshotName { .. }, None) if database.last.is_some() => {
                keep(Some(Doubt::Parent));
                database.last = None;
                Ok(Attempt::Lost)
            }
            (error, None) if whole.is_none() && (error.is_damage() || error.kind() == ErrorKind::Input) => {
                keep(Some(Doubt::Parent));
                Ok(Attempt::Lost)
            }
            (Error::Input { what }, None) => self.wait(database, whole, what),
            (error, None) => Err(error),
        }
    }

    fn wait(&mut self, database: &Database, whole: Option<Doubt>, message: String) -> Result<Attempt> {
        lock(&database.follower).failed(whole);
        self.tell(database, Happened::Waiting { message })?;
        Ok(Attempt::Unreadable)
    }

    fn tell(&mut self, database: &Database, what: Happened) -> Result<()> {
        let path = lock(&database.follower).path().to_vec();
        (self.each)(&WatchEvent { path, lag_ms: database.lag_ms(), what })
    }

    fn warn(&mut self, warning: Warning) {
        if self.report.warnings.len() < WARNINGS_MAX && !self.report.warnings.contains(&warning) {
            self.report.warnings.push(warning);
        }
    }

    fn warn_if_behind(&mut self, database: &Database) {
        let lag_ms = database.lag_ms();
        // What changed after the last look is nobody's fault.
        if database.is_failing {
            let subject = lock(&database.follower).path().to_vec();
            let message = format!("changes of the last {lag_ms} ms are in no snapshot");
            self.report.warnings.push(Warning { kind: "behind", subject, message });
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The last snapshot of a database, and the bytes of the database in it.
type Last = (EntryId, u64);
