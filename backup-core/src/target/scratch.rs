//! A directory for its owner alone, below the system's directory for temporary files, that goes when it is dropped.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::error::{Error, Result};

/// The directory.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes it, empty, with mode 0700.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn create() -> Result<Self> {
        let number = u64::from_le_bytes(Environment::default().random());
        let path = std::env::temp_dir().join(format!("holdfast-{number:016x}"));
        // It must be new: somebody may have made one of this name, to see what is put there.
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(Error::file("create", &path))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing better can be done about a failure here: the name tells what it is.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn nobody_else_may_look_and_nothing_stays() {
        let scratch = Scratch::create().unwrap();
        let path = scratch.path().to_owned();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
        std::fs::write(path.join("a"), "a").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }
}
