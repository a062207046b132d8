//! What probes of databases found, section 12 of `docs/format.md`.
//!
//! Results name databases below the roots, so they are a node of the period, as warnings are, and the manifest has only its id, in an optional extension.

use super::constants::*;
use super::keys::check_text;
use super::record::{Body, Extension, Flaw, check_row_version, require};
use crate::codec::{Decode, Encode};
use crate::id::ChunkId;
use crate::limits;

/// What a probe found in one database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ProbeResult {
    /// The database's absolute, normalised path in the snapshot.
    pub path: Vec<u8>,
    /// Why it could not be probed at all; all that follows is empty then.
    pub failure: Option<String>,
    /// SQLite's `schema_version`, which every change of the schema counts up.
    pub schema_version: i32,
    /// SQLite's `user_version`, which is the application's.
    pub user_version: i32,
    /// The check that was made: one of the `INTEGRITY_` constants.
    pub integrity: u8,
    /// The first things that the check complained of; none if it found nothing.
    pub complaints: Vec<String>,
    /// The tables, in the order in which they were asked for.
    pub tables: Vec<TableResult>,
}

/// What a probe found of one table.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TableResult {
    /// Its name, as it was asked for.
    pub name: String,
    /// One of the `TABLE_` constants.
    pub state: u8,
    /// Its rows; 0 unless it was read.
    pub rows: u64,
    /// The digest of its rows, where that was asked for and it was read.
    pub digest: Option<[u8; 32]>,
    /// Why it was not read; empty if it was.
    pub message: String,
}

impl TableResult {
    /// Whether it was there and could be read to its end.
    pub fn is_read(&self) -> bool {
        self.state == TABLE_READ
    }
}

/// Body of the results of a backup's probes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Probes {
    /// 1.
    pub row_version: u16,
    /// In the order in which the backup came to the databases.
    pub rows: Vec<ProbeResult>,
}

impl Body for Probes {
    const KIND: u16 = RECORD_PROBES;

    fn check(&self) -> Result<(), Flaw> {
        check_row_version(self.row_version)?;
        require(self.rows.len() as u64 <= limits::PROBES_MAX, "there are too many probes")?;
        self.rows.iter().try_for_each(check_result)
    }
}

fn check_result(result: &ProbeResult) -> Result<(), Flaw> {
    let path = &result.path;
    let is_normal = path.len() as u64 <= limits::PATH_BYTES_MAX && *path == crate::path::absolute(path, b"/");
    require(is_normal, "a database's path is not normalised")?;
    require(result.integrity <= INTEGRITY_FULL, "a check of a database is not known")?;
    require(result.complaints.len() as u64 <= limits::PROBE_COMPLAINTS_MAX, "a check complains too much")?;
    require(result.tables.len() as u64 <= limits::PROBE_TABLES_MAX, "there are too many tables")?;
    result.failure.iter().chain(&result.complaints).try_for_each(|text| check_text(text))?;
    result.tables.iter().try_for_each(check_table)
}

fn check_table(table: &TableResult) -> Result<(), Flaw> {
    check_text(&table.name)?;
    check_text(&table.message)?;
    let is_empty = table.rows == 0 && table.digest.is_none();
    let fits = match table.state {
        TABLE_READ => table.message.is_empty(),
        TABLE_MISSING | TABLE_DAMAGED | TABLE_UNREADABLE => is_empty,
        _ => false,
    };
    require(fits, "a table's state does not fit what is said of it")
}

/// The extension of a manifest that leads to the results.
pub fn to_extension(node: ChunkId) -> Extension {
    Extension { tag: EXTENSION_PROBES, value: node.0.to_vec() }
}

/// The node that a manifest's extensions lead to; `None` where there is none, or it is given in a way that is not known.
pub fn node_of(extensions: &[Extension]) -> Option<ChunkId> {
    let extension = extensions.iter().find(|extension| extension.tag == EXTENSION_PROBES)?;
    Some(ChunkId(extension.value.as_slice().try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(change: impl FnOnce(&mut ProbeResult)) -> Result<(), Flaw> {
        let table = TableResult {
            name: "t".to_owned(),
            state: TABLE_READ,
            rows: 3,
            digest: Some([7; 32]),
            message: String::new(),
        };
        let mut result = ProbeResult { path: b"/srv/a.db".to_vec(), tables: vec![table], ..ProbeResult::default() };
        change(&mut result);
        Probes { row_version: ROW_VERSION, rows: vec![result] }.check()
    }

    #[test]
    fn results_say_what_fits_together() {
        assert_eq!(probes(|_| ()), Ok(()));
        assert!(probes(|result| result.path = b"srv/a.db".to_vec()).is_err());
        assert!(probes(|result| result.integrity = 3).is_err());
        assert!(probes(|result| result.tables[0].state = TABLE_MISSING).is_err());
        assert!(probes(|result| result.tables[0].state = 0).is_err());
        assert!(probes(|result| result.tables[0].message = "why".to_owned()).is_err());
        let many = vec![String::new(); limits::PROBE_COMPLAINTS_MAX as usize + 1];
        assert!(probes(|result| result.complaints = many).is_err());
    }

    #[test]
    fn an_extension_leads_to_its_node_unless_it_is_no_id() {
        let node = ChunkId([5; 32]);
        let other = Extension { tag: 9, value: b"x".to_vec() };
        assert_eq!(node_of(&[to_extension(node), other.clone()]), Some(node));
        assert_eq!(node_of(&[other]), None);
        assert_eq!(node_of(&[Extension { tag: EXTENSION_PROBES, value: vec![1; 31] }]), None);
    }
}
