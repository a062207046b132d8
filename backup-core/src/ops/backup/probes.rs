//! Probes of a backup: which are asked for, what the source answers, and how the answers are kept.
//!
//! Whoever reads a database answers in the transaction that its pages are read in. The invariant: every request has an answer in the end, if only that nobody could give one.

use super::Run;
use crate::error::Result;
use crate::format::constants::ROW_VERSION;
use crate::format::probes::{self, ProbeResult, Probes};
use crate::format::record::{self, Extension};
use crate::limits::PROBES_MAX;
use crate::repository::load::Loader;
use crate::source::sqlite::probe::ProbeRequest;

/// The requests of a backup, and the answers so far.
#[derive(Debug, Default)]
pub(super) struct Probing {
    requests: Vec<ProbeRequest>,
    /// What the parent recorded.
    before: Vec<ProbeResult>,
    results: Vec<ProbeResult>,
}

impl Probing {
    pub(super) fn new(requests: Vec<ProbeRequest>, before: Vec<ProbeResult>) -> Self {
        Self { requests, before, results: Vec::new() }
    }

    /// Whether anything is asked about the database at a path, which is told only if anything is asked at all.
    pub(super) fn asks(&self, path: impl FnOnce() -> Vec<u8>) -> bool {
        if self.requests.is_empty() {
            return false;
        }
        let path = path();
        self.requests.iter().any(|request| request.database == path)
    }

    /// What is asked about the database at a path.
    pub(super) fn requests(&self, path: &[u8]) -> Vec<ProbeRequest> {
        self.requests.iter().filter(|request| request.database == path).cloned().collect()
    }

    /// Takes the parent's answers over for a database whose content is the parent's. Says whether that was possible for all that is asked about it; if not, it must be read.
    pub(super) fn take_over(&mut self, path: &[u8]) -> bool {
        let answers =
            |request: &ProbeRequest| self.before.iter().find(|result| request.is_answered_by(result)).cloned();
        let Some(mut results) = self.requests(path).iter().map(answers).collect::<Option<Vec<_>>>() else {
            return false;
        };
        self.results.append(&mut results);
        true
    }

    /// Takes what a source answered.
    pub(super) fn add(&mut self, results: Vec<ProbeResult>) {
        self.results.extend(results);
    }

    /// All answers, those included that nobody gave.
    pub(super) fn finish(mut self) -> Vec<ProbeResult> {
        for request in &self.requests {
            if !self.results.iter().any(|result| result.path == request.database) {
                self.results.push(ProbeResult {
                    path: request.database.clone(),
                    failure: Some("no database was read there".to_owned()),
                    integrity: request.integrity.number(),
                    ..ProbeResult::default()
                });
            }
        }
        self.results.truncate(PROBES_MAX as usize);
        self.results
    }
}

impl Run<'_> {
    /// Saves the answers as a node, and returns what the manifest says of it: nothing where nothing was asked.
    pub(super) fn save_probes(&mut self, results: &[ProbeResult]) -> Result<Vec<Extension>> {
        if results.is_empty() {
            return Ok(Vec::new());
        }
        let body = Probes { row_version: ROW_VERSION, rows: results.to_vec() };
        let loader = Loader::new(self.repository)?;
        let node = self.saver.save_node(&loader, record::encode(&body), || Ok(None))?;
        Ok(vec![probes::to_extension(node)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::constants::TABLE_READ;
    use crate::format::probes::TableResult;

    fn request(list: &str) -> ProbeRequest {
        ProbeRequest::parse(list.as_bytes(), b"/").unwrap()
    }

    fn result(path: &str, table: &str) -> ProbeResult {
        let table =
            TableResult { name: table.to_owned(), state: TABLE_READ, rows: 1, digest: None, message: String::new() };
        ProbeResult { path: path.as_bytes().to_vec(), tables: vec![table], ..ProbeResult::default() }
    }

    #[test]
    fn what_nobody_answers_is_a_failure() {
        let mut probing = Probing::new(vec![request("/a.db:t"), request("/b.db:t")], Vec::new());
        probing.add(vec![result("/a.db", "t")]);
        let results = probing.finish();
        assert_eq!(results.len(), 2);
        assert_eq!((results[0].failure.is_none(), results[1].failure.is_some()), (true, true));
    }

    #[test]
    fn the_parent_answers_only_what_it_was_asked() {
        let requests = vec![request("/a.db:t"), request("/b.db:t=digest"), request("/c.db:t,u")];
        let before = vec![result("/a.db", "t"), result("/b.db", "t"), result("/c.db", "t")];
        let mut probing = Probing::new(requests, before);
        assert!(probing.take_over(b"/a.db"));
        assert!(!probing.take_over(b"/b.db") && !probing.take_over(b"/c.db"));
        assert!(probing.take_over(b"/nothing is asked about it.db"));
        assert_eq!(probing.finish()[0], result("/a.db", "t"));
    }
}
