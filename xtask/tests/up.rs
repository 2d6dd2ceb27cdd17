//! The demo: what it prints to be typed does what it says.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long checkpoints may take to come out, and proofs to be made.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_lines_that_it_prints_verify_the_history_and_prove_an_event() -> Result<()> {
    let mut up = Up::start()?;
    let lines = up.lines_to_paste()?;
    let [enter, verify, prove, check] = &lines[..] else { bail!("{lines:?}") };
    testbed::eventually("a checkpoint that speaks of an event is outside", LIMIT, async || {
        let proven = shell(&format!("{enter} && {verify} && {prove}"));
        match proven {
            Ok(proven) if proven.status.success() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let checked = shell(&format!("{enter} && {check}"))?;
    ensure!(checked.status.success(), "{checked:?}");
    up.stop()
}

/// `cargo xtask up`, stopped as by Ctrl-C.
struct Up {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Up {
    fn start() -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["up", "--for", "5m", "--rate", "50"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("it has no stdout")?;
        Ok(Self { child, output: BufReader::new(output) })
    }

    /// The lines of the proof, without what stands around them.
    fn lines_to_paste(&mut self) -> Result<Vec<String>> {
        let mut lines = (&mut self.output).lines();
        let mut pasted = Vec::new();
        loop {
            let line = lines.next().context("it ended before that")??;
            if line.contains("prove an event of it") {
                break;
            }
        }
        for line in lines.skip(1) {
            let line = line?;
            if line.is_empty() {
                return Ok(pasted);
            }
            pasted.push(line.trim().to_owned());
        }
        bail!("it ended in the middle: {pasted:?}")
    }

    fn stop(&mut self) -> Result<()> {
        self.interrupt()?;
        let mut rest = String::new();
        self.output.read_to_string(&mut rest)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "{status}\n{rest}");
        Ok(())
    }

    fn interrupt(&self) -> Result<()> {
        let pid = i32::try_from(self.child.id())?;
        Ok(kill(Pid::from_raw(pid), Signal::SIGINT)?)
    }
}

impl Drop for Up {
    /// Where the test fails: it takes its servers down itself.
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.interrupt();
            let _ = self.child.wait();
        }
    }
}

fn shell(line: &str) -> Result<Output> {
    Ok(Command::new("sh").arg("-c").arg(format!("rm -f proof.json; {line}")).output()?)
}
