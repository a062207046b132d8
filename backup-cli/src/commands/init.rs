//! `init`: makes a repository.

use std::path::PathBuf;

use backup_core::repository::open::InitOptions;
use backup_core::words::printable;
use clap::Args;

use crate::exit::{Done, Failure};
use crate::keys::NewKeyFile;
use crate::render::{Output, lossy};
use crate::settings::{Settings, key_heading};

/// Makes a new repository
#[derive(Args)]
#[command(after_help = "\
The key is a passphrase, asked for twice where none is given, or a key file, which is drawn where it does not exist yet.

Examples:
    holdfast -r /srv/backup init --recovery-sheet sheet.txt
    holdfast -r /srv/backup --key-file ~/backup.key init")]
pub(crate) struct Arguments {
    /// Writes a further key, to be printed and kept safe; it is taken wherever a key file is
    #[arg(long, value_name = "FILE")]
    recovery_sheet: Option<PathBuf>,
    /// Names the first key slot; this is not secret
    #[arg(long, default_value = "first")]
    label: String,
}

/// Calls `Repository::init`.
pub(crate) fn run(arguments: &Arguments, settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    let storage = settings.storage()?;
    let mut init = InitOptions::new().label(&arguments.label);
    let heading =
        format!("Recovery sheet: print it, and keep it where nobody else comes.\n{}", key_heading(&storage.display()));
    let sheet = match &arguments.recovery_sheet {
        Some(path) => Some(NewKeyFile::create(path, &heading)?),
        None => None,
    };
    if let Some(sheet) = &sheet {
        init = init.further_key(sheet.key(), "recovery sheet");
    }
    let repository = settings.make(storage, init)?;
    if let Some(sheet) = sheet {
        sheet.keep();
    }
    output.field("repository_id", &repository.id())?;
    output.field("repository", &repository.storage().display())?;
    output.field("key_file", &settings.key().file().map(|file| file.to_string_lossy()))?;
    output.field("recovery_sheet", &arguments.recovery_sheet.as_ref().map(|path| path.to_string_lossy()))?;
    if !settings.global.quiet {
        output.line(format_args!(
            "made repository {} at {}",
            repository.id().short(),
            repository.storage().display()
        ))?;
        let shown = |path: &PathBuf| printable(lossy(path.as_os_str().as_encoded_bytes()).as_bytes());
        if let Some(sheet) = &arguments.recovery_sheet {
            output.line(format_args!("the recovery sheet is {}: keep it safe, and away from here", shown(sheet)))?;
        }
        output.line("without a key nothing in it can be restored: keep a copy somewhere else")?;
    }
    Ok(Done::default())
}
