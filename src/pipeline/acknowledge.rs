//! Acknowledge: tells the broker what is committed. Takes receipts, and nothing else.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Ended, Pulse, pulse::Stage, receipt::Receipt};
use crate::broker::Acker;

/// Runs until there are no more receipts, or nobody to tell (`lost`). The error says why the broker could not be told.
pub(super) async fn run(
    mut acker: impl Acker,
    mut receipts: mpsc::Receiver<Receipt>,
    pulse: Arc<Pulse>,
    lost: CancellationToken,
) -> Result<(), String> {
    while let Some(receipt) = receipts.recv().await {
        let _work = pulse.at_work(Stage::Acknowledge);
        let told = async {
            for &tag in receipt.dead_letter() {
                acker.dead_letter(tag).await?;
            }
            match receipt.ack_up_to() {
                Some(tag) => acker.ack_up_to(tag).await,
                None => Ok(()),
            }
        };
        // The client may wait for a stalled socket for longer than it takes the session for alive.
        match lost.run_until_cancelled(told).await {
            Some(told) => told.map_err(|fault| fault.to_string())?,
            None => return Err(Ended::UNTOLD.to_owned()),
        }
    }
    Ok(())
}
