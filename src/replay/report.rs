//! The events that are in no queue, as lines of a file: what, and why.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
};

use serde::Serialize;

use super::ledger::Settled;
use crate::{event::rfc3339, store::Arrival};

/// A file of such lines. Each is written before the event counts as done, so that a process which is killed may repeat
/// some, and lacks none.
#[derive(Debug)]
pub struct Report(Option<File>);

#[derive(Serialize)]
struct Line<'a> {
    outcome: &'a str,
    reason: &'a str,
    received_at: String,
    seq: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    routing_key: &'a str,
}

impl Report {
    /// No file.
    #[must_use]
    pub fn none() -> Report {
        Report(None)
    }

    /// Goes on at the end of that file, which is made where there is none.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn append_to(path: &Path) -> io::Result<Report> {
        Ok(Report(Some(File::options().create(true).append(true).open(path)?)))
    }

    /// Writes what became of an event, unless it is in a queue.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(
        &mut self,
        arrival: Arrival,
        id: Option<&str>,
        routing_key: &str,
        settled: &Settled,
    ) -> io::Result<()> {
        let Some(file) = &mut self.0 else { return Ok(()) };
        let (outcome, reason) = match settled {
            Settled::Confirmed { .. } => return Ok(()),
            Settled::Unroutable(cause) => ("unroutable", cause.as_str()),
            Settled::Nacked => ("nacked", "the broker did not take it, as where a queue is full"),
            Settled::Refused(why) => ("refused", why.as_str()),
        };
        let line = Line {
            outcome,
            reason,
            received_at: rfc3339(arrival.received_at),
            seq: arrival.seq,
            id,
            routing_key,
        };
        let mut text = serde_json::to_string(&line)?;
        text.push('\n');
        file.write_all(text.as_bytes())
    }
}
