//! What an installation remembers of its writers: keys, and the last own entry of each. Local, private, not a cache.
//!
//! One file for each writer *slot*, `writer-<n>`, below a directory for each repository. A process takes the first free slot by a lock that it does not wait for, so two processes never extend
//! one chain. The file is replaced atomically, and holds the bytes of the next entry before they are sent: after a crash the same bytes are sent again, so no chain ever forks.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::codec::{self, Decode, Encode};
use crate::crypto::{Secret, SigningKey, Zeroize, Zeroizing, hash};
use crate::error::{Error, Result};
use crate::id::{EntryId, RepositoryId, WriterId};

const SLOTS_MAX: u32 = 1024;
const STATE_VERSION: u16 = 1;

/// A committed object of the own chain.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct LastEntry {
    pub(crate) sequence: u64,
    pub(crate) id: EntryId,
    /// The object that holds it, by which it is asked for.
    pub(crate) object: String,
}

/// An object that was signed and must be committed before anything else of the chain is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct PendingObject {
    pub(crate) last: LastEntry,
    pub(crate) bytes: Vec<u8>,
    pub(crate) closes: bool,
}

#[derive(Encode, Decode)]
struct Body {
    version: u16,
    repository: RepositoryId,
    writer: WriterId,
    seed: [u8; 32],
    last: Option<LastEntry>,
    pending: Option<PendingObject>,
}

impl Drop for Body {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

/// A writer of this installation, with its place on disk if it has one.
pub(crate) struct WriterState {
    slot: Option<Slot>,
    body: Body,
}

struct Slot {
    path: PathBuf,
    _lock: File,
}

impl WriterState {
    /// Makes a writer that nothing remembers.
    pub(crate) fn ephemeral(repository: RepositoryId, writer: WriterId, seed: Secret) -> Self {
        let body = Body { version: STATE_VERSION, repository, writer, seed: *seed.expose(), last: None, pending: None };
        Self { slot: None, body }
    }

    /// Takes the first free slot below `directory`. Where it holds no usable writer, `fresh` makes one.
    pub(crate) fn acquire(
        directory: &Path,
        repository: RepositoryId,
        fresh: impl FnOnce() -> (WriterId, Secret),
    ) -> Result<Self> {
        let directory = directory.join(repository.to_string());
        create_private(&directory)?;
        for number in 0..SLOTS_MAX {
            let path = directory.join(format!("writer-{number}"));
            let lock_path = path.with_extension("lock");
            let lock = private_file(&lock_path).map_err(Error::file("create", &lock_path))?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => continue,
                Err(fs::TryLockError::Error(error)) => return Err(Error::file("lock", &lock_path)(error)),
            }
            let slot = Slot { path, _lock: lock };
            return Ok(match read(&slot.path, repository)? {
                Some(body) => Self { slot: Some(slot), body },
                None => {
                    let (writer, seed) = fresh();
                    let state = Self::ephemeral(repository, writer, seed);
                    Self { slot: Some(slot), ..state }
                }
            });
        }
        Err(Error::Usage { what: format!("all {SLOTS_MAX} writers of this installation are busy") })
    }

    /// Replaces the writer in this slot by a fresh one.
    pub(crate) fn renew(&mut self, writer: WriterId, seed: Secret) {
        self.body = Self::ephemeral(self.body.repository, writer, seed).body;
    }

    /// Whether a later process can go on with this chain.
    pub(crate) fn is_lasting(&self) -> bool {
        self.slot.is_some()
    }

    pub(crate) fn writer(&self) -> WriterId {
        self.body.writer
    }

    pub(crate) fn signing_key(&self) -> SigningKey {
        SigningKey::from_seed(&Secret::new(self.body.seed))
    }

    pub(crate) fn last(&self) -> Option<&LastEntry> {
        self.body.last.as_ref()
    }

    pub(crate) fn pending(&self) -> Option<&PendingObject> {
        self.body.pending.as_ref()
    }

    /// Remembers what is about to be sent.
    pub(crate) fn set_pending(&mut self, pending: PendingObject) -> Result<()> {
        self.body.pending = Some(pending);
        self.save()
    }

    /// Remembers that it arrived.
    pub(crate) fn complete(&mut self) -> Result<()> {
        if let Some(pending) = self.body.pending.take() {
            self.body.last = Some(pending.last);
        }
        self.save()
    }

    fn save(&self) -> Result<()> {
        let Some(slot) = &self.slot else { return Ok(()) };
        let body = Zeroizing::new(codec::encode(&self.body));
        let temporary = slot.path.with_extension("new");
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(&hash(&body))?;
            file.write_all(&body)?;
            file.sync_all()?;
            fs::rename(&temporary, &slot.path)?;
            match slot.path.parent() {
                Some(parent) => File::open(parent)?.sync_all(),
                None => Ok(()),
            }
        };
        write().map_err(Error::file("write", &slot.path))
    }
}

/// Reads a state file. One that is torn, or of another repository, counts as lost: a new writer is enrolled.
fn read(path: &Path, repository: RepositoryId) -> Result<Option<Body>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file("read", path)(error)),
    };
    let Some((checksum, body)) = bytes.split_at_checked(32) else { return Ok(None) };
    if hash(body) != checksum {
        return Ok(None);
    }
    let body: Option<Body> = codec::decode(body).ok();
    Ok(body.filter(|body| body.version == STATE_VERSION && body.repository == repository))
}

fn private_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn create_private(directory: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory).map_err(Error::file("create", directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acquire(directory: &Path, id: u8) -> WriterState {
        WriterState::acquire(directory, RepositoryId([9; 32]), || (WriterId([id; 16]), Secret::new([id; 32]))).unwrap()
    }

    fn pending(sequence: u64) -> PendingObject {
        let last = LastEntry { sequence, id: EntryId([1; 32]), object: "ledger/x".into() };
        PendingObject { last, bytes: vec![1, 2, 3], closes: false }
    }

    #[test]
    fn a_second_process_takes_a_second_slot_and_a_later_one_the_first_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut first = acquire(directory.path(), 1);
        let second = acquire(directory.path(), 2);
        assert_ne!(first.writer(), second.writer());
        first.set_pending(pending(0)).unwrap();
        first.complete().unwrap();
        drop(first);
        let again = acquire(directory.path(), 3);
        assert_eq!((again.writer(), again.last().map(|last| last.sequence)), (WriterId([1; 16]), Some(0)));
    }

    #[test]
    fn what_was_signed_is_remembered_until_it_arrived() {
        let directory = tempfile::tempdir().unwrap();
        acquire(directory.path(), 1).set_pending(pending(4)).unwrap();
        assert_eq!(acquire(directory.path(), 2).pending(), Some(&pending(4)));
    }

    #[test]
    fn a_torn_state_counts_as_lost() {
        let directory = tempfile::tempdir().unwrap();
        acquire(directory.path(), 1).set_pending(pending(0)).unwrap();
        let path = directory.path().join(RepositoryId([9; 32]).to_string()).join("writer-0");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(acquire(directory.path(), 2).writer(), WriterId([2; 16]));
    }
}
