//! One command a module: what it takes, the one verb that it calls, and how the report is rendered.

pub(crate) mod backup;
pub(crate) mod cat;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod diff;
pub(crate) mod dump;
pub(crate) mod find;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod ledger;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod repair;
pub(crate) mod restore;
pub(crate) mod snapshots;
pub(crate) mod stats;
pub(crate) mod storage;
pub(crate) mod wal;
pub(crate) mod watch;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use backup_core::ops::backup::named_level;
use backup_core::progress::Warning;
use backup_core::repository::{Repository, Snapshot};
use backup_core::time::Time;
use backup_core::{Error, path};

use crate::args::{Cli, Command, Filters};
use crate::exit::{Done, Failure, usage};
use crate::render::Output;
use crate::settings::Settings;

/// Runs a command to its end.
pub(crate) fn run(cli: Cli, output: &mut Output) -> Result<Done, Failure> {
    match &cli.command {
        Command::Completions(arguments) => return completions::run(arguments, output),
        Command::Man(arguments) => return man::run(arguments),
        Command::Wal(action) => output.fail_with(action.failure_code()),
        _ => {}
    }
    let settings = Settings::new(cli.global)?;
    match cli.command {
        Command::Init(arguments) => init::run(&arguments, &settings, output),
        Command::Backup(arguments) => backup::run(&arguments, &settings, output),
        Command::Snapshots(arguments) => snapshots::run(&arguments, &settings, output),
        Command::Ls(arguments) => ls::run(&arguments, &settings, output),
        Command::Find(arguments) => find::run(&arguments, &settings, output),
        Command::Diff(arguments) => diff::run(&arguments, &settings, output),
        Command::Restore(arguments) => restore::run(&arguments, &settings, output),
        Command::Dump(arguments) => dump::run(&arguments, &settings, output),
        Command::Check(arguments) => check::run(&arguments, &settings, output),
        Command::Repair(action) => repair::run(&action, &settings, output),
        Command::Key(action) => key::run(&action, &settings, output),
        Command::Ledger(action) => ledger::run(&action, &settings, output),
        Command::Stats(arguments) => stats::run(&arguments, &settings, output),
        Command::Storage(action) => storage::run(&action, &settings, output),
        Command::Wal(action) => wal::run(&action, &settings, output),
        Command::Watch(arguments) => watch::run(&arguments, &settings, output),
        Command::Cat(arguments) => cat::run(&arguments, &settings, output),
        Command::Completions(_) | Command::Man(_) => Ok(Done::default()),
    }
}

/// A name of a snapshot, and a path inside where one was typed.
struct Target {
    snapshot: String,
    path: Option<Vec<u8>>,
}

impl Target {
    /// Splits `SNAPSHOT[:PATH]`; the path becomes absolute and normalised.
    fn parse(typed: &OsStr) -> Result<Self, Failure> {
        let (snapshot, inside) = path::split_snapshot(typed.as_bytes(), |text| Time::parse(text).is_some())?;
        let snapshot = String::from_utf8_lossy(snapshot).into_owned();
        Ok(Self { snapshot, path: inside.map(|inside| path::absolute(inside, b"/")) })
    }

    /// The path, where the command cannot do without.
    fn require_path(&self) -> Result<&[u8], Failure> {
        self.path.as_deref().ok_or_else(|| usage("a path inside is needed: SNAPSHOT:PATH"))
    }

    fn find<'r>(&self, repository: &'r Repository, filters: &Filters) -> Result<&'r Snapshot, Failure> {
        Ok(repository.find_snapshot(&self.snapshot, &filters.filter())?)
    }
}

/// What was found wrong when the repository was opened, as warnings, which are said at once.
fn problems(repository: &Repository, settings: &Settings) -> Vec<Warning> {
    let warning = |problem: &backup_core::ledger::read::Problem| Warning {
        kind: "damaged",
        subject: problem.object.clone().into_bytes(),
        message: problem.what.clone(),
    };
    let warnings: Vec<Warning> = repository.problems().map(warning).collect();
    settings.screen().catch_up(&warnings, &[]);
    warnings
}

/// Lets a verb that visits hand each visit to the output, whose failures it knows nothing of.
fn visit<T>(
    settings: &Settings,
    mut each: impl FnMut(T) -> Result<(), Failure>,
    verb: impl FnOnce(&mut dyn FnMut(T) -> backup_core::Result<()>) -> backup_core::Result<()>,
) -> Result<(), Failure> {
    let mut failed = None;
    let result = verb(&mut |visited| {
        settings.cancel().check()?;
        each(visited).map_err(|failure| {
            failed = Some(failure);
            Error::Interrupted
        })
    });
    match failed {
        Some(failure) => Err(failure),
        None => Ok(result?),
    }
}

/// The globs as the library takes them.
fn globs(typed: &[OsString]) -> Result<Vec<&str>, Failure> {
    typed.iter().map(|glob| glob.to_str().ok_or_else(|| usage("a glob must be UTF-8"))).collect()
}

/// Reads a level of compression: a name or a number.
fn level(text: &str) -> Result<i32, String> {
    let number =
        || text.parse().map_err(|_| "it is fastest, default, better, max, or a number from 1 to 19".to_owned());
    named_level(text).map_or_else(number, Ok)
}

/// Parses a moment that was typed.
fn time(typed: &str) -> Result<Time, String> {
    Time::parse(typed).ok_or_else(|| "not a time such as 2025-01-05T14:30:00Z".to_owned())
}
