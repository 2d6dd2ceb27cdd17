//! What was found of one thing.

use serde::Serialize;

/// What a finding is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// Files and directories of this machine.
    Files,
    /// The broker.
    RabbitMq,
    /// The database.
    PostgreSql,
}

impl Area {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Area::Files => "files",
            Area::RabbitMq => "rabbitmq",
            Area::PostgreSql => "postgresql",
        }
    }
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and is not as it should be.
    Warning,
    /// The daemon cannot work, or the history would be incomplete.
    Fault,
    /// It cannot be looked at from here.
    Unknown,
    /// It was not looked at, for the sake of something else that is wrong.
    Skipped,
}

impl Verdict {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Fault => "fault",
            Verdict::Unknown => "unknown",
            Verdict::Skipped => "skipped",
        }
    }
}

/// One thing that was looked at, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is of.
    pub area: Area,
    /// What was looked at, in a word or two that stay the same.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found, in words.
    pub found: String,
    /// What to do about it, in words; none where there is nothing to do.
    pub advice: Option<String>,
    /// What to type for it, line by line, with the names filled in.
    pub commands: Vec<String>,
}

impl Finding {
    fn new(area: Area, check: &'static str, verdict: Verdict, found: impl Into<String>) -> Finding {
        Finding { area, check, verdict, found: found.into(), advice: None, commands: Vec::new() }
    }

    /// What was found is as it should be.
    pub fn ok(area: Area, check: &'static str, found: impl Into<String>) -> Finding {
        Finding::new(area, check, Verdict::Ok, found)
    }

    /// What was found works, and is not as it should be.
    pub fn warning(area: Area, check: &'static str, found: impl Into<String>) -> Finding {
        Finding::new(area, check, Verdict::Warning, found)
    }

    /// What was found stands in the way.
    pub fn fault(area: Area, check: &'static str, found: impl Into<String>) -> Finding {
        Finding::new(area, check, Verdict::Fault, found)
    }

    /// It cannot be looked at, and why.
    pub fn unknown(area: Area, check: &'static str, why: impl Into<String>) -> Finding {
        Finding::new(area, check, Verdict::Unknown, why)
    }

    /// It was not looked at because of that other check.
    pub fn skipped(area: Area, check: &'static str, because_of: &str) -> Finding {
        Finding::new(area, check, Verdict::Skipped, format!("not looked at: see {because_of}"))
    }

    /// The same with what to do.
    #[must_use]
    pub fn advise(self, advice: impl Into<String>) -> Finding {
        Finding { advice: Some(advice.into()), ..self }
    }

    /// The same where there is another host that does: what is at fault is to be mended, and stops nothing.
    #[must_use]
    pub fn with_another_host(self) -> Finding {
        match self.verdict {
            Verdict::Fault => Finding { verdict: Verdict::Warning, ..self },
            _ => self,
        }
    }

    /// The same with one more line to type.
    #[must_use]
    pub fn command(mut self, command: impl Into<String>) -> Finding {
        self.commands.push(command.into());
        self
    }
}
