//! Latency: from before an event is published until another connection can see its row.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bloodbank_audit::broker::{Acker as _, Publisher, Source as _};
use serde::Serialize;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::bus::{Bus, Kind};
use super::cpu;
use super::database::{self, Database};
use super::envelope::{self, Message};
use super::figure::{Figure, quantile};
use super::meter;
use super::observer::Observer;
use super::scale::Scale;
use super::scene::Scene;
use crate::figures::count;
use crate::history;
use crate::screen::Screen;

/// The rate at which a single INSERT is measured: the lowest, as the target is at that.
const BESIDE_RATE: u32 = 200;
/// How long the last event may take.
const LIMIT: Duration = Duration::from_secs(20);
/// What is asked for how often: seldom enough to cost little, often enough to see a millisecond.
const PAUSE: Duration = Duration::from_micros(50);
/// The same where events are many and their batches few.
const LONGER_PAUSE: Duration = Duration::from_millis(1);

/// What was timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Publish to visible, at so many events a second.
    Visible(u32),
    /// An INSERT of one row and its commit.
    Insert,
    /// Publish to delivery, nothing stored, at so many events a second: what of the first is the broker's.
    Delivery(u32),
}

impl What {
    /// As people call it.
    pub fn name(self) -> String {
        match self {
            Self::Visible(rate) => format!("publish to visible, {}/s", count(rate.into())),
            Self::Insert => "INSERT of one row and commit".to_owned(),
            Self::Delivery(rate) => {
                format!("publish to delivery, nothing stored, {}/s", count(rate.into()))
            }
        }
    }
}

/// One measurement, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
    pub events: usize,
    /// Events a second that were really published.
    pub rate: f64,
    /// Most memory of the daemon, in bytes.
    pub peak_memory: Option<f64>,
}

/// What was measured.
pub struct Latencies {
    pub samples: BTreeMap<What, Vec<Sample>>,
}

impl Latencies {
    /// The figure of some measurement.
    pub fn figure(&self, what: What, value: impl Fn(&Sample) -> f64) -> Option<Figure> {
        Figure::of(self.samples.get(&what)?.iter().map(value))
    }
}

/// Measures; each run goes once through everything.
///
/// # Errors
/// When something fails, or an event does not become visible.
pub async fn measure(screen: &Screen, scene: &Scene, scale: &Scale) -> Result<Latencies> {
    let mut latencies = Latencies { samples: BTreeMap::new() };
    let rates = scale.rates.iter().map(|&rate| What::Visible(rate));
    let deliveries = scale.rates.iter().map(|&rate| What::Delivery(rate));
    let everything: Vec<What> = [What::Insert].into_iter().chain(deliveries).chain(rates).collect();
    for run in 1..=scale.runs {
        for &what in &everything {
            let status = || format!("  run {run} of {}: {}", scale.runs, what.name());
            let measuring = async {
                let mut observer = history::connect(&scene.postgres.admin_url()).await?;
                meter::settle(scene, scale, &mut observer).await?;
                drop(observer);
                match what {
                    What::Insert => insert(scene, scale).await,
                    What::Delivery(rate) => delivery(scene, scale, rate).await,
                    What::Visible(rate) => visible(scene, scale, rate).await,
                }
            };
            let sample = screen.during(status, measuring).await?;
            latencies.samples.entry(what).or_default().push(sample);
        }
    }
    Ok(latencies)
}

async fn visible(scene: &Scene, scale: &Scale, rate: u32) -> Result<Sample> {
    let database = Database::migrated(scene).await?;
    let bus = Bus::declare(scene.address(), Kind::Quorum).await?;
    let daemon = scene.start_daemon(&bus, &database)?;
    bus.consumed_by(&daemon).await?;
    let publisher = bus.publisher().await?;
    let pause = if rate > 5_000 { LONGER_PAUSE } else { PAUSE };
    let observer = Observer::start(database.url.clone(), pause)?;
    let published = publish(&publisher, &bus, scale, rate, || observer.expect_one_more()).await?;
    let seen = observer.finish(LIMIT).await;
    let seen = seen.with_context(|| format!("the daemon's log ends:\n{}", daemon.log_tail()))?;
    publisher.close().await;
    let pid = daemon.pid().context("the daemon is gone")?;
    let peak_memory = cpu::peak_memory(pid)?;
    let status = daemon.stop().await?;
    ensure!(status.success(), "the daemon ended with {status}:\n{}", daemon.log_tail());
    ensure_in_order(&database, &published).await?;

    let mut seen = seen.into_iter().peekable();
    let times = published.iter().zip(1_u64..).map(|((_, at), count)| {
        while seen.peek().is_some_and(|(_, visible)| *visible < count) {
            seen.next();
        }
        seen.peek().map_or(Duration::ZERO, |(then, _)| *then - *at)
    });
    let mut sample = Sample::of(scale, &published, times.collect())?;
    sample.peak_memory = Some(peak_memory as f64);
    database.remove(scene).await?;
    bus.delete().await?;
    Ok(sample)
}

