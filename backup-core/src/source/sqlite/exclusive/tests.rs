//! Databases that another process has open, in both modes; logs and journals that were left behind.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::*;

/// The command-line tool of SQLite with a database open, in a process of its own.
struct Client {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Client {
    /// Opens a database and runs statements, which have been run when this returns. `None` where there is no such tool.
    fn open(path: &Path, sql: &str) -> Option<Self> {
        let spawned = Command::new("sqlite3")
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = spawned else {
            skip("sqlite3 is missing");
            return None;
        };
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut client = Self { child, input, output };
        client.run(sql);
        Some(client)
    }

    fn run(&mut self, sql: &str) {
        self.input.write_all(format!("{sql};\nSELECT 'done';\n").as_bytes()).unwrap();
        let mut line = String::new();
        while !line.ends_with("done\n") {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the client ended");
        }
    }

    fn name(&self) -> String {
        format!("process {} (sqlite3)", self.child.id())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn skip(why: &str) {
    assert!(std::env::var("HOLDFAST_TEST_REQUIRE_ALL").as_deref() != Ok("1"), "cannot be skipped: {why}");
    std::io::stderr().write_all(format!("skipped: {why}\n").as_bytes()).unwrap();
}

/// What the tool says of a query, errors included.
fn ask(path: &Path, sql: &str) -> Option<String> {
    let Ok(output) = Command::new("sqlite3").arg(path).arg(sql).output() else {
        skip("sqlite3 is missing");
        return None;
    };
    Some(String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn identity(path: &Path) -> Identity {
    let found = fs::metadata(path).unwrap();
    (found.dev(), found.ino())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

/// A database of 100 rows, and what lay beside it in the middle of a transaction that deleted half of them: with `commit` in a log, else in a hot journal.
fn interrupted(directory: &Path, mode: &str, commit: bool) -> PathBuf {
    let (made, copy) = (directory.join("made.db"), directory.join("copy.db"));
    let connection = Connection::open(&made).unwrap();
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = {mode}; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = 2; CREATE TABLE t(i, x);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) INSERT INTO t SELECT i, zeroblob(2000) FROM n;
             BEGIN IMMEDIATE; DELETE FROM t WHERE i > 50; UPDATE t SET x = zeroblob(3000);"
        ))
        .unwrap();
    if commit {
        connection.execute_batch("COMMIT").unwrap();
    }
    for suffix in ["", "-wal", "-journal"] {
        if beside(&made, suffix).exists() {
            fs::copy(beside(&made, suffix), beside(&copy, suffix)).unwrap();
        }
    }
    copy
}

#[test]
fn an_idle_connection_of_another_process_is_found_by_its_descriptor() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let Some(client) = Client::open(&path, "CREATE TABLE t(x)") else { return };
    let file = File::open(&path).unwrap();
    assert!(!is_locked(&file), "an idle connection holds no lock");
    drop(file);
    assert_eq!(holders(&[identity(&path)]), [client.name()]);
    drop(client);
    assert_eq!(holders(&[identity(&path)]), Vec::<String>::new());
}

#[test]
fn a_file_that_this_process_has_open_is_found_without_opening_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE t(x); BEGIN EXCLUSIVE").unwrap();
    assert_eq!(holders(&[identity(&path)]), ["this process itself"]);
    if let Some(answer) = ask(&path, "SELECT count(*) FROM t") {
        assert!(answer.contains("locked"), "the lock is gone: {answer}");
    }
    drop(connection);
    assert_eq!(holders(&[identity(&path)]), Vec::<String>::new());
}

#[test]
fn a_database_that_another_process_uses_cannot_be_taken() {
    for (mode, sql) in [("WAL", "SELECT count(*) FROM t"), ("DELETE", "BEGIN; SELECT count(*) FROM t")] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let begin = format!("PRAGMA journal_mode = {mode}; CREATE TABLE t(x); INSERT INTO t VALUES (1); {sql}");
        let Some(client) = Client::open(&path, &begin) else { return };
        let (before, log) = (fs::read(&path).unwrap(), fs::read(beside(&path, "-wal")).ok());
        assert!(matches!(take(&path), Taken::InUse), "{mode}");
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(fs::read(beside(&path, "-wal")).ok(), log);
        // The plain descriptor comes last: this process holds no lock any more that closing it could drop.
        assert!(is_locked(&File::open(&path).unwrap()), "{mode}");
        drop(client);
        assert!(matches!(take(&path), Taken::Alone(_)), "{mode}");
    }
}

