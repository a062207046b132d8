//! Probes: what must be true of a database, asked in the transaction that its pages are read in, and again of what a repository yields.
//!
//! A [`ProbeRequest`] is what a user asks for; [`run`] answers it as a [`ProbeResult`] (section 12.1 of `docs/format.md`), which snapshots keep; [`compare`] says how a later answer differs.
//! The invariant: nothing is written, and an answer depends on what the tables hold, never on where pages lie.

mod digest;
mod request;

#[cfg(test)]
mod tests;

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OptionalExtension};

use super::exclusive::open_immutable;
use crate::format::constants::*;
use crate::format::probes::{ProbeResult, TableResult};
use crate::limits::{PROBE_COMPLAINTS_MAX, TEXT_BYTES_MAX};

pub use request::{Integrity, ProbeRequest, ProbeTable};

/// Lines of a check that are kept.
const COMPLAINTS_MAX: u64 = 10;
/// Bytes of a message that are kept.
const MESSAGE_BYTES_MAX: usize = 1000;
const _: () = assert!(COMPLAINTS_MAX <= PROBE_COMPLAINTS_MAX && MESSAGE_BYTES_MAX as u64 <= TEXT_BYTES_MAX);

/// Answers a request about the database that a connection has as `main`. Whoever calls holds a read transaction open, so that the answer is about one state.
pub fn run(connection: &Connection, request: &ProbeRequest) -> ProbeResult {
    let asked =
        ProbeResult { path: request.database.clone(), integrity: request.integrity.number(), ..ProbeResult::default() };
    answer(connection, request, asked.clone())
        .unwrap_or_else(|error| ProbeResult { failure: Some(words(&error)), ..asked })
}

/// Answers requests about a file that nothing writes to. It is opened without locks, and nothing is left beside it.
pub(crate) fn run_on_file(file: &Path, requests: &[ProbeRequest]) -> Vec<ProbeResult> {
    let failed = |request: &ProbeRequest, error: &rusqlite::Error| ProbeResult {
        path: request.database.clone(),
        failure: Some(words(error)),
        integrity: request.integrity.number(),
        ..ProbeResult::default()
    };
    match open_immutable(file) {
        Ok(connection) => requests.iter().map(|request| run(&connection, request)).collect(),
        Err(error) => requests.iter().map(|request| failed(request, &error)).collect(),
    }
}

/// What a backup must warn of; `None` if all is as it was asked to be.
pub fn outcome(result: &ProbeResult) -> Option<String> {
    if let Some(failure) = &result.failure {
        return Some(format!("it cannot be probed: {failure}"));
    }
    let tables = result.tables.iter().filter(|table| !table.is_read());
    let mut clauses: Vec<String> = tables.map(|table| format!("table {}: {}", table.name, table.message)).collect();
    if let Some(first) = result.complaints.first() {
        clauses.push(format!("{} complains: {first}", check_name(result.integrity)));
    }
    (!clauses.is_empty()).then(|| clauses.join("; "))
}

