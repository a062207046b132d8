//! `backup`: makes a snapshot of directories, or of a stream.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Instant;

use backup_core::environment::Environment;
use backup_core::ops::backup::{BackupOptions, BackupReport};
use backup_core::repository::Repository;
use backup_core::repository::names::SnapshotFilter;
use backup_core::source::Source;
use backup_core::source::files::Files;
use backup_core::source::sqlite::SqliteMode;
use backup_core::source::sqlite::probe::ProbeRequest;
use backup_core::source::stream::{CommandOutput, Stream};
use backup_core::time::Time;
use backup_core::words::{count, size};
use clap::Args;

use super::{globs, level, problems, time};
use crate::exit::{Done, Failure};
use crate::render::Output;
use crate::settings::Settings;

/// Makes a snapshot
#[derive(Args)]
#[command(after_help = "\
Without -r it goes into your own repository, which the first backup makes.

Examples:
    holdfast backup ~/documents /etc --exclude '*.tmp' --tag daily
    pg_dump shop | holdfast backup --stdin shop.sql
    holdfast backup --stdin-command shop.sql -- pg_dump shop
    holdfast backup /srv --probe /srv/shop.db:orders=digest,users,@quick

JSON: what probes found is in the snapshot, and what was missing or wrong in warnings of the kind `probe`.")]
pub(crate) struct Arguments {
    /// Files and directories
    #[arg(value_name = "PATH", required_unless_present_any = ["stdin", "stdin_command"])]
    paths: Vec<PathBuf>,
    /// The class that the snapshot belongs to
    #[arg(long, default_value = "standard")]
    class: String,
    /// Adds a tag; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Leaves out what fits, in the syntax of gitignore, anchored at each PATH; may be repeated
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<OsString>,
    /// Leaves out what fits a line of this file; may be repeated
    #[arg(long, value_name = "FILE")]
    exclude_file: Vec<PathBuf>,
    /// Leaves out the content of directories with a CACHEDIR.TAG
    #[arg(long)]
    exclude_caches: bool,
    /// Stays on the file system of each PATH
    #[arg(long)]
    one_file_system: bool,
    /// Whether SQLite databases are read through SQLite, consistent while they are written, or as plain files
    #[arg(long, value_name = "auto|off", default_value = "auto", value_parser = sqlite_mode, hide_default_value = true)]
    sqlite: SqliteMode,
    /// Stores standard input as a file of this name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["paths", "stdin_command"])]
    stdin: Option<OsString>,
    /// Stores what a command prints as a file of this name; if it fails, there is no snapshot
    #[arg(long, value_name = "NAME", conflicts_with = "paths", requires = "command")]
    stdin_command: Option<OsString>,
    /// The command of --stdin-command
    #[arg(last = true, value_name = "CMD", requires = "stdin_command")]
    command: Vec<OsString>,
    /// Asks of a database, in the very state that is stored, how many rows tables have, and with =digest what is in them; what is missing or wrong is a warning. May be repeated. A name
    /// with a comma, colon or equals sign stands in double quotes
    #[arg(long = "probe", value_name = "DB:TABLE[=digest],...[,@quick|@full]", conflicts_with_all = ["stdin", "stdin_command"])]
    probes: Vec<OsString>,
    /// Compares with this snapshot; `none` reads everything [default: the newest of the same host, class and PATHs]
    #[arg(long, value_name = "SNAPSHOT|none")]
    parent: Option<String>,
    /// How much to compress: fastest, default, better, max, or zstd's level, 1 to 19 [default: 3]
    #[arg(long, value_name = "LEVEL", allow_negative_numbers = true, value_parser = level)]
    level: Option<i32>,
    /// Reads and counts everything, and stores nothing
    #[arg(long)]
    dry_run: bool,
    /// The time of the content, where it is older than the backup
    #[arg(long, value_name = "TIME", value_parser = time)]
    time: Option<Time>,
    /// Records the plain BLAKE3 of every file that is read
    #[arg(long)]
    content_hash: bool,
    /// After so many seconds an entry names what was stored so far, so that an interrupted backup goes on there and others need not store it [default: 300]
    #[arg(long, value_name = "N")]
    checkpoint_seconds: Option<u64>,
    /// After so many stored bytes, too [default: 2147483648]
    #[arg(long, value_name = "N")]
    checkpoint_bytes: Option<u64>,
}

