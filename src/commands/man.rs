//! `bloodbank-audit man`: the manual, a page a command.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::CommandFactory as _;
use clap_mangen::Man;

use super::print;
use crate::{cli::Cli, config::closest};

/// Options of `bloodbank-audit man`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Options {
    /// The page of this command; without it, that of the program
    #[arg(conflicts_with = "out")]
    command: Option<String>,
    /// Write all pages into this directory, which is made where it is missing
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

const HELP: &str = "\
Examples:
  bloodbank-audit man | man -l -
  bloodbank-audit man events | man -l -
  bloodbank-audit man --out /usr/local/share/man/man1

Exit status:
   0  written; also where the reader of the output had seen enough
   2  the command line is wrong
  74  the output cannot be written";

impl Options {
    /// Prints one page to stdout, or all into files.
    pub fn run(self) -> ExitCode {
        let mut program = Cli::command();
        program.build();
        if let Some(directory) = self.out {
            let mut program = Cli::command().disable_help_subcommand(true);
            program.build();
            let written =
                fs::create_dir_all(&directory).and_then(|()| write_all(&program, &directory));
            let what = format!("cannot write manual pages into {}", directory.display());
            return print::ended(written, &what);
        }
        let page = match &self.command {
            None => Some(&program),
            Some(name) => program.find_subcommand(name),
        };
        let Some(page) = page else {
            let name = self.command.unwrap_or_default();
            let names: Vec<_> = program.get_subcommands().map(clap::Command::get_name).collect();
            return print::misuse(&match closest(&name, &names) {
                Some(meant) => format!("there is no command {name:?}; did you mean {meant}?"),
                None => {
                    format!("there is no command {name:?}; `bloodbank-audit --help` lists them")
                }
            });
        };
        match rendered(page.clone()) {
            Ok(page) => print::to_stdout(&page),
            Err(error) => print::ended(Err(error), "cannot write the page"),
        }
    }
}

/// Writes the page of a command, and of those below it.
fn write_all(command: &clap::Command, directory: &Path) -> io::Result<()> {
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        write_all(command, directory)?;
    }
    let name = Man::new(command.clone()).get_filename();
    fs::write(directory.join(name), rendered(command.clone())?)
}

fn rendered(command: clap::Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let program = concat!("bloodbank-audit ", env!("CARGO_PKG_VERSION"));
    Man::new(command).source(program).render(&mut page)?;
    // Examples are set as they are written: no wider gaps, no word divided.
    let page = String::from_utf8(page).map_err(io::Error::other)?;
    Ok(page.replacen("\n.SH EXTRA\n", "\n.SH NOTES\n.ad l\n.nh\n", 1).into_bytes())
}
