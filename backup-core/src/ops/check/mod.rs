//! `check`: finds damage and names it: the object, the snapshots and the paths that need it.
//!
//! By default the structure: ledger, keys of periods, packs and their lengths, tables, every node of every tree, and that every chunk has a location. With [`ReadData`]
//! packs are read whole, too ([`data`]); with [`RepeatProbes`] databases are restored and probed again ([`probes`]). What was lost is traced back to paths in [`trace`].

mod data;
mod probes;
pub(crate) mod trace;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::error::Result;
use crate::format::bodies::CheckBody;
use crate::format::name::ObjectName;
use crate::format::record;
use crate::id::{ChunkPrefix, EntryId, PackId};
use crate::index::Voids;
use crate::index::supported::Supported;
use crate::ledger::chain::Draft;
use crate::progress::{Progress, Stage, Warning};
use crate::repository::Repository;
use crate::repository::load::Loader;

pub use probes::RepeatProbes;
use trace::Trace;

/// Paths that are named for one damaged object; all are counted by their snapshots.
const PATHS_MAX: usize = 1000;

/// How much content a check reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ReadData {
    /// All of it.
    All,
    /// So many percent of the bytes of packs, the least recently read first.
    Percent(f64),
    /// About so many bytes, the least recently read first.
    Bytes(u64),
}

/// How a check is made. Every setter takes and returns the options by value.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckOptions {
    read_data: Option<ReadData>,
    probes: Option<RepeatProbes>,
}

impl CheckOptions {
    /// Makes the defaults: the structure only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads content, too.
    pub fn read_data(mut self, read_data: ReadData) -> Self {
        self.read_data = Some(read_data);
        self
    }

    /// Repeats recorded probes of databases on private copies below the system's directory for temporary files, which must have room for the largest. None by default.
    pub fn probes(mut self, which: RepeatProbes) -> Self {
        self.probes = Some(which);
        self
    }
}

/// Something damaged, and what it concerns.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Damage {
    /// The object's name, with a place inside where one is known.
    pub object: String,
    /// What is wrong with it: `missing`, `truncated`, `altered`, `unreadable`, `ledger`, and `probe` for a database that is not what was recorded of it.
    pub kind: &'static str,
    /// Snapshots that cannot be restored whole.
    pub snapshots: Vec<EntryId>,
    /// Paths in them, at most a thousand.
    #[serde(skip)]
    pub paths: Vec<Vec<u8>>,
}

/// What a check found.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct CheckReport {
    /// Objects looked at.
    pub objects_checked: u64,
    /// Bytes of packs that were read for their content.
    pub read_bytes: u64,
    /// Databases whose probes were repeated.
    pub probes_repeated: u64,
    /// Packs that no entry names: left by backups that were cut off. They are no damage.
    pub orphan_packs: u64,
    /// What is damaged.
    #[serde(skip)]
    pub damage: Vec<Damage>,
    /// What else must be seen.
    #[serde(skip)]
    pub warnings: Vec<Warning>,
    /// What may be of interest.
    #[serde(skip)]
    pub notes: Vec<Warning>,
}

/// A damaged object, before it is known what it concerns.
struct Finding {
    object: String,
    kind: &'static str,
    /// The pack whose chunks it took away, and which; `None` if that cannot be known.
    pack: Option<PackId>,
    chunks: Option<HashSet<ChunkPrefix>>,
}

impl Repository {
    /// Checks the repository.
    ///
    /// With [`ReadData`] the check is recorded in the ledger where this program may write, and locations found bad are voided, so that the next backup stores their chunks anew.
    ///
    /// # Errors
    /// [`crate::Error::Storage`], [`crate::Error::Interrupted`]. Damage is no error: it is in the report.
    pub fn check(&mut self, options: &CheckOptions, progress: &dyn Progress) -> Result<CheckReport> {
        progress.started(Stage::Checking, None);
        if self.remembers_ledger() {
            // What this machine verified before says nothing of what the storage holds now.
            self.read_ledger_anew()?;
        }
        let mut report = CheckReport { objects_checked: 1 + self.ledger.count_objects(), ..CheckReport::default() };
        report.notes.extend(self.forks().iter().map(|fork| Warning {
            kind: "forked",
            subject: fork.object.clone().into_bytes(),
            message: fork.what.clone(),
        }));
        let mut findings = self.check_objects(&mut report)?;
        let mut packs_read = Vec::new();
        let mut bad = Voids::default();
        let mut repeated = probes::Repeated::default();
        let trace = {
            let loader = Loader::new(self)?;
            if let Some(read_data) = options.read_data {
                let read = data::run(&loader, read_data, progress)?;
                report.read_bytes = read.read_bytes;
                packs_read = read.good;
                bad = read.bad;
                findings.extend(read.findings);
            }
            let supported = supported(&loader, &mut findings, &bad);
            let trace = Trace::run(&loader, supported, progress)?;
            loader.index.take_trouble()?;
            if let Some(which) = options.probes {
                repeated = probes::run(&loader, which, progress)?;
            }
            trace
        };
        report.objects_checked += trace.nodes;
        report.damage = attribute(findings, trace);
        report.damage.extend(repeated.damage);
        report.warnings.extend(repeated.warnings);
        report.probes_repeated = repeated.databases;
        progress.finished(Stage::Checking);
        if options.read_data.is_some() {
            self.record_check(&mut report, packs_read, &bad);
        }
        Ok(report)
    }

