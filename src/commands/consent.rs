//! Whether it is meant: asked at the terminal, before what cannot be taken back.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::reading::Misuse;

/// Asks whether to go on, after these words, which are safe to show. Where nobody can be asked, `unasked` says what to do
/// instead; `declined` says what a no comes to.
///
/// # Errors
/// The answer is no, or nobody can be asked.
pub fn ask(words: &str, unasked: String, declined: &str) -> Result<(), Misuse> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Misuse(unasked));
    }
    let mut stderr = io::stderr();
    // A closed stderr leaves nobody to ask, and then the answer is no.
    let _ = write!(stderr, "{words}. Go on? [y/N] ");
    let _ = stderr.flush();
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Misuse(declined.to_owned())),
    }
}
