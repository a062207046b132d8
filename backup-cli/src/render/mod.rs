//! What is written to standard output: lines for people, or one JSON document for programs, never both.
//!
//! The document is written as a stream, so that lists of any length need no memory: its head, what a command adds, and the tail with exit code, warnings and error.

pub(crate) mod entry;
pub(crate) mod table;

use std::fmt::Display;
use std::io::{self, BufWriter, Stdout, Write};

use backup_core::ErrorKind;
use backup_core::progress::Warning;
use base64::Engine;
use serde::Serialize;

use crate::exit::Failure;

/// Fields that every document has; no report may bring its own.
const RESERVED: [&str; 5] = ["holdfast_json", "command", "exit_code", "warnings", "error"];

/// Standard output, as the contract wants it.
pub(crate) struct Output {
    command: String,
    json: bool,
    out: BufWriter<Stdout>,
    is_open: bool,
    /// In a list: how many items it has.
    list: Option<u64>,
    failure_code: Option<u8>,
}

impl Output {
    /// Writes nothing yet.
    pub(crate) fn new(command: &str, json: bool) -> Self {
        let out = BufWriter::new(io::stdout());
        Self { command: command.to_owned(), json, out, is_open: false, list: None, failure_code: None }
    }

    /// Asks for one exit code for whatever fails from now on; `None` for that of each failure.
    pub(crate) fn fail_with(&mut self, code: Option<u8>) {
        self.failure_code = code;
    }

    /// The exit code that was asked for.
    pub(crate) fn failure_code(&self) -> Option<u8> {
        self.failure_code
    }

    /// Whether a document is wanted.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Writes a line for people; nothing into a document.
    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        writeln!(self.out, "{text}").map_err(Failure::Output)
    }

    /// Adds a field to the document.
    pub(crate) fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        self.open()?;
        write!(self.out, ",{}:", quoted(name)).map_err(Failure::Output)?;
        self.value(value)
    }

    /// Adds the fields of a report to the document.
    pub(crate) fn report<T: Serialize>(&mut self, report: &T) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        for (name, value) in fields(report)? {
            self.field(&name, &value)?;
        }
        Ok(())
    }

    /// Begins a list in the document.
    pub(crate) fn begin_list(&mut self, name: &str) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        self.open()?;
        self.list = Some(0);
        write!(self.out, ",{}:[", quoted(name)).map_err(Failure::Output)
    }

    /// Adds an item to the list.
    pub(crate) fn item<T: Serialize>(&mut self, item: &T) -> Result<(), Failure> {
        let Some(count) = &mut self.list else { return Ok(()) };
        let comma = if *count == 0 { "\n" } else { ",\n" };
        *count += 1;
        self.out.write_all(comma.as_bytes()).map_err(Failure::Output)?;
        self.value(item)
    }

    /// Ends the list.
    pub(crate) fn end_list(&mut self) -> Result<(), Failure> {
        match self.list.take() {
            Some(_) => self.out.write_all(b"]").map_err(Failure::Output),
            None => Ok(()),
        }
    }

    /// Writes out all that waits, in the middle of a document that grows for long.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::Output)
    }

    /// Standard output itself, for bytes that are neither lines nor a document.
    pub(crate) fn raw(&mut self) -> &mut dyn Write {
        &mut self.out
    }

    /// Ends the document, and writes out all that waits.
    pub(crate) fn finish(&mut self, code: u8, warnings: &[Warning], error: Option<&Problem>) -> Result<(), Failure> {
        if self.json {
            self.end_list()?;
            self.field("exit_code", &code)?;
            self.begin_list("warnings")?;
            for warning in warnings {
                self.item(&JsonWarning::new(warning))?;
            }
            self.end_list()?;
            if let Some(error) = error {
                self.field("error", error)?;
            }
            self.out.write_all(b"}\n").map_err(Failure::Output)?;
        }
        self.out.flush().map_err(Failure::Output)
    }

    fn open(&mut self) -> Result<(), Failure> {
        if self.is_open {
            return Ok(());
        }
        self.is_open = true;
        write!(self.out, "{{\"holdfast_json\":1,\"command\":{}", quoted(&self.command)).map_err(Failure::Output)
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.out, value).map_err(|error| Failure::Output(error.into()))
    }
}

/// The fields of a report, without those that every document has.
pub(crate) fn fields<T: Serialize>(report: &T) -> Result<Vec<(String, serde_json::Value)>, Failure> {
    match serde_json::to_value(report).map_err(|error| Failure::Output(error.into()))? {
        serde_json::Value::Object(fields) => {
            Ok(fields.into_iter().filter(|(name, _)| !RESERVED.contains(&name.as_str())).collect())
        }
        _ => Ok(Vec::new()),
    }
}

fn quoted(text: &str) -> serde_json::Value {
    serde_json::Value::String(text.to_owned())
}

/// An error in a document.
#[derive(Serialize)]
pub(crate) struct Problem {
    /// What can be done about it, coarsely.
    pub(crate) kind: ErrorKind,
    /// What happened, with its causes.
    pub(crate) message: String,
    /// The object or path concerned.
    pub(crate) object: Option<String>,
}

/// A path in a document: lossy, and exact where that loses something.
#[derive(Serialize)]
pub(crate) struct JsonPath {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
}

impl JsonPath {
    /// Takes a path's bytes.
    pub(crate) fn new(path: &[u8]) -> Self {
        Self { path: lossy(path), path_base64: std::str::from_utf8(path).is_err().then(|| base64_of(path)) }
    }
}

/// Paths as text.
pub(crate) fn all_lossy(paths: &[Vec<u8>]) -> Vec<String> {
    paths.iter().map(|path| lossy(path)).collect()
}

/// The exact bytes of all paths, where one of them is no text.
pub(crate) fn all_exact(paths: &[Vec<u8>]) -> Option<Vec<String>> {
    let is_text = paths.iter().all(|path| std::str::from_utf8(path).is_ok());
    (!is_text).then(|| paths.iter().map(|path| base64_of(path)).collect())
}

/// Bytes as text, with a mark for each that is none.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn base64_of(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[derive(Serialize)]
struct JsonWarning<'a> {
    kind: &'a str,
    #[serde(flatten)]
    path: Option<JsonPath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    message: &'a str,
}

impl<'a> JsonWarning<'a> {
    fn new(warning: &'a Warning) -> Self {
        let is_path = warning.subject.starts_with(b"/");
        let object = !is_path && !warning.subject.is_empty();
        Self {
            kind: warning.kind,
            path: is_path.then(|| JsonPath::new(&warning.subject)),
            object: object.then(|| lossy(&warning.subject)),
            message: &warning.message,
        }
    }
}

/// Writes a line to standard error. Where that is closed, nobody listens.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