/// Calls `Repository::backup`.
pub(crate) fn run(arguments: &Arguments, settings: &Settings, output: &mut Output) -> Result<Done, Failure> {
    let started = Instant::now();
    let source = arguments.source(settings)?;
    let mut repository = if arguments.dry_run { settings.open()? } else { settings.open_or_make_own()? };
    let mut warnings = problems(&repository, settings);
    let options = arguments.options(&repository)?;
    let screen = settings.screen();
    let report = repository.backup(&*source, &options, &screen)?;
    screen.catch_up(&report.warnings, &report.notes);
    let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    output.report(&report)?;
    output.field("elapsed_ms", &elapsed_ms)?;
    if !settings.global.quiet {
        summary(&report, elapsed_ms, output)?;
    }
    warnings.extend(report.warnings);
    Ok(Done::with(warnings))
}

fn sqlite_mode(typed: &str) -> Result<SqliteMode, String> {
    match typed {
        "auto" => Ok(SqliteMode::Auto),
        "off" => Ok(SqliteMode::Off),
        _ => Err("it is `auto` or `off`".to_owned()),
    }
}

impl Arguments {
    fn source(&self, settings: &Settings) -> Result<Box<dyn Source>, Failure> {
        let now = Environment::default().now();
        if let Some(name) = &self.stdin {
            return Ok(Box::new(Stream::new(name.as_bytes(), now, std::io::stdin())?));
        }
        if let (Some(name), Some((program, rest))) = (&self.stdin_command, self.command.split_first()) {
            return Ok(Box::new(CommandOutput::new(name.as_bytes(), now, program.clone(), rest.to_vec())?));
        }
        let mut files = Files::new(self.paths.iter().cloned())?
            .sqlite(self.sqlite)
            .exclude_caches(self.exclude_caches)
            .one_file_system(self.one_file_system);
        for glob in globs(&self.exclude)? {
            files = files.exclude(glob);
        }
        for file in &self.exclude_file {
            files = files.exclude_file(file);
        }
        files.check()?;
        for (path, what) in settings.own_places(&settings.storage()?) {
            files = files.leave_out(path, what);
        }
        Ok(Box::new(files))
    }

    fn options(&self, repository: &Repository) -> Result<BackupOptions, Failure> {
        let mut options = BackupOptions::new().class(&self.class).dry_run(self.dry_run).content_hash(self.content_hash);
        for tag in &self.tags {
            options = options.tag(tag);
        }
        let current = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        for probe in &self.probes {
            options = options.probe(ProbeRequest::parse(probe.as_bytes(), current.as_os_str().as_bytes())?);
        }
        if let Some(level) = self.level {
            options = options.level(level);
        }
        if let Some(time) = self.time {
            options = options.time(time);
        }
        if let Some(seconds) = self.checkpoint_seconds {
            options = options.checkpoint_seconds(seconds);
        }
        if let Some(bytes) = self.checkpoint_bytes {
            options = options.checkpoint_bytes(bytes);
        }
        match self.parent.as_deref() {
            None => Ok(options),
            Some("none") => Ok(options.parent(None)),
            Some(name) => Ok(options.parent(Some(repository.find_snapshot(name, &SnapshotFilter::new())?.id))),
        }
    }
}

fn summary(report: &BackupReport, elapsed_ms: u64, output: &mut Output) -> Result<(), Failure> {
    let counts = &report.counts;
    let files = format!(
        "{} new, {} changed, {} unchanged",
        count(counts.files_new, "file"),
        counts.files_changed,
        counts.files_unchanged
    );
    let seconds = elapsed_ms as f64 / 1000.0;
    match &report.snapshot_id {
        Some(id) => {
            output.line(format_args!("snapshot {}: {files}", id.short()))?;
            let packs = count(counts.packs_written, "pack");
            let (source, stored) = (size(counts.source_bytes), size(counts.stored_bytes));
            output.line(format_args!("{source} of content, {stored} stored in {packs}, {seconds:.1} s"))?;
            if report.surplus_bytes > 0 {
                let surplus = size(report.surplus_bytes);
                output.line(format_args!("{surplus} of that others had stored meanwhile, too"))?;
            }
            Ok(())
        }
        None => {
            let (source, new) = (size(counts.source_bytes), size(counts.new_chunk_bytes));
            output.line(format_args!("dry run: {files}; {source} of content, {new} of it new; nothing was stored"))
        }
    }
}
