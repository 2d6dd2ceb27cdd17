//! Half-open connections: the network goes silent and closes nothing. The daemon notices within the configured time,
//! connects anew, and everything is stored exactly.

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use sqlx::Connection as _;
use testbed::{
    Proxy, eventually,
    proxy::{Direction, Mode},
};
use tokio::time::timeout;

use crate::support::{Bed, Daemon, Message, PATIENCE, Scene, event};

const SILENCES: [Mode; 4] = [
    Mode::Stall,
    Mode::StallTowards(Direction::ToServer),
    Mode::StallTowards(Direction::ToClient),
    Mode::HalfOpen,
];

/// A few times what the daemons here are configured to notice silence after.
const NOTICED: Duration = Duration::from_secs(25);

/// Events without an id: nothing but the batch header recognises them.
fn nameless(round: &str) -> Vec<Message> {
    let message = |number| Message::new("test.nameless", format!(r#"{{"n":"{round}.{number}"}}"#));
    (0..20).map(message).collect()
}

async fn says_in_time(daemon: &Daemon, text: &str, times: usize) -> Result<()> {
    timeout(NOTICED, daemon.says(text, times))
        .await
        .with_context(|| format!("{text:?} not within {NOTICED:?}: {:#?}", daemon.log()))?
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_goes_silent() -> Result<()> {
    let bed = Bed::shared().await?;
    for mode in SILENCES {
        let proxy = Proxy::start(bed.rabbitmq.port()).await?;
        let scene = Scene::set(bed)
            .await?
            .with("rabbitmq.heartbeat", "2s")
            .with("rabbitmq.connect_timeout", "1s");
        let through = Some(bed.rabbitmq.amqp_url_at(proxy.port()));
        let daemon = scene.clone().through(through, None).daemon().await?;
        let mut messages: Vec<_> = (0..20).map(event).collect();
        scene.publish(&messages).await?;
        scene.stored_exactly(&messages).await?;

        proxy.set(mode).await;
        messages.extend((20..40).map(event));
        scene.publish(&messages[20..]).await?;
        says_in_time(&daemon, "the session with the broker ended", 1).await?;
        assert_eq!(daemon.said("the connection was lost"), 1, "{mode:?}: {:#?}", daemon.log());
        says_in_time(&daemon, "the broker cannot be used", 1).await?;
        proxy.set(Mode::Forward).await;
        daemon.consumes(2).await?;
        scene.ends_with(&daemon, &messages).await.with_context(|| format!("{mode:?}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_goes_silent() -> Result<()> {
    let bed = Bed::shared().await?;
    for mode in SILENCES {
        let proxy = Proxy::start(bed.postgres.port()).await?;
        let scene = Scene::set(bed)
            .await?
            .with("postgres.statement_timeout", "1s")
            .with("postgres.connect_timeout", "500ms");
        let through = Some(bed.postgres.url_at(proxy.port(), &scene.name));
        let daemon = scene.clone().through(None, through).daemon().await?;
        let mut messages = nameless("before");
        scene.publish(&messages).await?;
        // Nothing is under way: only the next batch can notice.
        scene.stored_exactly(&messages).await?;

        proxy.set(mode).await;
        let silent = nameless("silent");
        scene.publish(&silent).await?;
        messages.extend(silent);
        says_in_time(&daemon, "it said nothing for 3s", 1).await?;
        says_in_time(&daemon, "does not answer within 500ms", 1).await?;
        proxy.set(Mode::Forward).await;
        says_in_time(&daemon, "PostgreSQL is back", 1).await?;
        // Stored once also where the commit had gone through and only its answer had not.
        scene.ends_with(&daemon, &messages).await.with_context(|| format!("{mode:?}"))?;
        assert_eq!(daemon.said("\"consuming\""), 1, "{mode:?}: {:#?}", daemon.log());
    }
    Ok(())
}

/// The same seen from the server: it is the daemon that goes silent, in the middle of a transaction. What the
/// transaction holds is let go, so that another daemon can store the same events.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_frozen_in_a_transaction_holds_nobody_up() -> Result<()> {
    // It looks at the server's own view of its sessions, which should be these alone.
    let bed = Bed::own().await?;
    let scene = Scene::set(&bed)
        .await?
        .with("rabbitmq.heartbeat", "2s")
        // Both what this waits for below, a statement and then an idle transaction, are there for no longer.
        .with("postgres.statement_timeout", "15s")
        .with("ingest.malformed", "dead-letter");
    let frozen = scene.daemon().await?;
    // A rejection is recorded in a transaction of several statements, after the events beside it.
    let mut sql = scene.sql().await?;
    let mut lock = sql.begin().await?;
    sqlx::raw_sql("lock table audit.rejections in share mode").execute(&mut *lock).await?;
    let messages: Vec<_> = (0..10).map(event).collect();
    let mut published = messages.clone();
    published.insert(5, Message::new("test.malformed", "no json"));
    scene.publish(&published).await?;
    let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'
                    and datname = current_database() and query ilike '%into audit.rejections%'";
    scene.counts(1, waits).await?;
    frozen.freezes().await?;
    lock.rollback().await?;
    let idles = "select count(*) from pg_stat_activity where state like 'idle in transaction%'
                    and datname = current_database() and query ilike '%into audit.rejections%'";
    scene.counts(1, idles).await?;

    let other = scene.daemon().await?;
    scene.stored_exactly(&messages).await?;
    scene.waits(&scene.dead_letter_queue(), 1).await?;
    frozen.signal(Signal::SIGCONT)?;
    frozen.consumes(2).await?;
    eventually("both take their part again", PATIENCE, async || {
        match scene.ready(&scene.queue()).await {
            Ok(0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    other.stops_cleanly().await?;
    scene.ends_with(&frozen, &messages).await
}

/// The same while it copies: the server waits for rows then, and not for a statement.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_frozen_while_it_copies_holds_nobody_up() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = Scene::set(bed)
        .await?
        .with("rabbitmq.heartbeat", "2s")
        .with("postgres.statement_timeout", "8s")
        .with("ingest.prefetch", "320")
        .with("ingest.batch_bytes", "32 MiB");
    let frozen = scene.daemon().await?;
    let mut messages = scene.opens_the_window(&frozen).await?;
    let mut sql = scene.sql().await?;
    sqlx::raw_sql(
        "create table public.slow as select 0.01 as seconds;
         create function public.slowly() returns trigger language plpgsql as $$
             begin perform pg_sleep(seconds) from public.slow; return new; end $$;
         create trigger slowly before insert on audit.events for each row
             when (new.routing_key = 'slow.one') execute function public.slowly();",
    )
    .execute(&mut sql)
    .await?;
    // One batch of more than sockets hold, behind one that waits for a lock.
    let mut lock = sql.begin().await?;
    sqlx::raw_sql("lock table audit.events in share mode").execute(&mut *lock).await?;
    let first = event(0);
    scene.publish(std::slice::from_ref(&first)).await?;
    let locked = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'
                     and datname = current_database()";
    scene.counts(1, locked).await?;
    let slow = |number| Message {
        body: format!(r#"{{"number":{number},"text":"{}"}}"#, "x".repeat(100_000)).into(),
        routing_key: "slow.one".to_owned(),
        ..event(number)
    };
    let many: Vec<_> = (0..300).map(slow).collect();
    scene.publish(&many).await?;
    scene.waits(&scene.queue(), 0).await?;
    messages.push(first);
    messages.extend(many);
    lock.rollback().await?;
    let copies =
        "select count(*) from pg_stat_activity where query ilike 'copy audit%' and state = 'active'
                     and wait_event = 'PgSleep' and datname = current_database()";
    scene.counts(1, copies).await?;
    frozen.freezes().await?;
    let waits =
        "select count(*) from pg_stat_activity where query ilike 'copy audit%' and state = 'active'
                    and wait_event = 'ClientRead' and datname = current_database()";
    scene.counts(1, waits).await?;
    sqlx::raw_sql("delete from public.slow").execute(&mut sql).await?;

    let other = scene.daemon().await?;
    scene.stored_exactly(&messages).await?;
    assert_eq!(other.said("ended copies of daemons"), 1, "{:#?}", other.log());
    frozen.signal(Signal::SIGCONT)?;
    frozen.consumes(2).await?;
    other.stops_cleanly().await?;
    scene.ends_with(&frozen, &messages).await
}
