//! Whether it is meant.

use super::look_through;
use crate::{
    commands::{consent, reading::Misuse, terminal::visible},
    dead_letters::{Choice, Letter, Places},
    store,
};

/// How many are chosen, and bytes of their bodies.
///
/// # Errors
/// The queue cannot be read.
pub async fn count(places: &Places, choice: &Choice) -> anyhow::Result<(u64, usize)> {
    let (mut matched, mut bytes) = (0, 0);
    let limit = choice.limit.unwrap_or(u64::MAX);
    let each = |letter: Letter| {
        if choice.fits(&letter) {
            matched += 1;
            bytes += letter.delivery.body.len();
        }
        Ok(matched < limit)
    };
    look_through(places, each).await?;
    Ok((matched, bytes))
}

/// Asks at the terminal.
///
/// # Errors
/// The answer is no, or nobody can be asked.
pub fn ask(what: &str) -> Result<(), Misuse> {
    let unasked = format!("{what}. Where nobody can be asked, --yes says that this is meant");
    consent::ask(&visible(what), unasked, "nothing is done")
}

/// What is done cannot be put on record, so nothing is done.
pub fn unrecorded(fault: store::Fault) -> anyhow::Error {
    anyhow::Error::new(fault).context(
        "what is done with dead letters is on record before, and this cannot be, so nothing is done (the schema's owner gives \
         the right by `select audit.grant_replayer('role')`; a standby takes no rows)",
    )
}
