//! The command line.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::commands;
use crate::config::{Flags, redact};
use crate::exit;

/// Keeps the complete, provable history of a RabbitMQ event bus in PostgreSQL.
#[derive(Parser)]
#[command(
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    after_long_help = AFTER_HELP
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    global: Global,
}

/// The subcommands.
#[derive(Subcommand)]
pub enum Command {
    /// Record every event of the bus until a signal ends it
    Run(commands::run::Options),
    /// Ask the daemon whether it is well: for scripts, containers and load balancers
    Health(commands::health::Options),
    /// Look for whatever would break the audit, on both sides, and say what to type; changes nothing
    Check(commands::check::Options),
    /// Bring the database's schema up to date, and nothing else
    Migrate(commands::migrate::Options),
    /// List events of the history: filtered, as a table or for other programs
    Events(Box<commands::events::Options>),
    /// Show one event whole: envelope, properties, body, where it sits, what led to it and what followed
    Show(commands::show::Options),
    /// Count what came: totals, rates, types, sources, rejections, sizes
    Stats(commands::stats::Options),
    /// Draw what led to an event, and what followed from it
    Trace(commands::trace::Options),
    /// Publish events of the history again: to a queue, to an exchange, or to where they came from
    Replay(Box<commands::replay::Options>),
    /// Look at what could not be recorded, send it again, discard it, take it along
    DeadLetters(Box<commands::dead_letters::Options>),
    /// List the partitions of the history: spans, sizes, and when retention drops them
    Partitions(commands::partitions::Options),
    /// Write a proof that an event is in the history, to be checked with no database
    Prove(commands::prove::Options),
    /// Erase events' bytes for good, and keep the proof that they were there
    Redact(commands::redact::Options),
    /// Begin a new tree of the ledger, after the database has lost what was sealed
    Ledger(commands::ledger::Options),
    /// Show when events were recorded without a break, and the holes with their causes
    Coverage(commands::coverage::Options),
    /// Make the key that signs the ledger, or print the public side of one
    Keys(commands::keys::Options),
    /// Recompute what was recorded from what is stored, and say what was altered, deleted or inserted since
    Verify(Box<commands::verify::Options>),
    /// Print the effective configuration and where each value came from, secrets masked
    Config(commands::config::Options),
    /// Print what a shell needs to complete this command line
    Completions(commands::completions::Options),
    /// Print the manual, or write it as files
    Man(commands::man::Options),
}

/// Flags of every subcommand. The values stay out of `Debug` and of `--help`: they may be secrets.
#[derive(Args)]
#[command(next_help_heading = "Configuration")]
struct Global {
    /// Read this file, which must exist, instead of /etc/bloodbank-audit/config.toml
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Set any key of the file, above everything else; repeatable
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// rabbitmq.url; other users of the machine see it: prefer the variable RABBIT_URL or a credential
    #[arg(long, global = true, value_name = "URL")]
    rabbit_url: Option<String>,
    /// postgres.url; other users of the machine see it: prefer the variable DATABASE_URL or a credential
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// rabbitmq.exchange
    #[arg(long, global = true, value_name = "NAME")]
    exchange: Option<String>,
    /// rabbitmq.queue
    #[arg(long, global = true, value_name = "NAME")]
    queue: Option<String>,
    /// log.level: off, error, warn, info, debug, trace, then perhaps ",target=level"
    #[arg(long, global = true, value_name = "FILTER")]
    log_level: Option<String>,
    /// log.format: human or json
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
}

const AFTER_HELP: &str = "\
Configuration, lowest first: the built-in defaults (`bloodbank-audit config --defaults` prints them), \
the file, .env in the working directory, the environment (BLOODBANK_AUDIT__SECTION__KEY, and RABBIT_URL, \
EXCHANGE_NAME, DATABASE_URL), systemd's credentials (a file in $CREDENTIALS_DIRECTORY that is named like a key), the flags.

Exit status:
   0  a clean stop: everything in hand was committed and acked
   1  a failure, said in the last line of the log; of commands that read: nothing matched; of check: a fault; of verify: damage
   2  the command line is wrong
   4  of replay: some events are in no queue; of dead-letters: some that were meant are left
  69  of commands that read: the database is away, refuses, or has another schema
  70  a part of the daemon, or a command that reads, died (a panic)
  74  of commands that read: the output cannot be written
  75  a stop was cut short, by the end of the grace period, a second signal or an outage; the rest stays with the broker
  78  the configuration is wrong, or what exists on the broker is not what it asks for: restarting does not help";

