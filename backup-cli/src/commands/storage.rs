//! `storage test`: which promises hold on a storage, in words.

use backup_core::storage::conformance::{ConformanceOptions, ConformanceReport, Promise, run as try_storage};
use backup_core::words::{count, printable};
use clap::Subcommand;

use crate::exit::{Done, Failure, unless_unread};
use crate::render::{Output, say};
use crate::settings::Settings;

/// What is done with a storage.
#[derive(Subcommand)]
pub(crate) enum Action {
    /// Writes, reads, lists and deletes below a prefix of its own, and says which promises hold there
    ///
    /// Exits with 4 where a promise does not hold that a repository relies on. What it wrote is removed again.
    #[command(after_help = "\
Examples:
    holdfast storage test /mnt/nas
    holdfast storage test 's3://bucket/prefix?region=eu-central-1'
    holdfast storage test 'sftp://me@host/backup' --large 256")]
    Test {
        /// A path, or a URI as for --repo; there need be no repository, and one that is there is left alone
        uri: String,
        /// MiB of the largest object that is tried
        #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=4096))]
        large: u64,
    },
}

impl Action {
    /// The command as JSON names it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Action::Test { .. } => "storage test",
        }
    }
}

/// Calls the suite.
pub(crate) fn run(action: &Action, settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    let Action::Test { uri, large } = action;
    let storage = settings.storage_at(uri)?.with_cancel(settings.cancel());
    let report = try_storage(&storage, &ConformanceOptions::new().large_bytes(large << 20))?;
    unless_unread(render(&storage.display(), &report, settings, output))?;
    for name in &report.left_behind {
        say(&format!("could not be removed: {}", printable(name.as_bytes())));
    }
    Ok(Done { is_damaged: report.is_broken(), ..Done::default() })
}

fn render(uri: &str, report: &ConformanceReport, settings: &Settings, output: &mut Output) -> Result<(), Failure> {
    output.field("uri", uri)?;
    output.report(report)?;
    let is_wanted = |promise: &&Promise| !settings.global.quiet || is_broken(promise);
    for promise in report.promises.iter().filter(is_wanted) {
        output.line(format_args!("{:<8}  {}", mark(promise), promise.words))?;
        if let Some(detail) = &promise.detail {
            output.line(format_args!("          {}", printable(detail.as_bytes())))?;
        }
        if promise.holds == Some(false) {
            output.line(format_args!("          That means: {}", promise.meaning))?;
        }
    }
    let conclusion = match report.promises.iter().filter(|promise| is_broken(promise)).count() as u64 {
        0 => "a repository can be kept here".to_owned(),
        broken => format!("no repository should be kept here: {}", count(broken, "broken promise")),
    };
    if settings.global.quiet {
        return Ok(());
    }
    let uri = printable(uri.as_bytes());
    output.line(format_args!("{uri}: {conclusion} ({})", count(report.requests, "request")))
}

fn is_broken(promise: &Promise) -> bool {
    promise.required && promise.holds == Some(false)
}

/// How a promise is marked: only what is relied on can be broken.
fn mark(promise: &Promise) -> &'static str {
    match (promise.holds, promise.required) {
        (Some(true), _) => "holds",
        (Some(false), true) => "BROKEN",
        (Some(false), false) => "not here",
        (None, _) => "unknown",
    }
}
