//! A follower's place in a log: how it goes on, over resets too, and when it cannot.

use std::fs::File;
use std::io;

use super::log::{self, ChainEnd, INDEX_HEADER_BYTES, LogHeader, Position, Transaction};

/// How often a log is read again that began anew meanwhile.
const ATTEMPTS: u32 = 3;

/// Where in a log a follower is.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    header: LogHeader,
    /// In front of the last known transaction.
    base: Position,
    /// Behind it.
    end: Position,
    /// Its pages, and how many the database had after it.
    pub(super) last: Option<(Vec<u32>, u32)>,
}

impl Chain {
    /// Begins in front of the first frame; `None` if the log has no header that can be relied on.
    pub(super) fn begin(file: &File) -> io::Result<Option<Self>> {
        let chain = |header: LogHeader| {
            let base = header.beginning();
            Self { header, base, end: base, last: None }
        };
        Ok(LogHeader::read(file)?.map(chain))
    }

    /// Bytes of a page.
    pub(super) fn page_bytes(&self) -> u32 {
        self.header.page_bytes
    }

    /// Reads what came since, over a reset where nothing can be missed. Says whether nothing was; then the place is a new one.
    pub(super) fn read_on(&mut self, file: &File, found: &mut Vec<Transaction>) -> io::Result<bool> {
        for _ in 0..ATTEMPTS {
            let Some(header) = LogHeader::read(file)? else { continue };
            if header != self.header && !self.change_header(file, header, found)? {
                return Ok(false);
            }
            self.read_frames(file, found)?;
            let leads = self.base.frame == 0 || header.still_leads_to(file, &self.base)?;
            // A reset while frames were read may have hidden some.
            if LogHeader::read(file)? == Some(self.header) {
                return Ok(leads);
            }
        }
        Ok(false)
    }

    /// Goes over to a header that is not that of before, if nothing can be missed.
    fn change_header(&mut self, file: &File, header: LogHeader, found: &mut Vec<Transaction>) -> io::Result<bool> {
        // Before the first commit a header may be written again.
        let is_again = header.has_salts_of(&self.header) && self.base.frame == 0;
        let is_complete = is_again || (header.follows(&self.header) && self.read_rest(file, found)?);
        if is_complete {
            *self = Self { header, base: header.beginning(), end: header.beginning(), last: None };
        }
        Ok(is_complete)
    }

    /// Reads what the chain still had after its log began anew, if none of it can have been written over or cut off.
    fn read_rest(&mut self, file: &File, found: &mut Vec<Transaction>) -> io::Result<bool> {
        let base = self.base;
        let may_be_cut = match self.read_frames(file, found)? {
            ChainEnd::Slot => false,
            // With a limit of length SQLite cuts a log after a reset: at the limit, or behind the new frames, which then lie where the base was.
            ChainEnd::File { length, is_torn } => is_torn || length.is_multiple_of(512) || length.is_multiple_of(1000),
        };
        let was_longer = file.metadata()?.len() < self.header.offset(self.end.frame);
        // Slots are written in order: while the one before is as it was, none of those behind was touched.
        Ok(!may_be_cut && !was_longer && self.header.still_leads_to(file, &base)?)
    }

    /// Reads on from the last known transaction, which need not have been there before.
    fn read_frames(&mut self, file: &File, found: &mut Vec<Transaction>) -> io::Result<ChainEnd> {
        let (known, first) = (self.end, found.len());
        let chain_end = log::read(file, &self.header, self.base, &mut |transaction| {
            (self.base, self.end) = (transaction.begin, transaction.end);
            match transaction.end == known {
                true => found.truncate(first),
                false => found.push(transaction),
            }
        })?;
        if let Some(transaction) = found[first..].last() {
            self.last = Some((transaction.pages.clone(), transaction.database_pages));
        }
        Ok(chain_end)
    }

    /// Whether the index beside the log tells readers of the last known transaction.
    pub(super) fn is_shown(&self, index: &File) -> io::Result<bool> {
        let mut header = [0; INDEX_HEADER_BYTES];
        let length = log::read_up_to(index, &mut header, 0)?;
        Ok(length == header.len() && self.header.is_shown(&header, &self.end))
    }
}
