//! What a run came to.

use std::process::ExitStatus;

use super::ledger::Published;
use crate::figures::{count, events, short};
use crate::history::Totals;
use crate::latency::Latency;
use crate::screen::Screen;

/// The balance of a run, ready to be told.
pub struct Report {
    /// What the daemon says it did.
    pub totals: Totals,
    /// How the daemon ended.
    pub status: ExitStatus,
    /// Sample events against stored ones; none without traffic.
    pub samples: Option<SampleBalance>,
    /// Messages that wait in the queue, where there were no samples.
    pub waiting: Option<u64>,
}

/// Sample events against stored ones.
pub struct SampleBalance {
    /// What the publisher says.
    pub published: Published,
    /// Published bodies that are in the table.
    pub stored: u64,
    /// Published, not stored, and still in the queue.
    pub queued: u64,
    /// Published, not stored, and in the dead-letter queue.
    pub dead_lettered: u64,
    /// Rows beyond the number of times a body was published.
    pub repeated: u64,
    /// Rows whose body was not published by this run.
    pub foreign: u64,
    /// How many were taken by the broker and are nowhere.
    pub lost: u64,
    /// The names of some of those.
    pub lost_names: Vec<String>,
    /// From publishing to the row being visible.
    pub latency: Latency,
}

impl Report {
    /// Whether everything is as it should be.
    pub fn is_clean(&self) -> bool {
        self.status.success() && self.samples.as_ref().is_none_or(SampleBalance::is_clean)
    }

    /// Prints it.
    pub fn print(&self, screen: &Screen) {
        screen.line("");
        match &self.samples {
            Some(samples) => samples.print(screen, self.totals),
            None => {
                row(screen, "stored", self.totals.stored);
                row(screen, "duplicates", self.totals.duplicates);
                row(screen, "rejected", self.totals.rejections);
                if let Some(waiting) = self.waiting.filter(|&waiting| waiting > 0) {
                    row(screen, "in the queue", waiting);
                }
            }
        }
        screen.line(format!("  {}  {}", screen.dim("daemon       "), self.status));
        screen.line("");
        if let Some(samples) = &self.samples {
            samples.verdict(screen);
        }
        if !self.status.success() {
            screen.line(screen.alarm(&format!("  The daemon ended with {}.", self.status)));
        }
    }
}

impl SampleBalance {
    fn is_clean(&self) -> bool {
        let unconfirmed = self.published.published - self.published.confirmed;
        self.lost + self.foreign + self.repeated + self.queued + unconfirmed == 0
    }

    fn print(&self, screen: &Screen, totals: Totals) {
        let Published { published, confirmed, refused } = self.published;
        row(screen, "published", published);
        row(screen, "confirmed", confirmed);
        if published > confirmed {
            row(screen, "refused", refused);
            row(screen, "no answer", published - confirmed - refused);
        }
        row(screen, "stored", self.stored);
        row(screen, "duplicates", totals.duplicates);
        row(screen, "rejected", totals.rejections);
        for (name, number) in [
            ("conflicts", totals.conflicts),
            ("in the queue", self.queued),
            ("dead letters", self.dead_lettered),
            ("stored twice", self.repeated),
            ("not from here", self.foreign),
        ] {
            if number > 0 {
                row(screen, name, number);
            }
        }
        row(screen, "lost", self.lost);
        if let Some(quantiles) = self.latency.overall() {
            screen.line(format!(
                "  {}  p50 {}, p99 {}, max {}",
                screen.dim("latency      "),
                short(quantiles.p50),
                short(quantiles.p99),
                short(self.latency.max())
            ));
        }
    }

    fn verdict(&self, screen: &Screen) {
        if self.is_clean() && self.published.published == 0 {
            screen.line("  Nothing was published.");
        } else if self.is_clean() {
            screen.line(screen.bold("  Nothing lost, nothing added."));
            screen.line(screen.dim(&format!(
                "  {} published, {} stored: the SHA-256 of every body compared.",
                events(self.published.published),
                count(self.stored)
            )));
        }
        if self.lost > 0 {
            screen.line(screen.alarm(&format!("  {} lost:", events(self.lost))));
            for name in &self.lost_names {
                screen.line(format!("    {name}"));
            }
            let more = self.lost - self.lost_names.len() as u64;
            if more > 0 {
                screen.line(format!("    and {} more", count(more)));
            }
        }
        if self.queued > 0 {
            screen.line(format!(
                "  {} not stored yet: the broker holds them in the queue, for the next start.",
                events(self.queued)
            ));
        }
        if self.foreign > 0 {
            screen.line(screen.alarm(&format!(
                "  {} in the table that this run did not publish. Your own? Then use --no-traffic.",
                events(self.foreign)
            )));
        }
        if self.repeated > 0 {
            screen.line(
                screen.alarm(&format!(
                    "  {} stored more often than published.",
                    events(self.repeated)
                )),
            );
        }
        if self.published.confirmed < self.published.published {
            screen.line(screen.alarm(&format!(
                "  {} not confirmed by the broker.",
                events(self.published.published - self.published.confirmed)
            )));
        }
    }
}

fn row(screen: &Screen, name: &str, number: u64) {
    let name = screen.dim(&format!("{name:<13}"));
    screen.line(format!("  {name}  {:>12}", count(number)));
}
