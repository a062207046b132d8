//! Repeats the probes of databases on what comes out of the repository, and compares.
//!
//! Each database is restored into a private directory and removed again, one after another. The invariant: what is compared was read from the repository in this run.

use std::collections::{BTreeMap, HashSet};

use super::Damage;
use crate::codec;
use crate::error::{Error, Result, unless_damage};
use crate::format::probes::ProbeResult;
use crate::ops::restore::extract;
use crate::path;
use crate::progress::{Progress, Warning};
use crate::repository::Snapshot;
use crate::repository::load::Loader;
use crate::repository::names::Place;
use crate::source::sqlite::probe::{self, ProbeRequest};
use crate::target::Scratch;
use crate::words::printable;

/// Which recorded probes are repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepeatProbes {
    /// Those of every snapshot; of equal content with equal answers only one.
    All,
    /// For each database of each machine, those of the newest snapshot that has some.
    Latest,
}

/// What repeating found.
#[derive(Default)]
pub(super) struct Repeated {
    /// Databases that were probed.
    pub(super) databases: u64,
    pub(super) damage: Vec<Damage>,
    pub(super) warnings: Vec<Warning>,
    /// What has been probed: content with answers, or machine with path.
    seen: HashSet<Vec<u8>>,
}

/// Repeats probes, of the newest snapshots first.
pub(super) fn run(loader: &Loader<'_>, which: RepeatProbes, progress: &dyn Progress) -> Result<Repeated> {
    let mut repeated = Repeated::default();
    for snapshot in loader.repository.snapshots().iter().rev() {
        // Lost answers are found by the walk over all nodes.
        let Some(results) = unless_damage(snapshot.probe_results(loader))? else { continue };
        let mut databases: BTreeMap<Vec<u8>, Vec<ProbeResult>> = BTreeMap::new();
        for result in results.into_iter().filter(|result| result.failure.is_none()) {
            databases.entry(result.path.clone()).or_default().push(result);
        }
        for (path, recorded) in databases {
            loader.repository.options.cancel.check()?;
            repeated.probe(loader, snapshot, which, &path, &recorded, progress)?;
        }
    }
    Ok(repeated)
}

impl Repeated {
    fn probe(
        &mut self,
        loader: &Loader<'_>,
        snapshot: &Snapshot,
        which: RepeatProbes,
        path: &[u8],
        recorded: &[ProbeResult],
        progress: &dyn Progress,
    ) -> Result<()> {
        let place = match snapshot.find(loader, path) {
            Err(Error::PathNotFound { .. }) => None,
            found => match unless_damage(found)? {
                Some(Place::Entry(entry)) => Some(entry.0),
                Some(Place::Above) => None,
                None => {
                    self.add(snapshot, path, "unreadable", "it cannot be restored");
                    return Ok(());
                }
            },
        };
        let Some(entry) = place.filter(|entry| entry.is_file()) else {
            self.add(snapshot, path, "probe", "it was probed, and is not in the snapshot");
            return Ok(());
        };
        let key = match which {
            RepeatProbes::All => [codec::encode(&entry.content), codec::encode(&recorded.to_vec())].concat(),
            RepeatProbes::Latest => codec::encode(&(snapshot.manifest.host.clone(), path.to_vec())),
        };
        if !self.seen.insert(crate::crypto::hash(&key).to_vec()) {
            return Ok(());
        }
        let scratch = Scratch::create()?;
        if !extract(loader, snapshot, path, scratch.path())? {
            self.add(snapshot, path, "unreadable", "it cannot be restored");
            return Ok(());
        }
        let file = {
            use std::os::unix::ffi::OsStrExt;
            scratch.path().join(std::ffi::OsStr::from_bytes(path::name(path)))
        };
        let requests: Vec<ProbeRequest> = recorded.iter().map(ProbeRequest::of).collect();
        for (recorded, found) in recorded.iter().zip(probe::run_on_file(&file, &requests)) {
            self.compare(snapshot, path, recorded, &found, progress);
        }
        self.databases += 1;
        progress.advanced(1, entry.size_bytes());
        Ok(())
    }

    fn compare(
        &mut self,
        snapshot: &Snapshot,
        path: &[u8],
        recorded: &ProbeResult,
        found: &ProbeResult,
        progress: &dyn Progress,
    ) {
        for difference in probe::compare(recorded, found) {
            if difference.is_doubtful {
                let message = format!("a probe cannot be repeated: {difference}");
                let warning = Warning { kind: "probe", subject: path.to_vec(), message };
                progress.warning(&warning);
                self.warnings.push(warning);
            } else {
                self.add(snapshot, path, "probe", &difference.to_string());
            }
        }
    }

    fn add(&mut self, snapshot: &Snapshot, path: &[u8], kind: &'static str, what: &str) {
        let object = format!("database {}: {what}", printable(path));
        self.damage.push(Damage { object, kind, snapshots: vec![snapshot.id], paths: vec![path.to_vec()] });
    }
}
