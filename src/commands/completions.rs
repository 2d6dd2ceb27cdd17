//! `bloodbank-audit completions`: what a shell needs to complete this command line.

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::print;
use crate::cli::Cli;

/// Options of `bloodbank-audit completions`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Options {
    /// The shell
    shell: Shell,
}

const HELP: &str = "\
Examples:
  bloodbank-audit completions bash > ~/.local/share/bash-completion/completions/bloodbank-audit
  bloodbank-audit completions zsh > \"${fpath[1]}/_bloodbank-audit\"
  bloodbank-audit completions fish > ~/.config/fish/completions/bloodbank-audit.fish

Exit status:
   0  written; also where the reader of the output had seen enough
   2  the command line is wrong
  74  the output cannot be written";

impl Options {
    /// Prints to stdout.
    pub fn run(self) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "bloodbank-audit", &mut script);
        print::to_stdout(&script)
    }
}
