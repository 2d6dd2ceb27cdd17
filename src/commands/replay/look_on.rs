//! Shows how a replay comes along: a bar on a terminal, and otherwise a line now and then.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::ProgressBar;

use crate::{
    commands::{overview::grouped, progress_bar::styled, terminal::visible},
    replay::{Job, LeftOut, Watcher},
    store::Progress,
};

/// How often a line is written where there is no terminal.
const LINE: Duration = Duration::from_secs(10);

/// What is said of a replay that the broker slows down.
const SLOW: &str = ", one at a time, as confirms take long";

/// Looks on.
pub struct LookOn {
    matched: i64,
    bar: Option<ProgressBar>,
    begun: (Instant, i64),
    written: Mutex<Instant>,
    slow: AtomicBool,
    expirations: AtomicI64,
    copies: AtomicI64,
}

/// How many messages were published without something.
#[derive(Debug, Clone, Copy)]
pub struct LeftOuts {
    pub expirations: i64,
    pub copies: i64,
}

impl LookOn {
    /// So many events in all, and so many of them settled.
    pub fn new(matched: i64, settled: i64) -> LookOn {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(u64::try_from(matched).unwrap_or_default());
            let bar = styled(bar, "", "{msg}");
            bar.set_position(u64::try_from(settled).unwrap_or_default());
            bar.reset_eta();
            bar
        });
        LookOn {
            matched,
            bar,
            begun: (Instant::now(), settled),
            written: Mutex::new(Instant::now()),
            slow: AtomicBool::new(false),
            expirations: AtomicI64::new(0),
            copies: AtomicI64::new(0),
        }
    }

    /// Says what begins, and how it is told from others.
    pub fn begins(&self, job: &Job) {
        let left = self.matched - job.progress.settled();
        let words = format!(
            "replay {}: {} event(s) to {}, {}",
            job.id,
            grouped(left),
            job.target,
            job.pace
        );
        self.line(&words);
    }

    /// Takes the bar away.
    pub fn end(&self) -> LeftOuts {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        LeftOuts {
            expirations: self.expirations.load(Ordering::Relaxed),
            copies: self.copies.load(Ordering::Relaxed),
        }
    }

    fn line(&self, words: &str) {
        let words = visible(words);
        // A closed stderr leaves nobody to tell.
        let write = || drop(writeln!(io::stderr(), "{words}"));
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Watcher for LookOn {
    fn settled(&self, progress: &Progress) {
        let settled = progress.settled();
        if let Some(bar) = &self.bar {
            bar.set_position(u64::try_from(settled).unwrap_or_default());
            return;
        }
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.elapsed() < LINE {
            return;
        }
        *written = Instant::now();
        let (begun, before) = self.begun;
        let rate = (settled - before) as f64 / begun.elapsed().as_secs_f64();
        let mut words =
            format!("{} of {} event(s), {rate:.0}/s", grouped(settled), grouped(self.matched));
        if let Ok(left) = Duration::try_from_secs_f64((self.matched - settled) as f64 / rate) {
            let left = Duration::from_secs(left.as_secs());
            words.push_str(&format!(", about {} left", humantime::format_duration(left)));
        }
        if progress.undelivered() > 0 {
            words.push_str(&format!(", {} in no queue", grouped(progress.undelivered())));
        }
        if self.slow.load(Ordering::Relaxed) {
            words.push_str(SLOW);
        }
        self.line(&words);
    }

    fn slow(&self, slow: bool) {
        self.slow.store(slow, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_message(if slow { SLOW } else { "" });
        }
    }

    fn say(&self, words: &str) {
        self.line(words);
    }

    fn left_out(&self, left_out: LeftOut) {
        if left_out.expiration {
            self.expirations.fetch_add(1, Ordering::Relaxed);
        }
        if left_out.copies {
            self.copies.fetch_add(1, Ordering::Relaxed);
        }
    }
}
