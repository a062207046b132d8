//! SQLite's command-line tool as another process that has a database open.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A process with a database open. Dropped, it is killed.
pub(crate) struct Client {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Client {
    /// Opens a database and runs statements, which have been run when this returns. `None` where there is no such tool.
    pub(crate) fn open(path: &Path, sql: &str) -> Option<Self> {
        let piped = Stdio::piped;
        let spawned = Command::new("sqlite3").arg(path).stdin(piped()).stdout(piped()).stderr(piped()).spawn();
        let Ok(mut child) = spawned else {
            super::skip("sqlite3 is missing");
            return None;
        };
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut client = Self { child, input, output };
        client.run(sql);
        Some(client)
    }

    /// Runs statements, and returns the lines that they yield.
    pub(crate) fn run(&mut self, sql: &str) -> Vec<String> {
        self.input.write_all(format!("{sql};\nSELECT 'done';\n").as_bytes()).unwrap();
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the client ended");
            match line.trim_end() {
                "done" => return lines,
                line => lines.push(line.to_owned()),
            }
        }
    }

    /// What its process is called.
    pub(crate) fn name(&self) -> String {
        format!("process {} (sqlite3)", self.child.id())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the tool says to statements, errors included; `None` where there is no such tool.
pub(crate) fn ask(path: &Path, sql: &str) -> Option<String> {
    let Ok(output) = Command::new("sqlite3").arg(path).arg(sql).output() else {
        super::skip("sqlite3 is missing");
        return None;
    };
    Some(String::from_utf8([output.stdout, output.stderr].concat()).unwrap().trim_end().to_owned())
}
