//! Shows how a check comes along: a bar on a terminal, and nothing otherwise.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use indicatif::ProgressBar;

use crate::commands::progress_bar::styled;
use crate::verify::Meter;

/// How often the bar moves.
const OFTEN: Duration = Duration::from_millis(100);

/// Waits for the check, and shows meanwhile how far it is.
pub async fn look_on<T>(meter: &Meter, check: impl Future<Output = T>) -> T {
    if !io::stderr().is_terminal() {
        return check.await;
    }
    let bar = styled(ProgressBar::new(0), "{msg} ", "");
    let mut check = std::pin::pin!(check);
    let mut often = tokio::time::interval(OFTEN);
    let mut reads_events = false;
    loop {
        tokio::select! {
            outcome = &mut check => {
                bar.finish_and_clear();
                return outcome;
            }
            _ = often.tick() => {
                let (read, rows) = meter.events();
                let (done, all) = if read > 0 { (read, rows) } else { meter.leaves() };
                if read > 0 && !reads_events {
                    reads_events = true;
                    bar.reset();
                }
                bar.set_message(if reads_events { "events" } else { "tree" });
                bar.set_length(all.max(done));
                bar.set_position(done);
            }
        }
    }
}