/// How a later answer differs from a recorded one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The table concerned; `None` where it is the database as a whole.
    pub(crate) table: Option<String>,
    /// What was recorded, and what was found; one clause.
    pub(crate) message: String,
    /// Whether it may lie in this program's SQLite and not in the content.
    pub(crate) is_doubtful: bool,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.table {
            Some(table) => write!(f, "table {table}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Compares an answer with the recorded one to the same request. What had failed already when it was recorded says nothing, and is left out.
pub(crate) fn compare(recorded: &ProbeResult, found: &ProbeResult) -> Vec<Difference> {
    let whole = |message: String| Difference { table: None, message, is_doubtful: false };
    if recorded.failure.is_some() {
        return Vec::new();
    }
    if let Some(failure) = &found.failure {
        return vec![whole(format!("it cannot be probed: {failure}"))];
    }
    let mut differences = Vec::new();
    let versions = [
        ("schema version", recorded.schema_version, found.schema_version),
        ("user version", recorded.user_version, found.user_version),
    ];
    for (what, recorded, found) in versions.into_iter().filter(|(_, recorded, found)| recorded != found) {
        differences.push(whole(format!("{what} {recorded} was recorded, {found} is found")));
    }
    if let (true, Some(first)) = (recorded.complaints.is_empty(), found.complaints.first()) {
        differences.push(whole(format!("{} complains: {first}", check_name(found.integrity))));
    }
    differences.extend(recorded.tables.iter().zip(&found.tables).filter_map(|(recorded, found)| {
        let message = compare_tables(recorded, found)?;
        let is_doubtful = found.state == TABLE_UNREADABLE;
        Some(Difference { table: Some(recorded.name.clone()), message, is_doubtful })
    }));
    differences
}

fn compare_tables(recorded: &TableResult, found: &TableResult) -> Option<String> {
    match (recorded.state, found.state) {
        (TABLE_READ, TABLE_READ) if recorded.rows != found.rows => {
            Some(format!("{} rows were recorded, {} are found", recorded.rows, found.rows))
        }
        (TABLE_READ, TABLE_READ) => {
            (recorded.digest != found.digest).then(|| "its digest is not the recorded one".to_owned())
        }
        (TABLE_READ, _) => Some(found.message.clone()),
        (TABLE_MISSING, TABLE_READ) => Some("it was missing when it was recorded, and is there".to_owned()),
        _ => None,
    }
}

fn check_name(integrity: u8) -> &'static str {
    if integrity == INTEGRITY_FULL { "integrity_check" } else { "quick_check" }
}

fn answer(connection: &Connection, request: &ProbeRequest, mut result: ProbeResult) -> rusqlite::Result<ProbeResult> {
    result.schema_version = connection.query_row("PRAGMA main.schema_version", [], |row| row.get(0))?;
    result.user_version = connection.query_row("PRAGMA main.user_version", [], |row| row.get(0))?;
    result.tables = request.tables.iter().map(|table| probe_table(connection, table)).collect();
    result.complaints = complaints(connection, request.integrity);
    Ok(result)
}

/// The first lines of a check. One that cannot be made is a complaint itself.
fn complaints(connection: &Connection, integrity: Integrity) -> Vec<String> {
    let pragma = match integrity {
        Integrity::None => return Vec::new(),
        Integrity::Quick => format!("PRAGMA main.quick_check({COMPLAINTS_MAX})"),
        Integrity::Full => format!("PRAGMA main.integrity_check({COMPLAINTS_MAX})"),
    };
    let lines = || -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare(&pragma)?;
        let rows = statement.query_map([], |row| Ok(shorten(&String::from_utf8_lossy(row.get_ref(0)?.as_bytes()?))))?;
        rows.take(COMPLAINTS_MAX as usize).collect()
    };
    match lines() {
        Ok(lines) if lines == ["ok"] => Vec::new(),
        Ok(lines) => lines,
        Err(error) => vec![words(&error)],
    }
}

fn probe_table(connection: &Connection, table: &ProbeTable) -> TableResult {
    let not_read =
        |state: u8, message: String| TableResult { name: table.name.clone(), state, rows: 0, digest: None, message };
    let found = find(connection, &table.name).and_then(|found| match found {
        Some(Found::Table { without_rowid }) if table.digest => {
            let (rows, digest) = digest::of(connection, &table.name, without_rowid)?;
            Ok((TABLE_READ, rows, Some(digest)))
        }
        Some(Found::Table { .. }) => {
            let count = format!("SELECT count(*) FROM main.{}", quoted(&table.name));
            let rows: i64 = connection.query_row(&count, [], |row| row.get(0))?;
            Ok((TABLE_READ, rows.unsigned_abs(), None))
        }
        Some(Found::View) => Err(Trouble::Missing("it is a view")),
        None => Err(Trouble::Missing("there is no such table")),
    });
    match found {
        Ok((state, rows, digest)) => {
            TableResult { name: table.name.clone(), state, rows, digest, message: String::new() }
        }
        Err(Trouble::Missing(what)) => not_read(TABLE_MISSING, what.to_owned()),
        Err(Trouble::Unnamed) => not_read(TABLE_UNREADABLE, "columns have all names of its rowid".to_owned()),
        Err(Trouble::Library(error)) => {
            let is_damage = matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::SystemIoFailure)
            );
            not_read(if is_damage { TABLE_DAMAGED } else { TABLE_UNREADABLE }, words(&error))
        }
    }
}

/// Why a table was not read.
enum Trouble {
    Missing(&'static str),
    /// Its rows have an order that no query can name.
    Unnamed,
    Library(rusqlite::Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Trouble::Library(error)
    }
}

enum Found {
    Table { without_rowid: bool },
    View,
}

/// Looks a name up as SQLite does, by the letters of ASCII without their case.
fn find(connection: &Connection, name: &str) -> Result<Option<Found>, Trouble> {
    let sql = "SELECT type, wr FROM pragma_table_list(?1) WHERE schema = 'main'";
    // The list has the schema's own table by its older name.
    let name = if name.eq_ignore_ascii_case("sqlite_schema") { "sqlite_master" } else { name };
    let row = connection.query_row(sql, [name], |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)));
    Ok(row.optional()?.map(|(kind, without_rowid)| match kind.as_str() {
        "view" => Found::View,
        _ => Found::Table { without_rowid },
    }))
}

/// A name as SQL takes it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What SQLite says, without the statement that it says it of.
fn words(error: &rusqlite::Error) -> String {
    let text = match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        error => error.to_string(),
    };
    shorten(&text)
}

fn shorten(text: &str) -> String {
    let end = (0..=text.len().min(MESSAGE_BYTES_MAX)).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text[..end].to_owned()
}
