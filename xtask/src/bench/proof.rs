//! Verify and prove: how fast a recorded history is checked, and how long the proof of one event takes and its check.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bloodbank_audit::commands::{prove, settings};
use bloodbank_audit::config::{Config, Environment, Flags};
use bloodbank_audit::ledger::{VerifierKey, proof_file::ProofFile};
use bloodbank_audit::store::Prover;
use bloodbank_audit::verify::check_proof;
use clap::Parser as _;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use serde::Serialize;
use tokio::process::Command;

use super::database::Database;
use super::figure::quantile;
use super::scale::Scale;
use super::scene::Scene;
use super::{cpu, recorded};
use crate::screen::Screen;

/// How long an answer of the database may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub verify: bool,
    pub prove: bool,
}

/// What was measured, each run apart.
#[derive(Debug, Default, Serialize)]
pub struct Proofs {
    /// Events that were checked.
    pub events: u32,
    pub verify: Vec<Verified>,
    pub prove: Vec<Proven>,
}

/// One `verify` of the whole history with a checkpoint and the key.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// Events a second of wall time, from the process's start to its end.
    pub rate: f64,
    /// Events for each second of its CPU time: what one core checks in a second.
    pub per_core: f64,
    /// Microseconds of PostgreSQL's CPU time an event.
    pub postgres: f64,
    /// Most bytes of memory that it had.
    pub peak: f64,
}

/// Proofs of events drawn at random, in milliseconds: the middle one, and that of 99 in 100.
#[derive(Debug, Serialize)]
pub struct Proven {
    /// Making one over a connection that is open.
    pub prove: Took,
    /// Checking one.
    pub check: Took,
    /// `prove ID --out FILE`, from the process's start to its end.
    pub prove_command: Took,
    /// `verify --proof FILE`, the same way.
    pub check_command: Took,
}

/// How long it took, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Took {
    pub p50: f64,
    pub p99: f64,
}

/// A figure of a run, and its name.
pub type Measure<Run, Value> = (&'static str, fn(&Run) -> Value);

/// What a run measures of proofs.
pub const PROVEN: [Measure<Proven, Took>; 4] = [
    ("prove", |run| run.prove),
    ("verify --proof", |run| run.check),
    ("prove, as a command", |run| run.prove_command),
    ("verify --proof, as a command", |run| run.check_command),
];

impl Took {
    fn of(mut times: Vec<f64>) -> Took {
        times.sort_unstable_by(f64::total_cmp);
        Took { p50: quantile(&times, 0.5), p99: quantile(&times, 0.99) }
    }
}

/// A history with signed checkpoints.
struct Signed {
    database: Database,
    key: String,
    checkpoint: PathBuf,
    directory: PathBuf,
}

/// Measures; the runs take turns.
///
/// # Errors
/// When something fails, or the history is not found to be as it was recorded.
pub async fn measure(
    screen: &Screen,
    scene: &Scene,
    scale: &Scale,
    asked: Asked,
) -> Result<Proofs> {
    let status = || "  recording what is to be checked".to_owned();
    let signed = screen.during(status, signed(scene, scale.events)).await?;
    let mut found = Proofs { events: scale.events, ..Proofs::default() };
    for run in 1..=scale.runs {
        if asked.verify {
            let status = || format!("  run {run} of {}: verify", scale.runs);
            let verified = screen.during(status, verify(scene, &signed, scale.events));
            found.verify.push(verified.await?);
        }
        if asked.prove {
            let status = || format!("  run {run} of {}: prove", scale.runs);
            let proven = screen.during(status, prove(scene, &signed, scale.questions));
            found.prove.push(proven.await?);
        }
    }
    let Signed { database, directory, .. } = signed;
    database.remove(scene).await?;
    fs::remove_dir_all(&directory).with_context(|| format!("remove {}", directory.display()))?;
    Ok(found)
}

async fn signed(scene: &Scene, events: u32) -> Result<Signed> {
    let directory = std::env::temp_dir().join(format!("bench-proof-{:08x}", rand::random::<u32>()));
    fs::create_dir(&directory).with_context(|| format!("make {}", directory.display()))?;
    let file = directory.join("ledger.key");
    let generate = Command::new(&scene.binary)
        .args(["keys", "generate", "--name", "bench", "--out"])
        .arg(&file)
        .output()
        .await
        .context("run the daemon's keys generate")?;
    ensure!(generate.status.success(), "{}", String::from_utf8_lossy(&generate.stderr));
    let key = String::from_utf8(generate.stdout)?.trim().to_owned();
    let settings = [("ledger.key_file".to_owned(), file.display().to_string())];
    let database = recorded::by_the_daemon(scene, events, &settings).await?;
    let last = "select note from audit.checkpoints order by tree_size desc limit 1";
    let note: String = sqlx::query_scalar(last).fetch_one(&mut database.connect().await?).await?;
    let checkpoint = directory.join("last.note");
    fs::write(&checkpoint, note)?;
    Ok(Signed { database, key, checkpoint, directory })
}

/// A command with the configuration of a history and nothing else.
fn command(scene: &Scene, signed: &Signed, arguments: &[&str]) -> Command {
    let mut command = Command::new(&scene.binary);
    command
        .args(arguments)
        .args(["--config", "/dev/null"])
        .env("DATABASE_URL", &signed.database.url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn verify(scene: &Scene, signed: &Signed, events: u32) -> Result<Verified> {
    let checkpoint = signed.checkpoint.display().to_string();
    let arguments = ["verify", "--json", "--checkpoint", &checkpoint, "--key", &signed.key];
    let mut command = command(scene, signed, &arguments);
    let server = scene.postgres.pid().context("the database server is gone")?;
    let before = cpu::of_tree(server)?;
    let began = Instant::now();
    let child = command.spawn().context("start a verify")?;
    let pid = child.id().context("the verify is gone")?;
    // It stays in the kernel's list until somebody takes its status, and with it what it has used.
    let ended = tokio::task::spawn_blocking(move || {
        let pid = Pid::from_raw(i32::try_from(pid)?);
        waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?;
        anyhow::Ok(())
    });
    let mut peak = 0.0_f64;
    tokio::pin!(ended);
    loop {
        tokio::select! {
            ended = &mut ended => break ended??,
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                // Gone, it says nothing any more.
                peak = peak.max(cpu::peak_memory(pid).map_or(0.0, |bytes| bytes as f64));
            }
        }
    }
    let took = began.elapsed().as_secs_f64();
    // What is less than the kernel counts is as much as it counts.
    let used = cpu::of_process(pid)?.max(0.01);
    let postgres = cpu::of_tree(server)? - before;
    let output = child.wait_with_output().await.context("await a verify")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the verify ended with {}:\n{said}", output.status);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(
        found["clean"] == true && found["events"] == events,
        "not all of it was checked: {found:#}"
    );
    let events = f64::from(events);
    Ok(Verified {
        rate: events / took,
        per_core: events / used,
        postgres: postgres / events * 1e6,
        peak,
    })
}

/// The options of `prove`, from a command line.
#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    options: prove::Options,
}

