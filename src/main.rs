//! The `bloodbank-audit` binary.

use std::process::ExitCode;

use bloodbank_audit::allocator;
use bloodbank_audit::cli::{Cli, Command};
use bloodbank_audit::commands::{
    reading::{with_answer, with_broker},
    with_runtime,
};
use bloodbank_audit::config::Environment;

fn main() -> ExitCode {
    allocator::settle();
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    let (flags, environment) = (cli.flags(), Environment::of_process());
    match cli.command {
        Command::Run(options) => {
            let again = (flags.clone(), environment.clone());
            with_runtime(&flags, &environment, |loaded, logs| options.run(loaded, again, logs))
        }
        Command::Health(options) => with_answer(&flags, &environment, |config| options.run(config)),
        Command::Check(options) => options.start(&flags, &environment),
        Command::Migrate(options) => {
            with_runtime(&flags, &environment, |loaded, _logs| options.run(loaded.config))
        }
        Command::Events(options) => with_answer(&flags, &environment, |config| options.run(config)),
        Command::Show(options) => with_answer(&flags, &environment, |config| options.run(config)),
        Command::Stats(options) => with_answer(&flags, &environment, |config| options.run(config)),
        Command::Trace(options) => with_answer(&flags, &environment, |config| options.run(config)),
        Command::Replay(options) => with_broker(&flags, &environment, |config| options.run(config)),
        Command::DeadLetters(options) => {
            with_broker(&flags, &environment, |config| options.run(config))
        }
        Command::Partitions(options) => {
            with_answer(&flags, &environment, |config| options.run(config))
        }
        Command::Coverage(options) => {
            with_answer(&flags, &environment, |config| options.run(config))
        }
        Command::Prove(options) => with_answer(&flags, &environment, |config| options.run(config)),
        Command::Redact(options) => {
            let of_key = environment.clone();
            with_answer(&flags, &environment, |config| options.run(config, of_key))
        }
        Command::Ledger(options) => {
            let of_key = environment.clone();
            with_answer(&flags, &environment, |config| options.run(config, of_key))
        }
        Command::Keys(options) => options.run(&environment),
        Command::Verify(options) => options.start(&flags, &environment),
        Command::Config(options) => options.run(&flags, &environment),
        Command::Completions(options) => options.run(),
        Command::Man(options) => options.run(),
    }
}
