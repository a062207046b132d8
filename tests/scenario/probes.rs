//! Probes of databases: asked in a backup, recorded, and repeated on what comes out of the repository.

use std::fs;
use std::path::{Path, PathBuf};

use backup_core::Repository;
use backup_core::format::constants::*;
use backup_core::format::database::DatabaseState;
use backup_core::format::probes::{ProbeResult, TableResult};
use backup_core::format::tree::{Attribute, Entry};
use backup_core::ops::backup::{BackupOptions, BackupReport};
use backup_core::ops::check::{CheckOptions, RepeatProbes};
use backup_core::ops::restore::RestoreOptions;
use backup_core::progress::Silent;
use backup_core::source::files::Files;
use backup_core::source::sqlite::probe::ProbeRequest;
use backup_core::source::{ContentReader, Findings, Finish, Handle, Owner, Source, SourceKind, Stretch, Visitor};
use backup_core::time::Time;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::kit::sqlite::Client;
use crate::kit::world::{World, backup_with, made, snapshot};

fn database(folder: &TempDir, mode: &str) -> PathBuf {
    let path = folder.path().join("a.db");
    let sql = format!(
        "PRAGMA journal_mode = {mode}; PRAGMA user_version = 7; CREATE TABLE t(x); INSERT INTO t VALUES (1), ('two'), (x'03');
         CREATE TABLE u(y PRIMARY KEY) WITHOUT ROWID; INSERT INTO u VALUES ('a');"
    );
    Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
    path
}

fn request(path: &Path, list: &str) -> ProbeRequest {
    ProbeRequest::parse(format!("{}:{list}", path.display()).as_bytes(), b"/").unwrap()
}

fn probed(repository: &mut Repository, path: &Path, list: &str) -> BackupReport {
    let options = BackupOptions::new().probe(request(path, list));
    backup_with(repository, &Files::new([path.parent().unwrap().to_owned()]).unwrap(), &options)
}

fn results(repository: &Repository, report: &BackupReport) -> Vec<ProbeResult> {
    repository.probe_results(&made(repository, report)).unwrap()
}

#[test]
fn answers_are_recorded_and_repeated_by_restore_and_check() {
    for mode in ["WAL", "DELETE"] {
        let (folder, world) = (TempDir::new().unwrap(), World::new());
        let path = database(&folder, mode);
        let mut repository = world.init();
        // Another process has written something that stands in the log alone, and goes on.
        let Some(client) = Client::open(&path, "INSERT INTO t VALUES (4)") else { return };
        let report = probed(&mut repository, &path, "t=digest,u,@full");
        drop(client);
        assert_eq!(report.warnings, []);
        let results = results(&repository, &report);
        assert_eq!((results.len(), results[0].user_version, results[0].integrity), (1, 7, INTEGRITY_FULL));
        let tables: Vec<(u8, u64, bool)> =
            results[0].tables.iter().map(|table| (table.state, table.rows, table.digest.is_some())).collect();
        assert_eq!(tables, [(TABLE_READ, 4, true), (TABLE_READ, 1, false)], "{mode}");
        let mut repository = world.open();
        let target = folder.path().join("out");
        let options = RestoreOptions::new().verify(true);
        let restored = repository.restore(report.snapshot_id.unwrap(), None, &target, &options, &Silent).unwrap();
        assert_eq!((&restored.warnings[..], &restored.files_damaged[..]), (&[][..], &[][..]));
        for which in [RepeatProbes::All, RepeatProbes::Latest] {
            let checked = repository.check(&CheckOptions::new().probes(which), &Silent).unwrap();
            assert_eq!((&checked.damage[..], &checked.warnings[..], checked.probes_repeated), (&[][..], &[][..], 1));
        }
    }
}

