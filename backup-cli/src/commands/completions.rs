//! `completions`: what shells need to complete command lines.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::{Done, Failure, usage};
use crate::render::Output;

/// Prints the completions for a shell
#[derive(Args)]
#[command(after_help = "\
Examples:
    holdfast completions bash > ~/.local/share/bash-completion/completions/holdfast
    holdfast completions fish > ~/.config/fish/completions/holdfast.fish")]
pub(crate) struct Arguments {
    /// Which shell
    shell: Shell,
}

/// Prints what clap generates.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<Done, Failure> {
    if output.is_json() {
        return Err(usage("completions are no JSON"));
    }
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "holdfast", &mut script);
    output.raw().write_all(&script).map_err(Failure::Output)?;
    Ok(Done::default())
}
