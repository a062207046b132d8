//! `key`: who can open the repository.

use std::path::PathBuf;

use backup_core::PasswordCost;
use backup_core::environment::Environment;
use backup_core::words::printable;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::problems;
use crate::exit::{Done, Failure};
use crate::keys::{KeySource, NewKeyFile};
use crate::render::entry::local_time;
use crate::render::{Output, table};
use crate::settings::{Settings, key_heading};

/// What is done with key slots.
#[derive(Subcommand)]
pub(crate) enum Action {
    Add(Add),
    /// Lists the key slots
    List,
    /// Removes a key slot; never the last one
    Remove {
        /// A unique prefix of the slot's id
        id: String,
    },
}

/// Adds a key: a passphrase, asked for twice unless it is given, or a fresh key file
#[derive(Args)]
pub(crate) struct Add {
    /// A file with the new passphrase; one newline at its end is dropped
    #[arg(long, value_name = "FILE", conflicts_with_all = ["new_password_command", "new_key_file"])]
    new_password_file: Option<PathBuf>,
    /// A shell command that prints the new passphrase
    #[arg(long, value_name = "COMMAND", conflicts_with = "new_key_file")]
    new_password_command: Option<String>,
    /// Writes a fresh key file there; nothing is overwritten
    #[arg(long, value_name = "FILE")]
    new_key_file: Option<PathBuf>,
    /// Names the slot; this is not secret
    #[arg(long, default_value = "")]
    label: String,
}

impl Action {
    /// The command as JSON names it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Action::Add(_) => "key add",
            Action::List => "key list",
            Action::Remove { .. } => "key remove",
        }
    }
}

/// Calls `Repository::add_key`, `Repository::slots` or `Repository::remove_key`.
pub(crate) fn run(action: &Action, settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    match action {
        Action::Add(arguments) => add(arguments, settings, output),
        Action::List => list(settings, output),
        Action::Remove { id } => {
            let mut repository = settings.open()?;
            let warnings = problems(&repository, settings);
            let id = repository.remove_key(id)?;
            output.field("slot_id", &id)?;
            output.line(format_args!("removed key slot {}", id.short()))?;
            Ok(Done::with(warnings))
        }
    }
}

fn add(arguments: &Add, settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    let mut repository = settings.open()?;
    let warnings = problems(&repository, settings);
    let drawn = match &arguments.new_key_file {
        Some(path) => Some(NewKeyFile::create(path, &key_heading(&repository.storage().display()))?),
        None => None,
    };
    let key = match (&drawn, &arguments.new_password_file, &arguments.new_password_command) {
        (Some(drawn), ..) => drawn.key(),
        (None, Some(file), _) => KeySource::PasswordFile(file.clone()).get(true)?,
        (None, None, Some(command)) => KeySource::PasswordCommand(command.clone()).get(true)?,
        (None, None, None) => KeySource::Prompt.get(true)?,
    };
    let id = repository.add_key(&key, &arguments.label, PasswordCost::default())?;
    if let Some(drawn) = drawn {
        drawn.keep();
    }
    output.field("slot_id", &id)?;
    output.line(format_args!("added key slot {}", id.short()))?;
    Ok(Done::with(warnings))
}

#[derive(Serialize)]
struct Row<'a> {
    id: String,
    holder: &'a str,
    label: &'a str,
    created: String,
}

fn list(settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    let repository = settings.open()?;
    let warnings = problems(&repository, settings);
    let slots = repository.slots()?;
    output.begin_list("slots")?;
    for slot in &slots {
        let created = slot.created.to_rfc3339(0);
        output.item(&Row { id: slot.id.to_string(), holder: slot.holder, label: &slot.label, created })?;
    }
    output.end_list()?;
    let environment = Environment::default();
    let cells = slots.iter().map(|slot| {
        let created = local_time(slot.created, &environment);
        [slot.id.short(), slot.holder.to_owned(), created, printable(slot.label.as_bytes())]
    });
    for line in table::lines(["ID", "HOLDER", "CREATED", "LABEL"], &cells.collect::<Vec<_>>()) {
        output.line(line)?;
    }
    Ok(Done::with(warnings))
}
