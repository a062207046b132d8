//! Servers that a script in `tests/servers/` starts: it prints one line when it is ready, and ends when its standard input does.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A server that ends with this.
pub(crate) struct Script {
    child: Child,
    /// What the script printed: words that say how to reach the server.
    pub(crate) words: Vec<String>,
    /// A directory of its own, as its first argument.
    pub(crate) directory: TempDir,
}

impl Script {
    /// Starts a script and waits until it is ready; says why it is not, if the machine lacks something.
    pub(crate) fn start(name: &str, more: &[&str]) -> Result<Self, String> {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/servers").join(name);
        let mut child = Command::new(path)
            .arg(directory.path())
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script can be run");
        let mut line = String::new();
        let output = child.stdout.take().expect("it is a pipe");
        BufReader::new(output).read_line(&mut line).expect("the script's output can be read");
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let mut script = Self { child, words, directory };
        match script.words.first().map(String::as_str) {
            Some("ready") => Ok(script),
            Some("missing") => Err(script.words[1..].join(" ")),
            _ => {
                let status = script.child.wait();
                panic!("{name} ended before it was ready: {status:?}")
            }
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // Its end of input is how it learns that it is not needed any more.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
