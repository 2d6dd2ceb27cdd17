//! `ingest.ack = "sealed"`: the broker keeps each message until a checkpoint that covers it is outside.

use std::{fs, path::PathBuf};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use testbed::{Postgres, PostgresOptions, Proxy, eventually};
use uuid::Uuid;

use crate::{
    checkpoints::House,
    support::{Bed, Daemon, Message, PATIENCE, Scene, event},
    watched_over::status,
};

/// A house whose daemons acknowledge what is in a checkpoint in a file, and where that file is.
struct Keep {
    house: House,
}

impl Keep {
    async fn built() -> Result<Keep> {
        Keep::of(Scene::set(Bed::shared().await?).await?)
    }

    fn of(scene: Scene) -> Result<Keep> {
        let house = House::of(scene)?.with("ingest.ack", "sealed");
        let file = house.file().join("notes").display().to_string();
        let keep = Keep { house: house.with("ledger.checkpoint_file", file) };
        fs::create_dir(keep.folder())?;
        Ok(keep)
    }

    fn with(self, key: &str, value: &str) -> Keep {
        Keep { house: self.house.with(key, value) }
    }

    fn scene(&self) -> &Scene {
        &self.house.scene
    }

    fn folder(&self) -> PathBuf {
        self.house.file()
    }

    /// From now on no checkpoint can be written: its folder is none.
    fn closes(&self) -> Result<()> {
        fs::rename(self.folder(), self.folder().with_extension("away"))?;
        Ok(fs::write(self.folder(), "")?)
    }

    fn opens(&self) -> Result<()> {
        fs::remove_file(self.folder())?;
        Ok(fs::rename(self.folder().with_extension("away"), self.folder())?)
    }

    /// Messages that are stored, and that the broker has to keep: the file cannot be written. Behind those of before.
    async fn holds(
        &self,
        daemon: &Daemon,
        before: Vec<Message>,
        more: usize,
    ) -> Result<Vec<Message>> {
        let mut messages = before;
        let first = messages.len();
        messages.extend((first..first + more).map(event));
        in_hand(daemon, 0, 0).await?;
        self.closes()?;
        self.scene().publish(&messages[first..]).await?;
        self.scene().stored(messages.len()).await?;
        in_hand(daemon, more, more).await?;
        Ok(messages)
    }
}

/// Nothing is sealed or handed out within a test, unless somebody is in a hurry.
fn seldom(keep: Keep) -> Keep {
    keep.with("ledger.seal_every", "30m")
        .with("ledger.checkpoint_every", "30m")
        .with("ledger.export_within", "2h")
        .with("rabbitmq.consumer_timeout", "4h")
}

/// Awaits that so many deliveries are in hand, and so many of them held.
async fn in_hand(daemon: &Daemon, deliveries: usize, held: usize) -> Result<()> {
    let address = daemon.serves_at().await?;
    eventually(&format!("{held} of {deliveries} held"), PATIENCE, async || {
        let status = status(address).await?;
        let found = &status["in_hand"];
        ensure!(found["deliveries"] == deliveries && found["held"] == held, "{found}");
        Ok(())
    })
    .await
}

