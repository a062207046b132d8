//! Logs that SQLite wrote, and what may become of them.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::*;

/// A database in log mode, without checkpoints of its own, and the path of its log.
fn make(directory: &Path, page_bytes: u32) -> (Connection, PathBuf) {
    let path = directory.join("a.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(&format!("PRAGMA page_size = {page_bytes}")).unwrap();
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    connection.query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(())).unwrap();
    connection.execute_batch("CREATE TABLE t(x)").unwrap();
    (connection, directory.join("a.db-wal"))
}

fn insert(connection: &Connection, bytes: u32) {
    connection.execute("INSERT INTO t VALUES (randomblob(?1))", [bytes]).unwrap();
}

fn all(log: &Path) -> (Vec<Transaction>, ChainEnd) {
    let file = File::open(log).unwrap();
    let header = LogHeader::read(&file).unwrap().unwrap();
    behind(&file, &header, header.beginning())
}

fn behind(file: &File, header: &LogHeader, from: Position) -> (Vec<Transaction>, ChainEnd) {
    let mut found = Vec::new();
    let end = read(file, header, from, &mut |transaction| found.push(transaction)).unwrap();
    (found, end)
}

/// Writes bytes into a log at an offset.
fn poke(log: &Path, offset: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(log).unwrap().write_all_at(bytes, offset).unwrap();
}

#[test]
fn transactions_of_every_page_size_are_found_with_their_pages() {
    for page_bytes in [512, 1024, 4096, 65536] {
        let directory = tempfile::tempdir().unwrap();
        let (connection, log) = make(directory.path(), page_bytes);
        (0..300).for_each(|_| insert(&connection, 700));
        let (found, end) = all(&log);
        // The creation of the table is one as well.
        assert_eq!(found.len(), 301, "{page_bytes}");
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        assert_eq!(i64::from(found.last().unwrap().database_pages), pages);
        assert!(found.windows(2).all(|pair| pair[0].end == pair[1].begin));
        let length = log.metadata().unwrap().len();
        assert_eq!(end, ChainEnd::File { length, is_torn: false });
    }
}

#[test]
fn reading_goes_on_from_any_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let (connection, log) = make(directory.path(), 4096);
    (0..50).for_each(|_| insert(&connection, 9000));
    let (whole, _) = all(&log);
    let file = File::open(&log).unwrap();
    let header = LogHeader::read(&file).unwrap().unwrap();
    for number in 0..whole.len() {
        let (rest, _) = behind(&file, &header, whole[number].end);
        assert_eq!(rest, whole[number + 1..], "behind {number}");
    }
}

#[test]
fn frames_that_no_commit_follows_are_not_reported() {
    let directory = tempfile::tempdir().unwrap();
    let (connection, log) = make(directory.path(), 4096);
    let before = all(&log).0.len();
    // So small a cache spills pages into the log before the commit.
    connection.execute_batch("PRAGMA cache_size = 1; BEGIN").unwrap();
    (0..100).for_each(|_| insert(&connection, 4000));
    let slots = log.metadata().unwrap().len() / 4120;
    assert!(slots > 50, "nothing was spilled");
    assert_eq!(all(&log).0.len(), before);
    connection.execute_batch("ROLLBACK").unwrap();
    assert_eq!(all(&log).0.len(), before);
    insert(&connection, 10);
    // Behind it still lie frames with the right salts, of the transaction that was given up.
    let (found, end) = all(&log);
    assert_eq!((found.len(), end), (before + 1, ChainEnd::Slot));
}

#[test]
fn a_changed_bit_ends_the_chain_where_it_lies() {
    let directory = tempfile::tempdir().unwrap();
    let (connection, log) = make(directory.path(), 4096);
    (0..10).for_each(|_| insert(&connection, 10));
    let (whole, _) = all(&log);
    let header = LogHeader::read(&File::open(&log).unwrap()).unwrap().unwrap();
    for (number, transaction) in whole.iter().enumerate() {
        let bytes = std::fs::read(&log).unwrap();
        // Page number, size, salts, sums and content.
        for inside in [3, 7, 8, 15, 16, 23, 24, 4119] {
            let offset = header.offset(transaction.begin.frame) + inside;
            poke(&log, offset, &[bytes[offset as usize] ^ 1]);
            assert_eq!(all(&log), (whole[..number].iter().map(again).collect(), ChainEnd::Slot), "{number} {inside}");
            poke(&log, offset, &[bytes[offset as usize]]);
        }
    }
}

fn again(transaction: &Transaction) -> Transaction {
    let Transaction { begin, end, ref pages, database_pages } = *transaction;
    Transaction { begin, end, pages: pages.clone(), database_pages }
}

