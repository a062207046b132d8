//! `backup`: makes a snapshot of a source.
//!
//! The source pushes entries into [`walk`], which compares them with the [`parent`] and hands what must be read to workers ([`content`]); what they return is saved in order. Packs
//! are named by checkpoints on the way and by the snapshot's entry at the end: that entry is the commit.

mod aligner;
mod content;
mod events;
mod options;
mod parent;
mod patching;
mod probes;
mod save;
mod streaming;
mod strict;
mod walk;

use std::sync::Arc;

use crate::environment::PROGRAM;
use crate::error::{Error, Result};
use crate::format::bodies::CheckpointBody;
use crate::format::constants::ROW_VERSION;
use crate::format::manifest::{Counts, Manifest, Root, SourceRow, WarningRow, Warnings};
use crate::format::name::{Domain, ObjectName};
use crate::format::probes::ProbeResult;
use crate::format::record;
use crate::id::{ChunkId, EntryId, RunId};
use crate::index::segment::Gathering;
use crate::index::{Index, Voids};
use crate::keyring::PeriodKeys;
use crate::ledger::chain::Draft;
use crate::limits::{ENTRY_PACKS_MAX, WARNINGS_MAX};
use crate::pack::reader::OpenPack;
use crate::progress::{Progress, Stage, Warning};
use crate::repository::base::Remembered;
use crate::repository::load::Loader;
use crate::repository::news::Others;
use crate::repository::save::Saver;
use crate::repository::{Repository, Snapshot};
use crate::source::{Source, SourceKind};
use crate::time::Time;

use options::ParentChoice;
pub use options::{BackupOptions, BackupReport, named_level};
use strict::Strict;
use walk::Walk;

impl Repository {
    /// Makes a snapshot of a source.
    ///
    /// What cannot be read is a warning in the report and in the snapshot, not an error. When an error is returned, no snapshot was made; packs that were uploaded are
    /// found by the next backup if a checkpoint named them.
    ///
    /// # Errors
    /// [`Error::Usage`] for options that cannot be meant, [`Error::Input`] where the source fails as a whole, [`Error::Storage`], [`Error::Interrupted`].
    pub fn backup(
        &mut self,
        source: &dyn Source,
        options: &BackupOptions,
        progress: &dyn Progress,
    ) -> Result<BackupReport> {
        options.check()?;
        let started = self.environment().now();
        let requests_before = self.storage.counts().requests();
        let looks = !options.is_alone && !self.was_looked_at(started, options.trusted_seconds);
        if looks {
            self.refresh()?;
        }
        let keys = self.period_keys(&options.class, started)?;
        // What another period holds has other names, and must not be referred to from this one.
        let is_near = |parent: &Snapshot| parent.manifest.period == keys.domain().period;
        let parent = self.choose_parent(source, options)?.filter(is_near);
        let notes: Vec<Warning> = self.prepare(options, keys.domain(), looks, started)?.into_iter().collect();
        let mut run = Run { looks, ..Run::new(self, keys, options, started)? };
        // What the parent held is the best guess of what there is to read.
        let expected = parent.as_ref().map(|parent| parent.manifest.sums().plaintext_bytes);
        progress.started(Stage::BackingUp, expected);
        let outcome = run.store(source, parent.as_ref(), progress)?;
        let mut report = BackupReport {
            snapshot_id: None,
            parent_id: parent.as_ref().map(|parent| parent.id),
            class: options.class.clone(),
            counts: outcome.counts,
            requests: 0,
            surplus_bytes: 0,
            warnings: outcome.warnings,
            notes,
        };
        report.notes.extend(outcome.notes);
        let is_over = options.dry_run || (options.only_changed && self.is_same(&report, &outcome.bad)?);
        if !is_over {
            let Committed { snapshot, named, packs, mut others } =
                run.commit(source.kind(), outcome.roots, &report, &outcome.bad, &outcome.probes)?;
            report.snapshot_id = Some(snapshot.id);
            report.surplus_bytes = others.surplus_bytes();
            report.notes.extend(others.take_notes());
            report.counts = snapshot.manifest.counts;
            self.state.insert_snapshot(snapshot);
            self.adopt(named, packs);
            self.apply_voids(&outcome.bad);
            self.absorb_commits()?;
            others.absorb(self)?;
            self.gather_ledger();
        }
        report.requests = self.storage.counts().requests() - requests_before;
        progress.finished(Stage::BackingUp);
        Ok(report)
    }

