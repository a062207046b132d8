//! Decides of each file whether it is a SQLite database, before any descriptor to it is opened; [`crate::source::sqlite`] says why before.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use super::content::Reader;
use super::metadata::{Identity, stat_followed};
use crate::format::constants::DATABASE_RAW;
use crate::format::database::DatabaseState;
use crate::format::tree::Attribute;
use crate::source::sqlite::held::{Readings, open_files};
use crate::source::sqlite::{
    HEADER_BYTES, Header, PAGE_BYTES_MIN, PageReader, Place, Reading, SharedConnection, SqliteMode, Trouble,
};
use crate::source::{ContentReader, Findings, Finish, Stretch};

/// What a walk knows about databases.
pub(super) struct Databases {
    mode: SqliteMode,
    reader: PageReader,
    /// Connections of the embedding program, by the file that each has open.
    given: HashMap<Identity, SharedConnection>,
}

/// A file, before it is opened.
pub(super) struct Candidate<'a> {
    pub(super) directory: &'a Arc<OwnedFd>,
    pub(super) name: &'a [u8],
    pub(super) identity: Identity,
    pub(super) size_bytes: u64,
    /// Whether files lie beside it that would be a database's.
    pub(super) has_companions: bool,
}

impl Candidate<'_> {
    fn place(&self) -> Place {
        Place { directory: Arc::clone(self.directory), name: self.name.to_vec() }
    }

    /// Looks at the first bytes: only of what may be opened as a file.
    fn header(&self) -> io::Result<Option<Header>> {
        Ok(Header::parse(&Reader::open(self.directory, self.name)?.beginning(HEADER_BYTES)?))
    }
}

/// What may be done with a file.
enum Verdict {
    /// It may be opened as a file.
    Free,
    /// This process reads it through SQLite, and only so it may be opened; what its first bytes told is known from then.
    Reading(Option<Header>),
    /// Only this connection may read it.
    Given(SharedConnection),
    /// This process has it open, and nobody gave a connection.
    Taken,
}

impl Databases {
    pub(super) fn new(mode: SqliteMode, reader: PageReader, given: &[(PathBuf, SharedConnection)]) -> Self {
        let identity = |path: &PathBuf| stat_followed(path).ok().map(|stat| stat.identity);
        let given = given.iter().filter_map(|(path, connection)| Some((identity(path)?, Arc::clone(connection))));
        Self { mode, reader, given: given.collect() }
    }

    pub(super) fn is_on(&self) -> bool {
        self.mode == SqliteMode::Auto
    }

    /// Whether a file can be a database at all, by its length.
    fn is_plausible(candidate: &Candidate<'_>) -> bool {
        let length = candidate.size_bytes;
        candidate.has_companions || (length >= PAGE_BYTES_MIN && length.is_multiple_of(PAGE_BYTES_MIN))
    }

    /// Must be asked while `readings` is held, and acted on before it is let go.
    fn judge(&self, candidate: &Candidate<'_>, readings: &Readings) -> Verdict {
        if let Some(connection) = self.given.get(&candidate.identity) {
            return Verdict::Given(Arc::clone(connection));
        }
        if let Some(header) = readings.find(candidate.identity) {
            return Verdict::Reading(header);
        }
        // What cannot be a database may be opened as any file, and looking costs a listing each time.
        let is_taken = Self::is_plausible(candidate) && open_files().contains(&candidate.identity);
        if is_taken { Verdict::Taken } else { Verdict::Free }
    }

    /// Opens a file's content: a database's through SQLite.
    pub(super) fn open(&self, candidate: &Candidate<'_>) -> io::Result<Box<dyn ContentReader>> {
        let plain = || Ok(Box::new(Reader::open(candidate.directory, candidate.name)?) as Box<dyn ContentReader>);
        if !self.is_on() || !(Self::is_plausible(candidate) || self.given.contains_key(&candidate.identity)) {
            return plain();
        }
        let place = candidate.place();
        let readings = Readings::lock();
        match self.judge(candidate, &readings) {
            Verdict::Given(connection) => {
                let mark = readings.begin(candidate.identity, None);
                let reading = Reading::given(place, connection, self.reader, mark);
                reading.map(boxed).map_err(Trouble::into_io)
            }
            Verdict::Reading(header) => {
                let mark = readings.begin(candidate.identity, header);
                Reading::open(place, header, self.reader, mark).map(boxed).map_err(Trouble::into_io)
            }
            Verdict::Taken => Err(taken()),
            Verdict::Free => {
                let Some(header) = candidate.header()? else {
                    drop(readings);
                    return self.open_unknown(candidate, &place);
                };
                let mark = readings.begin(candidate.identity, Some(header));
                match Reading::open(place.clone(), Some(header), self.reader, mark) {
                    Ok(reading) => Ok(boxed(reading)),
                    Err(Trouble::NotReadable(why)) => raw(candidate, &place, Some(header), &why),
                    Err(trouble) => Err(trouble.into_io()),
                }
            }
        }
    }

