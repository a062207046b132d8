//! Gathering: many small objects of one chain, repeated verbatim in a larger one, so that whoever reads the ledger for the first time needs few requests.
//!
//! The small objects stay: version 1 deletes nothing. Readers know them by their hashes for repeated, and pass over them. A chain of n entries is read with about
//! `GATHERED_MIN` objects for each factor of `GATHERED_MIN` in n.

use crate::crypto::hash;
use crate::error::{Error, Result};
use crate::id::{EntryId, WriterId};
use crate::ledger::fetch::{Fetched, ObjectKey, REPEATING_BYTES_MIN};
use crate::ledger::read::Ledger;
use crate::limits::LEDGER_OBJECT_BYTES_MAX;
use crate::storage::Storage;

/// So many objects are gathered into one.
pub(crate) const GATHERED_MIN: usize = 16;
/// An object that holds so many entries is gathered no more.
const ENTRIES_MAX: u64 = 4096;
/// About the most bytes of an object that gathers others.
const BYTES_MAX: usize = 16 << 20;

/// An object of a chain, and the entries that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    key: ObjectKey,
    entries: u64,
}

impl Span {
    fn end(&self) -> u64 {
        self.key.first + self.entries
    }
}

/// Gathers objects of a chain, if there are enough of them. Returns the new object.
///
/// # Errors
/// [`Error::Storage`], damage. The chain is as good as before.
pub(crate) fn gather(storage: &Storage, ledger: &Ledger, writer: WriterId) -> Result<Option<Fetched>> {
    let spans = ledger.objects_of(writer).map(|(key, entries)| Span { key, entries });
    let Some(chosen) = choose(spans.collect()) else { return Ok(None) };
    let mut bytes = Vec::new();
    for (number, span) in chosen.iter().enumerate() {
        if number >= GATHERED_MIN && bytes.len() >= BYTES_MAX {
            break;
        }
        let name = span.key.name();
        let mut object = storage.read_cached(&name, LEDGER_OBJECT_BYTES_MAX)?;
        if hash(&object) != span.key.hash.0 {
            storage.forget_cached(&name, None);
            object = storage.read(&name, LEDGER_OBJECT_BYTES_MAX)?;
            if hash(&object) != span.key.hash.0 {
                return Err(Error::damaged(name, "its bytes do not hash to its name"));
            }
        }
        bytes.extend_from_slice(&object);
    }
    let is_large = (REPEATING_BYTES_MIN..=LEDGER_OBJECT_BYTES_MAX).contains(&(bytes.len() as u64));
    let Some(first) = chosen.first().filter(|_| is_large) else { return Ok(None) };
    let key = ObjectKey { writer, first: first.key.first, hash: EntryId(hash(&bytes)) };
    let gathered = Fetched::written(key, &bytes)?;
    storage.write(&key.name(), bytes)?;
    Ok(Some(gathered))
}

/// Of the objects that cover the chain with the fewest, the last ones of one size that follow one another: single commits first, then what was gathered before.
fn choose(mut spans: Vec<Span>) -> Option<Vec<Span>> {
    spans.retain(|span| span.entries > 0);
    // Of those that begin at one place the longest comes first.
    spans.sort_by_key(|span| (span.key.first, std::cmp::Reverse(span.entries), span.key.hash));
    let mut cover: Vec<Span> = Vec::new();
    for span in spans {
        if cover.last().is_none_or(|last| span.key.first >= last.end()) {
            cover.push(span);
        }
    }
    let mut least = 0;
    let mut bound = GATHERED_MIN as u64;
    while bound <= ENTRIES_MAX {
        let mut run: Vec<Span> = Vec::new();
        for span in cover.iter().rev() {
            let follows = run.last().is_none_or(|next| span.end() == next.key.first);
            match (least..bound).contains(&span.entries) {
                true if follows => run.push(*span),
                // Smaller ones at the end wait for their own turn.
                false if run.is_empty() => {}
                _ => break,
            }
        }
        if run.len() >= GATHERED_MIN {
            run.reverse();
            return Some(run);
        }
        (least, bound) = (bound, bound * GATHERED_MIN as u64);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: u64, entries: u64) -> Span {
        let key = ObjectKey { writer: WriterId([1; 16]), first, hash: EntryId([entries as u8; 32]) };
        Span { key, entries }
    }

    fn singles(range: std::ops::Range<u64>) -> Vec<Span> {
        range.map(|first| span(first, 1)).collect()
    }

    #[test]
    fn few_objects_are_left_alone_and_enough_of_them_are_gathered_in_order() {
        assert_eq!(choose(singles(0..15)), None);
        let chosen = choose(singles(0..16)).unwrap();
        assert_eq!(chosen, singles(0..16));
    }

    #[test]
    fn what_was_gathered_counts_once_and_is_gathered_again_when_there_is_much_of_it() {
        let mut spans = singles(0..20);
        spans.push(span(0, 16));
        assert_eq!(choose(spans), None);
        let mut spans: Vec<Span> = (0..16).map(|number| span(number * 16, 16)).collect();
        spans.extend(singles(0..260));
        let chosen = choose(spans).unwrap();
        assert_eq!((chosen.len(), chosen[0].entries, chosen[15].end()), (16, 16, 256));
    }

    #[test]
    fn a_gap_is_not_bridged() {
        let mut spans = singles(0..10);
        spans.extend(singles(11..25));
        assert_eq!(choose(spans), None);
    }
}
