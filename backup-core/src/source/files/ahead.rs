//! Walks on a thread of its own: while a visitor deals with what was found, the next directories are listed and looked at.
//!
//! What was found comes in batches, so that handing it over costs next to nothing for each entry. How far the walk may be ahead is bounded by entries, and by directories, each of which is a
//! descriptor as long as somebody holds a place in it.

use std::panic::resume_unwind;
use std::sync::mpsc::{SyncSender, sync_channel};

use crate::error::{Error, Result};
use crate::format::tree::Entry;
use crate::progress::Warning;
use crate::source::{Handle, Owner, Visitor};

/// Batches that wait for the visitor.
const BATCHES_MAX: usize = 8;
/// Steps, and directories among them, of one batch.
const BATCH_STEPS: usize = 128;
const BATCH_DIRECTORIES: usize = 12;

/// One call of a visitor.
enum Step {
    Root(Vec<u8>),
    Enter(Entry, Owner, Box<dyn Handle>),
    Leave(bool),
    File(Entry, Owner, u64, Box<dyn Handle>),
    Other(Entry, Owner, Box<dyn Handle>),
    Warning(Warning),
    Note(Warning),
}

impl Step {
    fn tell(self, visitor: &mut dyn Visitor) -> Result<()> {
        match self {
            Step::Root(path) => visitor.root(&path),
            Step::Enter(entry, owner, handle) => visitor.enter(entry, owner, handle),
            Step::Leave(incomplete) => visitor.leave(incomplete),
            Step::File(entry, owner, size_bytes, handle) => visitor.file(entry, owner, size_bytes, handle),
            Step::Other(entry, owner, handle) => visitor.other(entry, owner, handle),
            Step::Warning(warning) => {
                visitor.warning(warning);
                Ok(())
            }
            Step::Note(note) => {
                visitor.note(note);
                Ok(())
            }
        }
    }
}

/// Lets a walk run ahead of the visitor, who is called on this thread, in the walk's order.
///
/// # Errors
/// The visitor's, which ends the walk; or else the walk's.
pub(super) fn run(visitor: &mut dyn Visitor, walk: impl FnOnce(&mut dyn Visitor) -> Result<()> + Send) -> Result<()> {
    let (sender, receiver) = sync_channel::<Vec<Step>>(BATCHES_MAX);
    std::thread::scope(|scope| {
        let walker = scope.spawn(move || {
            let mut ahead = Ahead { sender, steps: Vec::new(), directories: 0 };
            let walked = walk(&mut ahead);
            // What was found before an error counts as well.
            ahead.send().and(walked)
        });
        let visited = receiver.into_iter().flatten().try_for_each(|step| step.tell(visitor));
        let walked = walker.join().unwrap_or_else(|panic| resume_unwind(panic));
        visited.and(walked)
    })
}

/// Gathers what a walk finds.
struct Ahead {
    sender: SyncSender<Vec<Step>>,
    steps: Vec<Step>,
    directories: usize,
}

impl Ahead {
    fn add(&mut self, step: Step) -> Result<()> {
        self.directories += usize::from(matches!(step, Step::Enter(..)));
        if self.steps.capacity() == 0 {
            self.steps.reserve_exact(BATCH_STEPS);
        }
        self.steps.push(step);
        if self.steps.len() >= BATCH_STEPS || self.directories >= BATCH_DIRECTORIES {
            return self.send();
        }
        Ok(())
    }

    /// Hands over what was gathered. If the visitor has failed, nobody wants to hear more.
    fn send(&mut self) -> Result<()> {
        self.directories = 0;
        self.sender.send(std::mem::take(&mut self.steps)).map_err(|_| Error::Interrupted)
    }
}

impl Visitor for Ahead {
    fn root(&mut self, path: &[u8]) -> Result<()> {
        self.add(Step::Root(path.to_vec()))
    }

    fn enter(&mut self, entry: Entry, owner: Owner, handle: Box<dyn Handle>) -> Result<()> {
        self.add(Step::Enter(entry, owner, handle))
    }

    fn leave(&mut self, incomplete: bool) -> Result<()> {
        self.add(Step::Leave(incomplete))
    }

    fn file(&mut self, entry: Entry, owner: Owner, size_bytes: u64, handle: Box<dyn Handle>) -> Result<()> {
        self.add(Step::File(entry, owner, size_bytes, handle))
    }

    fn other(&mut self, entry: Entry, owner: Owner, handle: Box<dyn Handle>) -> Result<()> {
        self.add(Step::Other(entry, owner, handle))
    }

    fn warning(&mut self, warning: Warning) {
        // Where nobody hears it any more, the next step says so.
        let _ = self.add(Step::Warning(warning));
    }

    fn note(&mut self, note: Warning) {
        let _ = self.add(Step::Note(note));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts what it hears, and fails at a number.
    struct Counter {
        heard: u64,
        fails_at: u64,
    }

    impl Counter {
        fn count(&mut self) -> Result<()> {
            self.heard += 1;
            if self.heard == self.fails_at { Err(Error::Usage { what: "enough".to_owned() }) } else { Ok(()) }
        }
    }

    impl Visitor for Counter {
        fn root(&mut self, path: &[u8]) -> Result<()> {
            assert_eq!(path, self.heard.to_string().as_bytes(), "in order");
            self.count()
        }

        fn enter(&mut self, _: Entry, _: Owner, _: Box<dyn Handle>) -> Result<()> {
            self.count()
        }

        fn leave(&mut self, _: bool) -> Result<()> {
            self.count()
        }

        fn file(&mut self, _: Entry, _: Owner, _: u64, _: Box<dyn Handle>) -> Result<()> {
            self.count()
        }

        fn other(&mut self, _: Entry, _: Owner, _: Box<dyn Handle>) -> Result<()> {
            self.count()
        }

        fn warning(&mut self, _: Warning) {}

        fn note(&mut self, _: Warning) {}
    }

    fn walk(steps: u64, fails_at: u64) -> (u64, u64, Result<()>) {
        let (mut counter, mut walked) = (Counter { heard: 0, fails_at }, 0);
        let outcome = run(&mut counter, |visitor| {
            (0..steps).try_for_each(|number| {
                walked = number + 1;
                visitor.root(number.to_string().as_bytes())
            })?;
            Err(Error::Input { what: "the end".to_owned() })
        });
        (counter.heard, walked, outcome)
    }

    #[test]
    fn everything_is_heard_in_order_before_the_error_that_ends_a_walk() {
        for steps in [0, 1, 1000, 100_000] {
            let (heard, _, outcome) = walk(steps, u64::MAX);
            assert!(heard == steps && matches!(outcome, Err(Error::Input { .. })), "{heard} of {steps}: {outcome:?}");
        }
    }

    #[test]
    fn a_visitor_that_fails_ends_the_walk_soon() {
        let (heard, walked, outcome) = walk(1_000_000, 300);
        assert!(matches!(outcome, Err(Error::Usage { .. })), "{outcome:?}");
        let ahead_max = ((BATCHES_MAX + 3) * BATCH_STEPS) as u64;
        assert!(heard == 300 && walked <= heard + ahead_max, "{walked} steps were walked");
    }
}
