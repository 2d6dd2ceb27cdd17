//! The project's chores, one word each: `cargo xtask up`, `test`, `lint`.

mod cargo;
mod lint;
mod test;
mod up;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's chores.
#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    word: Word,
}

#[derive(Subcommand)]
enum Word {
    /// Watch events go from a private RabbitMQ through the daemon into a private PostgreSQL
    Up(up::Options),
    /// Run every test, on private servers
    Test(test::Options),
    /// Check format, clippy and documentation, with warnings denied
    Lint(lint::Options),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().word {
        Word::Up(options) => options.run(),
        Word::Test(options) => options.run(),
        Word::Lint(options) => options.run(),
    };
    outcome.unwrap_or_else(|error| {
        // A closed stderr leaves nobody to tell.
        let _ = writeln!(std::io::stderr(), "xtask: {error:#}");
        ExitCode::FAILURE
    })
}