    /// A file that does not begin as a database. A log beside it says that it may be one all the same, encrypted.
    fn open_unknown(&self, candidate: &Candidate<'_>, place: &Place) -> io::Result<Box<dyn ContentReader>> {
        let is_logged = candidate.has_companions && place.companions().log.has_content();
        if is_logged && candidate.size_bytes > 0 {
            return raw(candidate, place, None, "it has a write-ahead log, and does not begin as a database does");
        }
        Ok(Box::new(Reader::open(candidate.directory, candidate.name)?))
    }

    /// Whether the file is a database, or may be one that this process has open: then the files beside it are no files of their own.
    pub(super) fn owns_companions(&self, candidate: &Candidate<'_>) -> bool {
        if candidate.size_bytes == 0 {
            return false;
        }
        let readings = Readings::lock();
        match self.judge(candidate, &readings) {
            Verdict::Given(_) | Verdict::Reading(_) | Verdict::Taken => true,
            Verdict::Free => candidate.header().is_ok_and(|header| header.is_some()),
        }
    }

    /// Whether a log with content lies beside the file.
    pub(super) fn is_logged(&self, candidate: &Candidate<'_>) -> bool {
        self.is_on() && candidate.has_companions && candidate.place().companions().log.has_content()
    }

    /// Whether a database whose file has its old times and length is still what a backup noted: log and change counter, too, and nothing newer than `settled_seconds`.
    pub(super) fn is_same(&self, candidate: &Candidate<'_>, before: &DatabaseState, settled_seconds: i64) -> bool {
        if !self.is_on() {
            return false;
        }
        let place = candidate.place();
        let Ok(stat) = place.stat() else { return false };
        let now = DatabaseState {
            reading: before.reading,
            page_bytes: before.page_bytes,
            change_counter: before.change_counter,
            ..crate::source::sqlite::state(&place, &stat, None)
        };
        let is_settled = now
            .log
            .as_ref()
            .is_none_or(|log| log.mtime.seconds < settled_seconds && log.ctime.seconds < settled_seconds);
        now == *before && is_settled && self.has_counter(candidate, before.change_counter)
    }

    /// Compares the change counter, where it was noted and may be looked at.
    fn has_counter(&self, candidate: &Candidate<'_>, counter: u32) -> bool {
        let readings = Readings::lock();
        if counter == 0 || !matches!(self.judge(candidate, &readings), Verdict::Free) {
            return true;
        }
        candidate.header().ok().flatten().is_some_and(|header| header.change_counter == counter)
    }
}

fn boxed(reading: Reading) -> Box<dyn ContentReader> {
    Box::new(reading)
}

fn taken() -> io::Error {
    io::Error::other("this process has it open, and it may be a database for which no connection was given")
}

/// Reads a database as the file that it is, and says so.
fn raw(
    candidate: &Candidate<'_>,
    place: &Place,
    header: Option<Header>,
    why: &str,
) -> io::Result<Box<dyn ContentReader>> {
    let reader = Reader::open(candidate.directory, candidate.name)?;
    let state = DatabaseState { reading: DATABASE_RAW, ..crate::source::sqlite::state(place, &place.stat()?, header) };
    let warning = format!("a raw copy of a database is stored, which is whole only if nothing wrote to it: {why}");
    Ok(Box::new(RawReader { reader, state, warning }))
}

struct RawReader {
    reader: Reader,
    state: DatabaseState,
    warning: String,
}

impl ContentReader for RawReader {
    fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> io::Result<Stretch> {
        self.reader.read(buffer, limit)
    }

    fn attributes(&self) -> Option<io::Result<Vec<Attribute>>> {
        self.reader.attributes()
    }

    fn finish(&mut self) -> io::Result<Finish> {
        self.reader.finish()
    }

    fn findings(&mut self) -> Findings {
        let warnings = vec![("raw_copy", std::mem::take(&mut self.warning))];
        Findings { database: Some(self.state.clone()), warnings, ..Findings::default() }
    }
}
