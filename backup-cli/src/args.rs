//! What can be typed: commands, options, and their help. What it means is decided in [`crate::commands`].

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::commands::{
    backup, cat, check, completions, diff, dump, find, init, key, ledger, ls, man, repair, restore, snapshots, stats,
    storage, wal, watch,
};

/// Keeps files for years: deduplicated, encrypted, provable.
#[derive(Parser)]
#[command(name = "holdfast", version, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "\
Exit codes:
    0  done                                   5  refused by retention, a hold or a role
    1  failed                                 6  no key given, or none fits
    2  wrong usage, or no such snapshot       7  no repository there, or one of a newer format
    3  done, with warnings                  130  interrupted
    4  damage was found

Examples:
    holdfast backup ~/documents               into your own repository, made at the first use
    holdfast restore latest /tmp/restored
    holdfast -r /srv/backup --password-file F snapshots")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Whether a word is the name of a command.
    pub(crate) fn is_command(word: &str) -> bool {
        Self::command().get_subcommands().any(|command| command.get_name() == word)
    }
}

/// What every command takes.
#[derive(Args)]
pub(crate) struct Global {
    /// The repository: a path, or a URI such as fs:///srv/backup [env: HOLDFAST_REPO; default: your own]
    #[arg(short, long, value_name = "URI", global = true, help_heading = "Repository and key")]
    pub(crate) repo: Option<String>,
    /// A file with the passphrase; one newline at its end is dropped [env: HOLDFAST_PASSWORD_FILE; the passphrase itself: HOLDFAST_PASSWORD]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Repository and key")]
    #[arg(conflicts_with_all = ["password_command", "key_file", "no_key"])]
    pub(crate) password_file: Option<PathBuf>,
    /// A shell command that prints the passphrase
    #[arg(long, value_name = "COMMAND", global = true, help_heading = "Repository and key")]
    #[arg(conflicts_with_all = ["key_file", "no_key"])]
    pub(crate) password_command: Option<String>,
    /// A key file, or a recovery sheet [env: HOLDFAST_KEY_FILE]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Repository and key", conflicts_with = "no_key")]
    pub(crate) key_file: Option<PathBuf>,
    /// Work without a key, where a command can
    #[arg(long, global = true, help_heading = "Repository and key")]
    pub(crate) no_key: bool,
    /// Where this installation remembers its writer; no cache [default: below the XDG state directory]
    #[arg(long, value_name = "DIR", global = true, help_heading = "Repository and key")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Where pieces of remote repositories are kept; may be deleted [default: below the XDG cache directory]
    #[arg(long, value_name = "DIR", global = true, help_heading = "Repository and key")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Keep no cache
    #[arg(long, global = true, help_heading = "Repository and key", conflicts_with = "cache_dir")]
    pub(crate) no_cache: bool,
    /// Print one JSON document
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) json: bool,
    /// Print no progress and no summary
    #[arg(short, long, global = true, help_heading = "Output", conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print more
    #[arg(short, long, global = true, help_heading = "Output")]
    pub(crate) verbose: bool,
}

/// The verbs.
#[derive(Subcommand)]
pub(crate) enum Command {
    Init(init::Arguments),
    Backup(backup::Arguments),
    Snapshots(snapshots::Arguments),
    Ls(ls::Arguments),
    Find(find::Arguments),
    Diff(diff::Arguments),
    Restore(restore::Arguments),
    Dump(dump::Arguments),
    Check(check::Arguments),
    /// Makes anew what can be made anew
    #[command(subcommand)]
    Repair(repair::Action),
    /// Manages key slots
    #[command(subcommand)]
    Key(key::Action),
    /// Looks at the chain of all that ever happened
    #[command(subcommand)]
    Ledger(ledger::Action),
    Stats(stats::Arguments),
    /// Tries storage that is to hold a repository
    #[command(subcommand)]
    Storage(storage::Action),
    /// Keeps PostgreSQL's write-ahead log
    #[command(subcommand)]
    Wal(wal::Action),
    Watch(watch::Arguments),
    Cat(cat::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

impl Command {
    /// The command as JSON names it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Command::Init(_) => "init",
            Command::Backup(_) => "backup",
            Command::Snapshots(_) => "snapshots",
            Command::Ls(_) => "ls",
            Command::Find(_) => "find",
            Command::Diff(_) => "diff",
            Command::Restore(_) => "restore",
            Command::Dump(_) => "dump",
            Command::Check(_) => "check",
            Command::Repair(action) => action.name(),
            Command::Key(action) => action.name(),
            Command::Ledger(action) => action.name(),
            Command::Stats(_) => "stats",
            Command::Storage(action) => action.name(),
            Command::Wal(action) => action.name(),
            Command::Watch(_) => "watch",
            Command::Cat(_) => "cat",
            Command::Completions(_) => "completions",
            Command::Man(_) => "man",
        }
    }
}

/// Which snapshots `latest` and `@TIME` choose from.
#[derive(Args, Clone, Default)]
pub(crate) struct Filters {
    /// Only snapshots of this machine
    #[arg(long)]
    host: Option<String>,
    /// Only snapshots with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only snapshots of this class
    #[arg(long)]
    class: Option<String>,
    /// Only snapshots with a root at, above or below this path
    #[arg(long)]
    path: Option<PathBuf>,
}

impl Filters {
    /// What the library makes of it.
    pub(crate) fn filter(&self) -> backup_core::repository::names::SnapshotFilter {
        let mut filter = backup_core::repository::names::SnapshotFilter::new();
        if let Some(host) = &self.host {
            filter = filter.host(host);
        }
        if let Some(tag) = &self.tag {
            filter = filter.tag(tag);
        }
        if let Some(class) = &self.class {
            filter = filter.class(class);
        }
        match &self.path {
            Some(path) => filter.path(crate::settings::absolute(path)),
            None => filter,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }
}
