//! A directory for its owner alone, below the system's directory for temporary files, that goes when it is dropped.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::{Error, Result};

/// The directory.
#[derive(Debug)]
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    /// Makes it, empty, with mode 0700.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn create() -> Result<Self> {
        let alone = Permissions::from_mode(0o700);
        let made = tempfile::Builder::new().prefix("holdfast-").permissions(alone).tempdir();
        made.map(Self).map_err(Error::file("create a directory in", std::env::temp_dir()))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

#[cfg(test)]
mod tests {
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