const DUPLICATES: &str = "select coalesce(sum(duplicates), 0)::int8 from audit.batches";

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_held_while_a_sink_is_away_and_acknowledged_when_it_takes_them() -> Result<()>
{
    let keep = Keep::built().await?;
    let daemon = keep.scene().daemon().await?;
    let messages = keep.scene().opens_the_window(&daemon).await?;
    let messages = keep.holds(&daemon, messages, 100).await?;
    daemon.says("a checkpoint is not taken: it is offered again until one is", 1).await?;
    keep.opens()?;
    in_hand(&daemon, 0, 0).await?;
    keep.scene().ends_with(&daemon, &messages).await?;
    ensure!(keep.scene().number(DUPLICATES).await? == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_commit_and_checkpoint_all_come_again_and_are_stored_once() -> Result<()> {
    let keep = Keep::built().await?;
    let daemon = keep.scene().daemon().await?;
    let messages = keep.scene().opens_the_window(&daemon).await?;
    let messages = keep.holds(&daemon, messages, 100).await?;
    daemon.signal(Signal::SIGKILL)?;
    // The broker has kept each of them.
    keep.scene().waits(&keep.scene().queue(), 100).await?;
    keep.opens()?;
    let daemon = keep.scene().daemon().await?;
    keep.scene().ends_with(&daemon, &messages).await?;
    ensure!(keep.scene().number(DUPLICATES).await? == 100);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_committed_nothing_waits_for_a_sink() -> Result<()> {
    let keep = Keep::built().await?.with("ingest.ack", "committed");
    let daemon = keep.scene().daemon().await?;
    keep.closes()?;
    let messages: Vec<_> = (0..100).map(event).collect();
    keep.scene().publish(&messages).await?;
    keep.scene().stored(100).await?;
    in_hand(&daemon, 0, 0).await?;
    daemon.signal(Signal::SIGKILL)?;
    keep.scene().waits(&keep.scene().queue(), 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_seals_what_is_in_hand_at_once_however_seldom_it_is_sealed() -> Result<()> {
    let keep = seldom(Keep::built().await?);
    let daemon = keep.scene().daemon().await?;
    let mut messages = keep.scene().opens_the_window(&daemon).await?;
    messages.extend((10..60).map(event));
    keep.scene().publish(&messages[10..]).await?;
    keep.scene().stored(60).await?;
    keep.scene().waits(&keep.scene().queue(), 0).await?;
    daemon.stops_cleanly().await?;
    keep.scene().waits(&keep.scene().queue(), 0).await?;
    keep.scene().stored_exactly(&messages).await?;
    keep.scene().is_as_recorded()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_a_sink_within_the_grace_period_and_no_longer() -> Result<()> {
    let keep = Keep::built().await?.with("shutdown.grace", "2s");
    let daemon = keep.scene().daemon().await?;
    let messages = keep.scene().opens_the_window(&daemon).await?;
    let messages = keep.holds(&daemon, messages, 50).await?;
    daemon.signal(Signal::SIGTERM)?;
    ensure!(daemon.ends().await? == 75, "{:#?}", daemon.log());
    ensure!(daemon.said("the grace period is over") == 1, "{:#?}", daemon.log());
    keep.scene().waits(&keep.scene().queue(), 50).await?;
    keep.opens()?;

    let keep = keep.with("shutdown.grace", "5m");
    let daemon = keep.scene().daemon().await?;
    in_hand(&daemon, 0, 0).await?;
    keep.scene().waits(&keep.scene().queue(), 0).await?;
    daemon.says("taking as many deliveries at a time as configured", 1).await?;
    let messages = keep.holds(&daemon, messages, 50).await?;
    daemon.signal(Signal::SIGTERM)?;
    daemon.says("a checkpoint is not taken", 1).await?;
    keep.opens()?;
    ensure!(daemon.ends().await? == 0, "{:#?}", daemon.log());
    keep.scene().waits(&keep.scene().queue(), 0).await?;
    keep.scene().stored_exactly(&messages).await?;
    keep.scene().is_as_recorded()
}

/// Where nothing else can be delivered, nothing is gained by waiting for the next seal.
#[tokio::test(flavor = "multi_thread")]
async fn one_at_a_time_each_is_sealed_at_once_however_seldom_it_is_sealed() -> Result<()> {
    let keep = seldom(Keep::built().await?).with("ingest.prefetch", "1");
    let daemon = keep.scene().daemon().await?;
    let messages: Vec<_> = (0..20).map(event).collect();
    keep.scene().publish(&messages).await?;
    keep.scene().ends_with(&daemon, &messages).await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_more_than_prefetch_and_two_sinks() -> Result<()> {
    let keep = Keep::built()
        .await?
        .with("ingest.prefetch", "100")
        .with("ingest.batch_events", "30")
        .with("ledger.checkpoint_log", "true");
    let daemon = keep.scene().daemon().await?;
    let messages: Vec<_> = (0..1_500).map(event).collect();
    keep.scene().publish(&messages).await?;
    keep.scene().ends_with(&daemon, &messages).await?;
    ensure!(keep.scene().number(DUPLICATES).await? == 0);
    Ok(())
}

/// Checkpoints that the exchange brings back are events, too, and no reason for another checkpoint.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_exchange_brings_back_is_acknowledged_and_comes_to_rest() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let exchange = scene.exchange();
    let house =
        House::of(scene)?.with("ingest.ack", "sealed").with("ledger.checkpoint_exchange", exchange);
    let daemon = house.scene.daemon().await?;
    let messages: Vec<_> = (0..50).map(event).collect();
    house.scene.publish(&messages).await?;
    let published = "select count(*) from audit.events where routing_key <> 'audit.checkpoint'";
    house.scene.counts(50, published).await?;
    house.rests(&daemon, |_| true).await?;
    in_hand(&daemon, 0, 0).await?;
    daemon.stops_cleanly().await?;
    let published = "select count(*) from audit.events where routing_key = 'audit.checkpoint'";
    ensure!(house.scene.number(published).await? > 0);
    house.scene.is_as_recorded()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_sink_takes_for_too_long_goes_back_once_and_waits_in_the_queue() -> Result<()> {
    let keep = Keep::built()
        .await?
        .with("rabbitmq.consumer_timeout", "12s")
        .with("postgres.statement_timeout", "3s")
        .with("postgres.connect_timeout", "2s");
    let daemon = keep.scene().daemon().await?;
    let messages = keep.scene().opens_the_window(&daemon).await?;
    let messages = keep.holds(&daemon, messages, 20).await?;
    daemon.says("what was committed has been in no checkpoint outside for too long", 1).await?;
    keep.scene().waits(&keep.scene().queue(), 20).await?;
    let seen = status(daemon.serves_at().await?).await?;
    ensure!(seen["state"] == "paused" && seen["stuck"].is_null(), "{seen}");
    keep.opens()?;
    daemon.says("what is committed is in a checkpoint outside", 1).await?;
    keep.scene().ends_with(&daemon, &messages).await?;
    ensure!(daemon.said("\"consuming\"") == 2, "{:#?}", daemon.log());
    ensure!(keep.scene().number(DUPLICATES).await? == 20);
    Ok(())
}

/// The broker has kept what only the lost primary knew of.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_standby_that_lagged_has_lost_is_stored_again() -> Result<()> {
    let rabbitmq = &Bed::shared().await?.rabbitmq;
    let primary = Postgres::start(PostgresOptions::default()).await?;
    let keep = Keep::of(Scene::between(rabbitmq, &primary).await?)?;
    let daemon = keep.scene().daemon().await?;
    let mut messages = vec![event(0)];
    keep.scene().publish(&messages).await?;
    keep.scene().waits(&keep.scene().queue(), 0).await?;
    keep.scene().stored(1).await?;
    in_hand(&daemon, 0, 0).await?;
    daemon.stops_cleanly().await?;
    let standby = primary.standby("second").await?;
    standby.stop().await?;

    let [first, second] = [primary.port(), standby.port()];
    let name = keep.scene().name.clone();
    let url = format!("postgres://postgres@127.0.0.1:{first},127.0.0.1:{second}/{name}");
    let daemon = keep.scene().clone().through(None, Some(url)).daemon().await?;
    messages = keep.holds(&daemon, messages, 1).await?;
    primary.kill();
    standby.start_again().await?;
    standby.promote().await?;
    daemon.says("the database does not have any more what it had committed", 1).await?;
    let on_standby = keep.scene().clone().through(None, Some(standby.url(&name)));
    on_standby.stored(2).await?;
    // It had signed what the standby lacks: nothing is sealed, so nothing is acknowledged, until somebody has decided.
    daemon.says("the database has another ledger than what was signed before", 1).await?;
    daemon.says("and not acknowledged", 1).await?;
    keep.opens()?;
    let begun =
        on_standby.asks(&["ledger", "new-epoch", "--reason", "the standby lagged", "--yes"])?;
    assert_eq!(begun.status, 0, "{begun:?}");
    in_hand(&daemon, 0, 0).await?;
    on_standby.ends_with(&daemon, &messages).await
}

/// What was in hand is taken one by one then, each sealed at once.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_session_that_is_lost_meanwhile_all_come_again_and_nothing_is_stored_twice()
-> Result<()> {
    let rabbitmq = &Bed::shared().await?.rabbitmq;
    let proxy = Proxy::start(rabbitmq.port()).await?;
    let keep = seldom(Keep::built().await?);
    let through = rabbitmq.amqp_url_at(proxy.port());
    let daemon = keep.scene().clone().through(Some(through), None).daemon().await?;
    let mut messages = keep.scene().opens_the_window(&daemon).await?;
    messages.extend((10..60).map(event));
    keep.scene().publish(&messages[10..]).await?;
    keep.scene().stored(60).await?;
    keep.closes()?;
    proxy.cut().await;
    daemon.consumes(2).await?;
    in_hand(&daemon, 1, 1).await?;
    keep.opens()?;
    keep.scene().ends_with(&daemon, &messages).await?;
    ensure!(keep.scene().number(DUPLICATES).await? >= 50);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_reaches_the_dead_letters_when_its_record_is_outside() -> Result<()> {
    let keep = Keep::built().await?.with("ingest.malformed", "dead-letter");
    let daemon = keep.scene().daemon().await?;
    let mut messages = keep.scene().opens_the_window(&daemon).await?;
    in_hand(&daemon, 0, 0).await?;
    keep.closes()?;
    messages.push(event(10));
    let malformed = Message::new("not.json", "no JSON");
    keep.scene().publish(&[malformed, messages[10].clone()]).await?;
    keep.scene().counts(1, "select count(*) from audit.rejections").await?;
    in_hand(&daemon, 2, 2).await?;
    ensure!(keep.scene().ready(&keep.scene().dead_letter_queue()).await? == 0);
    keep.opens()?;
    keep.scene().waits(&keep.scene().dead_letter_queue(), 1).await?;
    keep.scene().ends_with(&daemon, &messages).await
}

/// What is held counts against `ingest.memory`, and what there is no room for comes when it is outside.
#[tokio::test(flavor = "multi_thread")]
async fn messages_of_which_few_fit_into_memory_are_sealed_at_once() -> Result<()> {
    let keep = seldom(Keep::built().await?)
        .with("ingest.memory", "64 MiB")
        .with("ingest.max_body", "16 MiB");
    let daemon = keep.scene().daemon().await?;
    let mut messages = keep.scene().opens_the_window(&daemon).await?;
    for number in 0..8 {
        let text = "x".repeat(6 << 20);
        let id = Uuid::new_v4();
        let body = format!(r#"{{"event_id":"{id}","number":{number},"text":"{text}"}}"#);
        messages.push(Message::new("large.one", body));
        keep.scene().publish(&messages[messages.len() - 1..]).await?;
    }
    keep.scene().stored(18).await?;
    daemon.stops_cleanly().await?;
    keep.scene().waits(&keep.scene().queue(), 0).await?;
    keep.scene().stored_exactly(&messages).await?;
    keep.scene().is_as_recorded()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_wait_for_their_own_lanes() -> Result<()> {
    let keep = Keep::built().await?.with("ingest.prefetch", "100");
    let messages: Vec<_> = (0..1_000).map(event).collect();
    let one = keep.scene().clone().with("storage.instance", "one").daemon().await?;
    let two = keep.scene().clone().with("storage.instance", "two").daemon().await?;
    keep.scene().publish(&messages).await?;
    keep.scene().stored(messages.len()).await?;
    in_hand(&one, 0, 0).await?;
    in_hand(&two, 0, 0).await?;
    one.stops_cleanly().await?;
    keep.scene().ends_with(&two, &messages).await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_all_are_stored_once() -> Result<()> {
    let keep = Keep::built().await?;
    let mut messages = Vec::new();
    for _ in 0..6 {
        let daemon = keep.scene().daemon().await?;
        let first = messages.len();
        messages.extend((first..first + 50).map(event));
        keep.scene().publish(&messages[first..]).await?;
        let more = i64::try_from(first)? + 10;
        keep.scene().counts_at_least(more, "select count(*) from audit.events").await?;
        daemon.signal(Signal::SIGKILL)?;
        eventually("it is gone", PATIENCE, async || daemon.exited().ok_or("it lives")).await?;
    }
    let daemon = keep.scene().daemon().await?;
    keep.scene().ends_with(&daemon, &messages).await
}
