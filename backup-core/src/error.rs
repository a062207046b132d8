//! The one error type of the library, with a coarse kind that callers can act on.
//!
//! A message is one lower-case clause; the cause is the `source()`, never part of the text. Secrets never appear in either.

use std::path::PathBuf;

/// What can be done about an error, coarsely. The command line derives its exit codes from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is wrong: an unknown class, an ambiguous snapshot, an impossible option.
    Usage,
    /// The user's own files, target or command failed.
    Input,
    /// The storage failed after retries, or is full.
    Storage,
    /// An object is missing, altered, or not what its name says.
    Corrupt,
    /// The storage holds less than what was known to be committed.
    RolledBack,
    /// No key was given, or none fits.
    WrongKey,
    /// There is no repository, or it is of a newer format.
    NoRepository,
    /// Retention, a hold or a role forbids it.
    Refused,
    /// The caller cancelled.
    Interrupted,
}

/// Everything that can go wrong, with what it concerns.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A request cannot be meant: happens before anything was touched.
    #[error("{what}")]
    Usage {
        /// What is wrong with it.
        what: String,
    },
    /// No snapshot, or more than one, fits what was asked for.
    #[error("{matches} snapshots match {name}")]
    SnapshotName {
        /// What was asked for.
        name: String,
        /// How many match.
        matches: usize,
    },
    /// A path is not in the snapshot.
    #[error("no {path} in snapshot {snapshot}")]
    PathNotFound {
        /// The path, made printable.
        path: String,
        /// The snapshot's short id.
        snapshot: String,
    },
    /// A call on the user's own files failed.
    #[error("cannot {action} {path}", path = .path.display())]
    File {
        /// What was tried, as a verb: `read`, `create`.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A source or an external command failed as a whole.
    #[error("{what}")]
    Input {
        /// What failed.
        what: String,
    },
    /// A file of the user's is in use by somebody, and was left as it is.
    #[error("{path} was left as it is: somebody has it open", path = .path.display())]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// There is too little room for what is to be written.
    #[error("{path} has {available_bytes} bytes free, {needed_bytes} are needed", path = .path.display())]
    NoSpace {
        /// Where.
        path: PathBuf,
        /// What is needed.
        needed_bytes: u64,
        /// What there is.
        available_bytes: u64,
    },
    /// The storage failed, after `attempts` attempts.
    #[error("cannot {action} {object}{tried}", tried = tried(.attempts, .seconds))]
    Storage {
        /// What was tried, as a verb.
        action: &'static str,
        /// The object's name, or a prefix that was listed.
        object: String,
        /// How often it was tried.
        attempts: u32,
        /// For how many seconds.
        seconds: u64,
        /// The storage's answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A storage cannot be built from what was given.
    #[error("no storage at {uri}")]
    StorageUri {
        /// The URI, without secrets.
        uri: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An object that must be there is not.
    #[error("{object} is missing")]
    Missing {
        /// The object's name.
        object: String,
    },
    /// An object is not what it must be.
    #[error("{object} is damaged: {what}")]
    Damaged {
        /// The object's name, with a place inside where one is known.
        object: String,
        /// What does not hold.
        what: &'static str,
    },
    /// A chunk has no location that yields it.
    #[error("chunk {chunk} is lost")]
    ChunkLost {
        /// The chunk's full id.
        chunk: crate::id::ChunkId,
    },
    /// The storage no longer holds what this installation committed to it.
    #[error("{object}, which was committed from here, is gone: the storage was rolled back or altered")]
    RolledBack {
        /// The object's name.
        object: String,
    },
    /// Something is of a format that this program does not know.
    #[error("{object} needs a newer program: {what}")]
    Newer {
        /// The object's name.
        object: String,
        /// What is not known.
        what: &'static str,
    },
    /// There is no repository at the storage.
    #[error("no repository at {uri}")]
    NoRepository {
        /// The storage, without secrets.
        uri: String,
    },
    /// `init` found a repository.
    #[error("there is a repository at {uri} already")]
    RepositoryExists {
        /// The storage, without secrets.
        uri: String,
    },
    /// No key slot opens with the key given.
    #[error("wrong key: none of {slots} key slots opens with it")]
    WrongKey {
        /// How many slots there are.
        slots: usize,
    },
    /// A key file or recovery sheet cannot be parsed.
    #[error("not a key file: {what}")]
    KeyFile {
        /// What does not hold.
        what: &'static str,
    },
    /// A rule of the repository forbids the verb.
    #[error("refused: {what}")]
    Refused {
        /// Which rule.
        what: String,
    },
    /// The caller cancelled; nothing half-done is visible.
    #[error("interrupted")]
    Interrupted,
}

/// Says how often and how long something was tried, where it was more than once.
fn tried(attempts: &u32, seconds: &u64) -> String {
    match attempts {
        0 | 1 => String::new(),
        _ => format!(", tried {attempts} times in {seconds} s"),
    }
}

/// What this library's verbs return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns what can be done about it, coarsely.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Usage { .. }
            | Error::SnapshotName { .. }
            | Error::PathNotFound { .. }
            | Error::StorageUri { .. } => ErrorKind::Usage,
            Error::File { .. } | Error::Input { .. } | Error::InUse { .. } | Error::NoSpace { .. } => ErrorKind::Input,
            Error::Storage { .. } | Error::RepositoryExists { .. } => ErrorKind::Storage,
            Error::Missing { .. } | Error::Damaged { .. } | Error::ChunkLost { .. } => ErrorKind::Corrupt,
            Error::RolledBack { .. } => ErrorKind::RolledBack,
            Error::WrongKey { .. } | Error::KeyFile { .. } => ErrorKind::WrongKey,
            Error::NoRepository { .. } | Error::Newer { .. } => ErrorKind::NoRepository,
            Error::Refused { .. } => ErrorKind::Refused,
            Error::Interrupted => ErrorKind::Interrupted,
        }
    }

    /// Returns the object or path concerned, where there is one.
    pub fn object(&self) -> Option<String> {
        match self {
            Error::File { path, .. } | Error::InUse { path } | Error::NoSpace { path, .. } => {
                Some(path.to_string_lossy().into_owned())
            }
            Error::Storage { object, .. }
            | Error::Missing { object }
            | Error::Damaged { object, .. }
            | Error::RolledBack { object }
            | Error::Newer { object, .. } => Some(object.clone()),
            Error::StorageUri { uri, .. } | Error::NoRepository { uri } | Error::RepositoryExists { uri } => {
                Some(uri.clone())
            }
            Error::ChunkLost { chunk } => Some(chunk.to_string()),
            Error::PathNotFound { path, .. } => Some(path.clone()),
            _ => None,
        }
    }

    /// Whether the repository itself is damaged in the part concerned, so that a verb may go on with the rest.
    pub fn is_damage(&self) -> bool {
        self.kind() == ErrorKind::Corrupt
    }

    /// Makes the error of a failed call on the user's own files, for `map_err`.
    pub fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { action, path, source }
    }

    /// Makes the error of an object that is not what it must be.
    pub fn damaged(object: impl Into<String>, what: &'static str) -> Error {
        Error::Damaged { object: object.into(), what }
    }
}

/// Lets damage, and what only a newer program understands, pass as `None`; other errors go on.
pub(crate) fn unless_damage<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_damage() || matches!(error, Error::Newer { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
