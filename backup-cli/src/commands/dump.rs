//! `dump`: a file, or a directory as tar, to standard output.

use std::ffi::OsString;
use std::io::{self, Write};

use clap::Args;

use super::{Target, problems};
use crate::args::Filters;
use crate::exit::{Done, Failure, usage};
use crate::render::Output;
use crate::settings::Settings;

/// Writes a file, or a directory as tar, to standard output
#[derive(Args)]
#[command(after_help = "\
Examples:
    holdfast dump latest:/etc/fstab
    holdfast dump latest:/home/me/documents | tar -tf -")]
pub(crate) struct Arguments {
    /// A unique prefix of an id, `latest`, or `@TIME`; and a path inside
    #[arg(value_name = "SNAPSHOT:PATH")]
    target: OsString,
    #[command(flatten)]
    filters: Filters,
}

/// Calls `Repository::dump`.
pub(crate) fn run(arguments: &Arguments, settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    if output.is_json() {
        return Err(usage("dump writes bytes to standard output, and so no JSON"));
    }
    let target = Target::parse(&arguments.target)?;
    let path = target.require_path()?;
    let repository = settings.open()?;
    let warnings = problems(&repository, settings);
    let snapshot = target.find(&repository, &arguments.filters)?;
    let mut out = Watched { out: output.raw(), failed: None };
    let result = repository.dump(snapshot, path, &mut out);
    match out.failed {
        Some(error) => Err(Failure::Output(error)),
        None => result.map(|_| Done::with(warnings)).map_err(Failure::from),
    }
}

/// Remembers how writing failed, which the library takes for a failed verb.
struct Watched<'a> {
    out: &'a mut dyn Write,
    failed: Option<io::Error>,
}

impl Watched<'_> {
    fn watch<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.failed.get_or_insert(error);
            }
            kind.into()
        })
    }
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.out.write(bytes);
        self.watch(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.watch(result)
    }
}
