//! `bloodbank-audit migrate`: the database's schema, and nothing else.

use std::{io::Write as _, process::ExitCode};

use super::settings;
use crate::{config::Config, exit, store};

const HELP: &str = "\
Examples:
  bloodbank-audit migrate --dry-run
  bloodbank-audit migrate --database-url postgres://owner@db/bloodbank_audit

Only what is missing is applied, each step whole or not at all. Afterwards grant anew: audit.grant_reader, audit.grant_writer.

Exit status:
   0  the schema is up to date, or would be
   1  the database cannot be reached or was migrated by another program, or a step failed and was rolled back
   2  the command line is wrong
  78  the configuration is wrong";

/// Options of `bloodbank-audit migrate`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Options {
    /// Say what would be applied, and apply nothing
    #[arg(long)]
    pub dry_run: bool,
}

impl Options {
    /// Applies what is missing, and says on stdout what that was.
    ///
    /// # Errors
    /// The database cannot be reached or was migrated by another program, or a step failed and was rolled back.
    pub async fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        let settings = settings::store(&config)?;
        let (steps, done) = match self.dry_run {
            true => (store::pending(&settings).await?, "would apply"),
            false => (store::migrate(&settings).await?, "applied"),
        };
        let mut out = std::io::stdout().lock();
        for step in &steps {
            writeln!(out, "{done} {:04} {}", step.version, step.description)?;
        }
        if steps.is_empty() {
            writeln!(out, "the schema is up to date")?;
        }
        Ok(ExitCode::from(exit::CLEAN))
    }
}
