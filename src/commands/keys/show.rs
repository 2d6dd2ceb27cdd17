//! The public side of a private key.

use std::{path::PathBuf, process::ExitCode};

use super::file;
use crate::{commands::print, config::Environment};

/// Options of `bloodbank-audit keys show`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The private key's file
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

impl Options {
    /// Prints the public key to stdout, and below it, where it follows another key, that one and its signature.
    ///
    /// # Errors
    /// The file cannot be read, others may use it, or there is no key in it.
    pub fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let key = file::read(&self.key, environment)?;
        Ok(print::to_stdout(key.public_text().as_bytes()))
    }
}
