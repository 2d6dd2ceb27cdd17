//! Nothing spins: while a server is away or silent, the daemon waits between attempts, says each attempt in one line,
//! and costs next to nothing.

use std::{fs, time::Duration, time::Instant};

use anyhow::{Context as _, Result};
use testbed::{Proxy, eventually, proxy::Mode};

use crate::support::{Bed, Daemon, PATIENCE, Scene, event};

/// What the kernel counts CPU time in: `sysconf(_SC_CLK_TCK)`, which is 100 on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// How long the daemon is looked at, at least.
const LOOK: Duration = Duration::from_secs(10);

/// CPU time that the process has used so far, all threads together.
fn cpu_time(daemon: &Daemon) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid()))?;
    // The name before may hold anything but a closing parenthesis of its own; user and system time are the 14th and
    // 15th field.
    let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
    let ticks = |at: usize| fields.split_whitespace().nth(at).and_then(|ticks| ticks.parse().ok());
    let (user, system): (Option<u32>, Option<u32>) = (ticks(11), ticks(12));
    Ok(TICK * (user.context("no user time")? + system.context("no system time")?))
}

/// Looks at the daemon from one attempt to another.
async fn idles(daemon: &Daemon, attempt: &str) -> Result<()> {
    // Past the short delays at the beginning.
    let mut attempts = daemon.said(attempt).max(4) + 1;
    daemon.says(attempt, attempts).await?;
    let (start, cpu_before) = (Instant::now(), cpu_time(daemon)?);
    let (lines_before, first) = (daemon.log().len(), attempts);
    while start.elapsed() < LOOK {
        attempts += 1;
        daemon.says(attempt, attempts).await?;
    }
    let (wall, cpu) = (start.elapsed(), cpu_time(daemon)? - cpu_before);
    let (lines, attempts) = (daemon.log().len() - lines_before, attempts - first);
    let share = cpu.as_secs_f64() / wall.as_secs_f64();
    println!(
        "{attempt}: {attempts} attempts in {wall:?}, {lines} lines, {:.3}% of a core",
        share * 100.0
    );
    assert!(share < 0.01, "{:.2}% of a core in {wall:?}: {:#?}", share * 100.0, daemon.log());
    // One that was said between the two looks may count on either side.
    assert!(
        lines.abs_diff(attempts) <= 1,
        "{lines} lines for {attempts} attempts: {:#?}",
        daemon.log()
    );
    Ok(())
}

async fn proxied(bed: &Bed) -> Result<(Scene, Scene, Proxy, Proxy)> {
    let (broker, database) =
        (Proxy::start(bed.rabbitmq.port()).await?, Proxy::start(bed.postgres.port()).await?);
    let scene = Scene::set(bed).await?;
    let proxied = scene.clone().through(
        Some(bed.rabbitmq.amqp_url_at(broker.port())),
        Some(bed.postgres.url_at(database.port(), &scene.name)),
    );
    let proxied = proxied
        .with("postgres.statement_timeout", "1s")
        .with("postgres.connect_timeout", "500ms")
        .with("rabbitmq.connect_timeout", "500ms")
        .with("rabbitmq.heartbeat", "2s");
    Ok((scene, proxied, broker, database))
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_away_or_silent() -> Result<()> {
    let (scene, proxied, _broker, database) = proxied(Bed::shared().await?).await?;
    let daemon = proxied.daemon().await?;
    let mut messages = Vec::new();
    for mode in [Mode::Refuse, Mode::Stall] {
        database.set(mode).await;
        if mode == Mode::Refuse {
            database.cut().await;
        }
        let after: Vec<_> = (0..3_000).map(event).collect();
        scene.publish(&after).await?;
        messages.extend(after);
        idles(&daemon, "PostgreSQL cannot store").await?;
        database.set(Mode::Forward).await;
        scene.stored_exactly(&messages).await?;
    }
    scene.ends_with(&daemon, &messages).await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_is_away_or_silent() -> Result<()> {
    let (scene, proxied, broker, _database) = proxied(Bed::shared().await?).await?;
    let daemon = proxied.daemon().await?;
    let mut messages = Vec::new();
    for mode in [Mode::Refuse, Mode::Stall] {
        broker.set(mode).await;
        if mode == Mode::Refuse {
            broker.cut().await;
        }
        idles(&daemon, "the broker cannot be used").await?;
        let after: Vec<_> = (0..100).map(event).collect();
        scene.publish(&after).await?;
        messages.extend(after);
        broker.set(Mode::Forward).await;
        scene.stored_exactly(&messages).await?;
    }
    scene.ends_with(&daemon, &messages).await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_away_and_no_session_is_open() -> Result<()> {
    let (scene, proxied, broker, database) = proxied(Bed::shared().await?).await?;
    let daemon = proxied.daemon().await?;
    database.set(Mode::Refuse).await;
    database.cut().await;
    broker.cut().await;
    idles(&daemon, "PostgreSQL cannot be used").await?;
    database.set(Mode::Forward).await;
    let messages: Vec<_> = (0..100).map(event).collect();
    scene.publish(&messages).await?;
    scene.ends_with(&daemon, &messages).await
}

/// Neither do heartbeats, the watch over the topology and the ear for alarms cost anything to speak of.
#[tokio::test(flavor = "multi_thread")]
async fn while_nothing_happens() -> Result<()> {
    /// What is sent from one look at the topology to the next, at least: 800 bytes and more by the look itself, and more
    /// than 100 to hear of alarms.
    const LOOK_BYTES: u64 = 900;
    let (scene, proxied, broker, _database) = proxied(Bed::shared().await?).await?;
    let daemon = proxied.daemon().await?;
    let (start, cpu_before) = (Instant::now(), cpu_time(&daemon)?);
    let wanted = broker.statistics().to_server + 5 * LOOK_BYTES;
    eventually("five looks at the topology", PATIENCE, async || {
        match broker.statistics().to_server {
            sent if sent >= wanted && start.elapsed() >= LOOK => Ok(()),
            sent => Err(sent),
        }
    })
    .await?;
    let share = (cpu_time(&daemon)? - cpu_before).as_secs_f64() / start.elapsed().as_secs_f64();
    println!("idle: {:.3}% of a core", share * 100.0);
    assert!(share < 0.01, "{:.2}% of a core: {:#?}", share * 100.0, daemon.log());
    scene.ends_with(&daemon, &[]).await
}
