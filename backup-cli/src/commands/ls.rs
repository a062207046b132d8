//! `ls`: what a snapshot holds.

use std::ffi::OsString;

use backup_core::environment::Environment;
use backup_core::ops::list::Listed;
use clap::Args;

use super::{Target, problems, visit};
use crate::args::Filters;
use crate::exit::{Done, Failure};
use crate::render::Output;
use crate::render::entry::{JsonEntry, line};
use crate::settings::Settings;

/// Lists what a snapshot holds, or what lies below a path in it
#[derive(Args)]
#[command(after_help = "\
Examples:
    holdfast ls latest
    holdfast ls @2025-01-05T14:30:00Z:/etc
    holdfast ls latest:/etc --host db1 --tag nightly")]
pub(crate) struct Arguments {
    /// A unique prefix of an id, `latest`, or `@TIME`; and a path inside
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    target: OsString,
    #[command(flatten)]
    filters: Filters,
}

/// Calls `Repository::list`.
pub(crate) fn run(arguments: &Arguments, settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    let target = Target::parse(&arguments.target)?;
    let repository = settings.open()?;
    let warnings = problems(&repository, settings);
    let snapshot = target.find(&repository, &arguments.filters)?;
    let environment = Environment::default();
    output.begin_list("entries")?;
    visit(
        settings,
        |listed: Listed| match output.is_json() {
            true => output.item(&JsonEntry::new(&listed)),
            false => output.line(line(&listed, &environment)),
        },
        |each| repository.list(snapshot, target.path.as_deref(), each),
    )?;
    output.end_list()?;
    Ok(Done::with(warnings))
}
