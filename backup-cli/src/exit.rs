//! How a run ends: exit codes, errors and their hints. The codes are the contract of scripts.

use std::io;
use std::process::ExitCode;

use backup_core::progress::Warning;
use backup_core::words::printable;
use backup_core::{Error, ErrorKind};

use crate::render::{Output, Problem, say};

/// Done, nothing to report.
pub(crate) const DONE: u8 = 0;
const FAILED: u8 = 1;
/// Wrong usage.
pub(crate) const USAGE: u8 = 2;
const WARNINGS: u8 = 3;
const DAMAGE: u8 = 4;
const REFUSED: u8 = 5;
const NO_KEY: u8 = 6;
const NO_REPOSITORY: u8 = 7;
const INTERRUPTED: u8 = 130;

/// What a command that came to its end has to report.
#[derive(Default)]
pub(crate) struct Done {
    /// What must be seen.
    pub(crate) warnings: Vec<Warning>,
    /// Whether something in the repository is damaged.
    pub(crate) is_damaged: bool,
    /// What could not be done, although the rest was.
    pub(crate) failure: Option<Failure>,
}

impl Done {
    /// Nothing but warnings.
    pub(crate) fn with(warnings: Vec<Warning>) -> Self {
        Self { warnings, ..Self::default() }
    }

    fn code(&self) -> u8 {
        if let Some(failure) = &self.failure {
            return failure.code();
        }
        match (self.is_damaged, self.warnings.is_empty()) {
            (true, _) => DAMAGE,
            (false, false) => WARNINGS,
            (false, true) => DONE,
        }
    }
}

/// Why a command did not come to its end.
pub(crate) enum Failure {
    /// The library's verb failed.
    Library(Error),
    /// There is no key to try.
    NoKey { what: String, cause: Option<io::Error> },
    /// Standard output cannot be written; a broken pipe is no error.
    Output(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Library(error)
    }
}

/// Makes the failure of a request that cannot be meant.
pub(crate) fn usage(what: impl Into<String>) -> Failure {
    Failure::Library(Error::Usage { what: what.into() })
}

/// Lets a verb's outcome decide the exit code, although nobody reads what it prints any more.
pub(crate) fn unless_unread(rendered: Result<(), Failure>) -> Result<(), Failure> {
    match rendered {
        Err(failure) if failure.is_quiet() => Ok(()),
        rendered => rendered,
    }
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Failure::Library(error) => code_of(error.kind()),
            Failure::NoKey { .. } => NO_KEY,
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => DONE,
            Failure::Output(_) => FAILED,
        }
    }

    fn is_quiet(&self) -> bool {
        matches!(self, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    fn message(&self) -> String {
        match self {
            Failure::Library(error) => error.to_string(),
            Failure::NoKey { what, .. } => what.clone(),
            Failure::Output(_) => "cannot write to standard output".to_owned(),
        }
    }

    fn causes(&self) -> Vec<String> {
        let mut next: Option<&dyn std::error::Error> = match self {
            Failure::Library(error) => std::error::Error::source(error),
            Failure::NoKey { cause, .. } => cause.as_ref().map(|cause| cause as _),
            Failure::Output(error) => Some(error),
        };
        let mut causes = Vec::new();
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        causes
    }

    /// What JSON says of it.
    pub(crate) fn problem(&self) -> Problem {
        let (kind, object) = match self {
            Failure::Library(error) => (error.kind(), error.object()),
            Failure::NoKey { .. } => (ErrorKind::WrongKey, None),
            Failure::Output(_) => (ErrorKind::Input, None),
        };
        let causes = self.causes();
        let message = std::iter::once(self.message()).chain(causes).collect::<Vec<_>>().join(": ");
        Problem { kind, message, object }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Failure::Library(Error::SnapshotName { .. }) => "`holdfast snapshots` lists what there is",
            Failure::Library(Error::PathNotFound { .. }) => "`holdfast ls SNAPSHOT` lists what it holds",
            Failure::Library(Error::StorageUri { .. }) => "a repository is a path, or a URI such as fs:///srv/backup",
            Failure::Library(Error::RepositoryExists { .. }) => "choose another place, or use what is there",
            Failure::Library(Error::Newer { .. }) => {
                "use a newer version of this program; this one changes nothing here"
            }
            Failure::Library(Error::InUse { .. }) => "end what has it open, or restore to another place",
            Failure::Library(Error::KeyFile { .. }) => "compare it with another copy, or with the recovery sheet",
            Failure::Library(error) => return hint_of(error.kind()),
            Failure::NoKey { .. } => {
                "give --key-file FILE, --password-file FILE or --password-command COMMAND, or set HOLDFAST_KEY_FILE, \
                 HOLDFAST_PASSWORD_FILE or HOLDFAST_PASSWORD"
            }
            Failure::Output(_) => return None,
        })
    }
}

