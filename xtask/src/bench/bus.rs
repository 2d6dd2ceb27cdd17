//! A bus of one measurement: an exchange, the queue behind it, and what is published into it.

use std::collections::VecDeque;
use std::time::Duration;

use amqprs::channel::{Channel, ExchangeDeleteArguments, QueueDeleteArguments};
use amqprs::connection::{Connection, OpenConnectionArguments};
use anyhow::{Context as _, Result, ensure};
use bloodbank_audit::broker::{
    self, Address, Confirmation, Declare, Publisher, QueueType, Session, Topology,
};
use serde::Serialize;

use super::envelope::{self, Message};
use crate::stage::queue;

/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Most publishes that wait for their confirm, and most bytes of their bodies.
const IN_FLIGHT: usize = 2_000;
const BYTES_IN_FLIGHT: usize = 64 << 20;

/// The type of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Quorum,
    Classic,
}

impl Kind {
    /// As the daemon's configuration names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
        }
    }
}

/// Names on the broker that no other measurement uses.
pub struct Bus {
    address: Address,
    kind: Kind,
    pub exchange: String,
    pub queue: String,
}

impl Bus {
    /// Declares them as the daemon would.
    ///
    /// # Errors
    /// When the broker does not.
    pub async fn declare(address: Address, kind: Kind) -> Result<Self> {
        let name = format!("bench.{:08x}", rand::random::<u32>());
        let bus = Self { address, kind, exchange: name.clone(), queue: format!("{name}.audit") };
        let session = bus.consume(1).await.context("declare a bus")?;
        let (_, _, handle) = session.ends();
        handle.close().await;
        Ok(bus)
    }

    /// What makes the daemon record this bus.
    pub fn settings(&self) -> Vec<(String, String)> {
        let topology = self.topology();
        [
            ("rabbitmq.exchange", topology.exchange),
            ("rabbitmq.queue", topology.queue),
            ("rabbitmq.queue_type", self.kind.name().to_owned()),
            ("rabbitmq.dead_letter_exchange", topology.dead_letter_exchange),
            ("rabbitmq.dead_letter_queue", topology.dead_letter_queue),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .to_vec()
    }

    /// Consumes the queue as the daemon does.
    ///
    /// # Errors
    /// When the broker does not let us.
    pub async fn consume(&self, prefetch: u16) -> Result<Session> {
        let settings = broker::Settings {
            address: self.address.clone(),
            topology: self.topology(),
            connection_name: "cargo xtask bench".to_owned(),
            connect_timeout: CONNECT_LIMIT,
            heartbeat: Duration::from_secs(30),
        };
        Ok(Session::open(&settings, prefetch).await?)
    }

    /// Somebody who publishes to the exchange.
    ///
    /// # Errors
    /// When the broker does not let us.
    pub async fn publisher(&self) -> Result<Publisher> {
        let publisher = Publisher::open(&self.address, "cargo xtask bench", CONNECT_LIMIT).await;
        publisher.context("connect the publisher")
    }

    /// Publishes so many events, and returns when the broker has taken all of them.
    ///
    /// # Errors
    /// When the broker does not.
    pub async fn fill(&self, events: u32) -> Result<()> {
        self.publish((0..events).map(|_| envelope::message())).await
    }

    /// Publishes these, each made when its turn comes, and returns when the broker has taken all of them.
    ///
    /// # Errors
    /// When the broker does not.
    pub async fn publish(&self, messages: impl Iterator<Item = Message>) -> Result<()> {
        let publisher = self.publisher().await?;
        let mut unconfirmed: VecDeque<(usize, Confirmation)> = VecDeque::with_capacity(IN_FLIGHT);
        let mut bytes = 0;
        for message in messages {
            while (unconfirmed.len() >= IN_FLIGHT || bytes >= BYTES_IN_FLIGHT)
                && let Some((size, first)) = unconfirmed.pop_front()
            {
                ensure!(first.taken().await?, "the broker refuses an event");
                bytes -= size;
            }
            let size = message.body.len();
            let key = envelope::ROUTING_KEY;
            let sent = publisher.publish(&self.exchange, key, &message.properties, message.body);
            unconfirmed.push_back((size, sent.await?));
            bytes += size;
        }
        for (_, confirmation) in unconfirmed {
            ensure!(confirmation.taken().await?, "the broker refuses an event");
        }
        publisher.close().await;
        Ok(())
    }

    /// Messages that are in the queue and wait for nobody's acknowledgement.
    ///
    /// # Errors
    /// When the broker cannot be asked.
    pub async fn depth(&self) -> Result<u32> {
        Ok(queue::depth(&self.address, &self.queue).await?.ready)
    }

    /// Messages that were dead-lettered.
    ///
    /// # Errors
    /// When the broker cannot be asked.
    pub async fn dead_letters(&self) -> Result<u32> {
        Ok(queue::depth(&self.address, &self.topology().dead_letter_queue).await?.ready)
    }

    /// Returns once the daemon consumes it.
    ///
    /// # Errors
    /// When it ends first or takes too long.
    pub async fn consumed_by(&self, daemon: &crate::stage::Daemon) -> Result<()> {
        daemon.consumes(&self.address, &self.queue).await
    }

    /// Takes everything off the broker.
    ///
    /// # Errors
    /// When the broker does not.
    pub async fn delete(self) -> Result<()> {
        let Address { host, port, user, password, .. } = &self.address;
        let arguments = OpenConnectionArguments::new(host, *port, user, password);
        let connection = Connection::open(&arguments).await.context("connect to the broker")?;
        let channel = connection.open_channel(None).await?;
        let deleted = self.delete_over(&channel).await;
        // Its own end first: dropped with the connection gone, it would ask that for it.
        let _ = channel.close().await;
        let _ = connection.close().await;
        deleted.context("delete a bus")
    }

    async fn delete_over(&self, channel: &Channel) -> Result<()> {
        let topology = self.topology();
        for queue in [&topology.queue, &topology.dead_letter_queue] {
            channel.queue_delete(QueueDeleteArguments::new(queue)).await?;
        }
        for exchange in [&topology.exchange, &topology.dead_letter_exchange] {
            channel.exchange_delete(ExchangeDeleteArguments::new(exchange)).await?;
        }
        Ok(())
    }

    fn topology(&self) -> Topology {
        Topology {
            exchange: self.exchange.clone(),
            queue: self.queue.clone(),
            queue_type: match self.kind {
                Kind::Quorum => QueueType::Quorum,
                Kind::Classic => QueueType::Classic,
            },
            bindings: vec!["#".to_owned()],
            dead_letter_exchange: format!("{}.dlx", self.exchange),
            dead_letter_queue: format!("{}.dlq", self.queue),
            delivery_limit: 20,
            declare: Declare::Create,
        }
    }
}
