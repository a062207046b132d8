//! One file whose content comes from a stream: standard input, or what a command writes.
//!
//! Its invariant: content that did not come to its proper end, because reading it failed, nobody read on, or the command failed, never becomes a snapshot.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{ContentReader, Finish, Handle, Owner, Source, SourceKind, Stretch, Visitor};
use crate::error::{Error, Result};
use crate::format::constants::ENTRY_FILE;
use crate::format::tree::{Attribute, Entry};
use crate::path;
use crate::time::Time;

/// The stream's length is known only at its end, and so it is announced as endless.
const SIZE_BYTES_UNKNOWN: u64 = u64::MAX;

/// A file from a stream of bytes. It can be walked once.
pub struct Stream {
    place: Place,
    reader: Mutex<Option<Box<dyn Read + Send>>>,
}

impl Stream {
    /// Makes the source of a file `name`, which will stand in the snapshot as `/NAME`, changed at `now`.
    ///
    /// # Errors
    /// [`Error::Usage`] if the name leads to no file: it is empty, or `/`.
    pub fn new(name: &[u8], now: Time, reader: impl Read + Send + 'static) -> Result<Self> {
        Ok(Self { place: Place::new(name, now)?, reader: Mutex::new(Some(Box::new(reader))) })
    }
}

impl Source for Stream {
    fn kind(&self) -> SourceKind {
        SourceKind::Stream
    }

    fn roots(&self) -> Vec<Vec<u8>> {
        vec![self.place.path.clone()]
    }

    fn walk(&self, visitor: &mut dyn Visitor) -> Result<()> {
        match lock(&self.reader).take() {
            Some(reader) => self.place.visit(visitor, Origin::Reader(reader)),
            None => Err(Error::Input { what: "the stream was read already".to_owned() }),
        }
    }

    fn verify(&self) -> Result<()> {
        self.place.verify()
    }
}

/// A file from what a command writes to its standard output. The command gets no input, and keeps this program's standard error.
pub struct CommandOutput {
    place: Place,
    program: OsString,
    arguments: Vec<OsString>,
}

impl CommandOutput {
    /// Makes the source of a file `name`, which will stand in the snapshot as `/NAME`, changed at `now`. The command starts when the source is walked; if it is not
    /// read to its end, it is killed.
    ///
    /// # Errors
    /// [`Error::Usage`] if the name leads to no file: it is empty, or `/`.
    pub fn new(name: &[u8], now: Time, program: OsString, arguments: Vec<OsString>) -> Result<Self> {
        Ok(Self { place: Place::new(name, now)?, program, arguments })
    }
}

impl Source for CommandOutput {
    fn kind(&self) -> SourceKind {
        SourceKind::Stream
    }

    fn roots(&self) -> Vec<Vec<u8>> {
        vec![self.place.path.clone()]
    }

    fn walk(&self, visitor: &mut dyn Visitor) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().map_err(Error::file("start", &self.program))?;
        let output = child.stdout.take();
        self.place.visit(visitor, Origin::Command(Running { child, output, is_reaped: false }))
    }

    fn verify(&self) -> Result<()> {
        self.place.verify()
    }
}

/// Where the file will stand, and what became of its content.
struct Place {
    path: Vec<u8>,
    now: Time,
    outcome: Arc<Mutex<Outcome>>,
}

enum Outcome {
    Incomplete,
    Complete,
    ReadFailed(io::ErrorKind, String),
    CommandFailed(ExitStatus),
}

impl Place {
    fn new(name: &[u8], now: Time) -> Result<Self> {
        let path = path::absolute(name, b"/");
        if path::components(&path).next().is_none() {
            return Err(Error::Usage { what: "the name of a stream must be that of a file".to_owned() });
        }
        if path.contains(&0) {
            return Err(Error::Usage { what: "the name of a stream has a zero byte in it".to_owned() });
        }
        Ok(Self { path, now, outcome: Arc::new(Mutex::new(Outcome::Incomplete)) })
    }

