//! The exchange, the queues and the bindings: declared, or checked to be there.

use std::collections::BTreeMap;

use amqprs::{
    FieldTable, FieldValue,
    channel::{Channel, ExchangeDeclareArguments, QueueBindArguments, QueueDeclareArguments},
    error::Error,
};

use time::OffsetDateTime;

use super::{Ending, Fault, Kind};
use crate::event::now;

/// Kind of the queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueType {
    /// Replicated, and counts redeliveries.
    Quorum,
    /// On one node.
    Classic,
}

/// What to do about what the daemon needs on the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declare {
    /// Declare all of it; what exists must have the same arguments.
    Create,
    /// Only check that the exchange and the queues are there, which needs no permission to configure anything. AMQP
    /// lets nobody look at types, arguments or bindings: those are the operator's care.
    Verify,
}

/// What the daemon needs on the broker.
#[derive(Debug, Clone)]
pub struct Topology {
    /// The bus: a durable topic exchange.
    pub exchange: String,
    /// The daemon's own durable queue.
    pub queue: String,
    /// Kind of both queues.
    pub queue_type: QueueType,
    /// Binding keys from the exchange to the queue.
    pub bindings: Vec<String>,
    /// Exchange that takes what the daemon rejects.
    pub dead_letter_exchange: String,
    /// Queue behind it.
    pub dead_letter_queue: String,
    /// After how many redeliveries a quorum queue dead-letters a message by itself.
    pub delivery_limit: u32,
    /// Whether to declare all this.
    pub declare: Declare,
}

/// What the broker says of the queues whenever they are declared or looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depths {
    /// When it said so.
    pub at: OffsetDateTime,
    /// Messages in the daemon's queue that no consumer has.
    pub ready: u32,
    /// Consumers of that queue, other daemons' included.
    pub consumers: u32,
    /// Messages in the dead-letter queue that no consumer has.
    pub dead_letters: u32,
}

impl Depths {
    fn of(queue: Declared, dead_letters: Declared) -> Depths {
        let (_, ready, consumers) = queue.unwrap_or_default();
        Depths { at: now(), ready, consumers, dead_letters: messages(dead_letters) }
    }
}

/// What the client tells of a declared queue: its name, its messages, its consumers.
type Declared = Option<(String, u32, u32)>;

impl Topology {
    /// Declares all of it, or looks for it.
    pub(super) async fn establish(
        &self,
        channel: &Channel,
        ending: &Ending,
    ) -> Result<Depths, Fault> {
        match self.declare {
            Declare::Create => self.create(channel, ending).await,
            Declare::Verify => self.verify(channel, ending).await,
        }
    }

    async fn create(&self, channel: &Channel, ending: &Ending) -> Result<Depths, Fault> {
        let topic = ExchangeDeclareArguments::new(&self.exchange, "topic").durable(true).finish();
        let done = channel.exchange_declare(topic).await;
        done.map_err(undeclared(
            ending,
            format!("declaring the topic exchange '{}'", self.exchange),
        ))?;

        let fanout = ExchangeDeclareArguments::new(&self.dead_letter_exchange, "fanout")
            .durable(true)
            .finish();
        let done = channel.exchange_declare(fanout).await;
        done.map_err(undeclared(
            ending,
            format!("declaring the dead-letter exchange '{}'", self.dead_letter_exchange),
        ))?;

        let mut dead_letters = QueueDeclareArguments::durable_client_named(&self.dead_letter_queue);
        dead_letters.arguments(table([self.queue_type_argument()])?);
        let done = channel.queue_declare(dead_letters).await;
        let dead_letters = done.map_err(undeclared(
            ending,
            format!("declaring the dead-letter queue '{}'", self.dead_letter_queue),
        ))?;
        self.bind(channel, ending, &self.dead_letter_queue, &self.dead_letter_exchange, "").await?;

        let mut queue = QueueDeclareArguments::durable_client_named(&self.queue);
        queue.arguments(table(self.queue_arguments())?);
        let done = channel.queue_declare(queue).await;
        let queue =
            done.map_err(undeclared(ending, format!("declaring the queue '{}'", self.queue)))?;
        for key in &self.bindings {
            self.bind(channel, ending, &self.queue, &self.exchange, key).await?;
        }
        Ok(Depths::of(queue, dead_letters))
    }

