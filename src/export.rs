//! Export: signed checkpoints are handed to who keeps them elsewhere.
//!
//! A [`Sink`] is one such place. It takes one note at a time and says by what that can be seen afterwards, or why it does not
//! take it; it neither waits nor tries again, which is for the caller to decide. A note that it may have taken is handed to it
//! again: twice is no harm.

mod exchange;
mod file;
mod log;
mod webhook;

use std::{path::PathBuf, time::Duration};

use url::Url;

use crate::{
    broker::{self, Fault},
    ledger::Note,
};
pub use exchange::ROUTING_KEY;
pub use file::kept;

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where checkpoints are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Appended to that file.
    File(PathBuf),
    /// A line of the log.
    Log,
    /// Published to that exchange.
    Exchange(String),
    /// Posted to that URL, of which all but the server may be a secret.
    Webhook(Url),
}

impl Place {
    /// Its name: also as a label, and in `audit.exports`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Place::File(_) => "file",
            Place::Log => "log",
            Place::Exchange(_) => "exchange",
            Place::Webhook(_) => "webhook",
        }
    }
}

/// Hands checkpoints to one place.
pub struct Sink(Kind);

enum Kind {
    File(file::File),
    Log,
    Exchange(Box<exchange::Exchange>),
    Webhook(webhook::Webhook),
}

impl Sink {
    /// For that place; an exchange is on that broker. Nothing is connected or opened yet.
    ///
    /// # Errors
    /// The authorities that a webhook is trusted by cannot be read.
    pub fn new(place: &Place, broker: &broker::Settings) -> Result<Sink, Fault> {
        Ok(Sink(match place {
            Place::File(path) => Kind::File(file::File::new(path)),
            Place::Log => Kind::Log,
            Place::Exchange(name) => {
                Kind::Exchange(Box::new(exchange::Exchange::new(name, broker)))
            }
            Place::Webhook(url) => Kind::Webhook(webhook::Webhook::new(url)?),
        }))
    }

    /// Hands it a checkpoint, and gives the receipt: by what it can be seen that it was taken.
    ///
    /// # Errors
    /// Why it was not taken, or why that is unknown, without anything secret.
    pub async fn take(&mut self, note: &Note) -> Result<String, String> {
        match &mut self.0 {
            Kind::File(file) => file.append(note).await,
            Kind::Log => log::write(note),
            Kind::Exchange(exchange) => exchange.publish(note).await,
            Kind::Webhook(webhook) => webhook.post(note).await,
        }
    }

    /// Ends its connection in good order.
    pub async fn close(self) {
        if let Kind::Exchange(exchange) = self.0 {
            exchange.close().await;
        }
    }
}
