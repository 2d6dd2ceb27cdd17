//! Connecting: a refusal is named as what it is, and is retried with growing delays.

use anyhow::Result;
use testbed::{Postgres, PostgresOptions, Proxy, proxy::Mode};

use crate::support::{Bed, Daemon, Scene, event};

async fn refused(scene: Scene, said: &[&str]) -> Result<()> {
    let daemon = scene.starts()?;
    daemon.says("cannot be used", 2).await?;
    let log = daemon.log().join("\n");
    for part in said {
        assert!(log.contains(part), "{part:?} in {log}");
    }
    assert!(!log.contains("s3cret"), "{log}");
    daemon.stops_cleanly().await
}

async fn scene() -> Result<(Scene, &'static Bed)> {
    let bed = Bed::shared().await?;
    Ok((Scene::set(bed).await?, bed))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_broker_password() -> Result<()> {
    let (scene, bed) = scene().await?;
    let url = format!("amqp://guest:s3cret@127.0.0.1:{}/", bed.rabbitmq.port());
    refused(scene.through(Some(url), None), &["wrong user name or password"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_host_that_is_not_there() -> Result<()> {
    let (scene, bed) = scene().await?;
    let url = format!("amqp://guest:guest@127.0.0.1:{}/no%2fsuch", bed.rabbitmq.port());
    refused(scene.through(Some(url), None), &["530", "no/such", "virtual host in rabbitmq.url"])
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_where_nobody_listens() -> Result<()> {
    let (scene, _) = scene().await?;
    let port = testbed::Port::free()?;
    let url = format!("amqp://127.0.0.1:{}/", port.number());
    refused(scene.through(Some(url), None), &["cannot be reached", "refused"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_where_there_is_none() -> Result<()> {
    let (scene, bed) = scene().await?;
    let url = format!("amqps://guest:s3cret@127.0.0.1:{}/", bed.rabbitmq.port());
    refused(scene.through(Some(url), None), &["TLS"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_accepts_and_says_nothing() -> Result<()> {
    let (scene, bed) = scene().await?;
    let proxy = Proxy::start(bed.rabbitmq.port()).await?;
    proxy.set(Mode::Stall).await;
    let scene = scene
        .through(Some(bed.rabbitmq.amqp_url_at(proxy.port())), None)
        .with("rabbitmq.connect_timeout", "300ms");
    let daemon = scene.starts()?;
    daemon.says("says nothing within 300ms", 2).await?;
    proxy.set(Mode::Forward).await;
    daemon.consumes(1).await?;
    daemon.stops_cleanly().await
}

/// Waiting does not mend it: the daemon says what to do, ends, and has asked the broker for nothing.
async fn ends(scene: Scene, said: &[&str]) -> Result<()> {
    let daemon = scene.starts()?;
    assert_eq!(daemon.ends().await?, 1, "{:#?}", daemon.log());
    let last = daemon.log().pop().unwrap_or_default();
    for part in said {
        assert!(last.contains(part), "{part:?} in {last}");
    }
    let log = daemon.log().join("\n");
    assert!(!log.contains("s3cret") && !log.contains("retry_in"), "{log}");
    assert_eq!(daemon.said("\"consuming\""), 0, "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there() -> Result<()> {
    let (scene, bed) = scene().await?;
    let url = bed.postgres.url("no_such_database");
    ends(scene.through(None, Some(url)), &["no_such_database", "3D000", "create the database"])
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_database_user() -> Result<()> {
    let (scene, bed) = scene().await?;
    let url =
        bed.postgres.url(&scene.name).replace("postgres://postgres", "postgres://nobody:s3cret");
    ends(scene.through(None, Some(url)), &["28000", "check the user and the password"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_database_password() -> Result<()> {
    let options = PostgresOptions::default().password("right");
    let postgres = Postgres::start(options).await?;
    let (scene, _) = scene().await?;
    let url = postgres.url("postgres").replace("right", "s3cret");
    ends(scene.through(None, Some(url)), &["28P01", "check the user and the password"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_accepts_and_says_nothing() -> Result<()> {
    let (scene, bed) = scene().await?;
    let proxy = Proxy::start(bed.postgres.port()).await?;
    proxy.set(Mode::Stall).await;
    let url = bed.postgres.url_at(proxy.port(), &scene.name);
    let scene = scene.through(None, Some(url)).with("postgres.connect_timeout", "300ms");
    let daemon = scene.starts()?;
    let server = format!("PostgreSQL at 127.0.0.1:{} (database '{}')", proxy.port(), scene.name);
    daemon.says(&format!("{server} does not answer within 300ms"), 2).await?;
    proxy.set(Mode::Refuse).await;
    daemon.says(&format!("{server} cannot be reached"), 1).await?;
    proxy.set(Mode::Forward).await;
    daemon.consumes(1).await?;
    daemon.stops_cleanly().await
}

/// The answer to a commit is lost, again and again: resolved by the batch header, not guessed.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_stored_once_also_without_ids() -> Result<()> {
    let (scene, bed) = scene().await?;
    let proxy = Proxy::start(bed.postgres.port()).await?;
    let url = bed.postgres.url_at(proxy.port(), &scene.name);
    let direct = scene;
    let database = bed.postgres.url(&direct.name);
    let daemon_scene = direct.through(None, Some(url)).with("ingest.batch_events", "3");
    let daemon: Daemon = daemon_scene.daemon().await?;
    let scene = daemon_scene.through(None, Some(database));
    let mut published = Vec::new();
    for round in 0..100 {
        let mut messages: Vec<_> = (0..5).map(|number| event(round * 5 + number)).collect();
        for (number, message) in messages.iter_mut().enumerate() {
            // Neither an id in the body nor in the properties.
            message.properties.message_id = None;
            message.body = format!(r#"{{"n":"{round}.{number}"}}"#).into_bytes();
        }
        // The statement goes through, its answer does not.
        let last = format!("\"{round}.4\"");
        proxy.cut_when_seen(testbed::proxy::Direction::ToServer, last.as_bytes());
        scene.publish(&messages).await?;
        published.extend(messages);
        scene.stored(published.len()).await?;
        assert!(!proxy.is_armed());
    }
    scene.ends_with(&daemon, &published).await?;
    assert!(daemon.said("PostgreSQL is back") >= 100, "{:#?}", daemon.log());
    Ok(())
}
