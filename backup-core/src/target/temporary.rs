//! Files that are written under another name first, and appear under their own when they are complete.

use std::fs::File;

use rustix::fs::AtFlags;

use super::directory::{Directory, check};
use crate::environment::Environment;
use crate::error::Result;

/// Bytes of the final name that stand in the temporary one: with all that is added it stays below the 255 of most file systems.
const NAME_BYTES_MAX: usize = 200;

/// A file without its final name. Dropped without one, it is gone.
pub(crate) struct Temporary {
    directory: Directory,
    /// Its present name; `None` once it has its final one.
    name: Option<Vec<u8>>,
    file: File,
}

impl Directory {
    /// Makes an empty file, for its owner alone, that is to become `name`.
    pub(crate) fn create_temporary(&self, name: &[u8]) -> Result<Temporary> {
        check(name)?;
        let number = u64::from_le_bytes(Environment::default().random());
        let mut hidden = b".".to_vec();
        hidden.extend_from_slice(&name[..name.len().min(NAME_BYTES_MAX)]);
        hidden.extend_from_slice(format!(".{number:016x}.holdfast-tmp").as_bytes());
        let file = self.open_new(&hidden).map_err(|error| self.failed("create", &hidden, error))?;
        Ok(Temporary { directory: self.clone(), name: Some(hidden), file })
    }
}

impl Temporary {
    /// The file, open for reading and writing.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Its present name.
    pub(crate) fn name(&self) -> &[u8] {
        self.name.as_deref().unwrap_or_default()
    }

    /// Makes its content durable.
    pub(crate) fn sync(&self) -> Result<()> {
        let failed = |name: &[u8], error| crate::Error::file("sync", self.directory.path_of(name))(error);
        self.file.sync_all().map_err(|error| failed(self.name(), error))
    }

    /// Closes the file, which somebody else looks after from now on.
    pub(crate) fn leave(mut self) -> Vec<u8> {
        self.name.take().unwrap_or_default()
    }

    /// Gives it its final name, in one step and in the place of what has it; only a directory is not replaced.
    pub(crate) fn persist(mut self, name: &[u8]) -> Result<()> {
        check(name)?;
        let Some(hidden) = &self.name else { return Ok(()) };
        rustix::fs::renameat(self.directory.fd(), hidden, self.directory.fd(), name)
            .map_err(|error| self.directory.failed("replace", name, error))?;
        self.name = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // Nothing better can be done about a failure here: the name tells what the file is.
            let _ = rustix::fs::unlinkat(self.directory.fd(), name, AtFlags::empty());
        }
    }
}
