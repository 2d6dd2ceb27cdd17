//! Somebody who reads, with the real binary: into a pipe, or at a terminal.

use std::{
    fs::File,
    io::Read as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use nix::pty::{Winsize, openpty};

use super::Scene;

/// What a command answered.
#[derive(Debug)]
pub struct Answer {
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Answer {
    /// What it wrote.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// The lines it wrote, after it found something.
    pub fn lines(&self) -> Vec<&str> {
        assert_eq!((self.status, &*self.stderr), (0, ""), "{self:?}");
        self.text().lines().collect()
    }

    /// What it wrote, as JSON, after it found something.
    pub fn json(&self) -> Result<serde_json::Value> {
        assert_eq!((self.status, &*self.stderr), (0, ""), "{self:?}");
        Ok(serde_json::from_str(self.text())?)
    }

    /// Expects that it wrote nothing but an error that says this.
    pub fn refuses(&self, status: i32, saying: &str) {
        assert_eq!((self.status, self.text()), (status, ""), "{self:?}");
        assert!(self.stderr.contains(saying), "{saying:?} is not in {}", self.stderr);
    }
}

impl Scene {
    /// The binary with the configuration of this scene, and nothing else around it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bloodbank-audit"));
        command
            .args(arguments)
            .env_clear()
            .envs(self.environment())
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    /// Asks, and reads the answer.
    pub fn asks(&self, arguments: &[&str]) -> Result<Answer> {
        let output = self.command(arguments).output()?;
        Ok(Answer {
            status: output.status.code().context("a signal ended it")?,
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// Asks at a terminal of that many columns, with these variables; tells the status and what was on the screen.
    pub fn asks_at_a_terminal(
        &self,
        columns: u16,
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> Result<(i32, String)> {
        let size = Winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let terminal = openpty(&size, None)?;
        let mut command = self.command(arguments);
        command.env("TERM", "xterm").envs(variables.iter().copied());
        let mut child =
            command.stdout(terminal.slave.try_clone()?).stderr(terminal.slave).spawn()?;
        // The terminal ends with its last user.
        drop(command);
        let mut screen = Vec::new();
        let mut buffer = [0; 4096];
        let mut master = File::from(terminal.master);
        // Linux says an error, not an end, when the last user has gone.
        while let Ok(read @ 1..) = master.read(&mut buffer) {
            screen.extend_from_slice(&buffer[..read]);
        }
        let status = child.wait()?.code().context("a signal ended it")?;
        Ok((status, String::from_utf8(screen)?))
    }
}

/// The control characters of a screen, line ends aside.
pub fn control_characters(screen: &str) -> Vec<char> {
    screen.chars().filter(|&c| c.is_control() && !matches!(c, '\r' | '\n')).collect()
}
