//! Why a session ended.
//!
//! The client tells its callbacks why the broker closes something, and everybody else only that it is closed.

use std::sync::{Arc, OnceLock};

use amqprs::{
    Ack, BasicProperties, Cancel, Close, CloseChannel, Nack, Return,
    callbacks::{ChannelCallback, ConnectionCallback},
    channel::Channel,
    connection::Connection,
};
use async_trait::async_trait;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The first reason that was given for the end of a session. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Ending(Arc<OnceLock<Said>>);

/// Watches a channel. The client keeps it for as long as it serves the channel, and drops it then, whatever the cause.
pub(super) struct ChannelWatch {
    ending: Ending,
    _ended: DropGuard,
}

impl ChannelWatch {
    /// Notes into `ending`, and cancels `ended` at the end.
    pub fn new(ending: Ending, ended: CancellationToken) -> ChannelWatch {
        ChannelWatch { ending, _ended: ended.drop_guard() }
    }
}

/// What the broker said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// The AMQP reply code; 0 where the broker gave none.
    pub code: u16,
    /// The broker's words.
    pub text: String,
}

impl Ending {
    pub(super) fn note(&self, code: u16, text: impl Into<String>) {
        // Only the first reason is the cause; what follows from it would hide it.
        let _ = self.0.set(Said { code, text: text.into() });
    }

    pub(super) fn note_channel_close(&self, close: &CloseChannel) {
        let (code, text) = (close.reply_code(), close.reply_text());
        self.note(code, format!("the broker closed the channel: {code} {text}"));
    }

    pub(super) fn said(&self) -> Option<&Said> {
        self.0.get()
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.said() {
            Some(said) => f.write_str(&said.text),
            None => f.write_str("the connection was lost"),
        }
    }
}

#[async_trait]
impl ConnectionCallback for Ending {
    async fn close(&mut self, _: &Connection, close: Close) -> Result<(), amqprs::error::Error> {
        self.note(
            close.reply_code(),
            format!(
                "the broker closed the connection: {} {}",
                close.reply_code(),
                close.reply_text()
            ),
        );
        Ok(())
    }

    // Never called: the client does not ask the broker for it when it logs in. See `alarms`.
    async fn blocked(&mut self, _: &Connection, _: String) {}

    async fn unblocked(&mut self, _: &Connection) {}

    async fn secret_updated(&mut self, _: &Connection) {}
}

#[async_trait]
impl ChannelCallback for ChannelWatch {
    async fn close(
        &mut self,
        _: &Channel,
        close: CloseChannel,
    ) -> Result<(), amqprs::error::Error> {
        self.ending.note_channel_close(&close);
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), amqprs::error::Error> {
        self.ending.note(
            0,
            "the broker cancelled the consumer: the queue was deleted, or the node it is on went away",
        );
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, amqprs::error::Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, _: Ack) {}

    async fn publish_nack(&mut self, _: &Channel, _: Nack) {}

    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {}
}
