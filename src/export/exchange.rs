//! An exchange of the bus.

use crate::{
    broker::{self, Courier},
    event::Properties,
    ledger::Note,
};

/// The routing key of checkpoints.
pub const ROUTING_KEY: &str = "audit.checkpoint";

pub(super) struct Exchange {
    name: String,
    courier: Courier,
}

impl Exchange {
    pub fn new(name: &str, broker: &broker::Settings) -> Exchange {
        Exchange { name: name.to_owned(), courier: Courier::new(broker, "checkpoints") }
    }

    /// It has to be in a queue: what an exchange hands to nobody is kept nowhere.
    pub async fn publish(&mut self, note: &Note) -> Result<String, String> {
        // Without an id: two daemons may publish the same one.
        let properties = Properties {
            content_type: Some("text/plain; charset=utf-8".to_owned()),
            delivery_mode: Some(2),
            message_type: Some(ROUTING_KEY.to_owned()),
            app_id: Some("bloodbank-audit".to_owned()),
            ..Properties::default()
        };
        let body = note.to_string();
        let brought = self.courier.bring((&self.name, ROUTING_KEY), &properties, body.as_bytes());
        match brought.await {
            Ok(()) => Ok(format!("confirmed by the broker, in a queue of exchange {}", self.name)),
            Err(why) => Err(format!("exchange {}: {why}", self.name)),
        }
    }

    pub async fn close(self) {
        self.courier.close().await;
    }
}