#[test]
fn what_is_missing_or_wrong_is_a_warning_and_recorded() {
    let (folder, world) = (TempDir::new().unwrap(), World::new());
    let path = database(&folder, "DELETE");
    let mut repository = world.init();
    let gone = path.with_file_name("gone.db");
    let options = BackupOptions::new().probe(request(&path, "t,missing,@quick")).probe(request(&gone, "t"));
    let report = backup_with(&mut repository, &Files::new([folder.path().to_owned()]).unwrap(), &options);
    let warnings: Vec<(&str, &[u8], &str)> =
        report.warnings.iter().map(|w| (w.kind, w.subject.as_slice(), w.message.as_str())).collect();
    let bytes = |path: &Path| path.to_str().unwrap().as_bytes().to_vec();
    let expected = [
        ("probe", &bytes(&path)[..], "table missing: there is no such table"),
        ("probe", &bytes(&gone)[..], "it cannot be probed: no database was read there"),
    ];
    assert_eq!(warnings, expected);
    assert_eq!(made(&repository, &report).manifest.counts.warnings, 2);
    let found = results(&repository, &report);
    assert_eq!((found[0].tables[1].state, found[1].failure.is_some()), (TABLE_MISSING, true));
    // What was wrong from the beginning is no damage of the repository.
    let checked = repository.check(&CheckOptions::new().probes(RepeatProbes::All), &Silent).unwrap();
    assert_eq!((&checked.damage[..], checked.probes_repeated), (&[][..], 1));
}

#[test]
fn an_unchanged_database_is_answered_for_by_the_parent_unless_more_is_asked() {
    let (folder, world) = (TempDir::new().unwrap(), World::new());
    let path = database(&folder, "DELETE");
    let mut repository = world.init();
    let first = probed(&mut repository, &path, "t=digest");
    let second = probed(&mut repository, &path, "t=digest");
    assert_eq!((second.counts.files_unchanged, second.warnings.len()), (1, 0));
    assert_eq!(results(&repository, &first), results(&repository, &second));
    let third = probed(&mut repository, &path, "t=digest,u=digest");
    let found = results(&repository, &third);
    assert_eq!((found[0].tables.len(), found[0].tables[1].rows), (2, 1));
    assert!(third.counts.new_chunk_bytes < 4096, "the content was stored again");
    let fourth = backup_with(&mut repository, &Files::new([folder.path().to_owned()]).unwrap(), &BackupOptions::new());
    assert_eq!(results(&repository, &fourth), []);
    assert_eq!(made(&repository, &fourth).extensions, []);
    let checked = repository.check(&CheckOptions::new().probes(RepeatProbes::All), &Silent).unwrap();
    assert_eq!(checked.probes_repeated, 2, "equal content with equal answers is probed once");
}

/// A database whose recorded answers are up to the test.
struct Liar {
    content: Vec<u8>,
    probes: Vec<ProbeResult>,
}

impl Liar {
    fn new(change: impl FnOnce(&mut ProbeResult)) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("x.db");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1)").unwrap();
        let table =
            TableResult { name: "t".to_owned(), state: TABLE_READ, rows: 1, digest: None, message: String::new() };
        let path_in_snapshot = b"/x.db".to_vec();
        let mut honest =
            ProbeResult { path: path_in_snapshot, schema_version: 1, tables: vec![table], ..ProbeResult::default() };
        change(&mut honest);
        Self { content: fs::read(&path).unwrap(), probes: vec![honest] }
    }
}

impl Source for Liar {
    fn kind(&self) -> SourceKind {
        SourceKind::Other
    }

    fn roots(&self) -> Vec<Vec<u8>> {
        vec![b"/x.db".to_vec()]
    }

    fn walk(&self, visitor: &mut dyn Visitor) -> backup_core::Result<()> {
        visitor.root(b"/x.db")?;
        let handle = Box::new(LiarHandle { content: self.content.clone(), probes: self.probes.clone() });
        visitor.file(Entry::new(ENTRY_FILE, "x.db"), Owner::default(), self.content.len() as u64, handle)
    }
}

struct LiarHandle {
    content: Vec<u8>,
    probes: Vec<ProbeResult>,
}

impl Handle for LiarHandle {
    fn attributes(&self) -> std::io::Result<Vec<Attribute>> {
        Ok(Vec::new())
    }

    fn open(&self) -> std::io::Result<Box<dyn ContentReader>> {
        Ok(Box::new(LiarReader(LiarHandle { content: self.content.clone(), probes: self.probes.clone() })))
    }
}

struct LiarReader(LiarHandle);

impl ContentReader for LiarReader {
    fn read(&mut self, buffer: &mut Vec<u8>, limit: usize) -> std::io::Result<Stretch> {
        let part: Vec<u8> = self.0.content.drain(..limit.min(self.0.content.len())).collect();
        buffer.extend_from_slice(&part);
        Ok(if part.is_empty() { Stretch::End } else { Stretch::Data(part.len()) })
    }

    fn finish(&mut self) -> std::io::Result<Finish> {
        Ok(Finish { changed: false, mtime: Time::default(), ctime: Time::default() })
    }

