//! Intake: takes deliveries from the broker and understands them. The only stage that knows of the stop signal.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    broker::Source,
    event::{Envelope, Event},
};

pub(super) enum Ended {
    /// The stop signal came, or enough was taken; every delivery handed out before has been passed on.
    Stopped,
    /// The session ended, for this reason.
    Lost(String),
    /// The next stage no longer reads; the session may have ended, for this reason.
    Unread(String),
}

/// Passes events on in order of delivery, until told to stop, `take` of them are taken, or there are no more.
pub(super) async fn run(
    mut source: impl Source,
    envelope: Arc<Envelope>,
    take: Option<u64>,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) -> Ended {
    let mut stopping = false;
    let mut taken = 0;
    loop {
        if !stopping && (stop.is_cancelled() || take.is_some_and(|most| taken >= most)) {
            stopping = true;
            source.cancel().await;
        }
        tokio::select! {
            biased;
            () = stop.cancelled(), if !stopping => {}
            () = events.closed() => return Ended::Unread(source.ending()),
            delivery = source.next() => match delivery {
                Some(delivery) => {
                    taken += 1;
                    if events.send(Event::from_delivery(delivery, &envelope)).await.is_err() {
                        return Ended::Unread(source.ending());
                    }
                }
                None if stopping => return Ended::Stopped,
                None => return Ended::Lost(source.ending()),
            },
        }
    }
}