fn hint_of(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::Usage => "`holdfast help COMMAND` says what a command takes",
        ErrorKind::Storage => "see whether the storage can be reached and has room; what was committed is safe",
        ErrorKind::Corrupt => {
            "`holdfast check` names all that is damaged, `holdfast repair index` mends what can be derived"
        }
        ErrorKind::RolledBack => {
            "find out who put the storage back, and compare `holdfast ledger head` with notes made earlier"
        }
        ErrorKind::WrongKey => "try another passphrase or key file, or the recovery sheet with --key-file",
        ErrorKind::NoRepository => "`holdfast init` makes a repository; see also whether -r names the right place",
        ErrorKind::Interrupted => "nothing half-done is visible; run it again",
        _ => return None,
    })
}

fn code_of(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Usage => USAGE,
        ErrorKind::Corrupt | ErrorKind::RolledBack => DAMAGE,
        ErrorKind::WrongKey => NO_KEY,
        ErrorKind::NoRepository => NO_REPOSITORY,
        ErrorKind::Refused => REFUSED,
        ErrorKind::Interrupted => INTERRUPTED,
        _ => FAILED,
    }
}

/// Ends the document, says what went wrong, and chooses the exit code.
pub(crate) fn conclude(mut output: Output, result: Result<Done, Failure>) -> ExitCode {
    let code = match &result {
        Ok(done) => done.code(),
        Err(failure) => output.failure_code().unwrap_or_else(|| failure.code()),
    };
    let (warnings, failure) = match &result {
        Ok(done) => (done.warnings.as_slice(), done.failure.as_ref()),
        Err(failure) => (&[][..], Some(failure)),
    };
    if let Some(failure) = failure.filter(|failure| !failure.is_quiet()) {
        explain(failure);
    }
    match output.finish(code, warnings, failure.map(Failure::problem).as_ref()) {
        Err(unwritten) if code == DONE && !unwritten.is_quiet() => {
            explain(&unwritten);
            ExitCode::from(FAILED)
        }
        _ => ExitCode::from(code),
    }
}

fn explain(failure: &Failure) {
    say(&format!("error: {}", lines(&failure.message())));
    for cause in failure.causes() {
        say(&format!("  because: {}", lines(&cause)));
    }
    if let Some(hint) = failure.hint() {
        say(&format!("hint: {hint}"));
    }
}

/// Keeps the lines of a text, and makes each of them printable.
fn lines(text: &str) -> String {
    text.trim_end().split('\n').map(|line| printable(line.as_bytes())).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_outranks_damage_and_damage_warnings() {
        let warning = Warning { kind: "unreadable", subject: b"/a".to_vec(), message: "no".to_owned() };
        let damaged = Done { is_damaged: true, ..Done::with(vec![warning.clone()]) };
        assert_eq!(damaged.code(), DAMAGE);
        let in_use = Failure::Library(Error::InUse { path: "/a".into() });
        assert_eq!(Done { failure: Some(in_use), ..damaged }.code(), FAILED);
        assert_eq!(Done::with(vec![warning]).code(), WARNINGS);
        assert_eq!(Done::default().code(), DONE);
    }

    #[test]
    fn a_broken_pipe_is_no_failure() {
        assert_eq!(Failure::Output(io::ErrorKind::BrokenPipe.into()).code(), DONE);
        assert_eq!(Failure::Output(io::ErrorKind::StorageFull.into()).code(), FAILED);
    }
}