    fn page_bytes(&self) -> Option<u32> {
        Some(4096)
    }

    fn findings(&mut self) -> Findings {
        let (page_bytes, file_bytes, log) = (4096, 0, None);
        let state = DatabaseState { reading: DATABASE_WHOLE, page_bytes, file_bytes, change_counter: 0, log };
        Findings { database: Some(state), probes: std::mem::take(&mut self.0.probes), ..Findings::default() }
    }
}

#[test]
fn what_comes_out_otherwise_than_it_was_recorded_is_damage_with_path_and_table() {
    type Change = fn(&mut ProbeResult);
    let cases: [(Change, &str); 4] = [
        (|result| result.tables[0].rows = 2, "table t: 2 rows were recorded, 1 are found"),
        (|result| result.tables[0].digest = Some([7; 32]), "table t: its digest is not the recorded one"),
        (|result| result.tables[0].name = "gone".to_owned(), "table gone: there is no such table"),
        (|result| result.user_version = 3, "user version 3 was recorded, 0 is found"),
    ];
    for (change, what) in cases {
        let (world, folder) = (World::new(), TempDir::new().unwrap());
        let mut repository = world.init();
        let report = backup_with(&mut repository, &Liar::new(change), &BackupOptions::new());
        let id = report.snapshot_id.unwrap();
        let checked = repository.check(&CheckOptions::new().probes(RepeatProbes::All), &Silent).unwrap();
        assert_eq!(checked.damage.len(), 1, "{:?}", checked.damage);
        let damage = &checked.damage[0];
        assert_eq!((damage.kind, damage.object.as_str()), ("probe", format!("database /x.db: {what}").as_str()));
        assert_eq!((&damage.snapshots[..], &damage.paths[..]), (&[id][..], &[b"/x.db".to_vec()][..]));
        // An old database stays where the new one is not what it should be.
        fs::write(folder.path().join("x.db"), "old").unwrap();
        let options = RestoreOptions::new().verify(true);
        let restored = repository.restore(id, None, folder.path(), &options, &Silent).unwrap();
        assert_eq!((&restored.files_damaged[..], restored.files_written), (&[b"/x.db".to_vec()][..], 0));
        assert_eq!(restored.warnings.len(), 1);
        assert_eq!((restored.warnings[0].kind, restored.warnings[0].message.as_str()), ("probe", what));
        assert_eq!(fs::read_to_string(folder.path().join("x.db")).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // Nobody asked without --verify.
        let restored = repository.restore(id, None, folder.path(), &RestoreOptions::new(), &Silent).unwrap();
        assert_eq!((restored.files_damaged.len(), restored.files_written), (0, 1));
    }
    let (world, mut seen) = (World::new(), 0);
    let mut repository = world.init();
    let report = backup_with(&mut repository, &Liar::new(|_| seen += 1), &BackupOptions::new());
    assert_eq!(snapshot(&repository, report.snapshot_id.unwrap()).extensions.len(), 1);
    let checked = repository.check(&CheckOptions::new().probes(RepeatProbes::All), &Silent).unwrap();
    assert_eq!((&checked.damage[..], checked.probes_repeated), (&[][..], 1), "an honest answer is no damage");
}

#[test]
fn lost_answers_are_damage_and_hinder_no_restore() {
    let (folder, world) = (TempDir::new().unwrap(), World::new());
    let path = database(&folder, "DELETE");
    let mut repository = world.init();
    let first = backup_with(&mut repository, &Files::new([folder.path().to_owned()]).unwrap(), &BackupOptions::new());
    // Nothing but the answers is new in the second backup, so they have a pack of their own.
    let packs = world.names("meta/");
    let second = probed(&mut repository, &path, "t");
    assert!(first.snapshot_id.is_some() && second.counts.new_chunks <= 3);
    let answers = world.names("meta/").into_iter().find(|name| !packs.contains(name)).unwrap();
    world.storage().delete(&answers).unwrap();
    let mut repository = world.open();
    let checked = repository.check(&CheckOptions::new().probes(RepeatProbes::All), &Silent).unwrap();
    assert!(checked.damage.iter().any(|damage| damage.object == answers), "{:?}", checked.damage);
    let options = RestoreOptions::new().verify(true);
    let target = folder.path().join("out");
    let restored = repository.restore(second.snapshot_id.unwrap(), None, &target, &options, &Silent).unwrap();
    assert!(restored.warnings.iter().any(|warning| warning.kind == "probe"), "{:?}", restored.warnings);
}
