//! `snapshots`: lists them.

use backup_core::environment::Environment;
use backup_core::repository::Snapshot;
use backup_core::words::{count, printable, size};
use clap::Args;
use serde::Serialize;

use super::problems;
use crate::args::Filters;
use crate::exit::{Done, Failure};
use crate::render::entry::local_time;
use crate::render::{Output, all_exact, all_lossy, table};
use crate::settings::Settings;

/// Lists the snapshots, oldest first; files of a PostgreSQL write-ahead log only with --tag wal
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    filters: Filters,
}

#[derive(Serialize)]
struct Row<'a> {
    id: String,
    time: String,
    host: &'a str,
    user: &'a str,
    class: &'a str,
    tags: &'a [String],
    roots: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roots_base64: Option<Vec<String>>,
    parent_id: Option<String>,
    files: u64,
    source_bytes: u64,
    stored_bytes: u64,
    warnings: u64,
}

/// Renders `Repository::snapshots`.
pub(crate) fn run(arguments: &Arguments, settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    let repository = settings.open()?;
    let warnings = problems(&repository, settings);
    let filter = arguments.filters.filter();
    let chosen: Vec<&Snapshot> = repository.snapshots().iter().filter(|snapshot| filter.passes(snapshot)).collect();
    output.begin_list("snapshots")?;
    for snapshot in &chosen {
        output.item(&row(snapshot))?;
    }
    output.end_list()?;
    let hidden = repository.snapshots().iter().filter(|snapshot| filter.hides(snapshot)).count() as u64;
    output.field("wal_files_hidden", &hidden)?;
    if !output.is_json() {
        let environment = Environment::default();
        let rows: Vec<_> = chosen.iter().map(|snapshot| cells(snapshot, &environment)).collect();
        for line in table::lines(["ID", "TIME", "HOST", "CLASS", "TAGS", "SIZE", "STORED", "ROOTS"], &rows) {
            output.line(line)?;
        }
        if hidden > 0 {
            output.line(format_args!("and {} of PostgreSQL: --tag wal lists them", count(hidden, "WAL file")))?;
        }
    }
    Ok(Done::with(warnings))
}

fn row(snapshot: &Snapshot) -> Row<'_> {
    let manifest = &snapshot.manifest;
    let counts = &manifest.counts;
    let roots: Vec<Vec<u8>> = manifest.roots().map(|root| root.path.clone()).collect();
    Row {
        id: snapshot.id.to_string(),
        time: manifest.time.to_rfc3339(manifest.zone_offset_seconds),
        host: &manifest.host,
        user: &manifest.user,
        class: &manifest.class,
        tags: &manifest.tags,
        roots: all_lossy(&roots),
        roots_base64: all_exact(&roots),
        parent_id: manifest.parent.map(|id| id.to_string()),
        files: counts.files_new + counts.files_changed + counts.files_unchanged,
        source_bytes: counts.source_bytes,
        stored_bytes: counts.stored_bytes,
        warnings: counts.warnings,
    }
}

fn cells(snapshot: &Snapshot, environment: &Environment) -> [String; 8] {
    let manifest = &snapshot.manifest;
    let roots: Vec<String> = manifest.roots().map(|root| printable(&root.path)).collect();
    [
        snapshot.id.short(),
        local_time(manifest.time, environment),
        printable(manifest.host.as_bytes()),
        manifest.class.clone(),
        printable(manifest.tags.join(",").as_bytes()),
        size(manifest.counts.source_bytes),
        size(manifest.counts.stored_bytes),
        roots.join(" "),
    ]
}
