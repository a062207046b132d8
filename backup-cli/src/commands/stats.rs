//! `stats`: sizes, and what each snapshot added to them.

use backup_core::Repository;
use backup_core::environment::Environment;
use backup_core::ops::growth::{GrowthReport, SnapshotGrowth, SourceGrowth};
use backup_core::ops::stats::StoredBytes;
use backup_core::words::{printable, size};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::problems;
use crate::exit::{Done, Failure};
use crate::render::entry::local_time;
use crate::render::{Output, all_exact, all_lossy, fields, table};
use crate::settings::Settings;

/// Prints how much is in the repository
#[derive(Args)]
#[command(after_help = "\
Examples:
    holdfast stats
    holdfast stats --growth                   what each snapshot added, by source: what keeping them costs

What is stored is told apart: content_whole_bytes and content_patch_bytes are frames of files' content, sealed, node_* those
of directories and chunk lists; of them the *_patch_* hold differences from what was stored before. table_bytes and
header_bytes are what packs need beside frames, padding_bytes hide their lengths, unread_bytes are packs whose tables cannot
be read or that were found bad. Together these are stored_bytes; ledger_bytes come on top.

JSON with --growth, besides: growth: [{host, class, roots, snapshots: [{id, time, source_bytes, packs, new_chunks,
patched_chunks, added_bytes, and the kinds}]}], and unattributed: the kinds of what belongs to no snapshot. Chunks count
nodes, too; added_bytes is everything, the ledger included.")]
pub(crate) struct Arguments {
    /// Lists what each snapshot added
    #[arg(long)]
    growth: bool,
}

#[derive(Serialize)]
struct Source<'a> {
    host: &'a str,
    class: &'a str,
    roots: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roots_base64: Option<Vec<String>>,
    snapshots: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    id: String,
    time: String,
    source_bytes: u64,
    packs: u64,
    new_chunks: u64,
    patched_chunks: u64,
    added_bytes: u64,
    #[serde(flatten)]
    stored: StoredBytes,
}

/// Calls `Repository::stats`, and `Repository::growth` where that is asked for.
pub(crate) fn run(arguments: &Arguments, settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
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
    if arguments.growth {
        growth(&repository, output)?;
    }
    Ok(Done::with(warnings))
}

fn growth(repository: &Repository, output: &mut Output) -> Result<(), Failure> {
    let report: GrowthReport = repository.growth()?;
    output.begin_list("growth")?;
    for source in &report.sources {
        output.item(&Source {
            host: &source.host,
            class: &source.class,
            roots: all_lossy(&source.roots),
            roots_base64: all_exact(&source.roots),
            snapshots: source.snapshots.iter().map(row).collect(),
        })?;
    }
    output.end_list()?;
    output.field("unattributed", &report.unattributed)?;
    if !output.is_json() {
        for source in &report.sources {
            list(source, output)?;
        }
        output.line(format_args!("\nof no snapshot: {}", size(report.unattributed.all())))?;
    }
    Ok(())
}

fn row(snapshot: &SnapshotGrowth) -> Row {
    Row {
        id: snapshot.id.to_string(),
        time: snapshot.time.to_rfc3339(snapshot.zone_offset_seconds),
        source_bytes: snapshot.source_bytes,
        packs: snapshot.packs,
        new_chunks: snapshot.new_chunks,
        patched_chunks: snapshot.patched_chunks,
        added_bytes: snapshot.stored.all(),
        stored: snapshot.stored,
    }
}

fn list(source: &SourceGrowth, output: &mut Output) -> Result<(), Failure> {
    let roots: Vec<_> = source.roots.iter().map(|root| printable(root)).collect();
    output.line(format_args!("\n{} {} {}", source.host, source.class, roots.join(" ")))?;
    let environment = Environment::default();
    let cells = |snapshot: &SnapshotGrowth| {
        let time = local_time(snapshot.time, &environment);
        kinds(snapshot.id.short(), time, &snapshot.stored, snapshot.new_chunks, snapshot.patched_chunks)
    };
    let mut rows: Vec<_> = source.snapshots.iter().map(cells).collect();
    let sum = |count: fn(&SnapshotGrowth) -> u64| source.snapshots.iter().map(count).sum();
    let (new, patched) = (sum(|snapshot| snapshot.new_chunks), sum(|snapshot| snapshot.patched_chunks));
    rows.push(kinds("all".to_owned(), String::new(), &source.stored(), new, patched));
    let head = ["ID", "TIME", "ADDED", "CONTENT", "PATCHES", "NODES", "TABLES", "LEDGER", "OTHER", "CHUNKS", "PATCHED"];
    for line in table::lines(head, &rows) {
        output.line(line)?;
    }
    Ok(())
}

fn kinds(id: String, time: String, stored: &StoredBytes, new: u64, patched: u64) -> [String; 11] {
    let other = stored.padding_bytes + stored.header_bytes + stored.unread_bytes;
    let bytes = [
        stored.all(),
        stored.content_whole_bytes,
        stored.content_patch_bytes,
        stored.node_whole_bytes + stored.node_patch_bytes,
        stored.table_bytes,
        stored.ledger_bytes,
        other,
    ];
    let [all, content, patches, nodes, tables, ledger, other] = bytes.map(size);
    [id, time, all, content, patches, nodes, tables, ledger, other, new.to_string(), patched.to_string()]
}
