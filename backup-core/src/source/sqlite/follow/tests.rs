//! Followers of databases that SQLite writes: they know at least what changed, or say that they do not.

use std::path::Path;

use rusqlite::Connection;

use super::*;

/// A moment at which everything that was just written has long been settled.
fn later() -> Time {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    Time::new(i64::try_from(seconds).unwrap() + 100, 0)
}

/// A moment at which nothing that was just written is settled.
fn at_once() -> Time {
    Time::new(later().seconds - 100, 0)
}

fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(())).unwrap();
    connection
}

/// A database in log mode with some hundred pages.
fn make(directory: &Path) -> (Connection, Follower) {
    let path = directory.join("a.db");
    let connection = open(&path);
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    connection.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, x)").unwrap();
    (0..200).for_each(|_| insert(&connection));
    let follower = Follower::new(path.to_str().unwrap().as_bytes().to_vec());
    (connection, follower)
}

fn insert(connection: &Connection) {
    connection.execute_batch("INSERT INTO t(x) VALUES (randomblob(3000))").unwrap();
}

fn checkpoint(connection: &Connection, mode: &str) {
    let busy: i64 = connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(0)).unwrap();
    assert_eq!(busy, 0);
}

/// Sets the follower as a snapshot would. As these tests have the database open themselves, it cannot see that the last transaction counts.
fn set(follower: &mut Follower) {
    follower.set(later()).unwrap();
    follower.committed();
    assert_eq!(follower.doubt(), None);
    follower.changes = Changes::default();
}

