//! The project's chores, one word each: `cargo xtask up`, `test`, `lint`, `soak`, `tamper`,
//! `bench`, `memory`, `package`.

mod bench;
mod cargo;
mod draw;
mod figures;
mod history;
mod interruptible;
mod latency;
mod lint;
mod live;
mod memory;
mod package;
mod samples;
mod screen;
mod soak;
mod stage;
mod tamper;
mod test;
mod up;
mod worker;

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
    /// Break everything again and again under random traffic, then draw the balance
    Soak(soak::Options),
    /// Change a recorded history of 100,000 events in every way, and see that each is told
    Tamper(tamper::Options),
    /// Measure rate, latency, memory and size, beside what else could do the work
    Bench(bench::Options),
    /// Show that the daemon's memory stays in its bounds: 8 GB of large bodies, a million small ones
    Memory(memory::Options),
    /// Make a Debian package, and a tarball with a static program
    Package(package::Options),
    /// Run every test, on private servers
    Test(test::Options),
    /// Check format, clippy and documentation, with warnings denied
    Lint(lint::Options),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().word {
        Word::Up(options) => options.run(),
        Word::Soak(options) => options.run(),
        Word::Tamper(options) => options.run(),
        Word::Bench(options) => options.run(),
        Word::Memory(options) => options.run(),
        Word::Package(options) => options.run(),
        Word::Test(options) => options.run(),
        Word::Lint(options) => options.run(),
    };
    outcome.unwrap_or_else(|error| {
        // A closed stderr leaves nobody to tell.
        let _ = writeln!(std::io::stderr(), "xtask: {error:#}");
        ExitCode::FAILURE
    })
}
