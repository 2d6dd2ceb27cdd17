//! The processes of one server: found through /proc, killed, stopped and continued together.
//!
//! Process groups do not do: Postgres's backends and Erlang's port programs each lead a session of their
//! own. What all of a server's processes share is a variable in the environment they were started with;
//! Postgres's backends write over theirs, and are known by their program and working directory.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Marks every process that runs for a directory: it dies with it.
pub(crate) const HOME_VARIABLE: &str = "TESTBED_HOME";
/// Marks the server itself and its children, apart from tools that talk to it.
const SERVER_VARIABLE: &str = "TESTBED_SERVER";

/// Which of a directory's processes are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The server and its children.
    Server,
    /// Whatever runs for the directory, tools and helpers too.
    Everything,
}

/// What the marking variables hold: the slash keeps one directory's name from being another's prefix.
pub(crate) fn marker(directory: &Path) -> OsString {
    let mut value = directory.as_os_str().as_bytes().to_vec();
    value.push(b'/');
    OsString::from_vec(value)
}

/// The live processes of a directory; zombies have neither environment nor program, and do not count.
fn members(directory: &Path, scope: Scope) -> Vec<Pid> {
    let variable = match scope {
        Scope::Server => SERVER_VARIABLE,
        Scope::Everything => HOME_VARIABLE,
    };
    let mut entry = variable.as_bytes().to_vec();
    entry.push(b'=');
    entry.extend_from_slice(marker(directory).as_bytes());
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter(|process| {
            let path = process.path();
            let marked = || {
                std::fs::read(path.join("environ"))
                    .is_ok_and(|environ| environ.split(|&byte| byte == 0).any(|e| e == entry))
            };
            let backend = || {
                let program = std::fs::read_link(path.join("exe"));
                program.is_ok_and(|exe| {
                    exe.file_name().is_some_and(|name| name.as_bytes().starts_with(b"postgres"))
                }) && std::fs::read_link(path.join("cwd"))
                    .is_ok_and(|cwd| cwd.starts_with(directory))
            };
            path.join("exe").symlink_metadata().is_ok() && (marked() || backend())
        })
        .filter_map(|process| process.file_name().to_str()?.parse().ok().map(Pid::from_raw))
        .collect()
}

/// Sends a signal to every process in scope and returns which there were.
fn signal_all(directory: &Path, scope: Scope, signal: Signal) -> Vec<Pid> {
    let members = members(directory, scope);
    for &pid in &members {
        // It may be gone by now, and that is what is wanted.
        let _ = kill(pid, signal);
    }
    members
}

/// Whether a process has let go of all it had. One that ends is no member any more before it has detached its shared
/// memory, which the next Postgres would find in use.
fn is_over(pid: Pid) -> bool {
    matches!(state(Path::new(&format!("/proc/{pid}/stat"))), None | Some('Z' | 'X'))
}

/// The letter for the state of a process or thread, while there is one.
fn state(stat: &Path) -> Option<char> {
    std::fs::read_to_string(stat).ok()?.rsplit_once(") ")?.1.chars().next()
}

/// Whether every thread of a process has stopped. A signal that stops has been sent before that: until a processor is free
/// for the thread that takes it, all go on.
pub fn is_stopped(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().all(|thread| state(&thread.path().join("stat")).is_none_or(|s| s == 'T'))
}

/// Kills every process in scope and returns when none is left, zombies aside; gives up after 10 s.
#[expect(clippy::disallowed_methods, reason = "runs in destructors, where nothing can be awaited")]
pub(crate) fn kill_all(directory: &Path, scope: Scope) {
    let started = Instant::now();
    let segments: Vec<PathBuf> = members(directory, scope).into_iter().flat_map(segments).collect();
    let mut ending = Vec::new();
    while started.elapsed() < Duration::from_secs(10) {
        ending.extend(signal_all(directory, scope, Signal::SIGKILL));
        ending.retain(|&pid| !is_over(pid));
        if ending.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    for segment in segments {
        let _ = std::fs::remove_file(segment);
    }
}

/// The POSIX segments of a Postgres process, which outlive it: `initdb` uses them whatever the settings.
fn segments(pid: Pid) -> Vec<PathBuf> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let files = maps.lines().filter_map(|line| Some(&line[line.find("/dev/shm/PostgreSQL.")?..]));
    files.filter(|file| !file.ends_with("(deleted)")).map(PathBuf::from).collect()
}

/// Removes the System V segment that a killed Postgres leaves behind; its lock file names it.
pub(crate) fn remove_shared_memory(directory: &Path) {
    let lock = std::fs::read_to_string(directory.join("data/postmaster.pid")).unwrap_or_default();
    let segment = lock.lines().nth(6).and_then(|line| line.split_whitespace().nth(1));
    if let Some(segment) = segment {
        let _ = Command::new("ipcrm").args(["-m", segment]).output();
    }
}

/// A server's first process, of which we are the parent, and with it all of its descendants.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Mutex<Child>,
    directory: PathBuf,
}

impl ServerProcess {
    /// Starts it in a process group of its own, so that a Ctrl-C at the terminal is not for it.
    pub(crate) fn spawn(mut command: Command, directory: &Path) -> Result<Self> {
        command.env(SERVER_VARIABLE, marker(directory)).process_group(0);
        let child = command
            .spawn()
            .with_context(|| format!("start {}", command.get_program().display()))?;
        Ok(Self { child: Mutex::new(child), directory: directory.to_owned() })
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child().id()
    }

    /// Its exit status once it has ended; asking reaps it, so that no zombie keeps its lock file alive.
    pub(crate) fn exited(&self) -> Option<ExitStatus> {
        self.child().try_wait().ok().flatten()
    }

    /// Signals the first process only.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let mut child = self.child();
        if let Ok(Some(status)) = child.try_wait() {
            bail!("the server is not running: {status}");
        }
        let pid = i32::try_from(child.id()).context("a process id beyond 31 bits")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("send {signal} to process {pid}"))
    }

    /// SIGKILL to the whole server; returns when nothing of it is left.
    pub(crate) fn kill(&self) {
        kill_all(&self.directory, Scope::Server);
        let _ = self.child().wait();
    }

    /// SIGSTOP to the whole server, parent first, again until no new child turns up and all have stopped; fails after 10 s.
    #[expect(
        clippy::disallowed_methods,
        reason = "a few milliseconds, for callers that await nothing"
    )]
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        let started = Instant::now();
        let mut before = 0;
        while started.elapsed() < Duration::from_secs(10) {
            let members = signal_all(&self.directory, Scope::Server, Signal::SIGSTOP);
            let stopped = |pid: &Pid| is_stopped(pid.as_raw().unsigned_abs());
            if members.len() <= before && members.iter().all(stopped) {
                return Ok(());
            }
            before = members.len();
            std::thread::sleep(Duration::from_millis(2));
        }
        bail!("the server has not stopped within 10 s");
    }

    /// SIGCONT to the whole server.
    pub(crate) fn resume(&self) {
        signal_all(&self.directory, Scope::Server, Signal::SIGCONT);
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A process that serves the server and stays when that is killed; it dies with this value.
#[derive(Debug)]
pub(crate) struct Helper(Child);

impl Helper {
    pub(crate) fn spawn(mut command: Command) -> Result<Self> {
        let child = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", command.get_program().display()))?;
        Ok(Self(child))
    }

    pub(crate) fn running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Enough to reach back over the crash report that Erlang writes after the reason.
const LAST_LINES: usize = 80;

/// The last lines of a log, for an error message.
pub(crate) fn tail(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}
