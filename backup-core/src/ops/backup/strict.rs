//! Holds a source to the errors that it was told: what went wrong on the way was not stored, so no snapshot may come of the walk, whatever the source makes of it.

use crate::error::{Error, Result};
use crate::format::tree::Entry;
use crate::progress::Warning;
use crate::source::{Handle, Owner, Visitor};

/// Passes everything on until something fails.
pub(super) struct Strict<'v> {
    visitor: &'v mut dyn Visitor,
    failed: bool,
}

impl<'v> Strict<'v> {
    pub(super) fn new(visitor: &'v mut dyn Visitor) -> Self {
        Self { visitor, failed: false }
    }

    fn pass(&mut self, visit: impl FnOnce(&mut dyn Visitor) -> Result<()>) -> Result<()> {
        self.finish()?;
        let result = visit(self.visitor);
        self.failed = result.is_err();
        result
    }

    /// Fails if something did.
    pub(super) fn finish(&self) -> Result<()> {
        match self.failed {
            true => Err(Error::Usage { what: "the source went on after an error".to_owned() }),
            false => Ok(()),
        }
    }
}

impl Visitor for Strict<'_> {
    fn root(&mut self, path: &[u8]) -> Result<()> {
        self.pass(|visitor| visitor.root(path))
    }

    fn enter(&mut self, entry: Entry, owner: Owner, handle: Box<dyn Handle>) -> Result<()> {
        self.pass(|visitor| visitor.enter(entry, owner, handle))
    }

    fn leave(&mut self, incomplete: bool) -> Result<()> {
        self.pass(|visitor| visitor.leave(incomplete))
    }

    fn file(&mut self, entry: Entry, owner: Owner, size_bytes: u64, handle: Box<dyn Handle>) -> Result<()> {
        self.pass(|visitor| visitor.file(entry, owner, size_bytes, handle))
    }

    fn other(&mut self, entry: Entry, owner: Owner, handle: Box<dyn Handle>) -> Result<()> {
        self.pass(|visitor| visitor.other(entry, owner, handle))
    }

    fn warning(&mut self, warning: Warning) {
        self.visitor.warning(warning);
    }

    fn note(&mut self, note: Warning) {
        self.visitor.note(note);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails at the second root, and counts what reaches it.
    struct Failing(usize);

    impl Visitor for Failing {
        fn root(&mut self, _: &[u8]) -> Result<()> {
            self.0 += 1;
            if self.0 == 2 { Err(Error::Interrupted) } else { Ok(()) }
        }
        fn enter(&mut self, _: Entry, _: Owner, _: Box<dyn Handle>) -> Result<()> {
            self.leave(false)
        }
        fn leave(&mut self, _: bool) -> Result<()> {
            self.0 += 1;
            Ok(())
        }
        fn file(&mut self, _: Entry, _: Owner, _: u64, _: Box<dyn Handle>) -> Result<()> {
            self.leave(false)
        }
        fn other(&mut self, _: Entry, _: Owner, _: Box<dyn Handle>) -> Result<()> {
            self.leave(false)
        }
        fn warning(&mut self, _: Warning) {}
        fn note(&mut self, _: Warning) {}
    }

    #[test]
    fn nothing_is_taken_after_an_error_and_the_walk_fails() {
        let mut visitor = Failing(0);
        let mut strict = Strict::new(&mut visitor);
        assert!(strict.root(b"/one").is_ok() && strict.finish().is_ok());
        assert!(matches!(strict.root(b"/two"), Err(Error::Interrupted)));
        assert!(matches!(strict.leave(false), Err(Error::Usage { .. })));
        assert!(matches!(strict.finish(), Err(Error::Usage { .. })));
        assert_eq!(visitor.0, 2);
    }
}
