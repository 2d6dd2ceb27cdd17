//! Several hosts in one URL: the daemon goes to the next one where the first is away, on either side, and loses nothing.

use anyhow::{Context as _, Result, ensure};
use testbed::{Port, Postgres, PostgresOptions, RabbitMq, RabbitMqOptions};

use crate::support::{
    Bed, Load, Scene,
    cluster::{on_all_nodes, saved},
    event, lost_0_duplicates_0,
};

/// The primary is killed while events flow, and its standby promoted. It had what was committed, as commits waited for it.
#[tokio::test(flavor = "multi_thread")]
async fn to_the_promoted_standby_without_losing_an_event() -> Result<()> {
    let rabbitmq = &Bed::shared().await?.rabbitmq;
    let primary = Postgres::start(PostgresOptions::default()).await?;
    let standby = primary.standby("second").await?;
    for statement in
        ["alter system set synchronous_standby_names = 'second'", "select pg_reload_conf()"]
    {
        primary.sql("postgres", statement).await?;
    }
    let scene = Scene::between(rabbitmq, &primary).await?;
    // The standby first: it is passed by as long as it is one.
    let [first, second] = [standby.port(), primary.port()];
    let url = format!("postgres://postgres@127.0.0.1:{first},127.0.0.1:{second}/{}", scene.name);
    let on_both = scene.clone().through(None, Some(url));
    let daemon = on_both.daemon().await?;
    let on_standby = scene.clone().through(None, Some(standby.url(&scene.name)));

    let checked = on_both.asks(&["check"])?;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    ensure!(checked.status == 0, "{said}");
    ensure!(said.contains(&format!("127.0.0.1:{first} is a standby")), "{said}");
    let published = Load::new(&scene, 5)
        .under(async |load| {
            load.goes_on().await?;
            primary.kill();
            load.confirms(100).await?;
            standby.promote().await?;
            let events = i64::try_from(load.confirmed())? + 50;
            load.confirms(100).await?;
            on_standby.counts_at_least(events, "select count(*) from audit.events").await
        })
        .await
        .with_context(|| format!("{:#?}", daemon.log()))?;
    ensure!(daemon.said("cannot be reached") > 0, "{:#?}", daemon.log());
    let log = daemon.log().join("\n");
    lost_0_duplicates_0(&on_standby, daemon, &published).await.context(log)?;
    // Who only reads takes the host that is left, and check says of the other that it is not.
    let listed = on_both.asks(&["events", "--limit", "1"])?;
    ensure!(listed.status == 0 && !listed.stdout.is_empty(), "{listed:?}");
    let checked = on_both.asks(&["check"])?;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    ensure!(checked.status == 0 && said.contains(&format!("127.0.0.1:{second}: ")), "{said}");
    Ok(())
}

/// Whoever only reads may do so on a standby; what is written by a command is written to the primary all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_takes_the_first_host_and_a_writer_the_primary() -> Result<()> {
    let rabbitmq = &Bed::shared().await?.rabbitmq;
    let primary = Postgres::start(PostgresOptions::default()).await?;
    let scene = Scene::between(rabbitmq, &primary).await?;
    let daemon = scene.daemon().await?;
    let messages = [event(1), event(2)];
    scene.publish(&messages).await?;
    scene.ends_with(&daemon, &messages).await?;
    let standby = primary.standby("second").await?;
    let [first, second] = [standby.port(), primary.port()];
    let at = |more: &str| {
        let url = format!(
            "postgres://postgres@127.0.0.1:{first},127.0.0.1:{second}/{}{more}",
            scene.name
        );
        scene.clone().through(None, Some(url))
    };
    // Noted by a connection that writes, read by one that does not.
    let read = at("").asks(&["events", "--format", "ndjson"])?;
    ensure!(read.status == 0, "{read:?}");
    ensure!(String::from_utf8_lossy(&read.stdout).lines().count() == 2, "{read:?}");
    ensure!(scene.number("select count(*) from audit.access_log").await? == 1, "not noted");
    primary.kill();
    let read = at("").asks(&["stats"])?;
    ensure!(read.status == 0, "{read:?}");
    let read = at("?target_session_attrs=primary").asks(&["stats"])?;
    ensure!(read.status != 0, "{read:?}");
    for part in [&format!("127.0.0.1:{first}"), "is a standby, and takes no writes", "; and "] {
        ensure!(read.stderr.contains(part), "{part} is not in {}", read.stderr);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn to_the_next_broker_and_back_without_losing_an_event() -> Result<()> {
    let (brokers, postgres) = tokio::try_join!(
        RabbitMq::start_cluster::<3>(RabbitMqOptions::default()),
        Postgres::start(PostgresOptions::default())
    )?;
    let [one, two, three] = &brokers;
    let scene = Scene::between(three, &postgres).await?.with("rabbitmq.heartbeat", "2s");
    // Nobody listens at the first of all.
    let nobody = Port::free()?;
    let url = |ports: &[u16]| {
        let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("amqp://guest:guest@{}/", hosts.join(","))
    };
    let on_both =
        scene.clone().through(Some(url(&[nobody.number(), one.port(), two.port()])), None);
    let daemon = on_both.daemon().await?;
    on_all_nodes(&[scene.queue(), scene.dead_letter_queue()], &brokers).await?;
    saved(one).await?;
    let connected = async |node: &RabbitMq| -> Result<usize> {
        let ask = "length(rabbit_networking:local_connections()).";
        Ok(node.ctl(&["eval", ask]).await?.trim().parse()?)
    };
    ensure!(
        connected(one).await? > 0 && connected(two).await? == 0,
        "not on the first that answers"
    );
    let published = Load::new(&scene, 6)
        .under(async |load| {
            load.goes_on().await?;
            one.ctl(&["stop_app"]).await?;
            daemon.consumes(2).await?;
            load.goes_on().await?;
            ensure!(connected(two).await? > 0, "not on the second");
            one.ctl(&["start_app"]).await?;
            // So does its node, and the first is taken again.
            two.ctl(&["stop_app"]).await?;
            daemon.consumes(3).await?;
            two.ctl(&["start_app"]).await?;
            load.goes_on().await
        })
        .await
        .with_context(|| format!("{:#?}", daemon.log()))?;
    let log = daemon.log().join("\n");
    lost_0_duplicates_0(&scene, daemon, &published).await.context(log)?;

    let checked = on_both.asks(&["check"])?;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    ensure!(checked.status == 0, "{said}");
    for part in
        [format!("127.0.0.1:{}: ", nobody.number()), format!("127.0.0.1:{} answers", one.port())]
    {
        ensure!(said.contains(&part), "{part} is not in {said}");
    }
    // The commands go the same way.
    let letters = on_both.asks(&["dead-letters", "list"])?;
    // There is none.
    ensure!(letters.status == 1 && letters.stderr.is_empty(), "{letters:?}");
    let (first, second) = (nobody.number(), Port::free()?);
    let nowhere = scene.through(Some(url(&[first, second.number()])), None);
    let daemon = nowhere.starts()?;
    // Each is named.
    daemon.says(&format!("127.0.0.1:{first} "), 1).await?;
    daemon.says(&format!("127.0.0.1:{} ", second.number()), 1).await?;
    daemon.stops_cleanly().await
}