impl Cli {
    /// Parses the command line, the program's name first.
    ///
    /// # Errors
    ///
    /// The exit code, when the answer has been printed already: help, the version, or what is wrong.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, ExitCode> {
        let matches = flowing(Self::command()).try_get_matches_from(arguments);
        matches.and_then(|matches| Self::from_arg_matches(&matches)).map_err(|error| {
            // A closed stdout or stderr leaves nobody to tell.
            let code = match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                    let _ = error.print();
                    exit::CLEAN
                }
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                    let _ = error.print();
                    exit::USAGE
                }
                // It quotes the argument that is wrong, which may be a URL with its password.
                _ => {
                    let mut text = redact(&error.render().to_string());
                    if has_a_sign(&error) {
                        text.push_str(
                            "\nNo number here has a sign: --since 2h is from two hours ago on.\n",
                        );
                    }
                    let _ = std::io::stderr().write_all(text.as_bytes());
                    exit::USAGE
                }
            };
            ExitCode::from(code)
        })
    }

    /// What the flags say about the configuration; `--set` after the flags of single keys, so that it wins.
    pub fn flags(&self) -> Flags {
        let Global {
            config,
            set,
            rabbit_url,
            database_url,
            exchange,
            queue,
            log_level,
            log_format,
        } = &self.global;
        let single = [
            ("--rabbit-url", "rabbitmq.url", rabbit_url),
            ("--database-url", "postgres.url", database_url),
            ("--exchange", "rabbitmq.exchange", exchange),
            ("--queue", "rabbitmq.queue", queue),
            ("--log-level", "log.level", log_level),
            ("--log-format", "log.format", log_format),
        ];
        let mut flags = Flags::default();
        if let Some(path) = config {
            flags = flags.with_file(path);
        }
        for (flag, path, value) in single {
            if let Some(value) = value {
                flags = flags.with_value(flag, path, value);
            }
        }
        set.iter().fold(flags, |flags, assignment| flags.with_assignment(assignment))
    }
}

/// Whether a number below zero was taken for a flag.
fn has_a_sign(error: &clap::Error) -> bool {
    let of_a_number = |flag: &str| {
        flag.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    error.kind() == ErrorKind::UnknownArgument
        && matches!(error.get(ContextKind::InvalidArg), Some(ContextValue::String(flag)) if of_a_number(flag))
}

/// The same with each paragraph of the long helps in one line, for clap to break where the terminal ends: broken in the
/// source, too, it would come in long and short lines by turns.
fn flowing(command: clap::Command) -> clap::Command {
    let help = command.get_after_long_help().map(|help| flowed(&help.to_string()));
    let command = match help {
        Some(help) => command.after_long_help(help),
        None => command,
    };
    command.mut_subcommands(flowing)
}

/// Joins the lines of paragraphs; what is indented stays as it is, and so does what stands above it.
fn flowed(help: &str) -> String {
    let is_prose = |line: &str| !line.is_empty() && !line.starts_with(' ') && !line.ends_with(':');
    let mut flowed = String::new();
    let mut goes_on = false;
    for line in help.lines() {
        let prose = is_prose(line);
        if !flowed.is_empty() {
            flowed.push(if goes_on && prose { ' ' } else { '\n' });
        }
        flowed.push_str(line);
        goes_on = prose;
    }
    flowed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_FILE;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn paragraphs_of_the_help_flow_and_lists_stay() {
        let help = "Examples:\n  one\n  two\n\nSome words\nand more.\n\nNext.\n\nExit status:\n   0  well\n      done";
        let flowed = "Examples:\n  one\n  two\n\nSome words and more.\n\nNext.\n\nExit status:\n   0  well\n      done";
        assert_eq!(super::flowed(help), flowed);
        let mut program = flowing(Cli::command()).term_width(400);
        program.build();
        let verify = program.find_subcommand_mut("verify").unwrap();
        let help = verify.render_long_help().to_string();
        assert!(
            help.contains("and compared with what was recorded; nothing is changed."),
            "{help}"
        );
    }

    #[test]
    fn every_command_has_examples_and_exit_statuses() {
        let mut program = Cli::command();
        program.build();
        let mut commands = 0;
        for command in program.get_subcommands_mut().filter(|command| command.get_name() != "help")
        {
            commands += 1;
            let name = command.get_name().to_owned();
            let help = command.render_long_help().to_string();
            assert!(
                help.contains(&format!("\nExamples:\n  bloodbank-audit {name}")),
                "{name}:\n{help}"
            );
            let (_, statuses) =
                help.split_once("\nExit status:\n").unwrap_or_else(|| panic!("{name}:\n{help}"));
            for code in [exit::CLEAN, exit::USAGE] {
                assert!(statuses.contains(&format!("{code:>4}  ")), "{name}: {code}\n{help}");
            }
        }
        assert!(commands >= 9, "{commands}");
    }

    #[test]
    fn the_help_names_every_exit_code_and_the_default_file() {
        let help = Cli::command().render_long_help().to_string();
        for code in [
            exit::CLEAN,
            exit::FAILURE,
            exit::USAGE,
            exit::UNDELIVERED,
            exit::UNAVAILABLE,
            exit::DIED,
            exit::OUTPUT,
            exit::UNFINISHED,
            exit::CONFIG,
        ] {
            assert!(help.contains(&format!("\n{code:>4}  ")), "{code} is missing in:\n{help}");
        }
        assert!(help.contains(DEFAULT_FILE));
    }
}