    /// Whether nothing differs from the parent, and nothing had to be stored anew because it was lost.
    fn is_same(&self, report: &BackupReport, bad: &Voids) -> Result<bool> {
        let counts = &report.counts;
        let is_content = counts.files_new + counts.files_changed == 0 && counts.warnings == 0;
        Ok(report.parent_id.is_some() && is_content && bad.is_empty() && !self.index()?.is_lossy())
    }

    /// Takes up the chain of the writer, and looks whether what is stored is still there, before anything relies on it.
    fn prepare(&mut self, options: &BackupOptions, domain: &Domain, looks: bool, now: Time) -> Result<Option<Warning>> {
        if options.dry_run {
            return self.require_writable().map(|()| None);
        }
        let note = self.take_up_chain()?;
        self.enrol_writer()?;
        if looks {
            self.void_missing_packs(domain)?;
            self.looked = Some(now);
        }
        Ok(note)
    }

    /// Whether a backup of this process looked at the storage less than so many seconds ago.
    fn was_looked_at(&self, now: Time, seconds: u64) -> bool {
        self.looked.is_some_and(|looked| now.seconds_apart(looked) < seconds)
    }

    pub(in crate::ops) fn period_keys(&self, class: &str, now: Time) -> Result<Arc<PeriodKeys>> {
        if !self.state.classes.contains_key(class) {
            return Err(Error::Usage {
                what: format!("there is no class {}", crate::words::printable(class.as_bytes())),
            });
        }
        let period = self.state.current_period(class, now);
        let period = period.ok_or_else(|| Error::Usage { what: format!("class {class} has no open period") })?;
        let domain = Domain { class: class.to_owned(), period: period.period };
        let missing = || Error::Missing { object: ObjectName::Period(domain.clone(), period.object).to_string() };
        self.keys.get(&domain).cloned().ok_or_else(missing)
    }

    fn choose_parent(&self, source: &dyn Source, options: &BackupOptions) -> Result<Option<Snapshot>> {
        let by_id = |id: EntryId| self.snapshots().iter().find(|snapshot| snapshot.id == id);
        match options.parent {
            ParentChoice::None => Ok(None),
            ParentChoice::Snapshot(id) => match by_id(id) {
                Some(snapshot) => Ok(Some(snapshot.clone())),
                None => Err(Error::SnapshotName { name: id.to_string(), matches: 0 }),
            },
            ParentChoice::Newest => {
                let (host, roots) = (self.environment().host(), source.roots());
                let fits = |snapshot: &&Snapshot| {
                    let manifest = &snapshot.manifest;
                    manifest.host == host
                        && manifest.class == options.class
                        && manifest.roots().map(|root| &root.path).eq(&roots)
                };
                Ok(self.snapshots().iter().rev().find(fits).cloned())
            }
        }
    }

    /// Packs that the ledger names and the storage no longer lists are lost: what they held is stored anew. A list that lags costs bytes, nothing else.
    fn void_missing_packs(&mut self, domain: &Domain) -> Result<()> {
        let mut listed = std::collections::HashSet::new();
        for area in ["packs", "meta"] {
            for info in self.storage.list(&format!("{area}/{}/{}/", domain.class, domain.period))? {
                if let Some(ObjectName::Pack(_, _, pack)) = ObjectName::parse(&info.name) {
                    listed.insert(pack);
                }
            }
        }
        let mut missing = Voids::default();
        let ours = self.state.packs.values().filter(|place| *place.domain == *domain);
        for place in ours.filter(|place| !listed.contains(&place.id)) {
            missing.add(place.id, None::<[u32; 0]>);
        }
        self.void(&missing, "missing from the storage's list")?;
        let unreadable: Vec<_> =
            self.unreadable_packs()?.iter().filter(|place| *place.domain == *domain).map(|place| place.id).collect();
        let mut damaged = Voids::default();
        unreadable.into_iter().for_each(|pack| damaged.add(pack, None::<[u32; 0]>));
        self.void(&damaged, "the table cannot be read")
    }
}

