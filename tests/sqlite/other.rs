//! What second processes do. Each function is a test that does nothing unless it was started by [`start`].

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use backup_core::source::sqlite::Connection;

const DATABASE: &str = "HOLDFAST_TEST_DATABASE";

/// A second process that does one thing until it is told to end.
pub(crate) struct Other {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// Starts this program again to run the function `other::NAME` on a database, and waits until it says that it is ready.
pub(crate) fn start(name: &str, database: &Path) -> Other {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("other::{name}"), "--nocapture", "--test-threads=1"])
        .env(DATABASE, database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
    let mut other = Other { child, input, output };
    other.expect("ready");
    other
}

impl Other {
    /// Waits for a line that ends so. What the frame around tests prints comes before it.
    pub(crate) fn expect(&mut self, end: &str) {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            if line.trim_end().ends_with(end) {
                return;
            }
            line.clear();
        }
        panic!("the other process ended before it said {end}");
    }

    /// Sends a line, and asserts the answer.
    pub(crate) fn ask(&mut self, line: &str, answer: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
        let mut said = String::new();
        self.output.read_line(&mut said).unwrap();
        assert!(said.trim_end().ends_with(answer), "{line}: {said}");
    }

    /// Lets it end by itself, and returns what it printed last.
    pub(crate) fn end(mut self) -> String {
        drop(self.input.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
        rest
    }

    /// Kills it where it stands.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The database that a second process is meant to use; `None` in the first.
fn database() -> Option<Connection> {
    let path = std::env::var_os(DATABASE)?;
    Some(Connection::open(path).unwrap())
}

fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").unwrap();
    output.flush().unwrap();
}

/// Executes what it is sent, line by line.
#[test]
fn executes() {
    let Some(connection) = database() else { return };
    say("ready");
    for line in std::io::stdin().lines() {
        match connection.execute_batch(&line.unwrap()) {
            Ok(()) => say("done"),
            Err(error) => say(&format!("{error}: failed")),
        }
    }
}

/// Commits one small transaction after the other, without any patience for locks, until its input ends; then says how often it was kept waiting.
#[test]
fn writes_impatiently() {
    let Some(connection) = database() else { return };
    connection.busy_timeout(std::time::Duration::ZERO).unwrap();
    let ended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = std::sync::Arc::clone(&ended);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        flag.store(true, std::sync::atomic::Ordering::Release);
    });
    let (mut commits, mut busy) = (0, 0);
    while !ended.load(std::sync::atomic::Ordering::Acquire) {
        match connection.execute_batch("UPDATE t SET amount = amount + 1 WHERE id = 1 + abs(random() % 100)") {
            Ok(()) => commits += 1,
            Err(_) => busy += 1,
        }
        if commits == 10 {
            say("ready");
        }
    }
    say(&format!("commits {commits}, busy {busy}"));
}

/// One number for all that a database holds, whatever its pages look like.
pub(crate) fn digest(connection: &Connection) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    let mut names =
        connection.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
    let mut rows = names.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (name, sql): (String, String) = (row.get(0).unwrap(), row.get(1).unwrap());
        (&name, &sql).hash(&mut hasher);
        crate::place::rows(connection, &name).hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

/// Commits transactions, checkpoints, vacuums and changes of the schema in an order from a seed, and logs the digest of each state just before it is committed.
#[test]
fn writes_at_random() {
    let Some(connection) = database() else { return };
    let path = std::path::PathBuf::from(std::env::var_os(DATABASE).unwrap());
    let log = path.parent().unwrap().with_file_name("log");
    let mut log = std::fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    let mut note = |connection: &Connection| {
        writeln!(log, "{}", digest(connection)).unwrap();
    };
    note(&connection);
    let mut state = 7;
    for number in 0_u64.. {
        let random = crate::kit::surroundings::next_random(&mut state);
        let statement = match random % 40 {
            0 => "VACUUM".to_owned(),
            1 => "PRAGMA wal_checkpoint(TRUNCATE)".to_owned(),
            2 => format!("CREATE TABLE IF NOT EXISTS extra{}(a, b)", random % 5),
            3 => format!("DROP TABLE IF EXISTS extra{}", random % 5),
            4 => format!("CREATE INDEX IF NOT EXISTS extra_index{} ON t(amount, name)", random % 3),
            5..20 => format!("UPDATE t SET amount = {number} WHERE id % 50 = {}", random % 50),
            20..30 => format!("DELETE FROM t WHERE id % 500 = {}", random % 500),
            _ => format!("INSERT INTO t(name, body) VALUES ('{random}', randomblob({}))", random % 9000),
        };
        if statement.starts_with("VACUUM") || statement.starts_with("PRAGMA") {
            let _ = connection.execute_batch(&statement);
            continue;
        }
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        connection.execute_batch(&statement).unwrap();
        note(&connection);
        connection.execute_batch("COMMIT").unwrap();
        if number == 3 {
            say("ready");
        }
    }
}

/// Watches the database into the repository that lies beside its directory, until it is killed.
#[test]
fn watches() {
    let Some(path) = std::env::var_os(DATABASE) else { return };
    let path = std::path::PathBuf::from(path);
    let mut repository = crate::watch_killed::open(path.parent().unwrap().parent().unwrap());
    let options = backup_core::ops::watch::WatchOptions::new().every_ms(crate::watch_killed::every_ms());
    let mut each = |_: &backup_core::ops::watch::WatchEvent| {
        say("ready");
        Ok(())
    };
    repository.watch(&[path], &options, &mut each, &backup_core::progress::Silent).unwrap();
}

/// Commits the time of day, a hundred times a second.
#[test]
fn writes_the_time() {
    let Some(connection) = database() else { return };
    connection.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    connection.execute_batch("CREATE TABLE times(at INTEGER)").unwrap();
    for number in 0_u64.. {
        connection.execute("INSERT INTO times VALUES (?1)", [crate::watch_killed::now_ms().cast_signed()]).unwrap();
        if number == 3 {
            say("ready");
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
