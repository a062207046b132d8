//! Digests of tables: section 12.1 of `docs/format.md`.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};

use super::{Trouble, quoted};
use crate::crypto::Hasher;
use crate::format::constants::*;

/// The names by which a rowid can be had, unless a column has them.
const ROWID_NAMES: [&str; 3] = ["rowid", "_rowid_", "oid"];

/// Counts a table's rows, and digests them.
pub(super) fn of(connection: &Connection, table: &str, without_rowid: bool) -> Result<(u64, [u8; 32]), Trouble> {
    let columns = columns(connection, table)?;
    let order = if without_rowid { key_order(connection, table)? } else { rowid_order(connection, table)? };
    let list: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
    // A table of generated columns alone has rows all the same.
    let list = if list.is_empty() { "NULL".to_owned() } else { list.join(", ") };
    let mut statement = connection.prepare(&format!("SELECT {list} FROM main.{} ORDER BY {order}", quoted(table)))?;
    let mut hasher = Hasher::default();
    hasher.update(&u32::try_from(columns.len()).unwrap_or(u32::MAX).to_le_bytes());
    for name in &columns {
        update_bytes(&mut hasher, name.as_bytes());
    }
    let mut rows = statement.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        for column in 0..columns.len() {
            update_value(&mut hasher, row.get_ref(column)?);
        }
    }
    Ok((count, hasher.finish()))
}

fn update_value(hasher: &mut Hasher, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => drop(hasher.update(&[VALUE_NULL])),
        ValueRef::Integer(number) => drop(hasher.update(&[VALUE_INTEGER]).update(&number.to_le_bytes())),
        ValueRef::Real(number) => drop(hasher.update(&[VALUE_REAL]).update(&number.to_bits().to_le_bytes())),
        ValueRef::Text(text) => update_bytes(hasher.update(&[VALUE_TEXT]), text),
        ValueRef::Blob(blob) => update_bytes(hasher.update(&[VALUE_BLOB]), blob),
    }
}

fn update_bytes(hasher: &mut Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
}

/// The columns that hold data of their own.
fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE hidden = 0 ORDER BY cid";
    connection.prepare(sql)?.query_map([table], |row| row.get(0))?.collect()
}

/// The rowid, by a name that is not a column's.
fn rowid_order(connection: &Connection, table: &str) -> Result<String, Trouble> {
    let sql = "SELECT name FROM pragma_table_xinfo(?1, 'main')";
    let taken: Vec<String> =
        connection.prepare(sql)?.query_map([table], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let is_free = |name: &&str| !taken.iter().any(|column| column.eq_ignore_ascii_case(name));
    match ROWID_NAMES.into_iter().find(is_free) {
        Some(name) => Ok(name.to_owned()),
        None => Err(Trouble::Unnamed),
    }
}

/// The primary key of a table without rowid, as its index is sorted, so that reading in this order sorts nothing.
fn key_order(connection: &Connection, table: &str) -> Result<String, Trouble> {
    let sql = "SELECT name FROM pragma_index_list(?1, 'main') WHERE origin = 'pk'";
    let index: Option<String> = connection.query_row(sql, [table], |row| row.get(0)).optional()?;
    let index = index.ok_or(Trouble::Unnamed)?;
    let sql = "SELECT name, coll, desc FROM pragma_index_xinfo(?1, 'main') WHERE key = 1 ORDER BY seqno";
    let mut statement = connection.prepare(sql)?;
    let part = |row: &rusqlite::Row<'_>| {
        let (name, collation): (String, String) = (row.get(0)?, row.get(1)?);
        let direction = if row.get::<_, bool>(2)? { "DESC" } else { "ASC" };
        Ok(format!("{} COLLATE {} {direction}", quoted(&name), quoted(&collation)))
    };
    let parts: Vec<String> = statement.query_map([index], part)?.collect::<Result<_, _>>()?;
    if parts.is_empty() { Err(Trouble::Unnamed) } else { Ok(parts.join(", ")) }
}
