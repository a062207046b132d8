//! `restore`: writes what a snapshot holds.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Instant;

use backup_core::Error;
use backup_core::ops::restore::{Overwrite, RestoreOptions, RestoreReport};
use backup_core::words::{count, printable, size};
use clap::{Args, ValueEnum};

use super::{Target, globs, problems};
use crate::args::Filters;
use crate::exit::{Done, Failure, unless_unread};
use crate::render::{Output, all_exact, all_lossy};
use crate::settings::Settings;

/// Restores a snapshot, or a part of it
#[derive(Args)]
#[command(after_help = "\
A whole snapshot goes to TARGET/<absolute path>, the content of a directory into TARGET, a file to TARGET/<name>, or
to TARGET itself where that is no directory.

Examples:
    holdfast restore latest /tmp/restored
    holdfast restore latest:/home/me/documents ~/documents --delete
    holdfast restore latest:/etc/fstab /etc/fstab
    holdfast restore @2026-11-20T18:00:00Z:/srv/shop.db /srv/shop.db --verify --keep-old

A database takes the place of the one that is there in one step. One that somebody has open is left as it is; the rest
is restored, and the exit code is 1.

JSON: snapshot_id, files_written, files_unchanged, restored_bytes, deleted, elapsed_ms; files_damaged: [path] for what the
repository has lost or --verify found to differ, files_refused: [path] for databases that somebody has open. Warnings of the
kind `probe` say which table differs, and how.")]
pub(crate) struct Arguments {
    /// A unique prefix of an id, `latest`, or `@TIME`; and a path inside
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    source: OsString,
    /// Where to; made if it is not there
    target: PathBuf,
    /// Restores only what fits; may be repeated
    #[arg(long, value_name = "GLOB")]
    include: Vec<OsString>,
    /// Leaves out what fits; may be repeated
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<OsString>,
    /// Deletes from restored directories what the snapshot does not hold
    #[arg(long)]
    delete: bool,
    /// Says what would be done, and writes nothing
    #[arg(long)]
    dry_run: bool,
    /// Reads back and compares what was written, and repeats the probes of databases
    #[arg(long)]
    verify: bool,
    /// Keeps a database that is replaced, as NAME.before-TIME
    #[arg(long)]
    keep_old: bool,
    /// What happens to files that are there
    #[arg(long, value_enum, default_value_t = Existing::Always)]
    overwrite: Existing,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Clone, Copy, ValueEnum)]
enum Existing {
    /// Compare contents, rewrite what differs
    Always,
    /// Trust equal size and time
    IfChanged,
    /// Leave them alone
    Never,
}

/// Calls `Repository::restore`.
pub(crate) fn run(arguments: &Arguments, settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    let started = Instant::now();
    let source = Target::parse(&arguments.source)?;
    let options = arguments.options()?;
    let mut repository = settings.open()?;
    let mut warnings = problems(&repository, settings);
    let id = source.find(&repository, &arguments.filters)?.id;
    let screen = settings.screen();
    let report = repository.restore(id, source.path.as_deref(), &arguments.target, &options, &screen)?;
    screen.catch_up(&report.warnings, &report.notes);
    drop(screen);
    let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    unless_unread(render(&report, arguments, settings, output))?;
    output.field("snapshot_id", &id)?;
    output.field("elapsed_ms", &elapsed_ms)?;
    warnings.extend(report.warnings);
    let in_use = |path: &Vec<u8>| Failure::Library(Error::InUse { path: OsStr::from_bytes(path).into() });
    let failure = report.files_refused.first().map(in_use);
    Ok(Done { warnings, is_damaged: !report.files_damaged.is_empty(), failure })
}

impl Arguments {
    fn options(&self) -> Result<RestoreOptions, Failure> {
        let overwrite = match self.overwrite {
            Existing::Always => Overwrite::Always,
            Existing::IfChanged => Overwrite::IfChanged,
            Existing::Never => Overwrite::Never,
        };
        let mut options =
            RestoreOptions::new().delete(self.delete).dry_run(self.dry_run).verify(self.verify).overwrite(overwrite);
        options = options.keep_old(self.keep_old);
        for glob in globs(&self.include)? {
            options = options.include(glob);
        }
        for glob in globs(&self.exclude)? {
            options = options.exclude(glob);
        }
        Ok(options)
    }
}

fn render(
    report: &RestoreReport,
    arguments: &Arguments,
    settings: &Settings,
    output: &mut Output,
) -> Result<(), Failure> {
    output.field("files_written", &report.files_written)?;
    output.field("files_unchanged", &report.files_unchanged)?;
    output.field("restored_bytes", &report.restored_bytes)?;
    output.field("deleted", &report.deleted)?;
    output.field("files_damaged", &all_lossy(&report.files_damaged))?;
    if let Some(exact) = all_exact(&report.files_damaged) {
        output.field("files_damaged_base64", &exact)?;
    }
    output.field("files_refused", &all_lossy(&report.files_refused))?;
    if let Some(exact) = all_exact(&report.files_refused) {
        output.field("files_refused_base64", &exact)?;
    }
    for path in &report.files_refused {
        output.line(format_args!("in use, not restored: {}", printable(path)))?;
    }
    for path in &report.files_damaged {
        output.line(format_args!("damaged, not restored: {}", printable(path)))?;
    }
    if settings.global.quiet {
        return Ok(());
    }
    let verb = if arguments.dry_run { "would write" } else { "wrote" };
    output.line(format_args!(
        "{verb} {}, {}; {} unchanged, {} deleted",
        count(report.files_written, "file"),
        size(report.restored_bytes),
        report.files_unchanged,
        report.deleted,
    ))
}
