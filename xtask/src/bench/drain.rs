//! Drain: a backlog until its last event is visible and the queue is empty.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;
use sqlx::PgConnection;
use testbed::Deadline;

use super::beside::{consume, copy, python};
use super::bus::{Bus, Kind};
use super::cpu;
use super::database::Database;
use super::figure::Figure;
use super::meter::{self, Mark, Used, Wal};
use super::profile::Profile;
use super::scale::Scale;
use super::scene::Scene;
use crate::screen::Screen;
use crate::stage::Daemon;

/// How often to look whether the last event is there.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long a drain may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Who drains, from what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Daemon(Kind),
    ConsumeAlone(Kind),
    Copy,
    Python(Kind),
}

impl Who {
    /// As people call it.
    pub fn name(self) -> String {
        match self {
            Self::Daemon(kind) => format!("daemon, {} queue", kind.name()),
            Self::ConsumeAlone(kind) => format!("consume and ack alone, {}", kind.name()),
            Self::Copy => "COPY alone, no broker".to_owned(),
            Self::Python(kind) => format!("Python reference, {}", kind.name()),
        }
    }
}

/// One measurement. CPU is in microseconds an event.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// Events a second.
    pub rate: f64,
    pub seconds: f64,
    /// The daemon, or whoever drains in its place.
    pub consumer: f64,
    pub broker: f64,
    pub postgres: f64,
    /// Cores that none of these used, but others on the machine did; those that its host took away included.
    pub others: f64,
    /// Most memory of the consumer, in bytes.
    pub peak_memory: Option<f64>,
    /// Bytes of log an event.
    pub wal: Option<f64>,
    /// Bytes on disk an event.
    pub size: Option<PerEvent>,
}

/// Bytes on disk an event.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PerEvent {
    pub table: f64,
    pub toast: f64,
    pub index: f64,
    pub batches: f64,
}

impl Sample {
    /// From what was used; CPU seconds of the consumer, and of it those that are not already our own.
    pub fn of(used: &Used, events: u32, consumer: f64, child: f64) -> Self {
        let events = f64::from(events);
        let each = |seconds: f64| seconds * 1e6 / events;
        let known = used.broker + used.postgres + used.us + child;
        Self {
            rate: events / used.seconds,
            seconds: used.seconds,
            consumer: each(consumer),
            broker: each(used.broker),
            postgres: each(used.postgres),
            others: ((used.machine - known).max(0.0) + used.stolen) / used.seconds,
            peak_memory: None,
            wal: None,
            size: None,
        }
    }

    /// CPU of all three, in microseconds an event.
    pub fn together(&self) -> f64 {
        self.consumer + self.broker + self.postgres
    }

    /// Cores that the three kept busy.
    pub fn cores(&self) -> f64 {
        self.rate * self.together() / 1e6
    }
}

/// What was measured.
pub struct Drains {
    pub samples: BTreeMap<Who, Vec<Sample>>,
    /// Why there is no consumer in Python.
    pub no_python: Option<String>,
}

impl Drains {
    /// The figure of some measurement.
    pub fn figure(&self, who: Who, value: impl Fn(&Sample) -> f64) -> Option<Figure> {
        Figure::of(self.samples.get(&who)?.iter().map(value))
    }
}

/// Measures; each run goes once through everything, so that what else the machine does is spread evenly.
///
/// # Errors
/// When something does not come to its end, or events are missing at it.
pub async fn measure(
    screen: &Screen,
    scene: &Scene,
    scale: &Scale,
    only_daemon: bool,
    profile: Option<&Path>,
) -> Result<Drains> {
    let mut drains = Drains { samples: BTreeMap::new(), no_python: None };
    let mut python = None;
    if !only_daemon && !scale.quick {
        match screen
            .during(|| "  preparing the consumer in Python".to_owned(), python::prepare())
            .await
        {
            Ok(interpreter) => python = Some(interpreter),
            Err(error) => drains.no_python = Some(format!("{error:#}")),
        }
    } else if scale.quick {
        drains.no_python = Some("left out with --quick".to_owned());
    }
    let mut saved: Option<PathBuf> = None;
    for run in 1..=scale.runs {
        for who in everyone(only_daemon, python.is_some()) {
            let status = || format!("  run {run} of {}: {}", scale.runs, who.name());
            let measuring = async {
                match who {
                    Who::Daemon(kind) => {
                        let profile = profile.filter(|_| run == 1 && kind == Kind::Quorum);
                        let database = Database::migrated(scene).await?;
                        let saving = (!only_daemon && saved.is_none()).then_some(&mut saved);
                        daemon(scene, scale, kind, database, profile, saving).await
                    }
                    Who::ConsumeAlone(kind) => consume::measure(scene, scale, kind).await,
                    Who::Copy => {
                        let file = saved.as_deref().context("nothing was saved to be copied")?;
                        copy::measure(scene, scale, file).await
                    }
                    Who::Python(kind) => {
                        let python = python.as_deref().context("there is no Python")?;
                        python::measure(scene, scale, kind, python).await
                    }
                }
            };
            let sample = screen.during(status, measuring).await.with_context(|| who.name())?;
            drains.samples.entry(who).or_default().push(sample);
        }
    }
    Ok(drains)
}

