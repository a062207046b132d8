//! `wal push` and `wal fetch`: PostgreSQL's `archive_command` and `restore_command`.
//!
//! PostgreSQL asks whether it worked, and nothing else: so 0 means that the file is committed, or there, and what else was noticed goes to standard error only.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use backup_core::Error;
use backup_core::ops::wal::WalOptions;
use backup_core::words::{printable, size};
use clap::{Args, Subcommand};

use super::problems;
use crate::exit::{Done, Failure};
use crate::render::Output;
use crate::settings::Settings;

/// What is done with the log.
#[derive(Subcommand)]
pub(crate) enum Action {
    Push(Push),
    Fetch(Fetch),
}

/// Stores a WAL file under its name; the same name and bytes again store nothing
#[derive(Args)]
#[command(after_help = "\
Exit code 0 says that the file is committed. Other bytes under a known name are refused with 1.

In postgresql.conf:
    archive_command = 'holdfast wal push %p'")]
pub(crate) struct Push {
    /// The file; its last component must be a name that PostgreSQL makes
    #[arg(value_name = "P")]
    path: PathBuf,
    #[command(flatten)]
    cluster: Cluster,
    /// The class that the file belongs to
    #[arg(long, default_value = "standard")]
    class: String,
}

/// Writes a WAL file that was pushed to P; an unknown name is 1, and nothing is written
#[derive(Args)]
#[command(after_help = "\
In postgresql.conf:
    restore_command = 'holdfast wal fetch --failure-code 200 %f %p'

PostgreSQL takes exit codes 1 to 125 for `there is no such file`, and ends recovery there. With --failure-code above 125
it gives up instead where the storage is out of reach, say, and can be started again.")]
pub(crate) struct Fetch {
    /// The name
    #[arg(value_name = "F")]
    name: OsString,
    /// Where it is written; the directory must be there
    #[arg(value_name = "P")]
    path: PathBuf,
    #[command(flatten)]
    cluster: Cluster,
    /// The exit code of every failure but an unknown name, 1 to 255 [default: as everywhere]
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(u8).range(1..))]
    failure_code: Option<u8>,
}

#[derive(Args)]
struct Cluster {
    /// Keeps the logs of several database clusters in one repository apart
    #[arg(long, value_name = "NAME", default_value = backup_core::repository::wal::WAL_CLUSTER)]
    cluster: String,
}

impl Action {
    /// The command as JSON names it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Action::Push(_) => "wal push",
            Action::Fetch(_) => "wal fetch",
        }
    }

    /// The exit code that every failure shall have, settings that make no sense included.
    pub(crate) fn failure_code(&self) -> Option<u8> {
        match self {
            Action::Push(_) => None,
            Action::Fetch(arguments) => arguments.failure_code,
        }
    }
}

/// Calls `Repository::push_wal` or `Repository::fetch_wal`.
pub(crate) fn run(action: &Action, settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    match action {
        Action::Push(arguments) => push(arguments, settings, output),
        Action::Fetch(arguments) => fetch(arguments, settings, output),
    }
}

fn push(arguments: &Push, settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    let started = Instant::now();
    let mut repository = settings.open()?;
    problems(&repository, settings);
    let options = WalOptions::new().cluster(&arguments.cluster.cluster).class(&arguments.class);
    let screen = settings.screen();
    let report = repository.push_wal(&arguments.path, &options, &screen)?;
    screen.catch_up(&[], &report.notes);
    output.report(&report)?;
    output.field("elapsed_ms", &milliseconds(started))?;
    if settings.global.verbose {
        let what = match report.is_new {
            true => format!("{} as {}", size(report.source_bytes), size(report.stored_bytes)),
            false => "stored already".to_owned(),
        };
        output.line(format_args!("{} in snapshot {}: {what}", report.file.name, report.snapshot_id.short()))?;
    }
    Ok(Done::default())
}

fn fetch(arguments: &Fetch, settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    let started = Instant::now();
    let repository = settings.open()?;
    problems(&repository, settings);
    let options = WalOptions::new().cluster(&arguments.cluster.cluster);
    let screen = settings.screen();
    let name = arguments.name.to_string_lossy();
    let report = repository.fetch_wal(&name, &arguments.path, &options, &screen)?;
    screen.catch_up(&[], &report.notes);
    output.report(&report)?;
    output.field("elapsed_ms", &milliseconds(started))?;
    if report.snapshot_id.is_none() {
        output.fail_with(None);
        let what = format!("no WAL file {} of cluster {}", printable(name.as_bytes()), report.file.cluster);
        return Err(Error::Input { what }.into());
    }
    if settings.global.verbose {
        output.line(format_args!("{}: {}", report.file.name, size(report.restored_bytes)))?;
    }
    Ok(Done::default())
}

fn milliseconds(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}
