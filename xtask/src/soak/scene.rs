//! The stage, with all that faults need: proxies between, a disk that can be full, rules that refuse events.

use std::time::Duration;

use anyhow::{Context as _, Result};
use testbed::{Mode, Proxy};

use super::disk::Disk;
use super::fault::Side;
use crate::screen::Screen;
use crate::stage::evidence::Evidence;
use crate::stage::{DATABASE, Launch, Stage};

/// The routing key that a check constraint refuses (SQLSTATE 23514).
pub const REFUSED_BY_RULE: &str = "refused.by.rule";
/// The routing key that a trigger refuses (SQLSTATE P0001).
pub const REFUSED_BY_TRIGGER: &str = "refused.by.trigger";

/// As an operator's own rules on the history.
const RULES: &str = "
    alter table audit.events add constraint soak_refuses check (routing_key <> 'refused.by.rule');
    create function audit.soak_refuses() returns trigger language plpgsql as $$
        begin raise exception 'refused by a trigger of the soak'; end
    $$;
    create trigger soak_refuses before insert on audit.events for each row
        when (new.routing_key = 'refused.by.trigger') execute function audit.soak_refuses()";

/// What the daemon is told beyond its defaults: to notice silence and to come back within seconds.
const SETTINGS: [(&str, &str); 8] = [
    // After a session that was lost, so many are taken one by one; with more, faults would rarely meet full batches.
    ("ingest.prefetch", "300"),
    ("rabbitmq.heartbeat", "5s"),
    ("rabbitmq.connect_timeout", "3s"),
    ("postgres.connect_timeout", "3s"),
    ("postgres.statement_timeout", "3s"),
    ("reconnect.initial", "100ms"),
    ("reconnect.max", "2s"),
    ("shutdown.grace", "20s"),
];

/// How long a server may take that was being started when a fault was broken off.
const START_LIMIT: Duration = Duration::from_secs(120);
/// The broker's own default.
const WATERMARK: &str = "0.4";

/// Everything that can be broken, and how to mend all of it. Dropped from the top.
pub struct Scene {
    /// Unmounted while the database server still runs, so that its directory can go.
    pub disk: Option<Disk>,
    /// Servers and daemon.
    pub stage: Stage,
    /// What the history is checked by in the end.
    pub evidence: Evidence,
    /// How the daemon is started: through the proxies.
    pub launch: Launch,
    broker: Proxy,
    database: Proxy,
}

impl Scene {
    /// Brings everything up; `with_disk` where mounts are allowed.
    ///
    /// # Errors
    /// The first thing that fails.
    pub async fn set(screen: &Screen, keep: bool, with_disk: bool) -> Result<Self> {
        let stage = Stage::set(screen, keep).await?;
        let broker = Proxy::start(stage.rabbitmq.port()).await?;
        let database = Proxy::start(stage.postgres.port()).await?;
        let disk = match with_disk {
            true => Some(Disk::below(&stage.postgres, DATABASE).await?),
            false => None,
        };
        let evidence = stage.evidence()?;
        let settings = SETTINGS.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let launch = Launch {
            rabbit_url: stage.rabbitmq.amqp_url_at(broker.port()),
            database_url: stage.postgres.url_at(database.port(), DATABASE),
            settings: settings.into_iter().chain(evidence.settings()).collect(),
            ..stage.launch()
        };
        stage.start_daemon(screen, &launch).await?;
        stage.postgres.sql(DATABASE, RULES).await.context("have the database refuse events")?;
        Ok(Self { disk, stage, evidence, launch, broker, database })
    }

    /// The proxy in front of a server.
    pub fn proxy(&self, side: Side) -> &Proxy {
        match side {
            Side::Broker => &self.broker,
            Side::Database => &self.database,
        }
    }

    /// Stops or kills nothing, ends every fault, and starts what does not run.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn heal(&self) -> Result<()> {
        for side in [Side::Broker, Side::Database] {
            self.proxy(side).set(Mode::Forward).await;
            disarm(self.proxy(side));
        }
        if let Some(disk) = &self.disk {
            disk.free()?;
        }
        let Stage { rabbitmq, postgres, daemon, .. } = &self.stage;
        // One that was being started is waited for.
        match postgres.is_running() {
            true => postgres.wait_ready(START_LIMIT).await?,
            false => postgres.start_again().await?,
        }
        match rabbitmq.is_running() {
            true => rabbitmq.wait_ready(START_LIMIT).await?,
            false => rabbitmq.start_again().await?,
        }
        self.set_watermark(WATERMARK).await?;
        if !daemon.is_running() {
            daemon.start(&self.launch)?;
        }
        Ok(())
    }

    /// Has the broker take itself to be out of memory, or no longer.
    ///
    /// # Errors
    /// When `rabbitmqctl` fails.
    pub async fn set_alarm(&self, on: bool) -> Result<()> {
        self.set_watermark(if on { "0.000001" } else { WATERMARK }).await
    }

    async fn set_watermark(&self, fraction: &str) -> Result<()> {
        let words = ["set_vm_memory_high_watermark", fraction];
        self.stage.rabbitmq.ctl(&words).await.map(drop)
    }
}

/// Takes back a condition to cut on that has not come true.
pub fn disarm(proxy: &Proxy) {
    if proxy.is_armed() {
        proxy.cut_after(testbed::Direction::ToServer, u64::MAX);
    }
}
