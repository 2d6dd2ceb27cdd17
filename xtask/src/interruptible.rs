//! Work that a signal ends in good order, and a second one at once.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use bloodbank_audit::signals::{Listener, Stop};
use tokio_util::sync::CancellationToken;

use crate::screen::Screen;

/// The exit status of what a signal ended before it was through.
pub const INTERRUPTED: u8 = 130;

/// Runs `work` with the token that a signal cancels.
///
/// # Errors
/// Those of the work; and where signals cannot be handled.
pub fn interruptible(
    screen: &Screen,
    work: impl AsyncFnOnce(&CancellationToken) -> Result<ExitCode>,
) -> Result<ExitCode> {
    let stop = Stop::new();
    // The terminal is gone: nobody watches any more.
    let hangup = stop.soft.clone();
    let listener =
        Listener::start(stop.clone(), move || hangup.cancel(), || {}).context("handle signals")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            biased;
            () = stop.hard.cancelled() => {
                screen.line("  stopped at once: nothing was compared");
                Ok(ExitCode::from(INTERRUPTED))
            }
            outcome = work(&stop.soft) => outcome,
        }
    });
    drop(listener);
    outcome
}
