//! Intake: takes deliveries from the broker. The only stage that knows of the stop signal.
//!
//! The client buffers whatever the broker sends, whether anybody takes it or not. So the intake does nothing but take and
//! count, and never waits for a later stage: that is how it learns in time that more is on its way than there is room for.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{Bounds, Pulse, Tally, Window, hand::Hand, pulse::Stage};
use crate::{broker::Source, event::Delivery};

pub(super) enum Ended {
    /// The stop signal came; every delivery handed out before has been passed on.
    Stopped,
    /// The session ended, for this reason.
    Lost(String),
    /// More came than the budget allows. What there was room for has been passed on; the rest stays with the broker.
    Overfull,
    /// The next stage no longer reads; the session may have ended, for this reason.
    Unread(String),
}

pub(super) struct Intake<S> {
    pub source: S,
    pub window: Window,
    pub bounds: Bounds,
    pub hand: Arc<Hand>,
    pub tally: Arc<Tally>,
    pub pulse: Arc<Pulse>,
    /// Has room for all that can be in hand.
    pub deliveries: mpsc::Sender<Delivery>,
    pub stop: CancellationToken,
}

impl<S: Source> Intake<S> {
    /// Passes deliveries on in order, until told to stop or there are no more.
    pub async fn run(mut self) -> (Window, Ended) {
        let ended = self.take_all().await;
        (self.window, ended)
    }

    async fn take_all(&mut self) -> Ended {
        self.hand.narrow(self.window.narrowed());
        let mut stopping = false;
        let mut overfull = false;
        loop {
            if !stopping && self.stop.is_cancelled() {
                stopping = true;
                self.source.cancel();
            }
            if self.deliveries.is_closed() {
                return Ended::Unread(self.source.ending());
            }
            // Deliveries first: what else may happen is looked for above, and waited for only where none is there.
            let delivery = tokio::select! {
                biased;
                delivery = self.source.next() => delivery,
                () = self.stop.cancelled(), if !stopping => continue,
                () = self.deliveries.closed() => continue,
            };
            let delivery = match delivery {
                // Read to be let go of: nothing else keeps it out of the client's memory.
                Some(_) if overfull && !self.hand.is_empty() => continue,
                _ if overfull => return Ended::Overfull,
                Some(delivery) => delivery,
                None if stopping => return Ended::Stopped,
                None => return Ended::Lost(self.source.ending()),
            };
            self.hand.take(&delivery);
            self.tally.take(&delivery, self.window.width());
            self.pulse.has_work(Stage::Write);
            let alone = self.window.width() == 1;
            let resized = self.window.took(&delivery);
            if self.hand.is_over(self.bounds.bytes) {
                overfull = true;
                self.source.cancel();
            } else if resized && !stopping {
                self.resize();
                // As long as this delivery cannot be acknowledged, no other is on its way to the consumer that goes.
                if alone {
                    let _work = self.pulse.at_work(Stage::Intake);
                    self.source.resized().await;
                }
            }
            if self.deliveries.send(delivery).await.is_err() {
                return Ended::Unread(self.source.ending());
            }
        }
    }

    /// Asks the broker for as many deliveries as the window is wide now.
    fn resize(&mut self) {
        let prefetch = self.window.width();
        self.hand.narrow(self.window.narrowed());
        if self.window.is_wide_open() {
            info!(prefetch, "taking as many deliveries at a time as configured");
        } else {
            debug!(prefetch, "taking another number of deliveries at a time");
        }
        self.source.resize(prefetch);
    }
}
