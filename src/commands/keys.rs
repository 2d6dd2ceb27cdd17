//! `bloodbank-audit keys`: the keys that sign the ledger.

mod file;
mod generate;
mod show;

use std::process::ExitCode;

use clap::Subcommand;

use super::complain;
use crate::config::Environment;

pub use file::read;

const HELP: &str = "\
Examples:
  bloodbank-audit keys generate --out /etc/credstore/bloodbank-audit.ledger.key_file
  bloodbank-audit keys generate --out ledger.key --name audit.example.org/orders > ledger.pub
  bloodbank-audit keys generate --out ledger-2.key --rotates ledger.key >> ledger.pub
  bloodbank-audit keys show --key ledger.key

A private key is one of Ed25519, in the text format of C2SP's signed notes, in a file that its owner alone can read. It is never
written over, and never shown. The public key is one line, NAME+ID+KEY, as other tools take it that read signed notes: give it to
whoever is to check what the key signs, and keep it where whoever runs the database cannot change it.

With --rotates the file of the new key also holds the old one's signature over both, and `show` prints it for those who know the
old one. Reading a key refuses a file that others than its owner may use, but for a credential of systemd.

Exit status:
   0  made, or printed; also where the reader of the output had seen enough
   1  the file cannot be made or read, others may use it, or there is no key in it
   2  the command line is wrong
  74  the output cannot be written";

/// Options of `bloodbank-audit keys`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP, arg_required_else_help = true, subcommand_required = true)]
pub struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a new private key in a file, and print its public key
    Generate(generate::Options),
    /// Print the public key of a private one, and the word of the key before it
    Show(show::Options),
}

impl Options {
    /// Does what is asked. It needs no configuration, and what fails is said on stderr.
    pub fn run(self, environment: &Environment) -> ExitCode {
        let done = match self.what {
            What::Generate(options) => options.run(environment),
            What::Show(options) => options.run(environment),
        };
        done.unwrap_or_else(|error| complain(&error))
    }
}
