//! `diff`: what differs between two snapshots.

use std::ffi::OsString;

use backup_core::ops::diff::{Change, Difference};
use backup_core::words::printable;
use clap::Args;
use serde::Serialize;

use super::{Target, problems, visit};
use crate::args::Filters;
use crate::exit::{Done, Failure, usage};
use crate::render::{JsonPath, Output};
use crate::settings::Settings;

/// Lists what differs between two snapshots
#[derive(Args)]
#[command(after_help = "\
Signs:
    +  only in B      M  other content       T  of another kind
    -  only in A      m  other metadata

Example:
    holdfast diff @2025-01-05T14:30:00Z latest")]
pub(crate) struct Arguments {
    /// The older one
    a: OsString,
    /// The newer one
    b: OsString,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    path: JsonPath,
    change: Change,
}

/// Calls `Repository::diff`.
pub(crate) fn run(arguments: &Arguments, settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    let (a, b) = (Target::parse(&arguments.a)?, Target::parse(&arguments.b)?);
    if a.path.is_some() || b.path.is_some() {
        return Err(usage("whole snapshots are compared, without a path"));
    }
    let repository = settings.open()?;
    let warnings = problems(&repository, settings);
    let (a, b) = (a.find(&repository, &arguments.filters)?, b.find(&repository, &arguments.filters)?);
    output.begin_list("changes")?;
    visit(
        settings,
        |Difference { path, change }: Difference| match output.is_json() {
            true => output.item(&Row { path: JsonPath::new(&path), change }),
            false => output.line(format_args!("{} {}", sign(change), printable(&path))),
        },
        |each| repository.diff(a, b, each),
    )?;
    output.end_list()?;
    Ok(Done::with(warnings))
}

fn sign(change: Change) -> char {
    match change {
        Change::Added => '+',
        Change::Removed => '-',
        Change::Content => 'M',
        Change::Metadata => 'm',
        Change::Kind => 'T',
    }
}
