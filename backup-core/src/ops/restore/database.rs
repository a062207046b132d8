//! Databases: a restored one takes the place of an old one in one step, and neither ever meets the other's log.
//!
//! SQLite keeps up to three companions beside a database, found by its name alone: a write-ahead log (`-wal`) with the memory that its readers share (`-shm`), and a rollback journal
//! (`-journal`). Whoever opens a database applies what lies there under its name, whichever database wrote it. So a file must never stand under a name while another one's log with content lies
//! beside it, at no moment at which the power may go. The steps, and what is there if it goes behind each:
//!
//! 1. The old database is looked at, not opened: if any process has it or a companion open (this one included), or holds one of SQLite's locks on it, it is left alone, and named. *The old one.*
//! 2. The new file is written beside it under another name; equal pieces come from the old file, and are verified in the new one. *The old one, and a file of no meaning.*
//! 3. The new file must open as a database (and give the recorded answers, if that is asked for), gets its metadata, and is synced. *The same.*
//! 4. The old database is opened and locked exclusively: a hot journal is rolled back, the log written into the file, both synced by SQLite. *The old one, as any program would find it.*
//! 5. Under that lock processes are looked at once more, the old file gets its second name if it is kept, the empty companions are removed, and the directory is synced. *The old one in one file,
//!    nothing beside it.*
//! 6. The new file is renamed over the old one. *One or the other, whole; nothing lies beside it.*
//! 7. The directory is synced; the lock is let go, which touches no name. *The new one.*
//!
//! A file that SQLite cannot open (encrypted, damaged, no database at all) is not locked and has no log that could be written into it: instead of 4, its companions with content are renamed
//! aside, which is synced before 6. If the power goes between those renames, the old file lies there without its log, which lies beside it under the name of what is set aside: nothing is lost. A log whose
//! database is gone is set aside as well, before the new one gets its name. What is set aside or kept is called `NAME.before-TIME`, and its companions as SQLite would look for them.
//!
//! What remains: a process that opens the old database between the last look and the rename. It waits for the lock, and then has a file without a name; SQLite refuses it to write a
//! journal, but in write-ahead mode it may not notice. So after the rename processes are looked at again, and such a one is named in a warning.

use super::file::{Destination, LongFile};
use super::plan::Plan;
use crate::error::{Error, Result};
use crate::format::constants::ENTRY_FILE;
use crate::format::database::DatabaseState;
use crate::format::tree::Entry;
use crate::progress::Warning;
use crate::source::sqlite::exclusive::{self, Identity, Taken};
use crate::source::sqlite::probe::{self, ProbeRequest};
use crate::target::{Directory, Found, Temporary};
use crate::time::Time;
use crate::words::printable;

/// Suffixes of what SQLite keeps beside a database, the log and the journal first: these hold content.
const SUFFIXES: [&[u8]; 3] = [b"-wal", b"-journal", b"-shm"];
const SUFFIXES_WITH_CONTENT: usize = 2;
/// Names that are tried for what is set aside, before somebody else must be at work.
const ASIDE_ATTEMPTS_MAX: u32 = 100;

/// Whether an entry is a database in one file, and not the plain copy of one.
pub(super) fn is_database(entry: &Entry) -> bool {
    DatabaseState::of(entry).is_some_and(|state| state.is_whole())
}

/// Names of the companions of a database.
pub(super) fn companions(name: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    SUFFIXES.iter().map(move |suffix| [name, suffix].concat())
}

