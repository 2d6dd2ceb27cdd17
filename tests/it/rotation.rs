//! Credentials that change on both servers under the running daemon.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use testbed::{Postgres, PostgresOptions, eventually};

use crate::support::{Bed, Daemon, Message, PATIENCE, Scene, event};

/// Nothing is restarted, nothing is lost, and the old passwords are not tried any more.
#[tokio::test(flavor = "multi_thread")]
async fn new_passwords_are_used_from_the_next_connection_on() -> Result<()> {
    let broker = &Bed::shared().await?.rabbitmq;
    let postgres = Postgres::start(PostgresOptions::default().password("admin")).await?;
    let scene = Scene::between(broker, &postgres).await?;
    let user = &scene.name;
    broker.ctl(&["add_user", user, "old"]).await?;
    broker.ctl(&["set_permissions", "-p", "/", user, ".*", ".*", ".*"]).await?;
    postgres.sql("postgres", &format!("create role {user} superuser login password 'old'")).await?;

    let directory = tempfile::tempdir()?;
    let config = directory.path().join("config.toml");
    let configured = |password: &str| {
        let (amqp, database) = (broker.port(), postgres.port());
        let text = format!(
            "[rabbitmq]\nurl = \"amqp://{user}:{password}@127.0.0.1:{amqp}/\"\n\
             [postgres]\nurl = \"postgres://{user}:{password}@127.0.0.1:{database}/{user}\"\n"
        );
        std::fs::write(&config, text)
    };
    configured("old")?;
    let named = |(name, _): &(String, String)| {
        !name.ends_with("RABBITMQ__URL") && !name.ends_with("POSTGRES__URL")
    };
    let environment: Vec<_> = scene.environment().into_iter().filter(named).collect();
    let daemon = Daemon::spawn(&["run", "--config", &config.to_string_lossy()], &environment)?;
    daemon.consumes(1).await?;
    let mut messages: Vec<Message> = (0..10).map(event).collect();
    scene.publish(&messages).await?;
    scene.stored(10).await?;

    broker.ctl(&["change_password", user, "new"]).await?;
    postgres.sql("postgres", &format!("alter role {user} password 'new'")).await?;
    configured("new")?;
    daemon.signal(Signal::SIGHUP)?;
    daemon.says("taken over: rabbitmq.url, postgres.url", 1).await?;
    // What stands goes on.
    let more: Vec<_> = (10..20).map(event).collect();
    scene.publish(&more).await?;
    scene.stored(20).await?;
    ensure!(daemon.said("consuming") == 1, "{:#?}", daemon.log());

    // It fails over one that has just ended by itself.
    eventually("the broker closes its connections", PATIENCE, async || {
        let closed = broker.ctl(&["close_all_user_connections", user, "rotated"]).await;
        closed.map(drop).map_err(|error| format!("{error:#}"))
    })
    .await?;
    let end =
        format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{user}'");
    postgres.sql("postgres", &end).await?;
    daemon.consumes(2).await?;
    let last: Vec<_> = (20..30).map(event).collect();
    scene.publish(&last).await?;
    messages.extend(more.into_iter().chain(last));
    scene.stored_exactly(&messages).await?;
    for refusal in ["ACCESS_REFUSED", "28P01"] {
        ensure!(daemon.said(refusal) == 0, "{:#?}", daemon.log());
    }
    ensure!(daemon.said(":new@") == 0, "{:#?}", daemon.log());
    daemon.stops_cleanly().await
}
