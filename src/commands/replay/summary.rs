//! What a replay came to, in words or as one JSON object.

use std::{
    io::{self, Write as _},
    path::Path,
};

use serde::Serialize;

use super::look_on::LeftOuts;
use crate::{
    commands::{
        overview::{grouped, size},
        terminal::visible,
    },
    replay::{Ended, Job, Outcome},
};

/// What a replay came to.
pub struct Summary<'a> {
    pub job: &'a Job,
    pub outcome: &'a Outcome,
    pub matched: i64,
    pub left_out: LeftOuts,
    pub report: Option<&'a Path>,
}

#[derive(Serialize)]
struct Object<'a> {
    id: String,
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    matched: i64,
    settled: i64,
    confirmed: i64,
    unroutable: i64,
    nacked: i64,
    refused: i64,
    gone: i64,
    body_bytes: i64,
    without_expiration: i64,
    without_copies: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    resume: Option<String>,
}

impl Summary<'_> {
    /// Writes it to stdout.
    pub fn write(&self, json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if json {
            serde_json::to_writer(&mut out, &self.object())?;
            writeln!(out)?;
            return out.flush();
        }
        for line in self.lines() {
            writeln!(out, "{}", visible(&line))?;
        }
        out.flush()
    }

    fn state(&self) -> &'static str {
        match self.outcome.ended {
            Ended::Finished => "finished",
            Ended::Stopped | Ended::CutShort => "stopped",
            Ended::Failed(_) => "failed",
        }
    }

    /// How many events matched when it began, and were stored no more when their turn came.
    pub fn gone(&self) -> i64 {
        match self.outcome.ended {
            Ended::Finished => (self.matched - self.outcome.progress.settled()).max(0),
            _ => 0,
        }
    }

    fn resume(&self) -> Option<String> {
        let unfinished = !matches!(self.outcome.ended, Ended::Finished);
        unfinished.then(|| format!("bloodbank-audit replay --resume {}", self.job.id))
    }

    fn object(&self) -> Object<'static> {
        let progress = &self.outcome.progress;
        let cause = match &self.outcome.ended {
            Ended::Failed(failure) => Some(failure.to_string()),
            _ => None,
        };
        Object {
            id: self.job.id.to_string(),
            state: self.state(),
            cause,
            matched: self.matched,
            settled: progress.settled(),
            confirmed: progress.confirmed,
            unroutable: progress.unroutable,
            nacked: progress.nacked,
            refused: progress.refused,
            gone: self.gone(),
            body_bytes: progress.body_bytes,
            without_expiration: self.left_out.expirations,
            without_copies: self.left_out.copies,
            resume: self.resume(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let progress = &self.outcome.progress;
        let mut lines = vec![format!(
            "replay {} {}: {} of {} event(s) are in a queue, {}",
            self.job.id,
            self.state(),
            grouped(progress.confirmed),
            grouped(self.matched),
            size(progress.body_bytes)
        )];
        if progress.undelivered() > 0 {
            let listed = match self.report {
                Some(path) => format!("{} lists them", path.display()),
                None => "--report FILE would have listed them".to_owned(),
            };
            lines.push(format!(
                "in no queue: {} unroutable, {} not taken by the broker, {} refused; {listed}",
                grouped(progress.unroutable),
                grouped(progress.nacked),
                grouped(progress.refused)
            ));
        }
        if self.gone() > 0 {
            lines.push(format!(
                "in no queue either: {} event(s) that matched when it began and are stored no more, as where retention.keep \
                 has dropped their partition meanwhile",
                grouped(self.gone())
            ));
        }
        let LeftOuts { expirations, copies } = self.left_out;
        if expirations > 0 {
            lines.push(format!(
                "{} event(s) went without their expiration, which had passed",
                grouped(expirations)
            ));
        }
        if copies > 0 {
            lines.push(format!(
                "{} event(s) went without their header CC, by which the broker would have sent copies to other queues",
                grouped(copies)
            ));
        }
        if let Some(resume) = self.resume() {
            lines.push(format!("to go on: {resume}"));
        }
        lines
    }
}
