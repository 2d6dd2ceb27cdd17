//! `bloodbank-audit ledger`: what somebody has to decide about the ledger.

mod new_epoch;

use clap::Subcommand;

use super::reading::Found;
use crate::config::{Config, Environment};

const HELP: &str = "\
Examples:
  bloodbank-audit ledger new-epoch --reason \"restored from last night's backup, incident 4711\"

A daemon that finds less in the database than the last checkpoint in ledger.checkpoint_file speaks of records on and seals nothing,
until somebody says that this is known.

Exit status:
   0  a new epoch is begun
   2  wrong use, ledger.checkpoint_file cannot be read, or the answer was no
  69  the database is away, refuses, or its schema is missing or of another version
  70  the command died (a panic): a bug
  74  the output cannot be written
  78  the configuration is wrong";

/// Options of `bloodbank-audit ledger`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP, arg_required_else_help = true, subcommand_required = true)]
pub struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Begin a new tree, after the database has lost what was sealed
    NewEpoch(new_epoch::Options),
}

impl Options {
    /// Does what is asked.
    ///
    /// # Errors
    /// It was not done, or it is unknown whether it was.
    pub async fn run(self, config: Config, environment: Environment) -> anyhow::Result<Found> {
        match self.what {
            What::NewEpoch(options) => options.run(config, environment).await,
        }
    }
}
