//! What becomes of a stage that dies. Everything else about the pipeline is shown against real servers, in `tests/it`.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{Ack, Bounds, Ended, Limits, Pulse, Rules, Tally, Window, run};
use crate::{
    backoff::Backoff,
    broker::{Acker, Fault, Source},
    event::{Delivery, DeliveryTag, Envelope, Preset, Properties, now},
    store::{Settings, Writer, options},
};

/// A client that panics, as the real one does on a field tag it does not know.
struct Dies;

impl Source for Dies {
    async fn next(&mut self) -> Option<Delivery> {
        panic!("unknown field tag")
    }

    fn resize(&mut self, _: u16) {}

    async fn resized(&mut self) {}

    fn cancel(&mut self) {}

    fn ended(&self) -> CancellationToken {
        CancellationToken::new()
    }

    fn ending(&self) -> String {
        "not asked".to_owned()
    }
}

impl Acker for Dies {
    async fn ack_up_to(&mut self, _: DeliveryTag) -> Result<(), Fault> {
        Ok(())
    }

    async fn dead_letter(&mut self, _: DeliveryTag) -> Result<(), Fault> {
        Ok(())
    }
}

/// A delivery of just now with that body, and nothing else to it.
pub(super) fn delivery(body: impl Into<Vec<u8>>) -> Delivery {
    Delivery {
        tag: 0,
        redelivered: false,
        exchange: String::new(),
        routing_key: String::new(),
        properties: Properties::default(),
        body: body.into(),
        received_at: now(),
    }
}

pub(super) fn rules() -> Rules {
    Rules {
        queue: "audit".to_owned(),
        envelope: Arc::new(Envelope::preset(Preset::Bloodbank)),
        dead_letter_malformed: false,
        max_body: 1000,
        limits: Limits { events: 500, bytes: 10_000_000 },
        backoff: Backoff::new(Duration::from_millis(1), Duration::from_millis(1)),
        bounds: Bounds { deliveries: 2_000, bytes: 10_000_000, wary: 5 },
        hold: Duration::from_secs(1),
        ack: Ack::Committed,
    }
}

#[tokio::test]
async fn a_stage_that_dies_is_named() {
    let rules = rules();
    let window = Window::new(rules.bounds);
    let second = Duration::from_secs(1);
    let writer = Writer::new(Settings {
        options: options("postgres://localhost/never_connected").unwrap(),
        connect_timeout: second,
        statement_timeout: second,
        hourly: false,
        partitions_ahead: 1,
        dedupe_overlap: second,
        ledger: None,
        redelivered_within: second,
        rejected_body: 1000,
    });
    let (soft, hard) = (CancellationToken::new(), CancellationToken::new());
    let (tally, pulse) = (Arc::new(Tally::default()), Arc::new(Pulse::default()));
    let outcome = run(Dies, Dies, writer, window, rules, tally, pulse, soft, hard).await;
    let Ended::Died(words) = outcome.ended else { panic!("{:?}", outcome.ended) };
    assert!(words.contains("the intake stage of the pipeline died"), "{words}");
    assert!(words.contains("unknown field tag"), "{words}");
}
