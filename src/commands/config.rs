//! `bloodbank-audit config`: what is in effect, and where each value came from.

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;

use super::complain;
use crate::config::{Config, DEFAULTS, Environment, Flags};
use crate::exit;

const HELP: &str = "\
Examples:
  bloodbank-audit config                                     what is in effect here, and why
  bloodbank-audit config --defaults > config.toml            the commented file of all keys
  bloodbank-audit config --set retention.keep=400d           whether that would be understood

Exit status:
   0  printed
   1  stdout cannot be written to
   2  the command line is wrong
  78  the configuration is wrong";

/// Options of `bloodbank-audit config`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Options {
    /// Print the shipped file instead: every key with its meaning and default
    #[arg(long)]
    defaults: bool,
}

impl Options {
    /// Prints to stdout. A configuration that is wrong is said on stderr, with [`exit::CONFIG`].
    pub fn run(self, flags: &Flags, environment: &Environment) -> ExitCode {
        match self.print(flags, environment) {
            Ok(()) => ExitCode::from(exit::CLEAN),
            Err(error) => complain(&error),
        }
    }

    fn print(self, flags: &Flags, environment: &Environment) -> anyhow::Result<()> {
        let text = if self.defaults {
            DEFAULTS.to_owned()
        } else {
            Config::load(flags, environment)?.to_toml()
        };
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            // `| head` has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => written.context("cannot write to stdout"),
        }
    }
}
