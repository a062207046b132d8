//! `check`: whether all is there, and can be read.

use backup_core::ops::check::{CheckOptions, CheckReport, Damage, ReadData, RepeatProbes};
use backup_core::words::{count, printable, size};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::exit::{Done, Failure, unless_unread};
use crate::render::{Output, all_exact, all_lossy};
use crate::settings::Settings;

/// Verifies the repository, and names what is damaged
#[derive(Args)]
#[command(after_help = "\
Examples:
    holdfast check
    holdfast check --read-data=5%             a part of all content, the least recently read first
    holdfast check --read-data=2GiB
    holdfast check --probes=latest            restores databases to a private place, and probes them

JSON: objects_checked, read_bytes, probes_repeated, orphan_packs, and damage: [{object, kind, snapshots, paths}]. A database
that is not what was recorded of it is damage of the kind `probe`; its object says which table, and how it differs.")]
pub(crate) struct Arguments {
    /// Reads content, too: all of it, so many percent, or so many bytes
    #[arg(long, value_name = "AMOUNT", num_args = 0..=1, require_equals = true, default_missing_value = "100%")]
    #[arg(value_parser = amount)]
    read_data: Option<ReadData>,
    /// Repeats what `backup --probe` asked on private copies of the databases, and compares: of all snapshots, or of the latest of each database
    #[arg(long, value_name = "WHICH", num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    #[arg(value_enum)]
    probes: Option<Which>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    /// Those of every snapshot
    All,
    /// Those of the newest snapshot that has some, for each database
    Latest,
}

impl From<Which> for RepeatProbes {
    fn from(which: Which) -> Self {
        match which {
            Which::All => RepeatProbes::All,
            Which::Latest => RepeatProbes::Latest,
        }
    }
}

#[derive(Serialize)]
struct Row<'a> {
    object: &'a str,
    kind: &'a str,
    snapshots: Vec<String>,
    paths: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paths_base64: Option<Vec<String>>,
}

/// Calls `Repository::check`.
pub(crate) fn run(arguments: &Arguments, settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    let mut repository = settings.open()?;
    let options = arguments.read_data.into_iter().fold(CheckOptions::new(), CheckOptions::read_data);
    let options = arguments.probes.into_iter().fold(options, |options, which| options.probes(which.into()));
    let screen = settings.screen();
    let report = repository.check(&options, &screen)?;
    screen.catch_up(&report.warnings, &report.notes);
    drop(screen);
    output.field("objects_checked", &report.objects_checked)?;
    output.field("read_bytes", &report.read_bytes)?;
    output.field("probes_repeated", &report.probes_repeated)?;
    output.field("orphan_packs", &report.orphan_packs)?;
    let damages = list(&report.damage, output);
    unless_unread(damages)?;
    if !settings.global.quiet {
        summary(&report, output)?;
    }
    Ok(Done { is_damaged: !report.damage.is_empty(), ..Done::with(report.warnings) })
}

fn list(damages: &[Damage], output: &mut Output) -> Result<(), Failure> {
    output.begin_list("damage")?;
    for damage in damages {
        output.item(&row(damage))?;
        explain(damage, output)?;
    }
    output.end_list()
}

fn row(damage: &Damage) -> Row<'_> {
    Row {
        object: &damage.object,
        kind: damage.kind,
        snapshots: damage.snapshots.iter().map(ToString::to_string).collect(),
        paths: all_lossy(&damage.paths),
        paths_base64: all_exact(&damage.paths),
    }
}

fn explain(damage: &Damage, output: &mut Output) -> Result<(), Failure> {
    output.line(format_args!("{}: {}", damage.kind, printable(damage.object.as_bytes())))?;
    for snapshot in &damage.snapshots {
        output.line(format_args!("  in snapshot {}", snapshot.short()))?;
    }
    for path in &damage.paths {
        output.line(format_args!("  needed by {}", printable(path)))?;
    }
    Ok(())
}

fn summary(report: &CheckReport, output: &mut Output) -> Result<(), Failure> {
    let found = match report.damage.len() {
        0 => "no damage".to_owned(),
        number => format!("{number} damaged"),
    };
    let objects = count(report.objects_checked, "object");
    output.line(format_args!("{objects} checked, {} read: {found}", size(report.read_bytes)))?;
    match report.orphan_packs {
        0 => Ok(()),
        orphans => output.line(format_args!("{} that no entry names; that is no damage", count(orphans, "pack"))),
    }
}

/// Parses `5%`, `2GiB` or a number of bytes.
fn amount(typed: &str) -> Result<ReadData, String> {
    let wrong = || "not an amount such as 5% or 2GiB".to_owned();
    if let Some(percent) = typed.strip_suffix('%') {
        let percent: f64 = percent.trim().parse().map_err(|_| wrong())?;
        return match percent {
            100.0 => Ok(ReadData::All),
            percent if (0.0..100.0).contains(&percent) => Ok(ReadData::Percent(percent)),
            _ => Err("a percentage lies between 0 and 100".to_owned()),
        };
    }
    let digits = typed.find(|character: char| !character.is_ascii_digit()).unwrap_or(typed.len());
    let (number, unit) = typed.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let shift = match unit.trim() {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).map(ReadData::Bytes).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_percent_or_bytes() {
        assert!(matches!(amount("100%"), Ok(ReadData::All)));
        assert!(matches!(amount("5%"), Ok(ReadData::Percent(5.0))));
        assert!(matches!(amount("2GiB"), Ok(ReadData::Bytes(0x8000_0000))));
        assert!(matches!(amount("17"), Ok(ReadData::Bytes(17))));
        for wrong in ["", "x", "101%", "-1%", "5 parrots", "99999999999TiB", "NaN%"] {
            assert!(amount(wrong).is_err(), "{wrong}");
        }
    }
}
