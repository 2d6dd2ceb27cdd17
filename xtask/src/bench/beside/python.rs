//! The consumer that a user would otherwise write, in Python: [aiormq], the AMQP client below aio-pika, and asyncpg's
//! binary COPY in batches, on uvloop.
//!
//! [aiormq]: https://pypi.org/project/aiormq/

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::bench::bus::{Bus, Kind};
use crate::bench::database::{self, Database};
use crate::bench::drain::Sample;
use crate::bench::meter::{self, Mark, Wal};
use crate::bench::scale::Scale;
use crate::bench::scene::Scene;
use crate::bench::{cpu, release};

const PROGRAM: &str = include_str!("reference.py");
const PACKAGES: [&str; 4] =
    ["aiormq==7.2.4", "asyncpg==0.32.0", "orjson==3.13.0", "uvloop==0.23.0"];
/// How long pip may take.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);
/// How long a drain may take.
const LIMIT: Duration = Duration::from_secs(300);

/// What it stores into: what a user would want of an event, and the id unique.
const TABLE: &str = "create table public.history (
    event_id uuid primary key, event_type text, event_time timestamptz, received_at timestamptz not null,
    routing_key text not null, message_id text, payload bytea not null)";

/// What it prints when everything is stored and acknowledged.
#[derive(Deserialize)]
struct Done {
    stored: u32,
}

/// Installs what it needs below the target directory, once, and says where its interpreter is.
///
/// # Errors
/// When there is no Python, no pip, or no index that has the packages.
pub async fn prepare() -> Result<PathBuf> {
    let directory = release::target()?.join("bench-python");
    let interpreter = directory.join("bin/python");
    let installed = directory.join("installed");
    if std::fs::read_to_string(&installed).is_ok_and(|packages| packages == PACKAGES.join(" ")) {
        return Ok(interpreter);
    }
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&directory);
    run(venv, "make a virtual environment with python3").await?;
    let mut pip = Command::new(&interpreter);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
    ]);
    pip.args(PACKAGES);
    run(pip, "install its packages with pip").await?;
    std::fs::write(&installed, PACKAGES.join(" ")).context("note what is installed")?;
    Ok(interpreter)
}

async fn run(mut command: Command, what: &str) -> Result<()> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(INSTALL_LIMIT, command.output())
        .await
        .with_context(|| format!("{what}: no end within {INSTALL_LIMIT:?}"))?
        .with_context(|| what.to_owned())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        bail!("{what}: {}: {last}", output.status);
    }
    Ok(())
}

/// Has it drain a backlog.
///
/// # Errors
/// When it does not come to its end, or events are missing at it.
pub async fn measure(
    scene: &Scene,
    scale: &Scale,
    kind: Kind,
    interpreter: &Path,
) -> Result<Sample> {
    let bus = Bus::declare(scene.address(), kind).await?;
    bus.fill(scale.events).await.context("fill the queue")?;
    let database = Database::migrated(scene).await?;
    let mut observer = database.connect().await?;
    database::run(&mut observer, TABLE).await?;
    meter::settle(scene, scale, &mut observer).await?;
    let wal = Wal::now(&mut observer).await?;
    let mark = Mark::now(scene, meter::backend(&mut observer).await?)?;
    let mut child = Command::new(interpreter)
        .args(["-c", PROGRAM])
        .args([&scene.rabbitmq.amqp_url(), &database.url, &bus.queue, &scale.events.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("start the consumer in Python")?;
    let pid = child.id().context("the consumer in Python is gone")?;
    let mut said = BufReader::new(child.stdout.take().context("it has no output")?).lines();
    let line = timeout(LIMIT, said.next_line()).await.context("it does not come to its end")??;
    let used = mark.until_now(scene)?;
    let done: Done = serde_json::from_str(&line.context("it ended before its work")?)?;
    let (consumer, peak_memory) = (cpu::of_tree(pid)?, cpu::peak_memory(pid)?);
    // The end of its input is its own end.
    drop(child.stdin.take());
    ensure!(child.wait().await?.success(), "the consumer in Python failed");
    let mut sample = Sample::of(&used, scale.events, consumer, consumer);
    sample.peak_memory = Some(peak_memory as f64);
    sample.wal = Some(wal.until_now(&mut observer).await? / f64::from(scale.events));
    let count = sqlx::query_scalar("select count(*) from public.history");
    let rows: i64 = count.fetch_one(&mut observer).await?;
    ensure!(rows == i64::from(done.stored) && done.stored == scale.events, "it stored {rows} rows");
    ensure!(bus.depth().await? == 0, "the queue is not empty");
    drop(observer);
    database.remove(scene).await?;
    bus.delete().await?;
    Ok(sample)
}
