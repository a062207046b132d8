//! `repair`: makes anew what can be made anew, and names what cannot.

use std::collections::HashSet;

use super::check::trace::Trace;
use crate::error::{Result, unless_damage};
use crate::format::constants::EXTENSION_PROBES;
use crate::format::manifest::{Manifest, Root};
use crate::format::name::ObjectName;
use crate::format::record::{self, Extension};
use crate::format::tree::{Content, Entry, Item, OwnerName};
use crate::id::{ChunkId, ChunkPrefix, EntryId};
use crate::index::segment::Gathering;
use crate::index::supported::Supported;
use crate::index::{self, Index, Voids};
use crate::ledger::chain::Draft;
use crate::pack::reader::PackPlace;
use crate::progress::{Progress, Stage, Warning};
use crate::repository::build::TreeBuilder;
use crate::repository::load::Loader;
use crate::repository::nodes::{Items, Owners, TreeEntries};
use crate::repository::save::Saver;
use crate::repository::{Repository, Snapshot};

/// A tag on snapshots that `repair` made.
const REPAIRED_TAG: &str = "repaired";

/// A snapshot that had lost something.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RepairedSnapshot {
    /// The snapshot, which stays as it is.
    pub old: EntryId,
    /// The one without what is lost; `None` where nothing was left.
    pub new: Option<EntryId>,
    /// What is not in the new one.
    #[serde(skip)]
    pub lost_paths: Vec<Vec<u8>>,
}

/// What a repair did.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct RepairReport {
    /// Index segments written.
    pub segments_written: u64,
    /// Index segments removed.
    pub segments_removed: u64,
    /// Snapshots that had lost something.
    pub snapshots: Vec<RepairedSnapshot>,
    /// What else must be seen.
    #[serde(skip)]
    pub warnings: Vec<Warning>,
}

impl Repository {
    /// Makes everything anew that is derived from the tables of packs and the ledger: the index segments. Left-over temporary files of a local storage go, too, if they are a day old.
    ///
    /// # Errors
    /// [`crate::Error::Storage`].
    pub fn repair_index(&mut self, progress: &dyn Progress) -> Result<RepairReport> {
        self.require_writable()?;
        progress.started(Stage::Repairing, None);
        let mut report = RepairReport::default();
        self.storage.remove_stale_temporaries(self.environment().now())?;
        let old: Vec<String> = self.storage.list("index/")?.into_iter().map(|info| info.name).collect();
        for (domain, keys) in &self.keys {
            let places = self.state.packs.values().filter(|place| place.domain == *domain);
            let mut places: Vec<PackPlace> = places.cloned().collect();
            places.sort_by_key(|place| place.id);
            let mut gathering = Gathering::new(&self.storage, keys, self.writer(), self.environment());
            for lot in index::lots(places) {
                let read = |place: PackPlace| (place.read_table(keys, &self.storage), place);
                for (table, place) in self.workers.map(lot, read) {
                    match unless_damage(table)? {
                        Some(pack) => gathering.push(&pack)?,
                        None => report.warnings.push(Warning {
                            kind: "unreadable",
                            subject: place.name().into_bytes(),
                            message: "its table cannot be read".to_owned(),
                        }),
                    }
                }
            }
            report.segments_written += gathering.finish_if_many()?.len() as u64;
        }
        for name in old.iter().filter(|name| matches!(ObjectName::parse(name), Some(ObjectName::Index(..)))) {
            self.storage.delete(name)?;
            report.segments_removed += 1;
        }
        progress.finished(Stage::Repairing);
        Ok(report)
    }

    /// Makes, for each snapshot that has lost something, a new one without it, tagged `repaired`. The old ones stay; what is lost is named.
    ///
    /// # Errors
    /// [`crate::Error::Storage`], [`crate::Error::Interrupted`].
    pub fn repair_snapshots(&mut self, progress: &dyn Progress) -> Result<RepairReport> {
        self.take_up_chain()?;
        self.enrol_writer()?;
        progress.started(Stage::Repairing, None);
        let mut report = RepairReport::default();
        let needs = {
            let loader = Loader::new(self)?;
            Trace::run(&loader, Supported::new(loader.index, Voids::default()), progress)?.needs
        };
        let lost: HashSet<ChunkPrefix> = needs.iter().map(|need| need.chunk).collect();
        let snapshots: Vec<Snapshot> = self.snapshots().to_vec();
        for snapshot in snapshots {
            let mut lost_paths: Vec<Vec<u8>> =
                needs.iter().filter(|need| need.snapshot == snapshot.id).map(|need| need.path.clone()).collect();
            if lost_paths.is_empty() {
                continue;
            }
            lost_paths.sort();
            lost_paths.dedup();
            let new = self.repair_snapshot(&snapshot, &lost)?;
            report.snapshots.push(RepairedSnapshot { old: snapshot.id, new, lost_paths });
        }
        progress.finished(Stage::Repairing);
        Ok(report)
    }

