//! Streams and commands, read as a backup reads them.

use super::*;
use crate::error::ErrorKind;
use crate::progress::Warning;

const NOW: Time = Time { seconds: 1_736_000_000, nanoseconds: 7 };

/// Keeps what it is shown.
#[derive(Default)]
struct Kept {
    roots: Vec<Vec<u8>>,
    files: Vec<(Entry, u64, Box<dyn Handle>)>,
}

impl Visitor for Kept {
    fn root(&mut self, path: &[u8]) -> Result<()> {
        self.roots.push(path.to_vec());
        Ok(())
    }

    fn enter(&mut self, _: Entry, _: Owner, _: Box<dyn Handle>) -> Result<()> {
        panic!("a stream has no directories")
    }

    fn leave(&mut self, _: bool) -> Result<()> {
        panic!("a stream has no directories")
    }

    fn file(&mut self, entry: Entry, _: Owner, size_bytes: u64, handle: Box<dyn Handle>) -> Result<()> {
        self.files.push((entry, size_bytes, handle));
        Ok(())
    }

    fn other(&mut self, _: Entry, _: Owner, _: Box<dyn Handle>) -> Result<()> {
        panic!("a stream has files only")
    }

    fn warning(&mut self, warning: Warning) {
        panic!("{warning:?}")
    }

    fn note(&mut self, note: Warning) {
        panic!("{note:?}")
    }
}

fn walked(source: &dyn Source) -> Kept {
    let mut kept = Kept::default();
    source.walk(&mut kept).unwrap();
    kept
}

fn shell(script: &str) -> CommandOutput {
    CommandOutput::new(b"dump", NOW, "sh".into(), vec!["-c".into(), script.into()]).unwrap()
}

fn read_all(kept: &Kept, limit: usize) -> io::Result<Vec<u8>> {
    let mut reader = kept.files[0].2.open()?;
    let mut content = Vec::new();
    loop {
        match reader.read(&mut content, limit)? {
            Stretch::Data(length) => assert!(length <= limit),
            Stretch::Hole(_) => panic!("a stream has no holes"),
            Stretch::Same(_) | Stretch::Again => panic!("streams are read once, and whole"),
            Stretch::End => break,
        }
    }
    assert_eq!(reader.finish()?, Finish { changed: false, mtime: NOW, ctime: NOW });
    Ok(content)
}

/// Gives one byte at a time and fails in the end, if it should.
struct Dripping(Vec<u8>, bool);

impl Read for Dripping {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.pop() {
            Some(byte) => {
                buffer[0] = byte;
                Ok(1)
            }
            None if self.1 => Err(io::Error::new(io::ErrorKind::ConnectionReset, "gone")),
            None => Ok(0),
        }
    }
}

#[test]
fn a_stream_is_one_file_with_all_its_bytes() {
    let stream = Stream::new(b"db/../dump.sql", NOW, Dripping(b"edcba".to_vec(), false)).unwrap();
    assert_eq!(stream.kind(), SourceKind::Stream);
    assert_eq!(stream.roots(), [b"/dump.sql"]);
    let kept = walked(&stream);
    assert_eq!(kept.roots, [b"/dump.sql"]);
    let (entry, size_bytes, _) = &kept.files[0];
    assert_eq!((&entry.name[..], entry.kind, entry.mode), (&b"dump.sql"[..], ENTRY_FILE, 0o600));
    assert_eq!((entry.mtime, entry.ctime, entry.inode, *size_bytes), (NOW, NOW, 0, u64::MAX));
    assert_eq!(entry.uid, rustix::process::getuid().as_raw());
    // The limit is met although the reader gives less at a time.
    let mut reader = kept.files[0].2.open().unwrap();
    let mut buffer = b"x".to_vec();
    assert_eq!(reader.read(&mut buffer, 3).unwrap(), Stretch::Data(3));
    assert!(stream.verify().is_err(), "the end was not seen yet");
    assert_eq!(reader.read(&mut buffer, 3).unwrap(), Stretch::Data(2));
    assert_eq!(reader.read(&mut buffer, 3).unwrap(), Stretch::End);
    assert_eq!(buffer, b"xabcde");
    stream.verify().unwrap();
}

#[test]
fn a_stream_is_read_once_only() {
    let stream = Stream::new(b"x", NOW, io::empty()).unwrap();
    let kept = walked(&stream);
    assert_eq!(read_all(&kept, 8).unwrap(), b"");
    assert!(kept.files[0].2.open().is_err());
    assert_eq!(stream.walk(&mut Kept::default()).unwrap_err().kind(), ErrorKind::Input);
}

#[test]
fn a_name_that_is_no_file_is_refused() {
    for name in [&b""[..], b"/", b".", b"a/..", b"a\0b"] {
        assert_eq!(Stream::new(name, NOW, io::empty()).err().unwrap().kind(), ErrorKind::Usage);
        assert_eq!(CommandOutput::new(name, NOW, "true".into(), Vec::new()).err().unwrap().kind(), ErrorKind::Usage);
    }
}

#[test]
fn a_stream_that_fails_is_not_to_be_kept() {
    let stream = Stream::new(b"x", NOW, Dripping(b"abc".to_vec(), true)).unwrap();
    assert_eq!(read_all(&walked(&stream), 2).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    let error = stream.verify().unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Input, "cannot read /x".to_owned()));
}

#[test]
fn what_a_command_writes_is_the_content() {
    let command = shell("printf a; printf bc");
    assert_eq!(read_all(&walked(&command), 2).unwrap(), b"abc");
    command.verify().unwrap();
}

#[test]
fn a_command_that_fails_after_all_its_output_is_noticed() {
    let command = shell("echo fine; exit 3");
    assert_eq!(read_all(&walked(&command), 100).unwrap(), b"fine\n");
    assert_eq!(command.verify().unwrap_err().to_string(), "the command failed: exit status 3");
    let command = shell("kill -9 $$");
    read_all(&walked(&command), 100).unwrap();
    assert_eq!(command.verify().unwrap_err().to_string(), "the command failed: signal 9");
}

#[test]
fn a_command_that_is_not_there_stops_the_walk() {
    let command = CommandOutput::new(b"x", NOW, "/nonexistent/program".into(), Vec::new()).unwrap();
    let error = command.walk(&mut Kept::default()).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Input, "cannot start /nonexistent/program".to_owned()));
}

#[test]
fn a_command_whose_reader_is_dropped_is_killed_and_reaped() {
    let command = shell("echo $$; exec sleep 1000");
    let kept = walked(&command);
    let mut reader = kept.files[0].2.open().unwrap();
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        assert_eq!(reader.read(&mut line, 1).unwrap(), Stretch::Data(1));
    }
    let number: i32 = std::str::from_utf8(&line).unwrap().trim().parse().unwrap();
    let process = rustix::process::Pid::from_raw(number).unwrap();
    rustix::process::test_kill_process(process).unwrap();
    drop(reader);
    assert_eq!(rustix::process::test_kill_process(process), Err(rustix::io::Errno::SRCH));
    assert!(command.verify().is_err());
}