/// What a walk found, once everything is saved.
struct Outcome {
    roots: Vec<Root>,
    counts: Counts,
    warnings: Vec<Warning>,
    notes: Vec<Warning>,
    /// Locations of nodes of the parent that turned out bad.
    bad: Voids,
    /// What probes of databases found.
    probes: Vec<ProbeResult>,
}

/// One backup under way.
struct Run<'a> {
    repository: &'a Repository,
    options: &'a BackupOptions,
    id: RunId,
    started: Time,
    checkpointed: Time,
    parent: Option<EntryId>,
    saver: Saver,
    /// Whether it looks what others commit meanwhile.
    looks: bool,
    /// Tables of its packs on their way into segments of the repository.
    gathering: Gathering,
}

/// What a committed run leaves.
struct Committed {
    snapshot: Snapshot,
    /// The index of the packs that checkpoints named.
    named: Index,
    /// Packs that only the snapshot's entry names.
    packs: Vec<OpenPack>,
    others: Others,
}

impl<'a> Run<'a> {
    fn new(
        repository: &'a Repository,
        keys: Arc<PeriodKeys>,
        options: &'a BackupOptions,
        started: Time,
    ) -> Result<Self> {
        let environment = repository.environment();
        let id = RunId(environment.random());
        let gathering = Gathering::new(&repository.storage, &keys, repository.writer(), environment);
        let mut saver = Saver::new(repository, keys, options.level, options.dry_run)?;
        // What stands alone must be read without anything else.
        if options.patches && !options.is_alone {
            let trusts = options.trusted_seconds > 0;
            saver.allow_patches(if trusts { repository.remembered.clone() } else { Remembered::default() });
        }
        let parent = None;
        Ok(Self { repository, options, id, started, checkpointed: started, parent, saver, looks: true, gathering })
    }

    fn store(&mut self, source: &dyn Source, parent: Option<&Snapshot>, progress: &dyn Progress) -> Result<Outcome> {
        self.parent = parent.map(|parent| parent.id);
        let mut walk = Walk::new(self, parent, progress)?;
        let mut strict = Strict::new(&mut walk);
        source.walk(&mut strict)?;
        strict.finish()?;
        let outcome = walk.finish()?;
        source.verify()?;
        Ok(outcome)
    }

    /// Names the packs so far in an entry, if it is time.
    fn checkpoint_if_due(&mut self) -> Result<()> {
        if !self.saver.is_unflushed() || self.options.dry_run {
            return Ok(());
        }
        let now = self.repository.environment().now();
        let late = now.seconds_apart(self.checkpointed) >= self.options.checkpoint_seconds;
        let many = self.saver.unnamed_chunks() >= self.options.checkpoint_chunks;
        if !late && !many && self.saver.unnamed_bytes() < self.options.checkpoint_bytes {
            return Ok(());
        }
        self.checkpointed = now;
        let packs = self.saver.flush()?;
        self.name_packs(packs)
    }

    fn checkpoint(&self, packs: &[OpenPack]) -> Draft {
        let body = record::encode(&CheckpointBody { run: self.id });
        Draft { packs: packs.iter().map(|pack| pack.place.clone()).collect(), ..Draft::new(&self.options.class, body) }
    }

    fn name_packs(&mut self, packs: Vec<OpenPack>) -> Result<()> {
        self.saver.look_at_others(self.repository, &packs);
        for part in packs.chunks(ENTRY_PACKS_MAX as usize) {
            let draft = self.checkpoint(part);
            self.repository.commit(vec![draft], false)?;
        }
        self.gather(&packs);
        self.saver.add_named(self.repository, packs)
    }

