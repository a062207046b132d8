//! Directory trees of the file system.

/// Whether content begins as a SQLite database does.
pub fn is_sqlite(prefix: &[u8]) -> bool {
    prefix.starts_with(b"SQLite format 3\0")
}
