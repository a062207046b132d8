//! `find`: where something is in a snapshot.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use backup_core::ops::list::Listed;
use backup_core::words::printable;
use clap::Args;

use super::{Target, problems, visit};
use crate::args::Filters;
use crate::exit::{Done, Failure};
use crate::glob::Glob;
use crate::render::Output;
use crate::render::entry::JsonEntry;
use crate::settings::Settings;

/// Finds entries whose name, or whole path, fits a pattern
#[derive(Args)]
#[command(after_help = "\
A pattern with a slash is compared with whole paths, any other with names. `*` and `?` stop at slashes, `**` does not.

Examples:
    holdfast find '*.odt'
    holdfast find -s @2025-01-05T14:30:00Z '/home/**/letters/*'")]
pub(crate) struct Arguments {
    /// The pattern
    pattern: OsString,
    /// Where to look
    #[arg(short, long, value_name = "SNAPSHOT[:PATH]", default_value = "latest")]
    snapshot: OsString,
    #[command(flatten)]
    filters: Filters,
}

/// Calls `Repository::list`.
pub(crate) fn run(arguments: &Arguments, settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    let target = Target::parse(&arguments.snapshot)?;
    let glob = Glob::new(arguments.pattern.as_bytes());
    let repository = settings.open()?;
    let warnings = problems(&repository, settings);
    let snapshot = target.find(&repository, &arguments.filters)?;
    output.begin_list("entries")?;
    visit(
        settings,
        |listed: Listed| match output.is_json() {
            _ if !glob.fits(&listed.path) => Ok(()),
            true => output.item(&JsonEntry::new(&listed)),
            false => output.line(printable(&listed.path)),
        },
        |each| repository.list(snapshot, target.path.as_deref(), each),
    )?;
    output.end_list()?;
    Ok(Done::with(warnings))
}
