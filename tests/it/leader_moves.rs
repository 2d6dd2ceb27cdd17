//! A cluster of brokers, of which the daemon knows one: the queue's leader moves to another node, its node dies, the
//! daemon's own node dies, is stopped and drained. Nothing is lost, nothing is stored twice, nothing is dead-lettered.

use anyhow::{Context as _, Result, ensure};
use testbed::{
    Postgres, PostgresOptions, Proxy, RabbitMq, RabbitMqOptions, eventually, proxy::Mode,
};

use crate::support::{
    Daemon, Load, Message, PATIENCE, Scene,
    cluster::{lead, on_all_nodes, saved},
    counted_duplicates, event, lost_0_duplicates_0,
};

async fn servers() -> Result<([RabbitMq; 3], Postgres)> {
    tokio::try_join!(
        RabbitMq::start_cluster(RabbitMqOptions::default()),
        Postgres::start(PostgresOptions::default())
    )
}

/// Drains the node, as an operator does before an upgrade.
///
/// RabbitMQ lists the node's connections and then ends one after the other. Where one has ended by itself meanwhile, it
/// fails half-way, with `noproc`; and a client whose first connection it ends lets go of its others. So they are ended
/// before, in its words, with nobody let in any more: it finds none.
async fn drain(node: &RabbitMq) -> Result<()> {
    node.ctl(&["eval", "rabbit_maintenance:suspend_all_client_listeners()."]).await?;
    let term = "[catch rabbit_networking:close_connection(Pid, \"Node was put into maintenance mode\")
                  || Pid <- rabbit_networking:local_connections()],
                case lists:append([ranch:procs(Listener, connections) || Listener <- maps:keys(ranch:info())]) of
                    [] -> none_is_left;
                    Left -> Left
                end.";
    eventually("the node has no connections", PATIENCE, async || {
        let said = node.ctl(&["eval", term]).await.map_err(|error| format!("{error:#}"))?;
        if said.contains("none_is_left") { Ok(()) } else { Err(said) }
    })
    .await?;
    node.ctl(&["eval", "rabbit_maintenance:drain()."]).await.map(drop)
}

/// A daemon whose queue is a classic one, and so on one node alone, which is not the daemon's.
struct Classic {
    scene: Scene,
    daemon: Daemon,
    events: Vec<Message>,
}

impl Classic {
    async fn on(node: &RabbitMq, own: &RabbitMq, postgres: &Postgres) -> Result<Classic> {
        let scene = Scene::between(node, postgres).await?.with("rabbitmq.queue_type", "classic");
        scene.daemon().await?.stops_cleanly().await?;
        let scene = scene.through(Some(own.amqp_url()), None);
        let daemon = scene.daemon().await?;
        let events: Vec<_> = (0..10).map(event).collect();
        scene.publish(&events).await?;
        scene.stored_exactly(&events).await?;
        Ok(Classic { scene, daemon, events })
    }

    /// The node was killed. Nothing is routed to the queue, and publishers are told that all is well.
    async fn loses_it(&self) -> Result<()> {
        self.daemon.says("the broker cancelled the consumer", 1).await?;
        self.daemon.says("until that node is back", 1).await?;
        let unrouted: Vec<_> = (0..10).map(event).collect();
        self.scene.publish(&unrouted).await
    }

    async fn has_it_again(mut self) -> Result<()> {
        self.daemon.consumes(2).await?;
        self.events.extend((0..10).map(event));
        self.scene.publish(&self.events[10..]).await?;
        self.scene.ends_with(&self.daemon, &self.events).await
    }
}

