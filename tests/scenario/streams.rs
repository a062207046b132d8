//! Standard input and the output of commands.

use std::ffi::OsString;
use std::io::{self, Cursor, Read};

use backup_core::ops::backup::BackupOptions;
use backup_core::progress::Silent;
use backup_core::source::stream::{CommandOutput, Stream};
use backup_core::time::Time;
use backup_core::{Error, ErrorKind};

use crate::kit::noise;
use crate::kit::world::{World, backup, check_clean, dump, made};

const NOW: Time = Time { seconds: 1_700_000_000, nanoseconds: 0 };

fn shell(script: &str) -> CommandOutput {
    let arguments = ["-c", script].map(OsString::from).to_vec();
    CommandOutput::new(b"dump.sql", NOW, "/bin/sh".into(), arguments).unwrap()
}

#[test]
fn a_stream_becomes_one_file_and_comes_back() {
    for length in [0, 10, 5 << 20] {
        let mut repository = World::new().init();
        let content = noise(length as u64, length);
        let stream = Stream::new(b"databases/dump.sql", NOW, Cursor::new(content.clone())).unwrap();
        let report = backup(&mut repository, &stream);
        assert_eq!(report.counts.source_bytes, length as u64);
        let snapshot = made(&repository, &report);
        assert_eq!(dump(&repository, &snapshot, b"/databases/dump.sql"), content);
        check_clean(&mut repository);
    }
}

#[test]
fn the_second_stream_stores_only_what_differs() {
    let mut repository = World::new().init();
    let mut content = noise(7, 8 << 20);
    let stream = |content: &[u8]| Stream::new(b"dump", NOW, Cursor::new(content.to_vec())).unwrap();
    backup(&mut repository, &stream(&content));
    content.splice(3_000_000..3_000_010, *b"inserted in the middle");
    let report = backup(&mut repository, &stream(&content));
    assert!(report.counts.new_chunk_bytes < 1 << 20, "{:?}", report.counts);
    assert_eq!(dump(&repository, &made(&repository, &report), b"/dump"), content);
}

#[test]
fn a_stream_that_fails_leaves_no_snapshot() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    let world = World::new();
    let mut repository = world.init();
    let stream = Stream::new(b"dump", NOW, Cursor::new(vec![1; 100]).chain(Failing)).unwrap();
    let error = repository.backup(&stream, &BackupOptions::new(), &Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(repository.snapshots().is_empty() && world.open().snapshots().is_empty());
}

#[test]
fn what_a_command_writes_is_archived_with_its_end() {
    let mut repository = World::new().init();
    let report = backup(&mut repository, &shell("printf one; sleep 0; printf two"));
    assert_eq!(dump(&repository, &made(&repository, &report), b"/dump.sql"), b"onetwo");
}

#[test]
fn a_command_that_fails_leaves_no_snapshot() {
    let world = World::new();
    let mut repository = world.init();
    for script in ["printf half; exit 3", "printf half; kill -9 $$", "exit 1"] {
        let error = repository.backup(&shell(script), &BackupOptions::new(), &Silent).unwrap_err();
        assert!(matches!(error, Error::Input { .. }), "{error:?}");
    }
    let missing = CommandOutput::new(b"dump", NOW, "/no/such/program".into(), Vec::new()).unwrap();
    assert_eq!(repository.backup(&missing, &BackupOptions::new(), &Silent).unwrap_err().kind(), ErrorKind::Input);
    assert!(repository.snapshots().is_empty() && world.open().snapshots().is_empty());
    backup(&mut repository, &shell("printf whole"));
    assert_eq!(world.open().snapshots().len(), 1);
}
