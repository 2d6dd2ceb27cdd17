//! The daemon's queue, looked at from beside.

use std::time::{Duration, Instant};

use amqprs::channel::{BasicGetArguments, Channel, QueueDeclareArguments};
use amqprs::connection::{Connection, OpenConnectionArguments};
use anyhow::{Context as _, Result};
use bloodbank_audit::broker::Address;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use crate::history::Digest;

/// How long one look may take.
const LIMIT: Duration = Duration::from_secs(5);

/// How full the queue is, and whether anybody consumes it.
#[derive(Debug, Clone, Copy)]
pub struct Depth {
    /// Messages ready to be delivered; those delivered and not yet acked do not count.
    pub ready: u32,
    /// Consumers.
    pub consumers: u32,
}

/// Looks at the queue without changing anything.
///
/// # Errors
/// When the broker cannot be reached or there is no such queue.
pub async fn depth(address: &Address, queue: &str) -> Result<Depth> {
    let look = async {
        let (connection, channel) = open(address).await?;
        let declare = QueueDeclareArguments::new(queue).passive(true).finish();
        let found = channel.queue_declare(declare).await;
        // Its own end first: dropped with the connection gone, it would ask that for it, and die of it at our end.
        let _ = channel.close().await;
        let _ = connection.close().await;
        let (_, ready, consumers) = found?.context("the broker says nothing about it")?;
        Ok(Depth { ready, consumers })
    };
    timeout(LIMIT, look)
        .await
        .unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {LIMIT:?}")))
        .with_context(|| format!("look at the queue {queue}"))
}

/// The digests of what is in the queue; the messages stay in it. Gives up after `limit`, with what it has.
///
/// # Errors
/// When the broker cannot be reached.
pub async fn bodies(address: &Address, queue: &str, limit: Duration) -> Result<Vec<Digest>> {
    let deadline = Instant::now() + limit;
    let (connection, channel) = timeout(LIMIT, open(address)).await??;
    let mut digests = Vec::new();
    while Instant::now() < deadline {
        let get = channel.basic_get(BasicGetArguments::new(queue));
        let Some((_, _, body)) = timeout(LIMIT, get).await?? else { break };
        digests.push(Sha256::digest(&body).into());
    }
    // What was fetched and not acked returns to the queue.
    let _ = timeout(LIMIT, connection.close()).await;
    Ok(digests)
}

async fn open(address: &Address) -> Result<(Connection, Channel)> {
    let arguments =
        OpenConnectionArguments::new(&address.host, address.port, &address.user, &address.password);
    let connection = Connection::open(&arguments).await?;
    let channel = connection.open_channel(None).await?;
    Ok((connection, channel))
}