/// Whether a log or journal with content lies beside a name.
pub(super) fn has_log(directory: &Directory, name: &[u8]) -> Result<bool> {
    for companion in companions(name).take(SUFFIXES_WITH_CONTENT) {
        if directory.look(&companion)?.is_some_and(|found| holds_content(&found)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a name is one that a kept database has.
pub(super) fn is_kept_name(name: &[u8], database: &[u8]) -> bool {
    name.strip_prefix(database).is_some_and(|rest| rest.starts_with(b".before-"))
}

/// What is not a file counts as content: nobody knows what it is there for.
fn holds_content(found: &Found) -> bool {
    found.kind != ENTRY_FILE || found.size_bytes > 0
}

/// What stands under the names of a database and its companions, as the system numbers it.
fn identities(directory: &Directory, name: &[u8]) -> Result<Vec<Identity>> {
    let mut identities = Vec::new();
    for name in std::iter::once(name.to_vec()).chain(companions(name)) {
        let found = directory.look(&name)?.filter(|found| found.kind == ENTRY_FILE);
        identities.extend(found.map(|found| (found.device, found.inode)));
    }
    Ok(identities)
}

/// Names that are free for what is set aside: a base, behind which the suffixes stand.
fn free_base(directory: &Directory, name: &[u8], now: Time) -> Result<Vec<u8>> {
    let time = Time::new(now.seconds, 0).to_rfc3339(0).replace(':', "-");
    for attempt in 1..=ASIDE_ATTEMPTS_MAX {
        let number = if attempt == 1 { String::new() } else { format!("-{attempt}") };
        let base = [name, b".before-", time.as_bytes(), number.as_bytes()].concat();
        let mut is_free = true;
        for name in std::iter::once(base.clone()).chain(companions(&base)) {
            is_free &= directory.look(&name)?.is_none();
        }
        if is_free {
            return Ok(base);
        }
    }
    Err(Error::Input {
        what: format!("{} has been set aside too often", directory.path().join(printable(name)).display()),
    })
}

/// Companions that were renamed, so that it can be undone.
#[derive(Default)]
struct SetAside(Vec<(Vec<u8>, Vec<u8>)>);

impl SetAside {
    /// Renames the log and the journal beside a name where they hold content, and removes what else is there.
    fn run(directory: &Directory, name: &[u8], base: &[u8]) -> Result<Self> {
        let mut aside = Self::default();
        for (i, suffix) in SUFFIXES.iter().enumerate() {
            let companion = [name, suffix].concat();
            let Some(found) = directory.look(&companion)? else { continue };
            if i < SUFFIXES_WITH_CONTENT && holds_content(&found) {
                let new = [base, suffix].concat();
                directory.rename(&companion, &new)?;
                aside.0.push((companion, new));
            } else {
                directory.remove_name(&companion)?;
            }
        }
        directory.sync()?;
        Ok(aside)
    }

    fn undo(self, directory: &Directory) -> Result<()> {
        self.0.into_iter().try_for_each(|(companion, new)| directory.rename(&new, &companion))
    }
}

impl Plan<'_, '_, '_> {
    /// Says who uses what stands under the names of a database. It must be asked before any of it is opened.
    pub(super) fn users(&self, directory: &Directory, name: &[u8]) -> Result<Option<String>> {
        let holders = exclusive::holders(&identities(directory, name)?);
        Ok((!holders.is_empty()).then(|| format!("{} has it open", holders.join(" and "))))
    }

    /// Leaves a database as it is, and names it.
    pub(super) fn refuse(&mut self, path: Vec<u8>, why: &str) {
        self.warn("in_use", path.clone(), format!("it was not restored: {why}"));
        self.report.files_refused.push(path);
    }

    /// Decides what becomes of a database that was written whole under another name.
    pub(super) fn settle_database(&mut self, file: LongFile) -> Result<()> {
        let LongFile { destination, temporary, existing, written_bytes, .. } = file;
        let written = written_bytes.into_inner();
        let same_length = existing
            .as_ref()
            .and_then(|file| file.metadata().ok())
            .is_some_and(|found| found.len() == destination.size_bytes);
        // Closing a descriptor drops all locks of this process on the file: it must be gone before one is taken.
        drop(existing);
        if !self.is_sound(&destination, &temporary)? {
            return Ok(());
        }
        let Destination { directory, name, path, .. } = &destination;
        if written == 0 && same_length && !has_log(directory, name)? {
            drop(temporary);
            self.report.files_unchanged += 1;
            for message in directory.apply(name, &destination.entry, &self.shared.applying) {
                self.warn("metadata", path.clone(), message);
            }
            return Ok(());
        }
        for message in destination.apply(temporary.file(), &self.shared.applying) {
            self.warn("metadata", path.clone(), message);
        }
        temporary.sync()?;
        if self.swap(&destination, temporary)? {
            self.report.files_written += 1;
            self.report.restored_bytes += written;
        }
        Ok(())
    }

    /// Whether the new file opens as a database and, where that is asked for, gives the answers that were recorded.
    fn is_sound(&mut self, destination: &Destination, temporary: &Temporary) -> Result<bool> {
        use std::os::unix::ffi::OsStrExt;
        let file = destination.directory.present_path().join(std::ffi::OsStr::from_bytes(temporary.name()));
        let recorded = self.recorded.get(&destination.path).cloned().unwrap_or_default();
        if !exclusive::has_room_for(&file) {
            if !recorded.is_empty() {
                self.warn("probe", destination.path.clone(), "its path is too long for SQLite to probe it".to_owned());
            }
            return Ok(true);
        }
        if let Some(flaw) = exclusive::flaw_of_schema(&file) {
            self.damaged_by(destination.path.clone(), vec![format!("it does not open as a database: {flaw}")]);
            return Ok(false);
        }
        let requests: Vec<ProbeRequest> = recorded.iter().map(ProbeRequest::of).collect();
        let mut wrong = Vec::new();
        for (recorded, found) in recorded.iter().zip(probe::run_on_file(&file, &requests)) {
            for difference in probe::compare(recorded, &found) {
                let text = difference.to_string();
                if difference.is_doubtful {
                    self.warn("probe", destination.path.clone(), format!("a probe cannot be repeated: {text}"));
                } else {
                    wrong.push(text);
                }
            }
        }
        let is_sound = wrong.is_empty();
        if !is_sound {
            self.damaged_by(destination.path.clone(), wrong);
        }
        Ok(is_sound)
    }

    fn damaged_by(&mut self, path: Vec<u8>, messages: Vec<String>) {
        for message in messages {
            self.warn("probe", path.clone(), message);
        }
        self.report.files_damaged.push(path);
    }

    /// Puts the new file in the place of what is there: steps 4 to 7. Says whether that was done.
    fn swap(&mut self, destination: &Destination, temporary: Temporary) -> Result<bool> {
        use std::os::unix::ffi::OsStrExt;
        let Destination { directory, name, path, .. } = destination;
        if let Some(why) = self.users(directory, name)? {
            self.refuse(path.clone(), &why);
            return Ok(false);
        }
        let old = directory.look(name)?.filter(|found| found.kind == ENTRY_FILE);
        let place = directory.present_path().join(std::ffi::OsStr::from_bytes(name));
        let taken = if old.is_some() { exclusive::take(&place) } else { Taken::NotOpened };
        if let Taken::InUse = taken {
            self.refuse(path.clone(), "another process has it locked");
            return Ok(false);
        }
        let others = exclusive::other_holders(&identities(directory, name)?);
        if !others.is_empty() {
            self.refuse(path.clone(), &format!("{} has it open", others.join(" and ")));
            return Ok(false);
        }
        let base = free_base(directory, name, self.shared.loader.repository.environment().now())?;
        let keeps = self.options.keep_old && old.is_some();
        let is_linked = keeps && directory.add_name(name, &base)?;
        let aside = if let Taken::Alone(_) = taken {
            // All of it is in the file by now.
            companions(name).try_for_each(|companion| directory.remove_name(&companion))?;
            directory.sync()?;
            SetAside::default()
        } else {
            SetAside::run(directory, name, &base)?
        };
        let hidden = temporary.leave();
        let swapped = if keeps && !is_linked {
            match directory.exchange(&hidden, name) {
                Ok(true) => directory.rename(&hidden, &base).map(|()| true),
                answer => answer,
            }
        } else {
            directory.rename(&hidden, name).map(|()| true)
        };
        if !matches!(swapped, Ok(true)) {
            directory.remove_name(&hidden)?;
            aside.undo(directory)?;
            swapped?;
            self.refuse(path.clone(), "this file system cannot keep the old one");
            return Ok(false);
        }
        directory.sync()?;
        self.say_what_was_kept(destination, &base, keeps, &aside);
        let late = exclusive::other_holders(&old.map(|old| (old.device, old.inode)).into_iter().collect::<Vec<_>>());
        if !late.is_empty() {
            let message = format!(
                "{} opened the old database in the moment in which it was replaced, and must be started anew",
                late.join(" and ")
            );
            self.warn("in_use", path.clone(), message);
        }
        drop(taken);
        Ok(true)
    }

    fn say_what_was_kept(&mut self, destination: &Destination, base: &[u8], keeps: bool, aside: &SetAside) {
        if keeps {
            let message = format!("the old database is kept as {}", printable(base));
            self.note("kept", destination.path.clone(), message);
        }
        for (companion, new) in &aside.0 {
            let message = format!("{} lay there, and is {} now", printable(companion), printable(new));
            self.note("set_aside", destination.path.clone(), message);
        }
    }

    /// Makes room for one more name of a database that was restored under another: what lies beside it must not be applied to it. Says whether that was possible.
    pub(super) fn clear_companions(&mut self, directory: &Directory, name: &[u8], path: &[u8]) -> Result<bool> {
        if let Some(why) = self.users(directory, name)? {
            self.refuse(path.to_vec(), &why);
            return Ok(false);
        }
        let base = free_base(directory, name, self.shared.loader.repository.environment().now())?;
        if self.options.keep_old && directory.look(name)?.is_some_and(|found| found.kind == ENTRY_FILE) {
            directory.rename(name, &base)?;
        }
        SetAside::run(directory, name, &base)?;
        Ok(true)
    }

    fn note(&mut self, kind: &'static str, path: Vec<u8>, message: String) {
        let note = Warning { kind, subject: path, message };
        self.progress.note(&note);
        self.report.notes.push(note);
    }
}
