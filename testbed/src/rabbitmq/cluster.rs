//! Several servers that are one cluster.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use futures_util::future::try_join_all;

use super::distribution::Distribution;
use super::files::node_name;
use super::{RabbitMq, RabbitMqOptions};
use crate::Port;

impl RabbitMq {
    /// Starts `N` servers at once, all alike, and returns when they are one cluster. A start may take `N` times as
    /// long as the options say.
    ///
    /// Each has ports, data and a directory of its own, and is broken and started again by itself; where all were
    /// stopped, they have to be started together. They share a port mapper, which runs in the directory of one of
    /// them: drop none before the others are done with.
    ///
    /// ```no_run
    /// # use testbed::{RabbitMq, RabbitMqOptions};
    /// # async fn example() -> anyhow::Result<()> {
    /// let [one, two, three] = RabbitMq::start_cluster(RabbitMqOptions::default()).await?;
    /// two.kill();
    /// two.start_again().await?;
    /// # drop((one, three));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`start`](Self::start), for any of them; then none is left.
    pub async fn start_cluster<const N: usize>(options: RabbitMqOptions) -> Result<[Self; N]> {
        let start_within = options.start_within * u32::try_from(N)?;
        let ports: Vec<Port> = (0..N).map(|_| Port::free()).collect::<Result<_>>()?;
        let options = options
            .start_within(start_within)
            .conf("cluster_formation.peer_discovery_backend = classic_config")
            // A lock lets one after the other look for peers; the first finds none, and would look for five seconds.
            .conf("cluster_formation.discovery_retry_limit = 1");
        let options = (1..).zip(&ports).fold(options, |options, (number, port)| {
            let node = node_name(port);
            options.conf(format!("cluster_formation.classic_config.nodes.{number} = {node}"))
        });
        let distribution = Arc::new(Distribution::new()?);
        let prepare = |port| Self::prepare(options.clone(), port, Arc::clone(&distribution));
        let nodes: Vec<Self> = ports.into_iter().map(prepare).collect::<Result<_>>()?;
        try_join_all(nodes.iter().map(Self::start_again)).await?;
        if let Some(node) = nodes.first() {
            node.ctl(&["await_online_nodes", &N.to_string()]).await?;
        }
        nodes.try_into().map_err(|_| anyhow!("another number of servers than was asked for"))
    }
}