    fn visit(&self, visitor: &mut dyn Visitor, origin: Origin) -> Result<()> {
        *lock(&self.outcome) = Outcome::Incomplete;
        let mut entry = Entry::new(ENTRY_FILE, path::name(&self.path));
        entry.mode = 0o600;
        entry.uid = rustix::process::getuid().as_raw();
        entry.gid = rustix::process::getgid().as_raw();
        entry.mtime = self.now;
        entry.ctime = self.now;
        let reader = StreamReader { origin, now: self.now, outcome: Arc::clone(&self.outcome) };
        let handle = StreamHandle { reader: Mutex::new(Some(reader)) };
        visitor.root(&self.path)?;
        visitor.file(entry, Owner::default(), SIZE_BYTES_UNKNOWN, Box::new(handle))
    }

    fn verify(&self) -> Result<()> {
        match &*lock(&self.outcome) {
            Outcome::Complete => Ok(()),
            Outcome::Incomplete => Err(Error::Input { what: "the stream was not read to its end".to_owned() }),
            Outcome::ReadFailed(kind, message) => {
                let path = PathBuf::from(std::ffi::OsStr::from_bytes(&self.path));
                Err(Error::file("read", path)(io::Error::new(*kind, message.clone())))
            }
            Outcome::CommandFailed(status) => {
                Err(Error::Input { what: format!("the command failed: {}", describe(*status)) })
            }
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit status".to_owned(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept in them is never half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands its reader out, once.
struct StreamHandle {
    reader: Mutex<Option<StreamReader>>,
}

impl Handle for StreamHandle {
    fn attributes(&self) -> io::Result<Vec<Attribute>> {
        Ok(Vec::new())
    }

    fn open(&self) -> io::Result<Box<dyn ContentReader>> {
        match lock(&self.reader).take() {
            Some(reader) => Ok(Box::new(reader)),
            None => Err(io::Error::other("a stream can be read only once")),
        }
    }
}

struct StreamReader {
    origin: Origin,
    now: Time,
    outcome: Arc<Mutex<Outcome>>,
}

impl ContentReader for StreamReader {
    fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> io::Result<Stretch> {
        // Reading goes on until the limit is met: what a pipe holds at a time says nothing about its end.
        let read = self.origin.input().take(limit as u64).read_to_end(buffer);
        let ended = match read {
            Ok(0) if limit > 0 => self.origin.end(),
            Ok(length) => return Ok(Stretch::Data(length)),
            Err(error) => Err(error),
        };
        match ended {
            Ok(outcome) => {
                *lock(&self.outcome) = outcome;
                Ok(Stretch::End)
            }
            Err(error) => {
                *lock(&self.outcome) = Outcome::ReadFailed(error.kind(), error.to_string());
                Err(error)
            }
        }
    }

    fn finish(&mut self) -> io::Result<Finish> {
        Ok(Finish { changed: false, mtime: self.now, ctime: self.now })
    }
}

/// Where the bytes come from.
enum Origin {
    Reader(Box<dyn Read + Send>),
    Command(Running),
}

impl Origin {
    fn input(&mut self) -> &mut dyn Read {
        match self {
            Origin::Reader(reader) => reader,
            Origin::Command(running) => running,
        }
    }

    /// What the end of the bytes means.
    fn end(&mut self) -> io::Result<Outcome> {
        match self {
            Origin::Reader(_) => Ok(Outcome::Complete),
            Origin::Command(running) => {
                let status = running.wait()?;
                Ok(if status.success() { Outcome::Complete } else { Outcome::CommandFailed(status) })
            }
        }
    }
}

/// A command that was started. Dropped before its end, it is killed.
struct Running {
    child: Child,
    output: Option<ChildStdout>,
    is_reaped: bool,
}

impl Running {
    fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        self.is_reaped = true;
        Ok(status)
    }
}

impl Read for Running {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.output.as_mut().map_or(Ok(0), |output| output.read(buffer))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_reaped {
            // A command that is gone already cannot be killed; it is reaped all the same.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests;
