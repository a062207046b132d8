//! `watch`: follows live databases until it is told to stop.
//!
//! Every event is a line, and in a document an item of the list `events`, written out at once: a program can read it line by line while it grows.

use std::path::PathBuf;

use backup_core::ops::watch::{Happened, WatchEvent, WatchOptions, WatchReport};
use backup_core::progress::{Progress, Warning};
use backup_core::source::sqlite::probe::ProbeRequest;
use backup_core::words::{count, printable, size};
use clap::Args;
use serde::Serialize;

use super::{level, problems};
use crate::exit::{Done, Failure};
use crate::progress::Screen;
use crate::render::{JsonPath, Output, say};
use crate::settings::Settings;

/// Follows live SQLite databases, and makes a snapshot of one whenever it changed
#[derive(Args)]
#[command(after_help = "\
Each snapshot is an ordinary one of the database's path, and costs what changed, not what there is. What changed is
told by the database's write-ahead log; one without a log is read and compared whole.

It goes on until it is stopped, which is exit code 130; a signal loses at most what changed since the last snapshot. While
the storage cannot be reached, changes are collected and stored later.

Examples:
    holdfast watch /srv/shop.db --every 5s
    holdfast watch /srv/a.db /srv/b.db --every 1s --max-lag 1m

JSON: one document with a list `events`, one item a line as it happens: `committed`, `waiting` or `unreachable`.")]
pub(crate) struct Arguments {
    /// Databases
    #[arg(value_name = "DB", required = true)]
    databases: Vec<PathBuf>,
    /// The interval, such as 500ms, 5s, 2m or 1h
    #[arg(long, value_name = "D", default_value = "5s", value_parser = milliseconds)]
    every: u64,
    /// How old the oldest change may get before it is stored: changes are collected that long, and stored together [default: the interval]
    #[arg(long, value_name = "D", value_parser = milliseconds)]
    max_lag: Option<u64>,
    /// Ends after this time, once all is stored [default: it goes on]
    #[arg(long = "for", value_name = "D", value_parser = milliseconds)]
    duration: Option<u64>,
    /// The class that the snapshots belong to
    #[arg(long, default_value = "standard")]
    class: String,
    /// Adds a tag; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// How much to compress: fastest, default, better, max, or zstd's level, 1 to 19 [default: 3]
    #[arg(long, value_name = "LEVEL", allow_negative_numbers = true, value_parser = level)]
    level: Option<i32>,
    /// What must be true of a database, as in `backup`; may be repeated
    #[arg(long = "probe", value_name = "DB:TABLE[=digest],...[,@quick|@full]")]
    probes: Vec<String>,
}

/// Calls `Repository::watch`.
pub(crate) fn run(arguments: &Arguments, settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    let mut repository = settings.open_or_make_own()?;
    let mut warnings = problems(&repository, settings);
    let options = arguments.options()?;
    let news = News(settings.screen());
    let mut failed = None;
    output.begin_list("events")?;
    let watched = repository.watch(
        &arguments.databases,
        &options,
        &mut |event| {
            show(event, settings, output).map_err(|failure| {
                failed = Some(failure);
                backup_core::Error::Interrupted
            })
        },
        &news,
    );
    if let Some(failure) = failed {
        return Err(failure);
    }
    let report = watched?;
    output.end_list()?;
    output.report(&report)?;
    news.0.catch_up(&report.warnings, &[]);
    if !settings.global.quiet {
        summary(&report, output)?;
    }
    warnings.extend(report.warnings);
    Ok(Done::with(warnings))
}

impl Arguments {
    fn options(&self) -> Result<WatchOptions, Failure> {
        let mut options = WatchOptions::new().every_ms(self.every).class(&self.class);
        for tag in &self.tags {
            options = options.tag(tag);
        }
        if let Some(lag) = self.max_lag {
            options = options.max_lag_ms(lag);
        }
        if let Some(duration) = self.duration {
            options = options.duration_ms(duration);
        }
        if let Some(level) = self.level {
            options = options.level(level);
        }
        let current = crate::settings::absolute(std::path::Path::new("."));
        for probe in &self.probes {
            options = options.probe(ProbeRequest::parse(probe.as_bytes(), &current)?);
        }
        Ok(options)
    }
}

/// An event in a document.
#[derive(Serialize)]
struct JsonEvent<'a> {
    #[serde(flatten)]
    path: JsonPath,
    #[serde(flatten)]
    event: &'a WatchEvent,
}

fn show(event: &WatchEvent, settings: &Settings, output: &mut Output) -> Result<(), Failure> {
    output.item(&JsonEvent { path: JsonPath::new(&event.path), event })?;
    let path = printable(&event.path);
    let lag = seconds(event.lag_ms);
    match &event.what {
        Happened::Committed { .. } if settings.global.quiet => {}
        Happened::Committed { snapshot_id, whole, changed_pages, stored_bytes, elapsed_ms, .. } => {
            let what = match (whole, changed_pages) {
                (Some(doubt), _) => format!("all of it was read, as {}", doubt.message()),
                (None, pages) => count(pages.unwrap_or(0), "page"),
            };
            let (stored, took) = (size(*stored_bytes), seconds(*elapsed_ms));
            let id = snapshot_id.short();
            output.line(format_args!("{path}: snapshot {id}, {what}; {stored} stored in {took}, {lag} behind"))?;
        }
        Happened::Waiting { message } => {
            say(&format!("waiting: {path}: {}; {lag} behind", printable(message.as_bytes())));
        }
        Happened::Unreachable { message, retry_ms } => {
            let (message, retry) = (printable(message.as_bytes()), seconds(*retry_ms));
            say(&format!("waiting: {message}; tried again in {retry}, {lag} behind"));
        }
        _ => {}
    }
    output.flush()
}

fn summary(report: &WatchReport, output: &mut Output) -> Result<(), Failure> {
    let (snapshots, stored) = (count(report.snapshots, "snapshot"), size(report.stored_bytes));
    let lag = seconds(report.lag_ms_max);
    output.line(format_args!("{snapshots}, {stored} stored, at most {lag} behind"))
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)
}

/// Parses a time such as 500ms, 5s, 2m or 1h into milliseconds.
fn milliseconds(typed: &str) -> Result<u64, String> {
    let wrong = || "it is a number with ms, s, m or h behind it".to_owned();
    let digits = typed.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = typed.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(wrong)
}

/// Shows what must be seen, and no bar: there is no end to be seen coming.
struct News(Screen);

impl Progress for News {
    fn warning(&self, warning: &Warning) {
        self.0.warning(warning);
    }

    fn note(&self, note: &Warning) {
        self.0.note(note);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_parsed_with_their_units() {
        let parsed = ["500ms", "5s", "2m", "1h", "0s"].map(|typed| milliseconds(typed).ok());
        assert_eq!(parsed, [Some(500), Some(5000), Some(120_000), Some(3_600_000), Some(0)]);
        for wrong in ["", "5", "s", "5 s", "-5s", "1.5s", "5d", "99999999999999999999s", "9999999999999999999h"] {
            assert!(milliseconds(wrong).is_err(), "{wrong}");
        }
    }
}
