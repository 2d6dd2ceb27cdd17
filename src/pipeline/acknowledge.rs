//! Acknowledge: tells the broker what is committed. Takes receipts, and nothing else.

use tokio::sync::mpsc;

use super::receipt::Receipt;
use crate::broker::Acker;

/// Runs until there are no more receipts. The error says why the broker could not be told.
pub(super) async fn run(
    mut acker: impl Acker,
    mut receipts: mpsc::Receiver<Receipt>,
) -> Result<(), String> {
    while let Some(receipt) = receipts.recv().await {
        let told = async {
            for tag in receipt.dead_letter {
                acker.dead_letter(tag).await?;
            }
            match receipt.ack_up_to {
                Some(tag) => acker.ack_up_to(tag).await,
                None => Ok(()),
            }
        };
        told.await.map_err(|fault| fault.to_string())?;
    }
    Ok(())
}
