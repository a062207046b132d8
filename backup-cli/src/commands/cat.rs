//! `cat`: an object as text.

use backup_core::words::printable;
use clap::Args;

use super::problems;
use crate::exit::{Done, Failure};
use crate::render::Output;
use crate::settings::Settings;

/// Shows what is in an object
#[derive(Args)]
#[command(after_help = "\
Examples:
    holdfast cat repository
    holdfast cat latest")]
pub(crate) struct Arguments {
    /// The object's name, or what names a snapshot
    object: String,
}

/// Calls `Repository::cat`.
pub(crate) fn run(arguments: &Arguments, settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    let repository = settings.open()?;
    let warnings = problems(&repository, settings);
    let text = repository.cat(&arguments.object)?;
    output.field("text", &text)?;
    for line in text.lines() {
        output.line(printable(line.as_bytes()))?;
    }
    Ok(Done::with(warnings))
}
