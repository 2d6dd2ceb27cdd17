//! A courier: brings one message at a time into a queue, on a connection that it keeps for the next one.

use std::{fmt, time::Duration};

use tokio::time::timeout;

use super::{Fault, Publisher, Settings};
use crate::event::Properties;

/// How long the broker may take to confirm a message.
const CONFIRM: Duration = Duration::from_secs(10);

/// Publishes with confirms, one message after the other.
pub struct Courier {
    settings: Settings,
    name: String,
    publisher: Option<Publisher>,
}

/// Why a message is in no queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undelivered {
    /// The broker did not take it.
    Refused(String),
    /// The exchange handed it to nobody.
    Unrouted,
}

impl fmt::Display for Undelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Undelivered::Refused(cause) => write!(f, "the broker did not take it: {cause}"),
            Undelivered::Unrouted => {
                f.write_str("the exchange handed it to no queue: a binding is missing")
            }
        }
    }
}

impl Courier {
    /// Connects to nobody yet. Its connection is named after what it brings.
    #[must_use]
    pub fn new(settings: &Settings, what: &str) -> Courier {
        let name = format!("{} {what}", settings.connection_name);
        Courier { settings: settings.clone(), name, publisher: None }
    }

    /// Brings a message into a queue, on the connection of the last one, or else on a new one: that one may have ended
    /// meanwhile, which is nobody's fault.
    ///
    /// # Errors
    /// It is in no queue, or it is unknown whether it is.
    pub async fn bring(
        &mut self,
        (exchange, routing_key): (&str, &str),
        properties: &Properties,
        body: &[u8],
    ) -> Result<(), Undelivered> {
        let to = (exchange, routing_key);
        if let Some(publisher) = self.publisher.take().filter(|publisher| !publisher.is_over()) {
            let brought = self.bring_on(publisher, to, properties, body).await;
            if !matches!(brought, Err(Undelivered::Refused(_))) {
                return brought;
            }
        }
        let Settings { address, connect_timeout, .. } = &self.settings;
        let publisher =
            Publisher::open(address, &self.name, *connect_timeout).await.map_err(refused)?;
        self.bring_on(publisher, to, properties, body).await
    }

    async fn bring_on(
        &mut self,
        publisher: Publisher,
        (exchange, routing_key): (&str, &str),
        properties: &Properties,
        body: &[u8],
    ) -> Result<(), Undelivered> {
        let taken = async {
            let body = body.to_vec();
            let sent = publisher.publish_mandatory(exchange, routing_key, properties, body);
            sent.await?.taken().await
        };
        let taken = timeout(CONFIRM, taken).await;
        let returned = !publisher.returned().is_empty();
        match taken {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Err(Undelivered::Refused("it said no".to_owned())),
            Ok(Err(fault)) => return Err(refused(fault)),
            Err(_) => {
                let waited = humantime::format_duration(CONFIRM);
                return Err(Undelivered::Refused(format!("no confirm within {waited}")));
            }
        }
        // Only one that works is used again.
        self.publisher = Some(publisher);
        if returned { Err(Undelivered::Unrouted) } else { Ok(()) }
    }

    /// Closes its connection.
    pub async fn close(self) {
        if let Some(publisher) = self.publisher {
            publisher.close().await;
        }
    }
}

fn refused(fault: Fault) -> Undelivered {
    Undelivered::Refused(fault.to_string())
}
