//! What is on a broker, asked without changing anything there.

use std::time::Duration;

use amqprs::{
    channel::{Channel, ExchangeDeclareArguments, QueueDeclareArguments},
    connection::Connection,
};
use tokio_util::sync::CancellationToken;

use super::{Address, Ending, Fault, Kind, session};

/// A connection on which a broker is asked what it has. Each question has a channel of its own, as the broker answers no
/// to one by closing it.
pub struct Lookout {
    connection: Connection,
    asking: Option<(Channel, Ending)>,
}

impl Lookout {
    /// Connects.
    ///
    /// # Errors
    /// A [`Fault`] that names what refused and why.
    pub async fn open(address: &Address, name: &str, limit: Duration) -> Result<Lookout, Fault> {
        let ending = Ending::default();
        let heartbeat = Duration::from_secs(10);
        let connection = session::connect(address, name, heartbeat, limit, &ending).await?;
        Ok(Lookout { connection, asking: None })
    }

    /// How many messages wait in a queue, handed out to nobody.
    ///
    /// # Errors
    /// There is no such queue, or the broker is gone.
    pub async fn depth(&mut self, queue: &str) -> Result<u32, Fault> {
        let (channel, ending) = self.channel().await?;
        let passive = QueueDeclareArguments::new(queue).passive(true).finish();
        let found = channel.queue_declare(passive).await.map_err(|error| {
            Fault::of_call(&format!("looking for the queue '{queue}'"), &ending, &error)
        })?;
        self.asking = Some((channel, ending));
        Ok(found.map_or(0, |(_, messages, _)| messages))
    }

    /// Makes sure that an exchange is there. The default one, whose name is empty, always is.
    ///
    /// # Errors
    /// As [`Lookout::depth`].
    pub async fn find_exchange(&mut self, exchange: &str) -> Result<(), Fault> {
        if exchange.is_empty() {
            return Ok(());
        }
        // The client does not write such a name down, but panics.
        if exchange.len() > u8::MAX.into() {
            return Err(Fault::new(
                Kind::Refused,
                "no exchange has a name that is longer than 255 bytes",
            ));
        }
        let (channel, ending) = self.channel().await?;
        let passive = ExchangeDeclareArguments::new(exchange, "topic").passive(true).finish();
        channel.exchange_declare(passive).await.map_err(|error| {
            Fault::of_call(&format!("looking for the exchange '{exchange}'"), &ending, &error)
        })?;
        self.asking = Some((channel, ending));
        Ok(())
    }

    /// Whether the broker still answers on this connection, within that time. Nothing else is to be asked afterwards.
    pub async fn lives(&mut self, limit: Duration) -> bool {
        self.asking = None;
        matches!(tokio::time::timeout(limit, self.channel()).await, Ok(Ok(_)))
    }

    /// The channel of the last question, or another one where that was answered no.
    async fn channel(&mut self) -> Result<(Channel, Ending), Fault> {
        match self.asking.take() {
            Some(asking) => Ok(asking),
            None => {
                let ending = Ending::default();
                let ended = CancellationToken::new();
                let channel = session::open_channel(&self.connection, &ending, &ended).await?;
                Ok((channel, ending))
            }
        }
    }

    /// Closes the connection.
    pub async fn close(self) {
        session::close(self.connection).await;
    }
}