    fn repair_snapshot(&mut self, old: &Snapshot, lost: &HashSet<ChunkPrefix>) -> Result<Option<EntryId>> {
        let domain = crate::format::name::Domain { class: old.manifest.class.clone(), period: old.manifest.period };
        let Some(keys) = self.keys.get(&domain).cloned() else { return Ok(None) };
        let mut saver = Saver::new(self, keys, 3, false)?;
        let mut manifest = Manifest { parent: Some(old.id), warnings: None, ..old.manifest.clone() };
        {
            let loader = Loader::new(self)?;
            for source in &mut manifest.sources {
                let mut roots = Vec::new();
                for root in &source.roots {
                    self.options.cancel.check()?;
                    if let Some((id, sums)) = rebuild(&loader, &mut saver, root.root, lost)? {
                        roots.push(Root { path: root.path.clone(), root: id, sums });
                    }
                }
                source.roots = roots;
            }
        }
        manifest.sources.retain(|source| !source.roots.is_empty());
        if manifest.sources.is_empty() {
            return Ok(None);
        }
        manifest.tags.push(REPAIRED_TAG.to_owned());
        manifest.tags.sort();
        manifest.tags.dedup();
        let packs = saver.flush()?;
        // What probes found is told of the old one: as its warnings, it may name what is lost.
        let kept = old.extensions.iter().filter(|extension| extension.tag != EXTENSION_PROBES);
        let extensions: Vec<Extension> = kept.cloned().collect();
        let draft = Draft {
            packs: packs.iter().map(|pack| pack.place.clone()).collect(),
            ..Draft::new(&manifest.class.clone(), record::encode_extended(&manifest, &extensions))
        };
        let id = self.commit(vec![draft], false)?[0];
        let writer = self.writer();
        self.state.insert_snapshot(Snapshot { id, writer, manifest, extensions });
        self.adopt(Index::default(), packs);
        self.absorb_commits()?;
        Ok(Some(id))
    }
}

struct Level {
    /// The directory's own entry and owners; `None` for the tree that holds the root alone.
    entry: Option<(Entry, std::sync::Arc<Owners>)>,
    entries: TreeEntries,
    builder: TreeBuilder,
}

/// Builds a tree again from what of it can be read; `None` where nothing can.
fn rebuild(
    loader: &Loader<'_>,
    saver: &mut Saver,
    root: ChunkId,
    lost: &HashSet<ChunkPrefix>,
) -> Result<Option<(ChunkId, crate::format::tree::Sums)>> {
    let mut levels = vec![Level { entry: None, entries: TreeEntries::new(root), builder: TreeBuilder::new(None) }];
    loop {
        let level = levels.last_mut().expect("the first level is left last");
        let next = match level.entries.next(loader) {
            Err(error) if error.is_damage() => continue,
            next => next?,
        };
        let Some((entry, owners)) = next else {
            let level = levels.pop().expect("it was there just now");
            let (id, sums) = level.builder.finish(saver, loader)?;
            let (Some((mut entry, owners)), Some(parent)) = (level.entry, levels.last_mut()) else {
                return Ok((sums.entries > 0).then_some((id, sums)));
            };
            entry.content = Content::Tree { root: id, sums };
            push(&mut parent.builder, entry, &owners, saver, loader)?;
            continue;
        };
        if let Content::Tree { root, .. } = entry.content {
            crate::ops::list::check_depth(levels.len())?;
            levels.push(Level {
                entry: Some((entry, owners)),
                entries: TreeEntries::new(root),
                builder: TreeBuilder::new(None),
            });
        } else if is_whole(&entry.content, loader, lost)? {
            push(&mut level.builder, entry, &owners, saver, loader)?;
        }
    }
}

/// Whether a file lacks nothing that is lost.
fn is_whole(content: &Content, loader: &Loader<'_>, lost: &HashSet<ChunkPrefix>) -> Result<bool> {
    let mut items = Items::new(content);
    loop {
        match items.next(loader) {
            Ok(Some(Item::Chunk { id, .. })) if lost.contains(&id.prefix()) => return Ok(false),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(true),
            Err(error) if error.is_damage() => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

fn push(
    builder: &mut TreeBuilder,
    entry: Entry,
    owners: &Owners,
    saver: &mut Saver,
    loader: &Loader<'_>,
) -> Result<()> {
    let name =
        |id: u32, name: Option<&str>| name.map(|name| std::sync::Arc::new(OwnerName { id, name: name.to_owned() }));
    let (user, group) = (name(entry.uid, owners.user(entry.uid)), name(entry.gid, owners.group(entry.gid)));
    builder.push(entry, user, group, saver, loader)
}