#[test]
fn a_frame_that_is_not_whole_yet_is_left_for_later() {
    let directory = tempfile::tempdir().unwrap();
    let (connection, log) = make(directory.path(), 4096);
    insert(&connection, 10);
    let (whole, _) = all(&log);
    let bytes = std::fs::read(&log).unwrap();
    let last = whole.last().unwrap();
    let header = LogHeader::read(&File::open(&log).unwrap()).unwrap().unwrap();
    let (begin, end) = (header.offset(last.begin.frame), bytes.len() as u64);
    for length in [begin, begin + 1, begin + 23, begin + 24, end - 1] {
        OpenOptions::new().write(true).open(&log).unwrap().set_len(length).unwrap();
        let (found, chain_end) = all(&log);
        assert_eq!(found.len(), whole.len() - 1);
        assert_eq!(chain_end, ChainEnd::File { length, is_torn: length > begin });
        poke(&log, 0, &bytes);
    }
}

#[test]
fn a_damaged_header_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let (_connection, log) = make(directory.path(), 4096);
    let bytes = std::fs::read(&log).unwrap();
    for (at, byte) in bytes.iter().enumerate().take(HEADER_BYTES) {
        poke(&log, at as u64, &[byte ^ 0x10]);
        assert_eq!(LogHeader::read(&File::open(&log).unwrap()).unwrap(), None, "byte {at}");
        poke(&log, at as u64, &[*byte]);
    }
    OpenOptions::new().write(true).open(&log).unwrap().set_len(31).unwrap();
    assert_eq!(LogHeader::read(&File::open(&log).unwrap()).unwrap(), None);
}

#[test]
fn both_orders_of_bytes_are_summed_as_the_format_says() {
    let bytes: Vec<u8> = (1..=16).collect();
    // By hand: s1 += x + s2, s2 += y + s1, for (x, y) of each eight bytes.
    let (x1, y1, x2, y2) = (0x0102_0304_u32, 0x0506_0708_u32, 0x090a_0b0c_u32, 0x0d0e_0f10_u32);
    let (s1, s2) = (x1, y1.wrapping_add(x1));
    let s1 = s1.wrapping_add(x2).wrapping_add(s2);
    assert_eq!(checksum(true, &bytes, [0, 0]), [s1, s2.wrapping_add(y2).wrapping_add(s1)]);
    let swapped: Vec<u8> = bytes.chunks(4).flat_map(|four| four.iter().rev().copied()).collect();
    assert_eq!(checksum(false, &swapped, [0, 0]), checksum(true, &bytes, [0, 0]));
}

#[test]
fn a_reset_is_known_by_its_salts_and_old_frames_are_none_of_the_new_chain() {
    let directory = tempfile::tempdir().unwrap();
    let (connection, log) = make(directory.path(), 4096);
    (0..20).for_each(|_| insert(&connection, 10));
    let file = File::open(&log).unwrap();
    let before = LogHeader::read(&file).unwrap().unwrap();
    let (old, _) = all(&log);
    connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
    insert(&connection, 9000);
    let after = LogHeader::read(&file).unwrap().unwrap();
    assert!(after.follows(&before) && !before.follows(&after) && !after.has_salts_of(&before));
    assert_eq!(all(&log).0.len(), 1);
    // The first slots were written over, the last ones not: what lies there is told by the old salts alone.
    let position = old[10].end;
    assert!(before.still_leads_to(&file, &position).unwrap() && !before.still_leads_to(&file, &old[0].end).unwrap());
    assert_eq!(behind(&file, &before, position).0, old[11..]);
    assert_eq!(behind(&file, &after, position).0, []);
    connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
    insert(&connection, 10);
    let last = LogHeader::read(&file).unwrap().unwrap();
    assert!(last.follows(&after) && !last.follows(&before));
}

#[test]
fn the_index_tells_how_far_a_log_counts() {
    let directory = tempfile::tempdir().unwrap();
    let (connection, log) = make(directory.path(), 4096);
    let index = || -> [u8; INDEX_HEADER_BYTES] {
        let bytes = std::fs::read(directory.path().join("a.db-shm")).unwrap();
        bytes[..INDEX_HEADER_BYTES].try_into().unwrap()
    };
    let first = all(&log).0.last().unwrap().end;
    let before = index();
    insert(&connection, 10);
    let second = all(&log).0.last().unwrap().end;
    let header = LogHeader::read(&File::open(&log).unwrap()).unwrap().unwrap();
    assert!(header.is_shown(&before, &first) && !header.is_shown(&before, &second));
    assert!(header.is_shown(&index(), &second));
    let mut torn = index();
    torn[16] ^= 1;
    assert!(!header.is_shown(&torn, &first));
    // After a reset all of the old chain is in the main file, although the log looks as it did.
    connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
    assert!(header.is_shown(&index(), &second));
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    (0..3).for_each(|_| insert(&connection, 10));
    connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
    insert(&connection, 10);
    assert!(!header.is_shown(&index(), &first), "nothing is known of what came in between");
}
