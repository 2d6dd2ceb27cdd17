//! The demo: what it prints to be typed does what it says.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long checkpoints may take to come out, and proofs to be made.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_lines_that_it_prints_verify_the_history_and_prove_an_event() {
    let mut up = Up::start();
    let lines = up.to_paste();
    let [enter, verify, prove, check] = &lines[..] else { panic!("{lines:?}") };
    testbed::eventually("a checkpoint that speaks of an event is outside", LIMIT, async || {
        let proven = shell(&format!("{enter} && {verify} && {prove}"));
        if proven.status.success() { Ok(()) } else { Err(format!("{proven:?}")) }
    })
    .await
    .unwrap();
    let checked = shell(&format!("{enter} && {check}"));
    assert!(checked.status.success(), "{checked:?}");
    up.stop();
}

/// `cargo xtask up`, stopped as by Ctrl-C.
struct Up {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Up {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["up", "--for", "5m", "--rate", "50"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// The lines of the proof, without what stands around them.
    fn to_paste(&mut self) -> Vec<String> {
        let mut lines = (&mut self.output).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains("prove an event of it")), "it ended before that");
        let lines = lines.skip(1).take_while(|line| !line.is_empty());
        lines.map(|line| line.trim().to_owned()).collect()
    }

    fn stop(&mut self) {
        self.interrupt();
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}\n{rest}");
    }

    fn interrupt(&self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGINT).unwrap();
    }
}

impl Drop for Up {
    /// Where the test fails: it takes its servers down itself.
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.interrupt();
            let _ = self.child.wait();
        }
    }
}

fn shell(line: &str) -> Output {
    Command::new("sh").arg("-c").arg(format!("rm -f proof.json; {line}")).output().unwrap()
}
