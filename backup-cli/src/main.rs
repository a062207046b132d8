//! The `holdfast` command: parses, calls one verb of `backup-core`, renders its report.
//!
//! What scripts rely on is the contract of exit codes ([`exit`]) and of JSON ([`render`]). All decisions about data are the library's.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod exit;
mod glob;
mod keys;
mod progress;
mod render;
mod settings;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use backup_core::format::constants::FORMAT_VERSION;
use backup_core::source::sqlite::{self, PageReader};
use clap::Parser;
use clap::error::ErrorKind;

use args::Cli;
use render::Output;

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => {
            let mut output = Output::new(cli.command.name(), cli.global.json);
            let result = commands::run(cli, &mut output);
            exit::conclude(output, result)
        }
        Err(error) => {
            let wants_json = std::env::args_os().any(|argument| argument == "--json");
            if error.use_stderr() && wants_json {
                let output = Output::new(&first_word(std::env::args_os().skip(1)), true);
                return exit::conclude(output, Err(exit::usage(error.to_string())));
            }
            let code = if error.use_stderr() { exit::USAGE } else { exit::DONE };
            // Where even this cannot be written, the code says it all.
            let _ = error.print();
            if error.kind() == ErrorKind::DisplayVersion && wants_more() {
                let _ = std::io::stdout().lock().write_all(parts().as_bytes());
            }
            ExitCode::from(code)
        }
    }
}

/// Whether the line that asks for the version asks for more.
fn wants_more() -> bool {
    std::env::args_os().any(|argument| argument == "-v" || argument == "--verbose")
}

/// What the program is made of that operators may have to know.
fn parts() -> String {
    let (version, reader) = (sqlite::library_version(), PageReader::of_this_library().name());
    format!("format: {FORMAT_VERSION}\nsqlite: {version}, pages read by {reader}\n")
}

/// The word that is most likely the command, of a line that could not be parsed.
fn first_word(arguments: impl Iterator<Item = OsString>) -> String {
    let words = arguments.filter_map(|argument| argument.into_string().ok());
    words.into_iter().find(|word| Cli::is_command(word)).unwrap_or_else(|| "holdfast".to_owned())
}
