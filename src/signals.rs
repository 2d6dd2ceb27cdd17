//! Signals: SIGTERM and SIGINT stop, a second one stops at once, SIGHUP reloads, SIGUSR1 tells the status.

use std::{io, sync::Arc, thread};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1},
    iterator::{Handle, Signals},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// What a process is told to do from outside.
#[derive(Debug, Clone)]
pub struct Stop {
    /// Take no more, finish what is in hand.
    pub soft: CancellationToken,
    /// Leave everything where it is. Cancels `soft` too.
    pub hard: CancellationToken,
}

impl Stop {
    /// Nobody has asked for anything yet.
    pub fn new() -> Stop {
        let hard = CancellationToken::new();
        Stop { soft: hard.child_token(), hard }
    }
}

impl Default for Stop {
    fn default() -> Stop {
        Stop::new()
    }
}

/// The thread that waits for signals; ends when this is dropped.
pub struct Listener {
    handle: Handle,
    thread: Option<thread::JoinHandle<()>>,
}

impl Listener {
    /// Handles signals from now on: the first SIGTERM or SIGINT cancels `stop.soft`, the second `stop.hard`, and each
    /// SIGHUP calls `reload`, each SIGUSR1 `tell`.
    ///
    /// # Errors
    /// The operating system refuses a handler or a thread.
    pub fn start(
        stop: Stop,
        mut reload: impl FnMut() + Send + 'static,
        tell: impl Fn() + Send + 'static,
    ) -> io::Result<Listener> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
        let handle = signals.handle();
        let thread = thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                match signal {
                    SIGHUP => reload(),
                    SIGUSR1 => tell(),
                    _ if stop.soft.is_cancelled() => {
                        warn!(
                            signal = name(signal),
                            "stopping at once: what is not acknowledged stays with the broker"
                        );
                        stop.hard.cancel();
                    }
                    _ => {
                        info!(
                            signal = name(signal),
                            "stopping: intake ends, what is in hand is committed and acknowledged"
                        );
                        stop.soft.cancel();
                    }
                }
            }
        })?;
        Ok(Listener { handle, thread: Some(thread) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // It only reports; a panic there was logged when it happened.
            let _ = thread.join();
        }
    }
}

/// From now on an interrupt from the terminal ends nothing in this process, and is for a program that it runs there.
///
/// # Errors
/// The operating system refuses a handler.
pub fn leave_interrupts_to_others() -> io::Result<()> {
    signal_hook::flag::register(SIGINT, Arc::default()).map(drop)
}

fn name(signal: i32) -> &'static str {
    match signal {
        SIGTERM => "SIGTERM",
        SIGINT => "SIGINT",
        _ => "signal",
    }
}
