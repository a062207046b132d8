//! Plays a history: the tree in memory beside the repository, with a copy of the tree for each snapshot.

use std::collections::BTreeMap;

use backup_core::id::EntryId;
use backup_core::keyring::{Key, KeyFile};
use backup_core::ops::check::CheckOptions;
use backup_core::ops::restore::RestoreOptions;
use backup_core::progress::Silent;
use backup_core::repository::open::InitOptions;
use backup_core::{PasswordCost, Repository};
use tempfile::TempDir;

use crate::kit::model_source::{ModelSource, Node, Part};
use crate::kit::noise;
use crate::kit::tree::{Kind, tree_of};
use crate::kit::world::{World, backup, check_clean, dump, paths, restore, snapshot};

/// The names that files can have: few, so that edits meet.
const FILES: [&str; 8] = ["a", "b", "d/a", "d/b", "d/e/a", "d/e/b", "z/long", "z/\u{fc}"];
const DIRECTORIES: [&str; 4] = ["d", "d/e", "z", "empty"];

/// A change of the tree. What does not apply, because the file is not there, does nothing.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Create { file: usize, length: usize, seed: u64 },
    Overwrite { file: usize, seed: u64 },
    Append { file: usize, length: usize },
    Delete { file: usize },
    Rename { from: usize, to: usize },
    Touch { file: usize },
    Hole { file: usize, length: u64 },
    DeleteDirectory { directory: usize },
}

/// What happens next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Edit(Vec<Edit>),
    Backup,
    BackupBySecond,
    Check { read_data: bool },
    AddKey,
    Reopen,
}

type Contents = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A repository, the tree, and what every snapshot must hold.
pub(crate) struct History {
    world: World,
    states: [TempDir; 2],
    first: Repository,
    second: Repository,
    source: ModelSource,
    clock: i64,
    expected: Vec<(EntryId, Contents)>,
    keys: Vec<Key>,
}

impl History {
    pub(crate) fn new() -> Self {
        let world = World::new();
        let states = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let init = InitOptions::new().chunk_bytes_avg(8 << 10).frame_bytes(64 << 10).pack_bytes(1 << 20);
        let first = world.init_with(&init, world.lasting(states[0].path()));
        let second = world.open_with(world.lasting(states[1].path()));
        let mut source = ModelSource::new("/data");
        source.put(DIRECTORIES[3], Node::Directory);
        Self { world, states, first, second, source, clock: 0, expected: Vec::new(), keys: Vec::new() }
    }

    pub(crate) fn take(&mut self, step: &Step) {
        match step {
            Step::Edit(edits) => edits.iter().for_each(|edit| self.edit(edit)),
            Step::Backup => {
                let report = backup(&mut self.first, &self.source);
                self.expect(report.snapshot_id);
            }
            Step::BackupBySecond => {
                self.second.refresh().unwrap();
                let report = backup(&mut self.second, &self.source);
                self.expect(report.snapshot_id);
            }
            Step::Check { read_data: true } => drop(check_clean(&mut self.first)),
            Step::Check { read_data: false } => {
                let report = self.first.check(&CheckOptions::new(), &Silent).unwrap();
                assert_eq!(report.damage, []);
            }
            Step::AddKey => {
                let key = Key::File(KeyFile::generate(&self.world.surroundings.environment()));
                self.first.add_key(&key, "another", PasswordCost::default()).unwrap();
                self.keys.push(key);
            }
            Step::Reopen => self.reopen(),
        }
    }

    /// Both processes end, and begin anew with their states.
    fn reopen(&mut self) {
        let [first, second] = [0, 1].map(|number: usize| self.world.lasting(self.states[number].path()));
        // The old ones still hold their writers, so these go aside first.
        self.first = self.world.open();
        self.second = self.world.open();
        self.first = self.world.open_with(first);
        self.second = self.world.open_with(second);
    }

    fn expect(&mut self, id: Option<EntryId>) {
        self.source.take_opened();
        self.expected.push((id.unwrap(), self.source.contents()));
    }

