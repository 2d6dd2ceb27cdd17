//! Quorum queues of a cluster: where their copies are, and which one leads.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::Deserialize;
use testbed::{RabbitMq, eventually};

use super::PATIENCE;

/// A quorum queue as the cluster sees it.
#[derive(Debug, PartialEq, Deserialize)]
struct Replicated {
    name: String,
    members: BTreeSet<String>,
    online: BTreeSet<String>,
}

/// Awaits that each of these brokers holds a copy of these queues, which are all that there are.
pub async fn on_all_nodes(names: &[String], brokers: &[RabbitMq]) -> Result<()> {
    let nodes: BTreeSet<_> = brokers.iter().map(|broker| broker.node().to_owned()).collect();
    let mut names = names.to_vec();
    names.sort();
    let of_all = |name| Replicated { name, members: nodes.clone(), online: nodes.clone() };
    let wanted: Vec<_> = names.into_iter().map(of_all).collect();
    let look = async || -> Result<Vec<Replicated>> {
        let ask = ["list_queues", "name", "members", "online", "--formatter", "json"];
        let mut queues: Vec<Replicated> = serde_json::from_str(&brokers[0].ctl(&ask).await?)?;
        queues.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(queues)
    };
    eventually("a copy of each queue on each node", PATIENCE, async || match look().await {
        Ok(found) if found == wanted => Ok(()),
        Ok(found) => Err(format!("{found:?}")),
        Err(error) => Err(format!("{error:#}")),
    })
    .await
}

/// Has every broker save that it holds copies of the queues. RabbitMQ does so half a second later; killed before that,
/// it begins its copy anew.
pub async fn saved(broker: &RabbitMq) -> Result<()> {
    let term = "[ok = rpc:call(Node, dets, sync, [Table])
                 || Node <- [node() | nodes()], Table <- rpc:call(Node, dets, all, [])].";
    broker.ctl(&["eval", term]).await.map(drop)
}

/// Moves the leader of a quorum queue to that node.
pub async fn lead(queue: &str, node: &RabbitMq) -> Result<()> {
    let term = format!(
        "{{ok, Queue}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, <<\"{}\">>)), \
         rabbit_quorum_queue:transfer_leadership(Queue, '{}').",
        queue,
        node.node()
    );
    eventually(&format!("{} leads {queue}", node.node()), PATIENCE, async || {
        let said = node.ctl(&["eval", &term]).await.map_err(|error| format!("{error:#}"))?;
        let leads = said.contains("{migrated,") && said.contains(node.node())
            || said.contains("already_leader");
        if leads { Ok(()) } else { Err(said) }
    })
    .await
}
