//! Publishing with confirms, many in flight.

use std::{
    collections::{BTreeMap, VecDeque},
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
    returned: Arc<Mutex<VecDeque<Returned>>>,
    /// Publishes so far: the broker numbers them in the order in which they are sent.
    published: tokio::sync::Mutex<u64>,
}

/// The broker's answer to one publish, to be awaited.
#[derive(Debug)]
pub struct Confirmation {
    answer: oneshot::Receiver<bool>,
    ending: Ending,
}

/// A message that no queue was bound for, and that was to be put into one.
#[derive(Debug, Clone, PartialEq)]
pub struct Returned {
    /// The broker's words.
    pub cause: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// The properties it was published with.
    pub properties: Properties,
}

impl Confirmation {
    /// True where the broker has taken charge of the message; false where it says that it has not.
    ///
    /// # Errors
    /// The connection ended before an answer: the message may have been taken or not.
    pub async fn taken(self) -> Result<bool, Fault> {
        self.answer.await.map_err(|_| match self.ending.said() {
            Some(said) => Fault::of_reply(said.code, &format!("no confirm: {}", said.text)),
            None => Fault::new(Kind::Unreachable, format!("no confirm: {}", self.ending)),
        })
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
        let returned = Arc::default();
        let confirms = Confirms {
            ending: ending.clone(),
            unconfirmed: unconfirmed.clone(),
            returned: Arc::clone(&returned),
        };
        channel.register_callback(confirms).await.map_err(failed)?;
        channel.confirm_select(ConfirmSelectArguments::default()).await.map_err(failed)?;
        Ok(Publisher {
            connection,
            channel,
            ending,
            unconfirmed,
            returned,
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
        let to = BasicPublishArguments::new(exchange, routing_key);
        self.send(to, properties, body).await
    }

    /// The same for a message that is to be in a queue: where none is bound for it, it is among those that
    /// [`Publisher::returned`] gives before its confirmation says that it was taken.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn publish_mandatory(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: &Properties,
        body: Vec<u8>,
    ) -> Result<Confirmation, Fault> {
        let to = BasicPublishArguments::new(exchange, routing_key).mandatory(true).finish();
        self.send(to, properties, body).await
    }

    /// What came back since this was asked last, in the order in which it was published.
    pub fn returned(&self) -> VecDeque<Returned> {
        std::mem::take(&mut *self.returned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the broker has ended the channel, or the connection, and said why.
    pub fn is_over(&self) -> bool {
        self.ending.said().is_some()
    }

    /// Longest frame in bytes that the broker takes: properties and headers have to fit into one.
    pub fn frame_max(&self) -> u32 {
        self.connection.frame_max()
    }

    async fn send(
        &self,
        to: BasicPublishArguments,
        properties: &Properties,
        body: Vec<u8>,
    ) -> Result<Confirmation, Fault> {
        let properties = convert::basic_properties(properties)
            .map_err(|error| Fault::new(Kind::Clash, error.to_string()))?;
        for (what, name) in [("exchange", &to.exchange), ("routing key", &to.routing_key)] {
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
        let sent = self.channel.basic_publish(properties, body, to).await;
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
    /// No longer than what is unconfirmed, as long as somebody takes what came back before an answer.
    returned: Arc<Mutex<VecDeque<Returned>>>,
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

    async fn publish_return(
        &mut self,
        _: &Channel,
        back: Return,
        properties: BasicProperties,
        _: Vec<u8>,
    ) {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner).push_back(Returned {
            cause: format!("{} {}", back.reply_code(), back.reply_text()),
            routing_key: back.routing_key().clone(),
            properties: convert::properties(&properties),
        });
    }
}
