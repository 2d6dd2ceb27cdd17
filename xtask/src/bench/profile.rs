//! Where the daemon's CPU time goes: samples of it taken with perf, as text.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::process::{Child, Command};

/// Samples a second of CPU time; not a round number, so as not to run in step with timers.
const FREQUENCY: &str = "997";
/// How deep stacks are shown, and from what share on.
const SHOWN: [&str; 4] = ["--percent-limit", "0.3", "--max-stack", "24"];

/// A profile being taken.
pub struct Profile {
    perf: Child,
    data: PathBuf,
    text: PathBuf,
}

impl Profile {
    /// Begins, with the process as it is.
    ///
    /// # Errors
    /// When there is no perf.
    pub fn start(pid: u32, text: &Path) -> Result<Self> {
        let data = text.with_extension("perf");
        let perf = Command::new("perf")
            // Stacks by the tables for unwinding, which every build has. The clock, since a virtual machine need not have counters of cycles.
            .args([
                "record",
                "--quiet",
                "-e",
                "cpu-clock",
                "-F",
                FREQUENCY,
                "--call-graph",
                "dwarf,16384",
            ])
            .arg("--output")
            .arg(&data)
            .args(["--pid", &pid.to_string()])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("start perf, which is in Debian's package linux-perf")?;
        Ok(Self { perf, data, text: text.to_owned() })
    }

    /// Ends, and writes what was seen: first each function's own share, then who called it.
    ///
    /// # Errors
    /// When perf does not.
    pub async fn finish(mut self) -> Result<()> {
        let pid = self.perf.id().context("perf has ended early")?;
        let asked = Command::new("kill").args(["-INT", &pid.to_string()]).status().await?;
        ensure!(asked.success(), "perf cannot be stopped");
        self.perf.wait().await.context("wait for perf")?;
        let flat =
            self.report(&["--no-children", "--call-graph", "none", "--sort", "symbol"]).await?;
        let threads =
            self.report(&["--no-children", "--call-graph", "none", "--sort", "comm,dso"]).await?;
        let callers = self
            .report(&["--no-children", "--call-graph", "callee,0.5", "--sort", "symbol"])
            .await?;
        let text = format!("{threads}\n{flat}\n{callers}");
        std::fs::write(&self.text, text).with_context(|| format!("write {}", self.text.display()))
    }

    async fn report(&self, how: &[&str]) -> Result<String> {
        let output = Command::new("perf")
            .args(["report", "--stdio", "--input"])
            .arg(&self.data)
            .args(how)
            .args(SHOWN)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .await
            .context("run perf report")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        Ok(lines.fold(String::new(), |text, line| text + line.trim_end() + "\n"))
    }
}
