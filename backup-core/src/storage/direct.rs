//! Writes long objects past the page cache: they are read again rarely, and then ranges of them; what other programs have in the cache stays there, and nothing is copied by the kernel.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::local::{is_absence, is_unsupported};

/// Objects from this length on are written so. Short ones are read again soon: by the next backup, for a base, or by the next opening.
const OBJECT_BYTES_MIN: u64 = 4 << 20;
/// What memory, offsets and lengths are aligned to; no device in use asks for more.
const BLOCK_BYTES: usize = 4096;
/// Bytes that are handed over at a time.
const STAGE_BYTES: usize = 1 << 20;

#[cfg(target_os = "linux")]
const FLAGS: OFlags = OFlags::DIRECT;
#[cfg(not(target_os = "linux"))]
const FLAGS: OFlags = OFlags::empty();

/// Creates a file that must not be there, with parts one after the other; nothing is synced. File systems that cannot do without the page cache use it.
pub(super) fn write_new(path: &Path, parts: &[Vec<u8>]) -> io::Result<File> {
    let length: u64 = parts.iter().map(|part| part.len() as u64).sum();
    if length >= OBJECT_BYTES_MIN && !FLAGS.is_empty() {
        match open_new(path, FLAGS) {
            Ok(file) => match write_staged(&file, parts) {
                Err(error) if is_unsupported(&error) => return rewrite(file, parts),
                result => return result.map(|()| file),
            },
            // Some file systems have made the file by then.
            Err(error) if is_unsupported(&error) => match std::fs::remove_file(path) {
                Err(error) if !is_absence(&error) => return Err(error),
                _ => {}
            },
            Err(error) => return Err(error),
        }
    }
    write_all(open_new(path, OFlags::empty())?, parts)
}

fn open_new(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    File::options().write(true).create_new(true).mode(0o600).custom_flags(flags).open(path)
}

/// Writes whole blocks from aligned memory, and the rest through the page cache.
fn write_staged(mut file: &File, parts: &[Vec<u8>]) -> io::Result<()> {
    let mut memory = vec![0; STAGE_BYTES + BLOCK_BYTES];
    let start = memory.as_ptr().align_offset(BLOCK_BYTES);
    let stage = &mut memory[start..][..STAGE_BYTES];
    let mut filled = 0;
    for part in parts {
        let mut rest = &part[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(STAGE_BYTES - filled));
            stage[filled..][..now.len()].copy_from_slice(now);
            filled += now.len();
            rest = later;
            if filled == STAGE_BYTES {
                file.write_all(stage)?;
                filled = 0;
            }
        }
    }
    let (blocks, rest) = stage[..filled].split_at(filled / BLOCK_BYTES * BLOCK_BYTES);
    file.write_all(blocks)?;
    stop(file)?;
    file.write_all(rest)
}

/// Writes everything once more, through the page cache.
fn rewrite(mut file: File, parts: &[Vec<u8>]) -> io::Result<File> {
    stop(&file)?;
    file.set_len(0)?;
    file.rewind()?;
    write_all(file, parts)
}

/// Goes on through the page cache.
fn stop(file: &File) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(file)?;
    Ok(rustix::fs::fcntl_setfl(file, flags - FLAGS)?)
}

fn write_all(mut file: File, parts: &[Vec<u8>]) -> io::Result<File> {
    for part in parts {
        file.write_all(part)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(lengths: &[usize]) -> Vec<Vec<u8>> {
        let part = |(number, &length): (usize, &usize)| (0..length).map(|at| (at / 7 + number) as u8).collect();
        lengths.iter().enumerate().map(part).collect()
    }

    #[test]
    fn what_is_written_is_read_whatever_its_length() {
        let directory = tempfile::tempdir().unwrap();
        let long = OBJECT_BYTES_MIN as usize;
        let lengths: [&[usize]; 6] = [&[], &[10], &[long], &[40, long - 41, 7], &[1, STAGE_BYTES, long], &[long, 4095]];
        for (number, lengths) in lengths.iter().enumerate() {
            let (path, parts) = (directory.path().join(number.to_string()), parts(lengths));
            write_new(&path, &parts).unwrap().sync_data().unwrap();
            assert!(std::fs::read(&path).unwrap() == parts.concat(), "{lengths:?}");
            assert_eq!(write_new(&path, &parts).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        }
    }

    #[test]
    fn what_was_begun_past_the_page_cache_is_written_anew_through_it() {
        let directory = tempfile::tempdir().unwrap();
        let parts = parts(&[100, OBJECT_BYTES_MIN as usize, 5]);
        let path = directory.path().join("object");
        let mut file = write_new(&path, &parts[1..]).unwrap();
        file.write_all(b"more than there will be").unwrap();
        rewrite(file, &parts).unwrap();
        assert!(std::fs::read(&path).unwrap() == parts.concat());
    }
}
