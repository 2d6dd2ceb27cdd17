//! After a session whose deliveries were committed and could not be acknowledged: no checkpoint went outside, or they are gone.

use tracing::{info, warn};

use super::{Settings, board::Board};
use crate::{signals::Stop, store::State};

/// Waits until what went back to the queue is in a checkpoint outside, or is not in the database any more; or until told to stop.
/// Asked for earlier it would only be held again for as long, and the queue counts how often it goes back.
pub(super) async fn wait(settings: &Settings, stop: &Stop, board: &Board) {
    let Some(cover) = settings.rules.ack.cover() else { return };
    warn!(
        held = %humantime::format_duration(settings.rules.hold),
        "what was committed has been in no checkpoint outside for too long: what is in hand goes back to the queue before the broker \
         takes it back, and nothing is asked for until every place takes checkpoints again (ingest.ack = \"sealed\")"
    );
    board.coverage().note(
        State::Paused,
        "no checkpoint goes outside, and ingest.ack = \"sealed\": events wait in the queue",
    );
    tokio::select! {
        biased;
        () = stop.soft.cancelled() => return,
        () = cover.nothing_inside() => {}
    }
    info!("what is committed is in a checkpoint outside");
}

/// The database went back to where it had not committed what is in hand.
pub(super) fn say_gone() {
    warn!(
        "the database does not have any more what it had committed: what is in hand goes back to the queue, and is stored again \
         (ingest.ack = \"sealed\")"
    );
}
