//! A private Prometheus, and its tool.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::directory::Directory;
use crate::seat::Seat;
use crate::{Deadline, Port};

/// How long a server may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Where the distribution's package puts programs.
const BIN: &str = "/usr/bin";

pub(crate) fn is_installed() -> bool {
    ["prometheus", "promtool"].iter().all(|program| Path::new(BIN).join(program).is_file())
}

/// Runs `promtool` to its end.
///
/// # Errors
/// When it cannot be started.
pub fn promtool(arguments: &[&str], directory: &Path) -> Result<Output> {
    let program = Path::new(BIN).join("promtool");
    let mut command = Command::new(&program);
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    command.output().with_context(|| format!("run {}", program.display()))
}

/// A Prometheus of our own that scrapes every second. Dropped, it is killed and its directory removed.
#[derive(Debug)]
pub struct Prometheus {
    // Dropped before the directory below it.
    seat: Seat,
    _directory: Directory,
    port: Port,
}

impl Prometheus {
    /// Starts a server that scrapes `target`, as `job`, under these rules, and returns once it listens.
    ///
    /// # Errors
    /// When it is not installed, or ends or does not listen in time.
    pub async fn start(job: &str, target: &str, rules: &Path) -> Result<Self> {
        let directory = Directory::create("prometheus", false)?;
        let port = Port::free()?;
        let configuration = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: ['{}']\n\
             scrape_configs: [{{job_name: {job}, static_configs: [{{targets: ['{target}']}}]}}]\n",
            rules.display()
        );
        let configuration = directory.write("prometheus.yml", configuration)?;
        let log: PathBuf = directory.join("log");
        let file = std::fs::File::create(&log).context("create Prometheus' log")?;
        let mut command = directory.command(Path::new(BIN).join("prometheus"));
        command
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{}", port.number()))
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("share Prometheus' log")?)
            .stderr(file);
        let seat = Seat::new(format!("Prometheus on port {}", port.number()));
        seat.start(command, directory.path())?;
        let deadline = Deadline::after(START_LIMIT);
        let listens = deadline.until("Prometheus listens", || async {
            tokio::net::TcpStream::connect(("127.0.0.1", port.number())).await.map(drop)
        });
        seat.alive_until(listens, deadline)
            .await
            .with_context(|| format!("its log:\n{}", crate::process::tail(&log)))?;
        Ok(Self { seat, _directory: directory, port })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Whether its process runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.seat.is_running()
    }
}