/// All pages as the database shows them.
fn pages(connection: &Connection) -> Vec<Vec<u8>> {
    let mut statement = connection.prepare("SELECT data FROM sqlite_dbpage ORDER BY pgno").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Asserts that every page that differs is among those that the follower knows, and returns how many it knows.
fn covers(follower: &Follower, before: &[Vec<u8>], after: &[Vec<u8>]) -> u64 {
    assert_eq!(follower.doubt(), None);
    let fewest = follower.changes.pages_min.map_or(after.len(), |pages| pages as usize).min(before.len());
    for (index, (old, new)) in before.iter().zip(after).enumerate().take(fewest) {
        let page = index as u32 + 1;
        assert!(old == new || follower.changes.pages.first_from(page) == Some(page), "page {page} was missed");
    }
    follower.changes.pages.len()
}

#[test]
fn changed_pages_are_known_and_only_they() {
    let directory = tempfile::tempdir().unwrap();
    let (connection, mut follower) = make(directory.path());
    set(&mut follower);
    let before = pages(&connection);
    follower.poll(later()).unwrap();
    assert_eq!(follower.waiting_since(), None);
    connection.execute_batch("UPDATE t SET x = randomblob(3000) WHERE id IN (20, 120)").unwrap();
    follower.poll(at_once()).unwrap();
    assert!(follower.waiting_since().is_some());
    assert_eq!(covers(&follower, &before, &pages(&connection)), 2);
    // Looked at again, nothing more comes of it.
    follower.changes = Changes::default();
    follower.poll(at_once()).unwrap();
    follower.poll(later()).unwrap();
    assert_eq!(follower.waiting_since(), None);
}

#[test]
fn a_reset_between_two_looks_hides_nothing_while_few_frames_follow_it() {
    let directory = tempfile::tempdir().unwrap();
    let (connection, mut follower) = make(directory.path());
    set(&mut follower);
    let before = pages(&connection);
    insert(&connection);
    follower.poll(at_once()).unwrap();
    // These two were not looked at before the reset, and one comes after it.
    connection.execute_batch("UPDATE t SET x = randomblob(3000) WHERE id = 30").unwrap();
    connection.execute_batch("UPDATE t SET x = randomblob(3000) WHERE id = 60").unwrap();
    checkpoint(&connection, "RESTART");
    connection.execute_batch("UPDATE t SET x = randomblob(3000) WHERE id = 90").unwrap();
    follower.poll(at_once()).unwrap();
    covers(&follower, &before, &pages(&connection));
    // It goes on in the new chain.
    let before = pages(&connection);
    follower.changes = Changes::default();
    connection.execute_batch("UPDATE t SET x = randomblob(3000) WHERE id = 150").unwrap();
    follower.poll(at_once()).unwrap();
    assert_eq!(covers(&follower, &before, &pages(&connection)), 1);
}

#[test]
fn a_reset_that_may_hide_something_is_a_doubt() {
    let written_over = |connection: &Connection| {
        insert(connection);
        checkpoint(connection, "RESTART");
        (0..300).for_each(|_| insert(connection));
    };
    let twice = |connection: &Connection| {
        for _ in 0..2 {
            checkpoint(connection, "RESTART");
            insert(connection);
        }
    };
    let cut = |connection: &Connection| {
        (0..400).for_each(|_| insert(connection));
        connection.query_row("PRAGMA journal_size_limit = 1500000", [], |_| Ok(())).unwrap();
        checkpoint(connection, "RESTART");
        insert(connection);
    };
    let emptied = |connection: &Connection| {
        insert(connection);
        checkpoint(connection, "TRUNCATE");
        insert(connection);
    };
    for deed in [&written_over as &dyn Fn(&Connection), &twice, &cut, &emptied] {
        let directory = tempfile::tempdir().unwrap();
        let (connection, mut follower) = make(directory.path());
        set(&mut follower);
        deed(&connection);
        follower.poll(at_once()).unwrap();
        assert_eq!(follower.doubt(), Some(Doubt::LogReset));
        assert!(follower.waiting_since().is_some());
    }
}

/// Copies a database and its log as they lie.
fn copy(from: &Path, to: &Path) {
    for name in ["a.db", "a.db-wal"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

/// Brings a log up to date with another one, in place.
fn bring(from: &Path, to: &Path) {
    let bytes = std::fs::read(from.join("a.db-wal")).unwrap();
    let log = std::fs::OpenOptions::new().write(true).open(to.join("a.db-wal")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&log, &bytes, 0).unwrap();
}

#[test]
fn a_commit_that_does_not_count_and_is_written_over_does_not_lead_astray() {
    let [dead, alive, seen] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (dying, _) = make(dead.path());
    copy(dead.path(), alive.path());
    copy(dead.path(), seen.path());
    let mut follower = Follower::new(seen.path().join("a.db").to_str().unwrap().as_bytes().to_vec());
    set(&mut follower);
    // The program dies between its commit in the log and telling the others.
    dying.execute_batch("UPDATE t SET x = randomblob(90000) WHERE id = 20").unwrap();
    bring(dead.path(), seen.path());
    follower.poll(at_once()).unwrap();
    assert!(follower.changes.pages.len() > 20);
    follower.changes = Changes::default();
    // The next one goes on where it began, with less; behind that, the rest of the dead one's frames still lie.
    let surviving = open(&alive.path().join("a.db"));
    for id in [150, 170, 190] {
        let before = pages(&surviving);
        surviving.execute_batch(&format!("UPDATE t SET x = randomblob(10) WHERE id = {id}")).unwrap();
        bring(alive.path(), seen.path());
        follower.poll(at_once()).unwrap();
        assert!(covers(&follower, &before, &pages(&surviving)) > 0, "{id}");
        follower.changes = Changes::default();
    }
}

#[test]
fn a_log_that_comes_and_goes_is_followed_while_the_main_file_stays() {
    let directory = tempfile::tempdir().unwrap();
    let (connection, mut follower) = make(directory.path());
    // Closing removes the log.
    drop(connection);
    set(&mut follower);
    assert!(!directory.path().join("a.db-wal").exists());
    let connection = open(&directory.path().join("a.db"));
    let before = pages(&connection);
    follower.poll(later()).unwrap();
    assert_eq!(follower.waiting_since(), None);
    connection.execute_batch("UPDATE t SET x = randomblob(3000) WHERE id IN (20, 120)").unwrap();
    follower.poll(later()).unwrap();
    assert_eq!(covers(&follower, &before, &pages(&connection)), 2);
    drop(connection);
    follower.poll(later()).unwrap();
    assert_eq!(follower.doubt(), Some(Doubt::LogGone));
}

#[test]
fn a_main_file_that_was_just_written_is_not_relied_on() {
    let directory = tempfile::tempdir().unwrap();
    let (connection, mut follower) = make(directory.path());
    drop(connection);
    follower.set(at_once()).unwrap();
    follower.committed();
    follower.poll(at_once()).unwrap();
    assert_eq!(follower.doubt(), None);
    follower.poll(later()).unwrap();
    assert_eq!(follower.doubt(), Some(Doubt::Unsettled));
    // Now it is: one reading of the whole is enough.
    set(&mut follower);
    follower.poll(later()).unwrap();
    assert_eq!(follower.doubt(), None);
}

#[test]
fn journals_replacements_and_other_page_sizes_are_doubts() {
    let journal = |path: &Path, connection: Connection| {
        connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).unwrap();
        (connection, path.with_file_name("none"))
    };
    let resized = |path: &Path, connection: Connection| {
        connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).unwrap();
        connection.execute_batch("PRAGMA page_size = 8192; VACUUM").unwrap();
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
        insert(&connection);
        (connection, path.with_file_name("none"))
    };
    let replaced = |path: &Path, connection: Connection| {
        let (other, place) = (path.with_file_name("b.db"), path.with_file_name("old.db"));
        connection.execute("VACUUM INTO ?1", [other.to_str().unwrap()]).unwrap();
        std::fs::rename(path, &place).unwrap();
        std::fs::rename(other, path).unwrap();
        (connection, place)
    };
    type Deed<'a> = &'a dyn Fn(&Path, Connection) -> (Connection, std::path::PathBuf);
    // A new log may get the number of the old one's file.
    let deeds: [(Deed<'_>, &[Doubt]); 3] = [
        (&journal, &[Doubt::LogGone]),
        (&resized, &[Doubt::LogGone, Doubt::LogReset]),
        (&replaced, &[Doubt::Replaced]),
    ];
    for (deed, doubts) in deeds {
        let directory = tempfile::tempdir().unwrap();
        let (connection, mut follower) = make(directory.path());
        set(&mut follower);
        follower.poll(later()).unwrap();
        let kept = deed(&directory.path().join("a.db"), connection);
        follower.poll(later()).unwrap();
        assert!(doubts.contains(&follower.doubt().unwrap()), "{:?} is none of {doubts:?}", follower.doubt());
        // Set anew, it sees a database that is written without a log as one that it must read whole.
        set(&mut follower);
        drop(kept);
    }
}

#[test]
fn a_snapshot_that_fails_leaves_its_changes_to_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let (connection, mut follower) = make(directory.path());
    set(&mut follower);
    let before = pages(&connection);
    connection.execute_batch("UPDATE t SET x = randomblob(3000) WHERE id = 20").unwrap();
    follower.begin(at_once()).unwrap();
    connection.execute_batch("UPDATE t SET x = randomblob(3000) WHERE id = 120").unwrap();
    let (pending, page_bytes) = follower.pending(at_once()).unwrap().unwrap();
    assert_eq!((pending.pages.len(), page_bytes), (2, 4096));
    follower.failed(None);
    assert_eq!(covers(&follower, &before, &pages(&connection)), 2);
    // What came after the snapshot began is for the next one, too: the snapshot may not have seen it.
    follower.begin(at_once()).unwrap();
    connection.execute_batch("UPDATE t SET x = randomblob(3000) WHERE id = 180").unwrap();
    assert_eq!(follower.pending(at_once()).unwrap().unwrap().0.pages.len(), 3);
    follower.committed();
    assert_eq!(follower.changes.pages.len(), 2, "the last one known before may not have counted yet");
    assert!(follower.waiting_since().is_some());
}

#[test]
fn a_commit_that_readers_do_not_see_yet_is_left_to_the_next_snapshot_too() {
    let [writer, seen] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (connection, _) = make(writer.path());
    let bring_index = || std::fs::copy(writer.path().join("a.db-shm"), seen.path().join("a.db-shm")).unwrap();
    copy(writer.path(), seen.path());
    bring_index();
    let mut follower = Follower::new(seen.path().join("a.db").to_str().unwrap().as_bytes().to_vec());
    follower.set(later()).unwrap();
    follower.committed();
    assert_eq!(follower.waiting_since(), None);
    // It is in the log, and the index does not tell of it yet.
    connection.execute_batch("UPDATE t SET x = randomblob(3000) WHERE id = 20").unwrap();
    bring(writer.path(), seen.path());
    for _ in 0..2 {
        follower.begin(at_once()).unwrap();
        assert_eq!(follower.pending(at_once()).unwrap().unwrap().0.pages.len(), 1);
        follower.committed();
        assert_eq!(follower.changes.pages.len(), 1);
    }
    bring_index();
    follower.begin(at_once()).unwrap();
    follower.committed();
    assert_eq!(follower.waiting_since(), None);
}

#[test]
fn vacuum_and_growth_are_within_what_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let (connection, mut follower) = make(directory.path());
    set(&mut follower);
    let mut before = pages(&connection);
    for statement in ["DELETE FROM t WHERE id % 3 = 0", "VACUUM", "CREATE INDEX i ON t(x)", "DROP INDEX i"] {
        connection.execute_batch(statement).unwrap();
        follower.poll(at_once()).unwrap();
        let after = pages(&connection);
        covers(&follower, &before, &after);
        (before, follower.changes) = (after, Changes::default());
    }
}