#[test]
fn a_log_is_written_into_the_file_and_the_lock_is_held() {
    let directory = tempfile::tempdir().unwrap();
    let path = interrupted(directory.path(), "WAL", true);
    assert!(fs::metadata(beside(&path, "-wal")).unwrap().len() > 0);
    let taken = take(&path);
    assert!(matches!(taken, Taken::Alone(_)), "{taken:?}");
    assert_eq!(fs::metadata(beside(&path, "-wal")).unwrap().len(), 0);
    assert!(!beside(&path, "-shm").exists());
    if let Some(answer) = ask(&path, "SELECT count(*) FROM t") {
        assert!(answer.contains("locked"), "it is not: {answer}");
    }
    fs::remove_file(beside(&path, "-wal")).unwrap();
    drop(taken);
    let connection = Connection::open(&path).unwrap();
    let rows: i64 = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!((rows, mode.as_str()), (50, "wal"));
}

#[test]
fn a_hot_journal_is_rolled_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = interrupted(directory.path(), "DELETE", false);
    assert!(fs::metadata(beside(&path, "-journal")).unwrap().len() > 0);
    let taken = take(&path);
    assert!(matches!(taken, Taken::Alone(_)), "{taken:?}");
    if let Some(answer) = ask(&path, "SELECT count(*) FROM t") {
        assert!(answer.contains("locked"), "it is not: {answer}");
    }
    drop(taken);
    let found = fs::metadata(beside(&path, "-journal")).map_or(0, |found| found.len());
    assert_eq!(found, 0);
    let count = "SELECT count(*) FROM t WHERE length(x) = 2000";
    let rows: i64 = Connection::open(&path).unwrap().query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 100);
}

#[test]
fn dropping_the_lock_touches_nothing_under_names_that_are_anothers_by_then() {
    for mode in ["WAL", "DELETE"] {
        let directory = tempfile::tempdir().unwrap();
        let path = interrupted(directory.path(), mode, true);
        let taken = take(&path);
        assert!(matches!(taken, Taken::Alone(_)), "{taken:?}");
        let new = directory.path().join("new.db");
        fs::write(&new, b"new").unwrap();
        fs::rename(&new, &path).unwrap();
        for suffix in ["-wal", "-shm", "-journal"] {
            fs::write(beside(&path, suffix), suffix).unwrap();
        }
        drop(taken);
        for suffix in ["-wal", "-shm", "-journal"] {
            assert_eq!(fs::read(beside(&path, suffix)).unwrap(), suffix.as_bytes(), "{mode}");
        }
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}

#[test]
fn what_is_no_database_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    // The second begins as a database, and is none.
    for content in [vec![7; 5000], [MAGIC, &[7; 4984]].concat()] {
        fs::write(&path, &content).unwrap();
        fs::write(beside(&path, "-wal"), b"of something else").unwrap();
        assert!(matches!(take(&path), Taken::NotOpened));
        assert_eq!(fs::read(&path).unwrap(), content);
        assert_eq!(fs::read(beside(&path, "-wal")).unwrap(), b"of something else");
    }
    fs::write(&path, vec![7; 5000]).unwrap();
    fs::write(beside(&path, "-journal"), b"of something else").unwrap();
    assert!(matches!(take(&path), Taken::NotOpened));
    assert_eq!(fs::read(beside(&path, "-journal")).unwrap(), b"of something else");
    assert!(matches!(take(&directory.path().join("missing")), Taken::NotOpened));
}

#[test]
fn a_schema_is_read_without_a_trace() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("100% of ?#.db");
    Connection::open(&path).unwrap().execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(x)").unwrap();
    assert_eq!(flaw_of_schema(&path), None);
    let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["100% of ?#.db"]);
    fs::write(&path, vec![7; 4096]).unwrap();
    assert!(flaw_of_schema(&path).is_some());
}