    async fn bind(
        &self,
        channel: &Channel,
        ending: &Ending,
        queue: &str,
        exchange: &str,
        key: &str,
    ) -> Result<(), Fault> {
        let done = channel.queue_bind(QueueBindArguments::new(queue, exchange, key)).await;
        done.map_err(undeclared(
            ending,
            format!("binding the queue '{queue}' to the exchange '{exchange}' with '{key}'"),
        ))
    }

    async fn verify(&self, channel: &Channel, ending: &Ending) -> Result<Depths, Fault> {
        for exchange in [&self.exchange, &self.dead_letter_exchange] {
            let passive = ExchangeDeclareArguments::new(exchange, "topic").passive(true).finish();
            let done = channel.exchange_declare(passive).await;
            done.map_err(failed(ending, format!("looking for the exchange '{exchange}'")))?;
        }
        let queue = look_for(&self.queue, channel, ending).await?;
        let dead_letters = look_for(&self.dead_letter_queue, channel, ending).await?;
        Ok(Depths::of(queue, dead_letters))
    }

    fn queue_type_argument(&self) -> (&'static str, FieldValue) {
        let name = match self.queue_type {
            QueueType::Quorum => "quorum",
            QueueType::Classic => "classic",
        };
        ("x-queue-type", name.into())
    }

    /// What the daemon declares its queue with, by the names of the arguments.
    #[must_use]
    pub fn queue_declaration(&self) -> BTreeMap<&'static str, serde_json::Value> {
        let value = |value| match value {
            FieldValue::S(text) => serde_json::Value::from(AsRef::<String>::as_ref(&text).as_str()),
            FieldValue::l(number) => number.into(),
            _ => serde_json::Value::Null,
        };
        self.queue_arguments().into_iter().map(|(name, found)| (name, value(found))).collect()
    }

    fn queue_arguments(&self) -> Vec<(&'static str, FieldValue)> {
        let mut arguments = vec![
            self.queue_type_argument(),
            ("x-dead-letter-exchange", self.dead_letter_exchange.as_str().into()),
        ];
        match self.queue_type {
            QueueType::Quorum => arguments.extend([
                ("x-delivery-limit", FieldValue::l(self.delivery_limit.into())),
                // A rejected message leaves this queue only when the dead-letter queue has confirmed it.
                // RabbitMQ asks for reject-publish with it, which without a length limit never rejects.
                ("x-dead-letter-strategy", "at-least-once".into()),
                ("x-overflow", "reject-publish".into()),
            ]),
            // A backlog belongs on the broker's disk. In its memory the queue's process spends a third of its time
            // looking for garbage among messages that wait. From RabbitMQ 3.12 on every classic queue is like that.
            QueueType::Classic => arguments.push(("x-queue-mode", "lazy".into())),
        }
        arguments
    }
}

/// A queue that has to be there.
async fn look_for(queue: &str, channel: &Channel, ending: &Ending) -> Result<Declared, Fault> {
    let passive = QueueDeclareArguments::new(queue).passive(true).finish();
    let found = channel.queue_declare(passive).await;
    found.map_err(failed(ending, format!("looking for the queue '{queue}'")))
}

/// How many messages a declared queue holds.
fn messages(declared: Declared) -> u32 {
    declared.map_or(0, |(_, messages, _)| messages)
}

fn table(
    arguments: impl IntoIterator<Item = (&'static str, FieldValue)>,
) -> Result<FieldTable, Fault> {
    let mut table = FieldTable::new();
    for (name, value) in arguments {
        let name = name.try_into().map_err(|_| {
            Fault::new(Kind::Clash, format!("the argument name {name} is too long"))
        })?;
        table.insert(name, value);
    }
    Ok(table)
}

fn failed(ending: &Ending, doing: String) -> impl FnOnce(Error) -> Fault {
    let ending = ending.clone();
    move |error| Fault::of_call(&doing, &ending, &error)
}

fn undeclared(ending: &Ending, doing: String) -> impl FnOnce(Error) -> Fault {
    let ending = ending.clone();
    move |error| Fault::of_declaring(&doing, &ending, &error)
}
