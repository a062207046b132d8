//! `ledger verify`: that nothing was altered, dropped, reordered or rolled back. Most of it needs no key.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::Result;
use crate::format::name::{Area, ObjectName};
use crate::id::{EntryId, PackId};
use crate::keyring::Key;
use crate::ledger::read::{self, Head, Ledger, Problem, Rights};
use crate::pipeline::Workers;
use crate::repository::open::read_repository;
use crate::repository::{Repository, RepositoryOptions};
use crate::storage::Storage;

/// What a verification found.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct LedgerReport {
    /// Entries that verified.
    pub entries: u64,
    /// Writers that have a chain.
    pub writers: u64,
    /// Packs that entries name.
    pub packs: u64,
    /// Whether bodies were opened with a key, and the admin's key was pinned by it.
    pub with_key: bool,
    /// What does not hold.
    pub problems: Vec<Problem>,
    /// Places where copies of one installation wrote two entries: both count, and nothing is lost.
    pub forks: Vec<Problem>,
    /// The newest entry of every chain.
    pub heads: Vec<Head>,
}

/// Verifies the ledger: names, signatures, chains, parents, that the packs are there with their lengths; with a key also what entries say; and that
/// history reaches all `noted` heads, so that it was only extended since they were noted.
///
/// Without a key the admin's public key is taken from the repository object, so whoever replaced the whole repository goes unnoticed; a noted head notices it.
///
/// # Errors
/// As for [`Repository::open`]. What does not verify is no error: it is in the report.
pub fn verify_ledger(
    storage: &Storage,
    key: Option<&Key>,
    noted: &[Head],
    options: RepositoryOptions,
) -> Result<LedgerReport> {
    // What this machine verified before proves nothing here.
    let options = RepositoryOptions { cache: None, ..options };
    let opened = key.map(|key| Repository::open(storage.clone(), key, options.clone())).transpose()?;
    let mut report = LedgerReport { with_key: opened.is_some(), ..LedgerReport::default() };
    match &opened {
        Some(repository) => {
            report.problems.extend(repository.problems().cloned());
            report.examine(&repository.ledger, storage, noted)?;
        }
        None => {
            let body = read_repository(storage)?;
            let workers = Arc::new(Workers::new(options.threads));
            let rights = Rights { admin_key: &body.admin_key, keyring: None };
            let ledger = read::load(storage, &workers, body.repository, rights)?;
            report.problems.extend(ledger.problems.iter().cloned());
            report.examine(&ledger, storage, noted)?;
        }
    }
    Ok(report)
}

impl LedgerReport {
    fn examine(&mut self, ledger: &Ledger, storage: &Storage, noted: &[Head]) -> Result<()> {
        self.entries = ledger.entries.len() as u64;
        self.writers = ledger.heads.len() as u64;
        self.heads = ledger.tips();
        self.forks.extend(ledger.forks.iter().cloned());
        self.examine_packs(ledger, storage)?;
        let known: HashMap<EntryId, (crate::id::WriterId, u64)> =
            ledger.entries.iter().map(|entry| (entry.id, (entry.writer, entry.header.sequence))).collect();
        for head in noted {
            let what = match known.get(&head.entry_id) {
                Some(found) if *found == (head.writer, head.sequence) => continue,
                Some(_) => "the noted entry is another's",
                None => "the noted entry is gone: history was rolled back or altered",
            };
            let object = format!("ledger entry {} of writer {}", head.sequence, head.writer);
            self.problems.push(Problem { object, what: what.to_owned() });
        }
        Ok(())
    }

    /// Every pack that an entry adds must be there with its length.
    fn examine_packs(&mut self, ledger: &Ledger, storage: &Storage) -> Result<()> {
        let mut lengths: HashMap<(Area, PackId), u64> = HashMap::new();
        for area in ["packs/", "meta/"] {
            for info in storage.list(area)? {
                if let Some(ObjectName::Pack(area, _, pack)) = ObjectName::parse(&info.name) {
                    lengths.insert((area, pack), info.length_bytes);
                }
            }
        }
        // `packs_deleted` counts only under a kind of body that this version does not know.
        let counting = ledger.entries.iter().filter(|entry| !ledger.refused.contains(&entry.id));
        for header in counting.map(|entry| &entry.header) {
            for pack in &header.packs_added {
                self.packs += 1;
                let (Some(area), Some(domain)) = (Area::from_number(pack.area), header.domain(pack.domain)) else {
                    continue;
                };
                let what = match lengths.get(&(area, pack.pack)) {
                    Some(length) if *length == pack.length => continue,
                    Some(_) => "its length is not what the ledger says",
                    None => "it is missing",
                };
                let object = ObjectName::Pack(area, domain, pack.pack).to_string();
                self.problems.push(Problem { object, what: what.to_owned() });
            }
        }
        Ok(())
    }
}
