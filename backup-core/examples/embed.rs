//! Backs a directory up into a repository beside it, lists what the snapshot holds, and restores one file: `cargo run --example embed -- DIRECTORY REPOSITORY`.

use std::path::PathBuf;

use backup_core::keyring::{Key, KeyFile};
use backup_core::ops::backup::BackupOptions;
use backup_core::progress::{Progress, Warning};
use backup_core::repository::RepositoryOptions;
use backup_core::repository::names::SnapshotFilter;
use backup_core::repository::open::InitOptions;
use backup_core::source::files::Files;
use backup_core::storage::{Storage, StorageOptions};
use backup_core::words::{printable, size};
use backup_core::{Error, Repository};

/// Prints warnings as they come.
struct Terminal;

impl Progress for Terminal {
    fn warning(&self, warning: &Warning) {
        say(&format!("{}: {}", printable(&warning.subject), warning.message));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(directory), Some(place)) = (arguments.next(), arguments.next()) else {
        return Err("usage: embed DIRECTORY REPOSITORY".into());
    };
    let key_path = place.with_extension("key");
    let storage = Storage::from_uri(&place.to_string_lossy(), StorageOptions::new())?;
    let options = RepositoryOptions::new().state_dir(place.with_extension("state"));
    let mut repository = match std::fs::read_to_string(&key_path) {
        Ok(text) => Repository::open(storage, &Key::File(KeyFile::parse(&text)?), options)?,
        Err(_) => {
            let key = KeyFile::generate(&Default::default());
            std::fs::write(&key_path, key.to_text().as_bytes())?;
            Repository::init(storage, &Key::File(key), &InitOptions::new(), options)?
        }
    };
    let source = Files::new([directory])?.exclude("*.tmp").leave_out(&place, "the repository");
    let report = repository.backup(&source, &BackupOptions::new().tag("example"), &Terminal)?;
    say(&format!("stored {} of {}", size(report.counts.stored_bytes), size(report.counts.source_bytes)));

    let snapshot = repository.find_snapshot("latest", &SnapshotFilter::new())?;
    repository.list(snapshot, None, &mut |listed| {
        say(&printable(&listed.path));
        Ok::<(), Error>(())
    })?;
    Ok(())
}

fn say(line: &str) {
    use std::io::Write;
    // Nobody is left to tell where this fails.
    let _ = writeln!(std::io::stdout(), "{line}");
}
