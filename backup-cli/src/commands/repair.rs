//! `repair`: makes anew what can be made anew, and names what is lost.

use backup_core::ops::repair::RepairReport;
use backup_core::words::{count, printable};
use clap::Subcommand;
use serde::Serialize;

use super::problems;
use crate::exit::{Done, Failure};
use crate::render::{Output, all_exact, all_lossy};
use crate::settings::Settings;

/// What is repaired.
#[derive(Subcommand)]
pub(crate) enum Action {
    /// Rebuilds the index from the packs and the ledger
    Index,
    /// Writes new snapshots without what is lost, and names it
    Snapshots,
}

impl Action {
    /// The command as JSON names it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Action::Index => "repair index",
            Action::Snapshots => "repair snapshots",
        }
    }
}

#[derive(Serialize)]
struct Row {
    old: String,
    new: Option<String>,
    lost_paths: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_paths_base64: Option<Vec<String>>,
}

/// Calls `Repository::repair_index` or `Repository::repair_snapshots`.
pub(crate) fn run(action: &Action, settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    let mut repository = settings.open()?;
    let mut warnings = problems(&repository, settings);
    let screen = settings.screen();
    let report = match action {
        Action::Index => repository.repair_index(&screen)?,
        Action::Snapshots => repository.repair_snapshots(&screen)?,
    };
    screen.catch_up(&report.warnings, &[]);
    drop(screen);
    output.field("segments_written", &report.segments_written)?;
    output.field("segments_removed", &report.segments_removed)?;
    output.begin_list("snapshots")?;
    for repaired in &report.snapshots {
        output.item(&Row {
            old: repaired.old.to_string(),
            new: repaired.new.map(|id| id.to_string()),
            lost_paths: all_lossy(&repaired.lost_paths),
            lost_paths_base64: all_exact(&repaired.lost_paths),
        })?;
    }
    output.end_list()?;
    explain(action, &report, settings, output)?;
    warnings.extend(report.warnings);
    Ok(Done::with(warnings))
}

fn explain(action: &Action, report: &RepairReport, settings: &Settings, output: &mut Output) -> Result<(), Failure> {
    for repaired in &report.snapshots {
        match &repaired.new {
            Some(new) => output.line(format_args!("snapshot {}: now {}", repaired.old.short(), new.short()))?,
            None => output.line(format_args!("snapshot {}: nothing of it is left", repaired.old.short()))?,
        }
        for path in &repaired.lost_paths {
            output.line(format_args!("  lost: {}", printable(path)))?;
        }
    }
    if settings.global.quiet {
        return Ok(());
    }
    match action {
        Action::Index => {
            let written = count(report.segments_written, "index segment");
            output.line(format_args!("{written} written, {} removed", report.segments_removed))
        }
        Action::Snapshots => output.line(format_args!("{} repaired", count(report.snapshots.len() as u64, "snapshot"))),
    }
}
