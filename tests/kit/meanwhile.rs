//! A source during whose walk something else happens: so one backup runs in the middle of another, without threads and without waiting.

use std::sync::Mutex;

use backup_core::Result;
use backup_core::format::tree::Entry;
use backup_core::progress::Warning;
use backup_core::source::{Handle, Owner, Source, SourceKind, Visitor};

use super::model_source::ModelSource;

type Deed = Box<dyn FnOnce() + Send>;

/// A source that does something after a number of its files.
pub(crate) struct Meanwhile {
    source: ModelSource,
    after: u64,
    deed: Mutex<Option<Deed>>,
}

impl Meanwhile {
    /// Lets something happen once the walk has yielded so many files.
    pub(crate) fn new(source: ModelSource, after: u64, deed: impl FnOnce() + Send + 'static) -> Self {
        Self { source, after, deed: Mutex::new(Some(Box::new(deed))) }
    }
}

impl Source for Meanwhile {
    fn kind(&self) -> SourceKind {
        self.source.kind()
    }

    fn roots(&self) -> Vec<Vec<u8>> {
        self.source.roots()
    }

    fn walk(&self, visitor: &mut dyn Visitor) -> Result<()> {
        self.source.walk(&mut Counting { visitor, files: 0, of: self })
    }
}

struct Counting<'a> {
    visitor: &'a mut dyn Visitor,
    files: u64,
    of: &'a Meanwhile,
}

impl Visitor for Counting<'_> {
    fn root(&mut self, path: &[u8]) -> Result<()> {
        self.visitor.root(path)
    }

    fn enter(&mut self, entry: Entry, owner: Owner, handle: Box<dyn Handle>) -> Result<()> {
        self.visitor.enter(entry, owner, handle)
    }

    fn leave(&mut self, incomplete: bool) -> Result<()> {
        self.visitor.leave(incomplete)
    }

    fn file(&mut self, entry: Entry, owner: Owner, size_bytes: u64, handle: Box<dyn Handle>) -> Result<()> {
        self.visitor.file(entry, owner, size_bytes, handle)?;
        self.files += 1;
        let deed =
            self.of.deed.lock().expect("nothing panics while it holds this").take_if(|_| self.files >= self.of.after);
        deed.into_iter().for_each(|deed| deed());
        Ok(())
    }

    fn other(&mut self, entry: Entry, owner: Owner, handle: Box<dyn Handle>) -> Result<()> {
        self.visitor.other(entry, owner, handle)
    }

    fn warning(&mut self, warning: Warning) {
        self.visitor.warning(warning);
    }

    fn note(&mut self, note: Warning) {
        self.visitor.note(note);
    }
}