/// What the observer takes for granted.
async fn ensure_in_order(database: &Database, published: &[(uuid::Uuid, Instant)]) -> Result<()> {
    let mut connection = database.connect().await?;
    let stored = sqlx::query_scalar("select event_id from audit.events order by seq");
    let stored: Vec<uuid::Uuid> = stored.fetch_all(&mut connection).await?;
    let ids = published.iter().map(|(id, _)| id);
    ensure!(
        ids.eq(stored.iter()),
        "the events are not stored in the order in which they were published"
    );
    Ok(())
}

async fn delivery(scene: &Scene, scale: &Scale, rate: u32) -> Result<Sample> {
    let bus = Bus::declare(scene.address(), Kind::Quorum).await?;
    let (mut deliveries, mut acker, handle) = bus.consume(2_000).await?.ends();
    let publisher = bus.publisher().await?;
    let mut delivered = Vec::new();
    let mut publishing = Box::pin(publish(&publisher, &bus, scale, rate, || {}));
    let mut published = None;
    while published.as_ref().is_none_or(|all: &Vec<_>| delivered.len() < all.len()) {
        tokio::select! {
            biased;
            delivery = deliveries.next() => {
                let Some(delivery) = delivery else { bail!("{}", deliveries.ending()) };
                delivered.push(Instant::now());
                acker.ack_up_to(delivery.tag).await?;
            }
            all = &mut publishing, if published.is_none() => published = Some(all?),
        }
    }
    drop(publishing);
    let published = published.unwrap_or_default();
    publisher.close().await;
    handle.close().await;
    bus.delete().await?;
    let times = published.iter().zip(delivered).map(|((_, at), then)| then - *at);
    Sample::of(scale, &published, times.collect())
}

/// Publishes at a steady rate for as long as is measured; each event's id, and when it was about to be published.
async fn publish(
    publisher: &Publisher,
    bus: &Bus,
    scale: &Scale,
    rate: u32,
    about_to: impl Fn(),
) -> Result<Vec<(uuid::Uuid, Instant)>> {
    let mut published = Vec::new();
    let mut due = Instant::now();
    let end = due + scale.warm_up + scale.steady;
    while due < end {
        tokio::time::sleep_until(due.into()).await;
        let Message { id, properties, body } = envelope::message();
        about_to();
        published.push((id, Instant::now()));
        let key = envelope::ROUTING_KEY;
        // Whether it was taken shows by its arrival.
        publisher.publish(&bus.exchange, key, &properties, body).await?;
        due += Duration::from_secs(1) / rate;
    }
    Ok(published)
}

const SINGLE: &str = "
    create table public.single (like audit.events including all);
    create unique index on public.single (event_id, conflict_digest) nulls not distinct where event_id is not null";

async fn insert(scene: &Scene, scale: &Scale) -> Result<Sample> {
    let database = Database::migrated(scene).await?;
    let mut connection = database.connect().await?;
    database::run(&mut connection, SINGLE).await?;
    let (mut inserted, mut times) = (Vec::new(), Vec::new());
    let mut due = Instant::now();
    let end = due + scale.warm_up + scale.steady;
    while due < end {
        tokio::time::sleep_until(due.into()).await;
        let message = envelope::message();
        let at = Instant::now();
        insert_one(&mut connection, i64::try_from(times.len())?, &message).await?;
        times.push(at.elapsed());
        inserted.push((message.id, at));
        due += Duration::from_secs(1) / BESIDE_RATE;
    }
    drop(connection);
    database.remove(scene).await?;
    Sample::of(scale, &inserted, times)
}

async fn insert_one(connection: &mut PgConnection, seq: i64, message: &Message) -> Result<()> {
    let body = str::from_utf8(&message.body).context("a body is text")?;
    sqlx::query(
        "insert into public.single (seq, received_at, event_time, event_id, redelivered, conflict, malformed, event_type,
             source, exchange, routing_key, correlation_ids, properties, payload)
         values ($1, $2, $3, $4, false, false, false, $5, $6, $7, $8, $9, $10::json, $11::json)",
    )
    .bind(seq)
    .bind(OffsetDateTime::UNIX_EPOCH)
    .bind(OffsetDateTime::UNIX_EPOCH)
    .bind(message.id)
    .bind("llm.prompt.submitted")
    .bind("workstation-7")
    .bind("bench")
    .bind(envelope::ROUTING_KEY)
    .bind(vec![message.id.to_string()])
    .bind(message.properties.to_json())
    .bind(body)
    .execute(connection)
    .await
    .context("insert one row")?;
    Ok(())
}

impl Sample {
    /// Of the time that each event took, in order; those of the warm-up do not count.
    fn of(scale: &Scale, began: &[(uuid::Uuid, Instant)], times: Vec<Duration>) -> Result<Self> {
        let (Some((_, first)), Some((_, last))) = (began.first(), began.last()) else {
            bail!("nothing was measured");
        };
        let counts = began.iter().zip(times).filter(|((_, at), _)| *at - *first >= scale.warm_up);
        let mut times: Vec<f64> = counts.map(|(_, time)| time.as_secs_f64() * 1e3).collect();
        times.sort_unstable_by(f64::total_cmp);
        Ok(Self {
            p50: quantile(&times, 0.5),
            p99: quantile(&times, 0.99),
            max: quantile(&times, 1.0),
            events: times.len(),
            rate: began.len() as f64 / (*last - *first).as_secs_f64(),
            peak_memory: None,
        })
    }
}
