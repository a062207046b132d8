//! `stats`: sizes.

use backup_core::words::size;
use clap::Args;
use serde_json::Value;

use super::problems;
use crate::exit::{Done, Failure};
use crate::render::{Output, fields, table};
use crate::settings::Settings;

/// Prints how much is in the repository
#[derive(Args)]
pub(crate) struct Arguments {}

/// Calls `Repository::stats`.
pub(crate) fn run(settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    let repository = settings.open()?;
    let warnings = problems(&repository, settings);
    let report = repository.stats()?;
    output.report(&report)?;
    let cells = |(name, value): (String, Value)| match value.as_u64() {
        Some(bytes) if name.ends_with("_bytes") => [name.replace('_', " "), size(bytes)],
        _ => [name.replace('_', " "), value.to_string()],
    };
    let rows: Vec<_> = fields(&report)?.into_iter().map(cells).collect();
    for line in table::lines(["WHAT", "HOW MUCH"], &rows) {
        output.line(line)?;
    }
    Ok(Done::with(warnings))
}
