//! What a run came to.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::balance::{Balance, Culprit, Wrong};
use super::mix::{Mix, hex};
use super::recovery::Kind;
use crate::figures::{count, short};
use crate::screen::Screen;

/// The balance of a run, ready to be told.
pub struct Report {
    /// Handed to the broker.
    pub published: u64,
    /// Of those, taken by the broker.
    pub confirmed: u64,
    /// Deliveries of what was stored already, as the daemon counts them.
    pub duplicates: u64,
    /// What was published against what is there.
    pub balance: Balance,
    /// What each kind of fault came to.
    pub kinds: BTreeMap<&'static str, Kind>,
    /// The most memory that the daemon has held.
    pub peak_kib: u64,
    /// What `verify` says where all is as it was recorded.
    pub verified: String,
    /// What went wrong beside the balance.
    pub problems: Vec<String>,
    /// What was published, to name it.
    pub mix: Arc<Mix>,
}

impl Report {
    /// Whether everything is as it should be.
    pub fn is_clean(&self) -> bool {
        self.balance.is_right() && self.problems.is_empty()
    }

    /// Prints it.
    pub fn print(&self, screen: &Screen) {
        self.print_faults(screen);
        let balance = &self.balance;
        let row = |name: &str, figure: String| {
            screen.line(format!("  {}  {figure:>12}", screen.dim(&format!("{name:<26}"))));
        };
        screen.line("");
        row("published", count(self.published));
        row("confirmed", count(self.confirmed));
        row("stored", count(balance.stored));
        row("duplicates counted", count(self.duplicates));
        row("conflicts", count(balance.conflicts));
        row("stored again without an id", count(balance.stored_again));
        row("rejected", count(balance.rejected));
        row("dead letters", count(balance.dead_letters));
        row("lost", count(balance.count(Wrong::Lost)));
        row("stored twice", count(balance.count(Wrong::StoredTwice)));
        row("daemon's peak memory", format!("{} MiB", count(self.peak_kib >> 10)));
        screen.line("");
        for line in self.verified.lines() {
            screen.line(format!("  {line}"));
        }
        screen.line("");
        for (wrong, offence) in &balance.wrong {
            let what = format!("  {} {}:", count(offence.count), wrong.words());
            screen.line(screen.alarm(&what));
            for culprit in &offence.examples {
                screen.line(format!("    {}", self.name(culprit)));
            }
        }
        for problem in &self.problems {
            screen.line(screen.alarm(&format!("  {problem}")));
        }
        if self.is_clean() {
            screen.line(screen.bold("  Nothing lost, nothing twice, nothing stuck."));
        }
    }

    fn print_faults(&self, screen: &Screen) {
        screen.line("");
        let head = format!("  {:<30}{:>5}{:>11}{:>10}", "fault", "times", "recovered", "slowest");
        screen.line(screen.dim(&head));
        let mut all = Kind::default();
        for (name, kind) in &self.kinds {
            all.count += kind.count;
            all.recovered += kind.recovered;
            all.slowest = all.slowest.max(kind.slowest);
            screen.line(line(name, kind));
        }
        screen.line(line("all", &all));
    }

    fn name(&self, culprit: &Culprit) -> String {
        match culprit {
            Culprit::Number(number) => self.mix.name(*number),
            Culprit::Digest(digest) => format!("never published: {}…", hex(digest)),
            Culprit::Words(words) => words.clone(),
        }
    }
}

fn line(name: &str, kind: &Kind) -> String {
    let slowest = if kind.recovered > 0 { short(kind.slowest) } else { "-".to_owned() };
    format!("  {name:<30}{:>5}{:>11}{slowest:>10}", kind.count, kind.recovered)
}

impl Wrong {
    fn words(self) -> &'static str {
        match self {
            Self::Lost => "confirmed and nowhere",
            Self::StoredTwice => "stored more often than allowed",
            Self::Foreign => "stored and never published",
            Self::StoredThoughRefused => "stored though refused",
            Self::RejectedThoughGood => "rejected though nothing is wrong with them",
            Self::OtherReason => "rejected without the right reason",
            Self::NotRejected => "refused and confirmed, without a rejection",
            Self::RejectedTwice => "rejected more often than allowed",
            Self::DeadLetteredThoughGood => "dead-lettered though not refused",
            Self::NotDeadLettered => "refused and confirmed, not in the dead-letter queue",
            Self::DeadLetteredTwice => "dead-lettered more often than allowed",
            Self::NotOneOriginal => "ids without exactly one original",
            Self::Books => "wrong books of the daemon",
        }
    }
}
