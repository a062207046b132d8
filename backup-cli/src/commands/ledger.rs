//! `ledger`: whether history is whole, and was only extended.

use std::fs;
use std::path::{Path, PathBuf};

use backup_core::Error;
use backup_core::id::{EntryId, WriterId};
use backup_core::ledger::read::Head;
use backup_core::ops::verify::{LedgerReport, verify_ledger};
use backup_core::repository::{Repository, RepositoryOptions};
use backup_core::words::{count, printable};
use clap::Subcommand;
use serde::{Deserialize, Serialize};

use crate::exit::{Done, Failure, unless_unread, usage};
use crate::render::Output;
use crate::settings::Settings;

/// What is done with the ledger.
#[derive(Subcommand)]
pub(crate) enum Action {
    /// Verifies that nothing in the ledger is missing, altered or out of order
    #[command(after_help = "\
Examples:
    holdfast ledger head --json > heads.json      to be kept elsewhere
    holdfast ledger verify --head heads.json      proves that history was only extended")]
    Verify {
        /// What `ledger head` printed earlier, as text or JSON
        #[arg(long, value_name = "FILE")]
        head: Option<PathBuf>,
    },
    /// Prints the newest entry of every writer, to be noted elsewhere
    Head,
}

impl Action {
    /// The command as JSON names it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Action::Verify { .. } => "ledger verify",
            Action::Head => "ledger head",
        }
    }
}

/// Calls `verify_ledger`.
pub(crate) fn run(action: &Action, settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    let noted = match action {
        Action::Verify { head: Some(file) } => read_heads(file)?,
        _ => Vec::new(),
    };
    let storage = settings.storage()?;
    Repository::identify(&storage)?;
    let key = match settings.global.no_key {
        true => None,
        false => Some(settings.key().get(false)?),
    };
    let options = RepositoryOptions::new().cancel(settings.cancel());
    let report = verify_ledger(&storage, key.as_ref(), &noted, options)?;
    match action {
        Action::Verify { .. } => unless_unread(render(&report, settings, output))?,
        Action::Head => render_heads(&report, output)?,
    }
    Ok(Done { is_damaged: !report.problems.is_empty(), ..Done::default() })
}

fn render(report: &LedgerReport, settings: &Settings, output: &mut Output) -> Result<(), Failure> {
    output.field("entries", &report.entries)?;
    output.field("writers", &report.writers)?;
    output.field("problems", &report.problems)?;
    output.field("forks", &report.forks)?;
    output.field("heads", &report.heads)?;
    for problem in &report.problems {
        let (object, what) = (printable(problem.object.as_bytes()), printable(problem.what.as_bytes()));
        output.line(format_args!("{object}: {what}"))?;
    }
    if settings.global.quiet {
        return Ok(());
    }
    for fork in &report.forks {
        let (object, what) = (printable(fork.object.as_bytes()), printable(fork.what.as_bytes()));
        output.line(format_args!("note: {object}: {what}"))?;
    }
    let found = match report.problems.len() as u64 {
        0 => "nothing is missing, altered or out of order".to_owned(),
        number => count(number, "problem"),
    };
    output.line(format_args!("{} of {}: {found}", entries(report.entries), count(report.writers, "writer")))
}

fn entries(number: u64) -> String {
    count(number, "entry")
}

fn render_heads(report: &LedgerReport, output: &mut Output) -> Result<(), Failure> {
    output.field("heads", &report.heads)?;
    for head in &report.heads {
        output.line(format_args!("{} {} {}", head.writer, head.sequence, head.entry_id))?;
    }
    for problem in &report.problems {
        let (object, what) = (printable(problem.object.as_bytes()), printable(problem.what.as_bytes()));
        crate::render::say(&format!("damaged: {object}: {what}"));
    }
    Ok(())
}

#[derive(Deserialize)]
struct Noted {
    heads: Vec<NotedHead>,
}

#[derive(Serialize, Deserialize)]
struct NotedHead {
    writer: String,
    sequence: u64,
    entry_id: String,
}

fn read_heads(file: &Path) -> Result<Vec<Head>, Failure> {
    let text = fs::read_to_string(file).map_err(Error::file("read", file))?;
    parse_heads(&text).ok_or_else(|| {
        usage(format!("{} is not what `ledger head` prints", printable(file.as_os_str().as_encoded_bytes())))
    })
}

/// Takes the document of `ledger head --json`, or its lines.
fn parse_heads(text: &str) -> Option<Vec<Head>> {
    let noted = match text.trim_start().starts_with('{') {
        true => serde_json::from_str::<Noted>(text).ok()?.heads,
        false => text.lines().filter(|line| !line.trim().is_empty()).map(parse_line).collect::<Option<_>>()?,
    };
    let head = |noted: NotedHead| {
        let (writer, entry_id) = (WriterId::from_hex(&noted.writer)?, EntryId::from_hex(&noted.entry_id)?);
        Some(Head { writer, sequence: noted.sequence, entry_id, closed: false })
    };
    noted.into_iter().map(head).collect()
}

fn parse_line(line: &str) -> Option<NotedHead> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        [writer, sequence, entry] => {
            Some(NotedHead { writer: writer.to_owned(), sequence: sequence.parse().ok()?, entry_id: entry.to_owned() })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_parse_from_lines_and_from_the_document() {
        let (writer, entry) = ("ab".repeat(16), "cd".repeat(32));
        let line = format!("{writer} 7 {entry}\n");
        let document = format!(
            "{{\"holdfast_json\":1,\"heads\":[{{\"writer\":\"{writer}\",\"sequence\":7,\"entry_id\":\"{entry}\"}}]}}"
        );
        assert_eq!(parse_heads(&line), parse_heads(&document));
        assert_eq!(parse_heads(&line).map(|heads| heads[0].sequence), Some(7));
        assert_eq!(parse_heads("one two"), None);
    }
}