    /// Flushes, and writes the entry that makes the snapshot.
    fn commit(
        mut self,
        kind: SourceKind,
        roots: Vec<Root>,
        report: &BackupReport,
        bad: &Voids,
        probes: &[ProbeResult],
    ) -> Result<Committed> {
        let extensions = self.save_probes(probes)?;
        let warnings = self.save_warnings(&report.warnings)?;
        let mut packs = self.saver.flush()?;
        let mut counts = report.counts;
        counts.new_chunks = self.saver.saved.new_chunks;
        counts.new_chunk_bytes = self.saver.saved.new_chunk_bytes;
        counts.stored_bytes = self.saver.saved.stored_bytes;
        counts.packs_written = self.saver.saved.packs_written;
        if packs.len() as u64 > ENTRY_PACKS_MAX {
            // An entry names so many packs; what is beyond goes into checkpoints before it.
            let rest = packs.split_off(ENTRY_PACKS_MAX as usize);
            self.name_packs(rest)?;
        }
        // What stands alone holds what others have on purpose.
        if self.looks {
            self.saver.look_at_others(self.repository, &packs);
        }
        self.repository.options.cancel.check()?;
        let manifest = self.manifest(kind, roots, counts, warnings);
        let draft = Draft {
            packs: packs.iter().map(|pack| pack.place.clone()).collect(),
            ..Draft::new(&self.options.class, record::encode_extended(&manifest, &extensions))
        };
        let voids = self.repository.void_draft(bad, "found bad by a backup");
        let ids = self.repository.commit(voids.into_iter().chain([draft]).collect(), true)?;
        if self.looks {
            self.saver.look_back_at_others(self.repository, &packs);
        }
        let id = *ids.last().expect("every draft gets an id");
        let writer = self.repository.writer();
        self.gather(&packs);
        let _ = self.gathering.finish_if_many();
        let (named, others) = self.saver.finish();
        Ok(Committed { snapshot: Snapshot { id, writer, manifest, extensions }, named, packs, others })
    }

    fn save_warnings(&mut self, warnings: &[Warning]) -> Result<Option<ChunkId>> {
        if warnings.is_empty() {
            return Ok(None);
        }
        let row = |warning: &Warning| WarningRow {
            kind: warning.kind.to_owned(),
            path: warning.subject.clone(),
            message: warning.message.clone(),
        };
        let rows = warnings.iter().take(WARNINGS_MAX as usize).map(row).collect();
        let loader = Loader::new(self.repository)?;
        let record = record::encode(&Warnings { row_version: ROW_VERSION, rows });
        self.saver.save_node(&loader, record, || Ok(None)).map(Some)
    }

    fn manifest(&self, kind: SourceKind, roots: Vec<Root>, counts: Counts, warnings: Option<ChunkId>) -> Manifest {
        let environment = self.repository.environment();
        let domain = self.saver.keys().domain();
        let time = self.options.time.unwrap_or(self.started);
        let mut tags = self.options.tags.clone();
        tags.sort();
        tags.dedup();
        let kind = match kind {
            SourceKind::Directories => 1,
            SourceKind::Stream => 2,
            SourceKind::Other => 3,
        };
        Manifest {
            time,
            started: self.started,
            zone_offset_seconds: environment.zone_offset_seconds(time),
            host: environment.host(),
            user: environment.user(),
            program: PROGRAM.to_owned(),
            class: domain.class.clone(),
            period: domain.period,
            tags,
            parent: self.parent,
            run: self.id,
            sources: vec![SourceRow { kind, roots }],
            counts,
            warnings,
        }
    }

    /// Gathers the tables of new packs, so that the next opening needs few requests. The snapshot stands without; so a failure here is none of the backup's.
    fn gather(&mut self, packs: &[OpenPack]) {
        for pack in packs {
            let _ = self.gathering.push(pack);
        }
    }
}
