//! `man`: writes the man pages.

use std::path::PathBuf;

use backup_core::Error;
use clap::{Args, CommandFactory};

use crate::args::Cli;
use crate::exit::{Done, Failure};

/// Writes the man pages into a directory
#[derive(Args)]
#[command(after_help = "Example:\n    holdfast man ~/.local/share/man/man1")]
pub(crate) struct Arguments {
    /// Made if it is not there
    directory: PathBuf,
}

/// Writes what clap generates.
pub(crate) fn run(arguments: &Arguments) -> Result<Done, Failure> {
    let directory = &arguments.directory;
    std::fs::create_dir_all(directory).map_err(Error::file("create", directory))?;
    clap_mangen::generate_to(Cli::command(), directory).map_err(Error::file("write", directory))?;
    Ok(Done::default())
}
