//! Printing by commands that need neither configuration nor database.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write as _},
    process::ExitCode,
};

use crate::exit;

/// Writes all of it to stdout.
pub(super) fn to_stdout(text: &[u8]) -> ExitCode {
    let mut stdout = io::stdout().lock();
    ended(stdout.write_all(text).and_then(|()| stdout.flush()), "cannot write to stdout")
}

/// How writing ended, said on stderr where it failed.
pub(super) fn ended(written: io::Result<()>, what: &str) -> ExitCode {
    match written {
        Ok(()) => ExitCode::from(exit::CLEAN),
        // `| head` has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::from(exit::CLEAN),
        Err(error) => complain(&format!("{what}: {error}"), exit::OUTPUT),
    }
}

/// Says what is wrong with the command line.
pub(super) fn misuse(what: &str) -> ExitCode {
    complain(&what, exit::USAGE)
}

fn complain(what: &impl Display, code: u8) -> ExitCode {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(io::stderr(), "bloodbank-audit: {what}");
    ExitCode::from(code)
}
