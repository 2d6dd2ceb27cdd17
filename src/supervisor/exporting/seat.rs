//! One place that checkpoints are handed to, at its own pace.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    backoff::Backoff,
    export::{Place, Sink},
    ledger::Note,
    store::SignedCheckpoint,
    supervisor::board::Board,
};

pub(super) type Offer = Arc<SignedCheckpoint>;

/// That a place took a checkpoint.
pub(super) struct Receipt {
    /// Which place.
    pub place: usize,
    pub sink: &'static str,
    pub checkpoint: Offer,
    pub words: String,
}

/// Hands checkpoints to one place.
pub(super) struct Seat<'a> {
    pub place: usize,
    pub to: &'a Place,
    pub offers: watch::Receiver<Option<Offer>>,
    pub receipts: mpsc::Sender<Receipt>,
    pub backoff: Backoff,
    /// Why it said last that it does not take them.
    pub said: Option<String>,
}

impl Seat<'_> {
    /// Runs until there will be no other, and the last one was taken.
    pub async fn serve(
        mut self,
        broker: &crate::broker::Settings,
        board: &Board,
        closing: &CancellationToken,
    ) {
        let mut sink = None;
        let mut taken: Option<Offer> = None;
        let mut hurried = false;
        loop {
            let offer = self
                .offers
                .borrow_and_update()
                .clone()
                .filter(|offer| Some(offer) != taken.as_ref());
            let Some(offer) = offer else {
                if self.offers.changed().await.is_err() {
                    break;
                }
                continue;
            };
            match self.hand_over(&mut sink, broker, &offer).await {
                Ok(words) => {
                    self.backoff.reset();
                    board.exported(self.place, Ok(offer.reach));
                    if self.said.take().is_some() {
                        info!(sink = self.to.name(), "checkpoints are taken again");
                    }
                    taken = Some(Arc::clone(&offer));
                    let (place, sink) = (self.place, self.to.name());
                    let receipt = Receipt { place, sink, checkpoint: offer, words };
                    if self.receipts.send(receipt).await.is_err() {
                        break;
                    }
                }
                Err(why) => {
                    let delay = self.backoff.next_delay();
                    if self.said.as_ref() != Some(&why) {
                        let retry_in = humantime::format_duration(delay);
                        warn!(sink = self.to.name(), cause = why, %retry_in, "a checkpoint is not taken: it is offered again until one is");
                    }
                    board.exported(self.place, Err(&why));
                    self.said = Some(why);
                    tokio::select! {
                        () = sleep(delay) => {}
                        // At once, the first time.
                        () = closing.cancelled(), if !hurried => hurried = true,
                    }
                }
            }
        }
        if let Some(sink) = sink {
            sink.close().await;
        }
    }

    async fn hand_over(
        &self,
        sink: &mut Option<Sink>,
        broker: &crate::broker::Settings,
        offer: &Offer,
    ) -> Result<String, String> {
        let sink = match sink {
            Some(sink) => sink,
            none => none.insert(Sink::new(self.to, broker).map_err(|fault| fault.to_string())?),
        };
        let note = Note::parse(offer.note.as_bytes())
            .map_err(|error| format!("what audit.checkpoints holds is no signed note: {error}"))?;
        sink.take(&note).await
    }
}