    /// Looks at names and lengths of all objects, at the ledger, at keys, and at tables.
    fn check_objects(&self, report: &mut CheckReport) -> Result<Vec<Finding>> {
        let whole = |object: String, kind| Finding { object, kind, pack: None, chunks: None };
        let mut findings: Vec<Finding> =
            self.problems().map(|problem| whole(format!("{}: {}", problem.object, problem.what), "ledger")).collect();
        for slot in crate::repository::open::read_slots(&self.storage)? {
            report.objects_checked += 1;
            if let Err(error) = slot {
                let Some(object) = error.object() else { return Err(error) };
                findings.push(whole(object, "altered"));
            }
        }
        let mut lengths = HashMap::new();
        for area in ["packs/", "meta/"] {
            for info in self.storage.list(area)? {
                if let Some(ObjectName::Pack(_, _, pack)) = ObjectName::parse(&info.name) {
                    report.orphan_packs += u64::from(!self.state.packs.contains_key(&pack));
                    lengths.insert(pack, info.length_bytes);
                }
            }
        }
        report.objects_checked += self.state.packs.len() as u64;
        let mut packs: Vec<_> =
            self.state.packs.values().filter(|place| !self.state.voids.contains_pack(place.id)).collect();
        packs.sort_by_key(|place| place.id);
        for place in packs {
            let is_unreadable = self.unreadable_packs()?.iter().any(|unreadable| unreadable.id == place.id);
            let kind = match lengths.get(&place.id) {
                None => "missing",
                Some(length) if *length < place.length => "truncated",
                Some(length) if *length > place.length => "altered",
                _ if is_unreadable => "altered",
                _ => continue,
            };
            findings.push(Finding { object: place.name(), kind, pack: Some(place.id), chunks: None });
        }
        Ok(findings)
    }

    fn record_check(&mut self, report: &mut CheckReport, packs_read: Vec<PackId>, bad: &Voids) {
        let body = CheckBody {
            mode: 2,
            objects: report.objects_checked,
            read_bytes: report.read_bytes,
            damaged: report.damage.len() as u64,
            packs_read: packs_read.clone(),
        };
        let recorded = self.take_up_chain().and_then(|note| {
            report.notes.extend(note);
            self.void(bad, "found bad by a check")?;
            self.commit(vec![Draft::new("", record::encode(&body))], true)
        });
        match recorded.and_then(|_| self.absorb_commits()) {
            Ok(()) => {
                let now = self.environment().now();
                self.state.packs_read.extend(packs_read.into_iter().map(|pack| (pack, now)));
            }
            Err(error) => {
                let message = format!("the check is not recorded in the ledger: {error}");
                report.notes.push(Warning { kind: "unrecorded", subject: Vec::new(), message });
            }
        }
    }
}

/// What can be decoded, as far as findings tell. Each finding learns of all that is lost with it: chunks of its own, and what was made from them.
fn supported<'i>(loader: &Loader<'i>, findings: &mut [Finding], bad: &Voids) -> Supported<'i> {
    let mut bad = bad.clone();
    for finding in findings.iter_mut().filter(|finding| finding.chunks.is_none()) {
        let Some(gone) = finding.pack else { continue };
        bad.add(gone, None::<[u32; 0]>);
        // A pack that is gone may be one whose table is known from elsewhere.
        let known = loader.index.packs().iter().find(|pack| pack.place.id == gone);
        finding.chunks = known.map(|pack| pack.table.prefixes().iter().copied().collect());
    }
    let mut supported = Supported::new(loader.index, bad);
    for chunks in findings.iter_mut().filter_map(|finding| finding.chunks.as_mut()) {
        *chunks = supported.lost_with(chunks);
    }
    supported
}

/// Puts together what is damaged and what needs it. A lost chunk whose pack cannot be told is every unreadable pack's.
fn attribute(findings: Vec<Finding>, trace: Trace) -> Vec<Damage> {
    let mut unattributed: BTreeMap<EntryId, Vec<Vec<u8>>> = BTreeMap::new();
    let knows = |prefix: &ChunkPrefix| {
        findings.iter().any(|finding| finding.chunks.as_ref().is_some_and(|chunks| chunks.contains(prefix)))
    };
    for need in &trace.needs {
        if !knows(&need.chunk) {
            unattributed.entry(need.snapshot).or_default().push(need.path.clone());
        }
    }
    let any_gone = findings.iter().any(|finding| finding.pack.is_some() && finding.chunks.is_none());
    let mut damage: Vec<Damage> = findings
        .into_iter()
        .map(|finding| {
            let mut needs: BTreeMap<EntryId, Vec<Vec<u8>>> = BTreeMap::new();
            match (&finding.chunks, finding.pack) {
                (Some(chunks), _) => {
                    for need in trace.needs.iter().filter(|need| chunks.contains(&need.chunk)) {
                        needs.entry(need.snapshot).or_default().push(need.path.clone());
                    }
                }
                (None, Some(_)) => needs = unattributed.clone(),
                _ => {}
            }
            damage_of(finding.object, finding.kind, needs)
        })
        .collect();
    if !any_gone && !unattributed.is_empty() {
        damage.push(damage_of("chunks without a location".to_owned(), "missing", unattributed));
    }
    damage
}

fn damage_of(object: String, kind: &'static str, needs: BTreeMap<EntryId, Vec<Vec<u8>>>) -> Damage {
    let snapshots = needs.keys().copied().collect();
    let mut paths: Vec<Vec<u8>> = needs.into_values().flatten().collect();
    paths.sort();
    paths.dedup();
    paths.truncate(PATHS_MAX);
    Damage { object, kind, snapshots, paths }
}