fn everyone(only_daemon: bool, with_python: bool) -> Vec<Who> {
    let mut everyone = Vec::new();
    for kind in [Kind::Quorum, Kind::Classic] {
        everyone.push(Who::Daemon(kind));
        if !only_daemon {
            everyone.push(Who::ConsumeAlone(kind));
        }
        if with_python {
            everyone.push(Who::Python(kind));
        }
    }
    if !only_daemon {
        everyone.push(Who::Copy);
    }
    everyone
}

/// Has the daemon drain a backlog into this database, which is removed afterwards.
///
/// # Errors
/// When it does not come to its end, or events are missing at it.
pub async fn daemon(
    scene: &Scene,
    scale: &Scale,
    kind: Kind,
    database: Database,
    profile: Option<&Path>,
    save: Option<&mut Option<PathBuf>>,
) -> Result<Sample> {
    let bus = Bus::declare(scene.address(), kind).await?;
    bus.fill(scale.events).await.context("fill the queue")?;
    let mut observer = database.connect().await?;
    let before = database.events(&mut observer).await?.0;
    let size = database.size(&mut observer).await?;
    meter::settle(scene, scale, &mut observer).await?;

    let backend = meter::backend(&mut observer).await?;
    let wal = Wal::now(&mut observer).await?;
    let mark = Mark::now(scene, backend)?;
    let daemon = scene.start_daemon(&bus, &database)?;
    let pid = daemon.pid().context("the daemon is gone")?;
    let profile = profile.map(|file| Profile::start(pid, file)).transpose()?;
    until_stored(&mut observer, &daemon, scale.events).await?;
    let used = mark.until_now(scene)?;
    let consumer = cpu::of_tree(pid)?;
    let peak_memory = cpu::peak_memory(pid)?;
    if let Some(profile) = profile {
        profile.finish().await?;
    }

    let status = daemon.stop().await?;
    ensure!(status.success(), "the daemon ended with {status}:\n{}", daemon.log_tail());
    let mut sample = Sample::of(&used, scale.events, consumer, consumer);
    sample.peak_memory = Some(peak_memory as f64);
    sample.wal = Some(wal.until_now(&mut observer).await? / f64::from(scale.events));
    let grown = database.size(&mut observer).await?;
    let each = |now: i64, then: i64| (now - then) as f64 / f64::from(scale.events);
    sample.size = Some(PerEvent {
        table: each(grown.table, size.table),
        toast: each(grown.toast, size.toast),
        index: each(grown.index, size.index),
        batches: each(grown.batches, size.batches),
    });
    let left = bus.depth().await?;
    ensure!(left == 0, "{left} events are still in the queue after the daemon has stopped");
    let (rows, ids) = database.events(&mut observer).await?;
    let all = before + i64::from(scale.events);
    ensure!(rows == all && ids == all, "{rows} rows with {ids} ids are stored, and not {all}");
    if let Some(save) = save {
        *save = Some(copy::save(scene, &mut observer).await?);
    }
    drop(observer);
    database.remove(scene).await?;
    bus.delete().await?;
    Ok(sample)
}

/// Returns once so many events are visible; the headers of their batches tell, which is cheap to ask.
///
/// # Errors
/// When the daemon ends first, or it takes too long.
pub async fn until_stored(observer: &mut PgConnection, daemon: &Daemon, events: u32) -> Result<()> {
    let deadline = Deadline::after(LIMIT);
    let query = "select coalesce(sum(events), 0)::int8 from audit.batches";
    loop {
        let stored: i64 = sqlx::query_scalar(query).fetch_one(&mut *observer).await?;
        if stored >= i64::from(events) {
            return Ok(());
        }
        if !daemon.is_running() || deadline.passed() {
            bail!(
                "{stored} of {events} events are stored; the daemon's log ends:\n{}",
                daemon.log_tail()
            );
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
