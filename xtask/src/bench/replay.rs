//! Replay: the history published to a queue, beside a bare publisher with confirms, of the same client.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tokio::process::Command;

use super::bus::{Bus, Kind};
use super::cpu;
use super::database::Database;
use super::envelope::{self, Message};
use super::recorded;
use super::scale::Scale;
use super::scene::Scene;
use crate::screen::Screen;

/// How often the memory of a replay is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What was measured, each run apart.
#[derive(Debug, Default, Serialize)]
pub struct Replays {
    /// Events a second of a bare publisher.
    pub bare: Vec<f64>,
    /// Events a second of a replay, from the start of its process to its end.
    pub replay: Vec<f64>,
    /// Most bytes of memory of it.
    pub peak: Vec<f64>,
    /// The same of a replay of a tenth of the events.
    pub peak_of_a_tenth: Vec<f64>,
    /// How long a replay took at a rate, against how long it should have taken.
    pub rate: Vec<f64>,
    /// The same at a multiple of the speed at which the events came.
    pub speed: Vec<f64>,
}

/// Measures; the runs take turns.
///
/// # Errors
/// When something fails.
pub async fn measure(screen: &Screen, scene: &Scene, scale: &Scale) -> Result<Replays> {
    let status = || "  recording what is to be replayed".to_owned();
    let database = screen.during(status, recorded::by_the_daemon(scene, scale.events, &[])).await?;
    let mut found = Replays::default();
    for run in 1..=scale.runs {
        let status = || format!("  run {run} of {}: replay", scale.runs);
        screen.during(status, once(scene, scale, &database, &mut found)).await?;
    }
    database.remove(scene).await?;
    Ok(found)
}

async fn once(
    scene: &Scene,
    scale: &Scale,
    database: &Database,
    found: &mut Replays,
) -> Result<()> {
    let events = f64::from(scale.events);
    let bus = Bus::declare(scene.address(), Kind::Quorum).await?;
    let Message { id, properties, body } = envelope::message();
    let same = |_| Message { id, properties: properties.clone(), body: body.clone() };
    let began = Instant::now();
    bus.publish((0..scale.events).map(same)).await?;
    found.bare.push(events / began.elapsed().as_secs_f64());
    bus.delete().await?;

    let whole = replay(scene, database, scale.events, &[]).await?;
    found.replay.push(events / whole.took.as_secs_f64());
    found.peak.push(whole.peak);
    let tenth = scale.events / 10;
    let limit = tenth.to_string();
    let part = replay(scene, database, tenth, &["--limit", &limit]).await?;
    found.peak_of_a_tenth.push(part.peak);

    let should = scale.paced.as_secs_f64();
    let rate = (f64::from(tenth) / should).floor().max(1.0);
    let paced = rate * should;
    let (limit, rate) = (paced.to_string(), format!("{rate}/s"));
    let timed =
        replay(scene, database, paced as u32, &["--limit", &limit, "--rate", &rate]).await?;
    found.rate.push(timed.took.as_secs_f64() / should);

    let mut observer = database.connect().await?;
    let apart = sqlx::query_scalar(
        "select extract(epoch from max(received_at) - min(received_at))::float8 from audit.events",
    );
    let apart: f64 = apart.fetch_one(&mut observer).await?;
    let speed = format!("{}x", apart / should);
    let timed = replay(scene, database, scale.events, &["--speed", &speed]).await?;
    found.speed.push(timed.took.as_secs_f64() / should);
    Ok(())
}

struct Replayed {
    took: Duration,
    /// Bytes.
    peak: f64,
}

/// Replays to a queue of its own, and makes sure that all of it is there.
async fn replay(
    scene: &Scene,
    database: &Database,
    events: u32,
    arguments: &[&str],
) -> Result<Replayed> {
    let bus = Bus::declare(scene.address(), Kind::Quorum).await?;
    let mut command = Command::new(&scene.binary);
    command
        .args(["replay", "--config", "/dev/null", "--json", "--to-queue", &bus.queue])
        .args(arguments)
        .env("RABBIT_URL", scene.rabbitmq.amqp_url())
        .env("DATABASE_URL", &database.url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let began = Instant::now();
    let child = command.spawn().context("start a replay")?;
    let pid = child.id().context("the replay is gone")?;
    let mut peak = 0.0_f64;
    let ended = child.wait_with_output();
    tokio::pin!(ended);
    let output = loop {
        tokio::select! {
            output = &mut ended => break output.context("await a replay")?,
            () = tokio::time::sleep(LOOK) => {
                // Gone, it says nothing any more.
                peak = peak.max(cpu::peak_memory(pid).map_or(0.0, |bytes| bytes as f64));
            }
        }
    };
    let took = began.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the replay ended with {}:\n{said}", output.status);
    let depth = bus.depth().await?;
    ensure!(depth == events, "{depth} of {events} events are in the queue");
    bus.delete().await?;
    Ok(Replayed { took, peak })
}