async fn prove(scene: &Scene, signed: &Signed, times: u32) -> Result<Proven> {
    let mut connection = signed.database.connect().await?;
    let drawn = "select event_id::text from audit.events order by random() limit $1";
    let ids: Vec<String> =
        sqlx::query_scalar(drawn).bind(i64::from(times) + 1).fetch_all(&mut connection).await?;
    let environment = Environment::empty().with_variable("DATABASE_URL", &signed.database.url);
    let store = settings::store(&Config::load(&Flags::default(), &environment)?.config)?;
    let mut prover = Prover::open(&store, PATIENCE).await?;
    let keys = [signed.key.parse::<VerifierKey>()?];
    let [mut made, mut checked, mut made_alone, mut checked_alone] = [const { Vec::new() }; 4];
    let file = signed.directory.join("proof.json");
    for (place, id) in ids.iter().enumerate() {
        let options = Line::try_parse_from(["prove", id])?.options;
        let began = Instant::now();
        let proof = options.prove_with(&mut prover).await?;
        let made_in = milliseconds(began);
        let text = serde_json::to_string_pretty(&proof)?;
        let began = Instant::now();
        check_proof(&serde_json::from_str::<ProofFile>(&text)?, &keys)?;
        let checked_in = milliseconds(began);
        let out = file.display().to_string();
        let made_alone_in = alone(command(scene, signed, &["prove", id, "--out", &out])).await?;
        let check = ["verify", "--proof", &out, "--key", &signed.key];
        let checked_alone_in = alone(command(scene, signed, &check)).await?;
        remove(&file)?;
        // The first one makes the rest warm.
        if place > 0 {
            made.push(made_in);
            checked.push(checked_in);
            made_alone.push(made_alone_in);
            checked_alone.push(checked_alone_in);
        }
    }
    Ok(Proven {
        prove: Took::of(made),
        check: Took::of(checked),
        prove_command: Took::of(made_alone),
        check_command: Took::of(checked_alone),
    })
}

/// How many milliseconds a command takes that ends well.
async fn alone(mut command: Command) -> Result<f64> {
    let began = Instant::now();
    let output = command.output().await.context("run the daemon's program")?;
    let took = milliseconds(began);
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "it ended with {}:\n{said}", output.status);
    Ok(took)
}

fn remove(file: &Path) -> Result<()> {
    fs::remove_file(file).with_context(|| format!("remove {}", file.display()))
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