/// The daemon holds deliveries, hundreds of them, when the leader moves and when its node dies. It hears of neither:
/// its session goes on, and what it held is acknowledged to the next leader. Beside it, a classic queue on that node.
#[tokio::test(flavor = "multi_thread")]
async fn to_another_node_and_away_from_one_that_is_killed() -> Result<()> {
    let (brokers, postgres) = servers().await?;
    let [own, second, third] = &brokers;
    let scene = Scene::between(own, &postgres).await?;
    let database = Proxy::start(postgres.port()).await?;
    let through = postgres.url_at(database.port(), &scene.name);
    let daemon = scene.clone().through(None, Some(through)).daemon().await?;
    on_all_nodes(&[scene.queue(), scene.dead_letter_queue()], &brokers).await?;
    saved(own).await?;
    let classic = Classic::on(second, own, &postgres).await?;

    let elsewhere = scene.clone().through(Some(third.amqp_url()), None);
    let holding_hundreds = async |load: &Load<'_>| {
        load.goes_on().await?;
        database.set(Mode::Stall).await;
        load.confirms(300).await?;
        scene.waits(&scene.queue(), 0).await
    };
    let published = Load::new(&elsewhere, 1)
        .under(async |load| {
            for node in [third, second] {
                holding_hundreds(load).await?;
                lead(&scene.queue(), node).await?;
                database.set(Mode::Forward).await;
            }
            holding_hundreds(load).await?;
            second.kill();
            // Which takes another leader.
            load.confirms(100).await?;
            database.set(Mode::Forward).await;
            load.goes_on().await?;
            classic.loses_it().await?;
            second.start_again().await?;
            classic.has_it_again().await?;
            lead(&scene.queue(), second).await?;
            load.goes_on().await
        })
        .await
        .with_context(|| format!("{:#?}", daemon.log()))?;
    let log = daemon.log().join("\n");
    lost_0_duplicates_0(&scene, daemon, &published).await.context(log.clone())?;
    println!(
        "{} events; {} duplicates counted",
        published.len(),
        counted_duplicates(&scene).await?
    );
    ensure!(log.matches("\"consuming\"").count() == 1, "{log}");
    ensure!(!log.contains("the session with the broker ended"), "{log}");
    let otherwise = "select count(*) from audit.coverage
                      where state not in ('starting', 'recording', 'stopped')";
    ensure!(scene.number(otherwise).await? == 0, "not recording all the time");
    Ok(())
}

/// Takes the daemon's node away and brings it back. Expects that the daemon says so, that publishers on another node go
/// on meanwhile, and that the daemon then catches up.
async fn without_its_node(
    load: &Load<'_>,
    daemon: &Daemon,
    take: impl AsyncFnOnce() -> Result<()>,
    bring_back: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    const ENDED: &str = "the session with the broker ended";
    load.goes_on().await?;
    let (ended, sessions) = (daemon.said(ENDED), daemon.said("\"consuming\""));
    take().await?;
    daemon.says(ENDED, ended + 1).await?;
    load.confirms(100).await?;
    bring_back().await?;
    daemon.consumes(sessions + 1).await?;
    load.goes_on().await
}

#[tokio::test(flavor = "multi_thread")]
async fn away_from_the_daemons_own_node() -> Result<()> {
    let (brokers, postgres) = servers().await?;
    let [own, _, third] = &brokers;
    // So many are taken one by one after a session that ended by itself.
    let scene = Scene::between(own, &postgres).await?.with("ingest.prefetch", "100");
    let daemon = scene.daemon().await?;
    saved(own).await?;

    let elsewhere = scene.clone().through(Some(third.amqp_url()), None);
    let ctl = async |arguments: &[&str]| own.ctl(arguments).await.map(drop);
    let published = Load::new(&elsewhere, 2)
        .under(async |load| {
            lead(&scene.queue(), own).await?;
            let kill = async || {
                own.kill();
                Ok(())
            };
            without_its_node(load, &daemon, kill, async || own.start_again().await).await?;
            lead(&scene.queue(), own).await?;
            let (stop, start) =
                (async || ctl(&["stop_app"]).await, async || ctl(&["start_app"]).await);
            without_its_node(load, &daemon, stop, start).await?;
            lead(&scene.queue(), own).await?;
            let revive = async || ctl(&["eval", "rabbit_maintenance:revive()."]).await;
            without_its_node(load, &daemon, async || drain(own).await, revive).await
        })
        .await
        .with_context(|| format!("{:#?}", daemon.log()))?;
    let log = daemon.log().join("\n");
    lost_0_duplicates_0(&scene, daemon, &published).await.context(log.clone())?;
    println!(
        "{} events; {} duplicates counted",
        published.len(),
        counted_duplicates(&scene).await?
    );
    let spans = "select count(*) from audit.coverage where state = 'disconnected'";
    ensure!(scene.number(spans).await? >= 3, "{log}");
    // All that was published in that time waited in the queue, on the other nodes.
    let otherwise = "select count(*) from audit.coverage c,
                            audit.listening(c.from_at + (c.to_at - c.from_at) / 2) l
                      where c.state = 'disconnected' and l.answer <> 'delayed'";
    ensure!(scene.number(otherwise).await? == 0, "{log}");
    Ok(())
}
