//! Which snapshots are files of a PostgreSQL write-ahead log, and how such files and their clusters may be called.
//!
//! A WAL file is a snapshot of one stream with the root `/wal/<cluster>/<name>` and the tag [`WAL_TAG`]. There are thousands of them, so names such as `latest` mean none of
//! them unless they are asked for: see [`crate::repository::names::SnapshotFilter::passes`].

use crate::error::{Error, Result};
use crate::path;
use crate::words::printable;

use super::Snapshot;

/// The tag of every snapshot that is a WAL file.
pub const WAL_TAG: &str = "wal";
/// The directory, in snapshots, that all WAL files lie below.
pub const WAL_ROOT: &[u8] = b"/wal";
/// The cluster that a WAL file belongs to where none is named.
pub const WAL_CLUSTER: &str = "main";
/// Longest name of a cluster, in bytes.
const CLUSTER_BYTES_MAX: usize = 63;
/// How a manifest says that a source is a stream.
const SOURCE_STREAM: u8 = 2;

/// A file of the write-ahead log of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct WalFile {
    /// The cluster whose log it is.
    pub cluster: String,
    /// Its name, as PostgreSQL made it.
    pub name: String,
}

impl WalFile {
    /// Names a file of a cluster.
    ///
    /// # Errors
    /// [`Error::Usage`] if the cluster's name is no word of letters, digits, `-`, `_` and `.`, or if PostgreSQL makes no file of that name.
    pub fn new(cluster: &str, name: &[u8]) -> Result<Self> {
        check_cluster(cluster)?;
        let no_wal = || Error::Usage { what: format!("{} is no name of a WAL file", printable(name)) };
        let text = std::str::from_utf8(name).ok().filter(|text| is_wal_name(text)).ok_or_else(no_wal)?;
        Ok(Self { cluster: cluster.to_owned(), name: text.to_owned() })
    }

    /// Where it lies in its snapshot.
    pub fn path(&self) -> Vec<u8> {
        path::join(&path::join(WAL_ROOT, self.cluster.as_bytes()), self.name.as_bytes())
    }
}

impl Snapshot {
    /// The WAL file that the snapshot is, if it is one.
    pub fn wal_file(&self) -> Option<WalFile> {
        let manifest = &self.manifest;
        let [source] = &manifest.sources[..] else { return None };
        let [root] = &source.roots[..] else { return None };
        if source.kind != SOURCE_STREAM || !manifest.tags.iter().any(|tag| tag == WAL_TAG) {
            return None;
        }
        let mut below = path::components(path::below(&root.path, WAL_ROOT)?);
        let (cluster, name) = (below.next()?, below.next()?);
        match below.next() {
            None => WalFile::new(std::str::from_utf8(cluster).ok()?, name).ok(),
            Some(_) => None,
        }
    }
}

/// Fails unless a cluster may be called so.
pub(crate) fn check_cluster(name: &str) -> Result<()> {
    if is_cluster_name(name) {
        return Ok(());
    }
    Err(Error::Usage { what: format!("{} is no name of a cluster", printable(name.as_bytes())) })
}

fn is_cluster_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    name.len() <= CLUSTER_BYTES_MAX && name.bytes().all(fits) && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// The names of segments, partial segments, backup histories and timeline histories (`xlog_internal.h` of PostgreSQL).
fn is_wal_name(name: &str) -> bool {
    let is_number = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte))
    };
    let parts: Vec<&str> = name.split('.').collect();
    match parts[..] {
        [segment] | [segment, "partial"] => is_number(segment, 24),
        [segment, offset, "backup"] => is_number(segment, 24) && is_number(offset, 8),
        [timeline, "history"] => is_number(timeline, 8),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_postgresql_makes_are_taken() {
        for name in [
            "00000001000000A900000065",
            "000000010000000000000001.partial",
            "000000010000000000000002.00000028.backup",
            "00000002.history",
        ] {
            assert_eq!(WalFile::new("main", name.as_bytes()).unwrap().path(), format!("/wal/main/{name}").into_bytes());
        }
    }

    #[test]
    fn all_other_names_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "/000000010000000000000001",
            "pg_wal/000000010000000000000001",
            "../00000000000000000000000",
            "00000001000000000000000",
            "0000000100000000000000010",
            "00000001000000000000000a",
            "00000001000000000000000G",
            "000000010000000000000001.done",
            "000000010000000000000001.partial.partial",
            "000000010000000000000002.0000028.backup",
            "2.history",
            "00000002.history\n",
            "00000001000000000000000\u{661}",
            "000000010000000000000001\0",
            "RECOVERYXLOG",
        ] {
            assert!(WalFile::new("main", name.as_bytes()).is_err(), "{name}");
        }
        assert!(WalFile::new("main", b"00000001000000000000000\xff").is_err());
    }

    #[test]
    fn a_cluster_is_one_word() {
        let of = |cluster: &str| WalFile::new(cluster, b"00000002.history");
        for cluster in ["main", "15-main", "shop_2.eu"] {
            assert!(of(cluster).is_ok(), "{cluster}");
        }
        for cluster in ["", ".", "..", "-x", "a/b", "a b", "ä", &"x".repeat(64)] {
            assert!(of(cluster).is_err(), "{cluster}");
        }
    }
}
