//! Publishing with confirms, many in flight.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use amqprs::{
    Ack, BasicProperties, Cancel, CloseChannel, Nack, Return,
    callbacks::ChannelCallback,
    channel::{BasicPublishArguments, Channel, ConfirmSelectArguments},
    connection::Connection,
};
use async_trait::async_trait;
use tokio::sync::oneshot;

use super::{Address, Ending, Fault, Kind, convert, session};
use crate::event::Properties;

/// Publishes on one channel of its own connection, in confirm mode.
pub struct Publisher {
    connection: Connection,
    channel: Channel,
    ending: Ending,
    unconfirmed: Unconfirmed,
    /// Publishes so far: the broker numbers them in the order in which they are sent.
    published: tokio::sync::Mutex<u64>,
}

/// The broker's answer to one publish, to be awaited.
pub struct Confirmation {
    answer: oneshot::Receiver<bool>,
    ending: Ending,
}

impl Confirmation {
    /// True where the broker has taken charge of the message; false where it says that it has not.
    ///
    /// # Errors
    /// The connection ended before an answer: the message may have been taken or not.
    pub async fn taken(self) -> Result<bool, Fault> {
        self.answer
            .await
            .map_err(|_| Fault::new(Kind::Unreachable, format!("no confirm: {}", self.ending)))
    }
}

impl Publisher {
    /// Connects.
    ///
    /// # Errors
    /// A [`Fault`] that names what refused and why.
    pub async fn open(address: &Address, name: &str, limit: Duration) -> Result<Publisher, Fault> {
        let ending = Ending::default();
        let connection =
            session::connect(address, name, Duration::from_secs(10), limit, &ending).await?;
        let failed = |error| Fault::of_call("opening a channel to publish on", &ending, &error);
        let channel = connection.open_channel(None).await.map_err(failed)?;
        let unconfirmed = Unconfirmed::new();
        let confirms = Confirms { ending: ending.clone(), unconfirmed: unconfirmed.clone() };
        channel.register_callback(confirms).await.map_err(failed)?;
        channel.confirm_select(ConfirmSelectArguments::default()).await.map_err(failed)?;
        Ok(Publisher {
            connection,
            channel,
            ending,
            unconfirmed,
            published: tokio::sync::Mutex::new(0),
        })
    }

    /// Sends one message and returns before the broker's answer to it.
    ///
    /// # Errors
    /// A property or the routing key is longer than AMQP allows, or the session has ended.
    pub async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: &Properties,
        body: Vec<u8>,
    ) -> Result<Confirmation, Fault> {
        let properties = convert::basic_properties(properties)
            .map_err(|error| Fault::new(Kind::Clash, error.to_string()))?;
        for (what, name) in [("exchange", exchange), ("routing key", routing_key)] {
            if name.len() > u8::MAX.into() {
                return Err(Fault::new(
                    Kind::Clash,
                    format!("the {what} is longer than 255 bytes"),
                ));
            }
        }
        let (sender, answer) = oneshot::channel();
        let mut published = self.published.lock().await;
        *published += 1;
        self.unconfirmed.add(*published, sender);
        let sent = self
            .channel
            .basic_publish(properties, body, BasicPublishArguments::new(exchange, routing_key))
            .await;
        drop(published);
        sent.map_err(|error| Fault::of_call("publishing", &self.ending, &error))?;
        Ok(Confirmation { answer, ending: self.ending.clone() })
    }

    /// Closes the connection.
    pub async fn close(self) {
        session::close(self.connection).await;
    }
}

/// Publishes that wait for their answer, by their number; `None` once the channel has ended.
#[derive(Clone)]
struct Unconfirmed(Arc<Mutex<Option<Waiting>>>);

type Waiting = BTreeMap<u64, oneshot::Sender<bool>>;

impl Unconfirmed {
    fn new() -> Unconfirmed {
        Unconfirmed(Arc::new(Mutex::new(Some(Waiting::new()))))
    }

    /// On a channel that has ended the sender is dropped, which is the answer.
    fn add(&self, tag: u64, sender: oneshot::Sender<bool>) {
        if let Some(waiting) = self.lock().as_mut() {
            waiting.insert(tag, sender);
        }
    }

    fn answer(&self, tag: u64, multiple: bool, taken: bool) {
        let answered = match self.lock().as_mut() {
            Some(waiting) if multiple => {
                let later = waiting.split_off(&(tag + 1));
                std::mem::replace(waiting, later)
            }
            Some(waiting) => waiting.remove_entry(&tag).into_iter().collect(),
            None => return,
        };
        for sender in answered.into_values() {
            // Nobody need wait for it.
            let _ = sender.send(taken);
        }
    }

    fn end(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Routes the broker's answers to those who wait. The client drops it when the channel ends, and then nobody waits
/// any longer.
struct Confirms {
    ending: Ending,
    unconfirmed: Unconfirmed,
}

impl Drop for Confirms {
    fn drop(&mut self) {
        self.unconfirmed.end();
    }
}

#[async_trait]
impl ChannelCallback for Confirms {
    async fn close(
        &mut self,
        _: &Channel,
        close: CloseChannel,
    ) -> Result<(), amqprs::error::Error> {
        self.ending.note_channel_close(&close);
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), amqprs::error::Error> {
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, amqprs::error::Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        self.unconfirmed.answer(ack.delivery_tag(), ack.mutiple(), true);
    }

    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        self.unconfirmed.answer(nack.delivery_tag(), nack.multiple(), false);
    }

    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {}
}