    fn edit(&mut self, edit: &Edit) {
        match *edit {
            Edit::Create { file, length, seed } => self.put(file, vec![Part::Bytes(noise(seed, length).into())]),
            Edit::Overwrite { file, seed } => self.change(file, |content| {
                let place = (seed as usize).checked_rem(content.len()).unwrap_or(0);
                let end = content.len().min(place + 1000);
                content[place..end].copy_from_slice(&noise(seed, end - place));
            }),
            Edit::Append { file, length } => self.change(file, |content| content.extend(noise(1, length))),
            Edit::Delete { file } => self.source.remove(FILES[file]),
            Edit::Rename { from, to } => {
                if let Some(parts) = self.parts(from)
                    && from != to
                {
                    self.source.remove(FILES[from]);
                    self.put(to, parts);
                }
            }
            Edit::Touch { file } => {
                if let Some(parts) = self.parts(file) {
                    self.put(file, parts);
                }
            }
            Edit::Hole { file, length } => {
                if let Some(mut parts) = self.parts(file) {
                    parts.extend([Part::Hole(length), Part::Bytes((*b"after the hole").into())]);
                    self.put(file, parts);
                }
            }
            Edit::DeleteDirectory { directory } => self.source.remove(DIRECTORIES[directory]),
        }
    }

    fn change(&mut self, file: usize, change: impl FnOnce(&mut Vec<u8>)) {
        if self.parts(file).is_some() {
            let path = [b"/data/", FILES[file].as_bytes()].concat();
            let mut content = self.source.contents().remove(&path).flatten().unwrap();
            change(&mut content);
            self.put(file, vec![Part::Bytes(content.into())]);
        }
    }

    fn parts(&mut self, file: usize) -> Option<Vec<Part>> {
        let path = [b"/data/", FILES[file].as_bytes()].concat();
        if !self.source.contents().contains_key(&path) {
            return None;
        }
        match &self.source.entry(FILES[file]).node {
            Node::File(parts) => Some(parts.clone()),
            _ => None,
        }
    }

    fn put(&mut self, file: usize, parts: Vec<Part>) {
        self.clock += 1;
        let seconds = 1_700_000_000 + self.clock;
        let entry = self.source.put(FILES[file], Node::File(parts));
        (entry.mtime.seconds, entry.ctime.seconds) = (seconds, seconds);
    }

    /// Opens the repository as somebody else, and holds everything in it against the model.
    pub(crate) fn verify(&self) {
        let mut repository = self.world.open();
        assert_eq!(repository.problems().count(), 0);
        assert_eq!(repository.snapshots().len(), self.expected.len());
        for (id, contents) in &self.expected {
            let snapshot = snapshot(&repository, *id);
            let expected: Vec<Vec<u8>> = contents.keys().cloned().collect();
            assert_eq!(paths(&repository, &snapshot), expected);
            for (path, content) in contents {
                if let Some(content) = content {
                    assert!(dump(&repository, &snapshot, path) == *content, "{}", path.escape_ascii());
                }
            }
        }
        self.verify_restore(&mut repository);
        check_clean(&mut repository);
        for key in &self.keys {
            let opened = Repository::open(self.world.storage(), key, self.world.options()).unwrap();
            assert_eq!(opened.snapshots().len(), self.expected.len());
        }
    }

    /// Restores the first and the last snapshot, the one over the other.
    fn verify_restore(&self, repository: &mut Repository) {
        let target = tempfile::tempdir().unwrap();
        for (id, contents) in [self.expected.first(), self.expected.last()].into_iter().flatten() {
            let options = RestoreOptions::new().delete(true);
            restore(repository, Some(*id), Some(b"/data"), target.path(), &options);
            let mut found = Contents::new();
            for (path, seen) in tree_of(target.path()) {
                let path = if path.is_empty() { b"/data".to_vec() } else { [b"/data/", &path[..]].concat() };
                let content = match seen.kind {
                    Kind::File(content) => Some(content),
                    _ => None,
                };
                found.insert(path, content);
            }
            assert!(*contents == found, "{:?} became {:?}", contents.keys(), found.keys());
        }
    }
}
