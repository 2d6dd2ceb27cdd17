//! What a replay would be, without one.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    time::Duration,
};

use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Status, ask::audience, find, reach::Reach};
use crate::{
    commands::{
        overview::{exact, grouped, seconds, size},
        terminal::visible,
    },
    config::Config,
    event,
    replay::{Pace, Places, Rules, Selected, Target},
    store::{Arrivals, Column, ReadError, Reader, Row, Value},
};

/// Longest frame that a broker takes that nobody has told otherwise.
const USUAL_FRAME: usize = 131_072;
/// Types that are shown each.
const TYPES: usize = 30;
/// Reasons to refuse that are shown each.
const REASONS: usize = 10;

/// What is asked about.
pub struct DryRun<'a> {
    pub target: &'a Target,
    pub pace: Pace,
    pub json: bool,
    /// Whom it would reach, where somebody tells.
    pub reach: Option<Reach>,
}

#[derive(Debug, Default, Serialize)]
struct Seen {
    events: i64,
    body_bytes: i64,
    #[serde(skip)]
    span: Option<(OffsetDateTime, OffsetDateTime)>,
    first: Option<String>,
    last: Option<String>,
    types: BTreeMap<String, i64>,
    refused: i64,
    reasons: BTreeMap<String, i64>,
    without_expiration: i64,
    without_copies: i64,
    seconds: Option<f64>,
    waiting: Option<u32>,
    to: String,
    audience: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reach: Option<Reach>,
}

impl DryRun<'_> {
    /// Reads all of it, and says what it found.
    pub async fn run(
        self,
        config: &Config,
        places: &Places,
        reader: &mut Reader,
        arrivals: &Arrivals,
    ) -> anyhow::Result<Status> {
        let waiting = find(places, self.target).await?;
        let rules = Rules {
            replay: Uuid::nil(),
            target: self.target.clone(),
            user: places.broker.address.user.clone(),
            frame_max: USUAL_FRAME,
        };
        let mut seen = Seen {
            waiting,
            to: self.target.to_string(),
            audience: audience(config, self.target, self.reach.as_ref()),
            reach: self.reach,
            ..Seen::default()
        };
        let now = event::now();
        reader
            .arrivals(arrivals, false, async |row: &Row| -> Result<bool, ReadError> {
                seen.add(row, &rules, now)?;
                Ok(true)
            })
            .await?;
        if let Some((first, last)) = seen.span {
            seen.first = Some(exact(first));
            seen.last = Some(exact(last));
            let apart = Duration::try_from(last - first).unwrap_or_default();
            let takes = self.pace.estimate(seen.events, apart);
            seen.seconds = takes.map(|takes| takes.as_secs_f64());
        }
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer(&mut out, &seen)?;
            writeln!(out)?;
        } else {
            for line in seen.lines(self.pace) {
                writeln!(out, "{}", visible(&line))?;
            }
        }
        out.flush()?;
        Ok(match seen {
            Seen { events: 0, .. } => Status::Nothing,
            Seen { refused: 0, .. } => Status::Done,
            _ => Status::Undelivered,
        })
    }
}

impl Seen {
    fn add(&mut self, row: &Row, rules: &Rules, now: OffsetDateTime) -> Result<(), ReadError> {
        self.events += 1;
        if let Some(Value::Number(bytes)) = row.value(Column::BodyBytes)? {
            self.body_bytes += bytes;
        }
        let name = match row.value(Column::EventType)? {
            Some(Value::Text(name)) => name,
            _ => "(none)",
        };
        match self.types.get_mut(name) {
            Some(number) => *number += 1,
            None => drop(self.types.insert(name.to_owned(), 1)),
        }
        let selected = Selected::of(row)?;
        let at = selected.arrival.received_at;
        self.span = Some((self.span.map_or(at, |(first, _)| first), at));
        match rules.outgoing(selected, now) {
            Ok(outgoing) => {
                self.without_expiration += i64::from(outgoing.left_out.expiration);
                self.without_copies += i64::from(outgoing.left_out.copies);
            }
            Err(why) => {
                self.refused += 1;
                if self.reasons.len() < REASONS || self.reasons.contains_key(&why) {
                    *self.reasons.entry(why).or_default() += 1;
                }
            }
        }
        Ok(())
    }

    fn lines(&self, pace: Pace) -> Vec<String> {
        let mut lines = vec![format!(
            "{} event(s), {} of bodies, would go to {}",
            grouped(self.events),
            size(self.body_bytes),
            self.to
        )];
        match &self.reach {
            Some(reach) => {
                lines.push("reached, by the broker's bindings:".to_owned());
                lines.extend(reach.lines().into_iter().map(|line| format!("  {line}")));
            }
            None => lines.push(format!("reached: {}", self.audience)),
        }
        if let Some(waiting) = self.waiting {
            lines.push(format!("waiting there: {} message(s)", grouped(i64::from(waiting))));
        }
        if let Some((first, last)) = self.span {
            lines.push(format!("received: from {} to {}", seconds(first), seconds(last)));
        }
        let takes = match self.seconds.and_then(|takes| Duration::try_from_secs_f64(takes).ok()) {
            Some(takes) => {
                let whole = Duration::from_secs(takes.as_secs_f64().ceil() as u64);
                format!("about {}", humantime::format_duration(whole))
            }
            None => "as long as the broker takes".to_owned(),
        };
        lines.push(format!("pace: {pace}; {takes}"));
        let mut types: Vec<_> = self.types.iter().collect();
        types.sort_by_key(|(name, number)| (-**number, name.as_str()));
        for (name, number) in types.iter().take(TYPES) {
            lines.push(format!("  {:>12}  {name}", grouped(**number)));
        }
        if types.len() > TYPES {
            lines.push(format!("  and {} more types", types.len() - TYPES));
        }
        if self.without_expiration > 0 {
            lines.push(format!(
                "{} would go without their expiration, which has passed",
                grouped(self.without_expiration)
            ));
        }
        if self.without_copies > 0 {
            lines.push(format!(
                "{} would go without their header CC, by which the broker would send copies to other queues",
                grouped(self.without_copies)
            ));
        }
        if self.refused > 0 {
            lines.push(format!("{} would be refused:", grouped(self.refused)));
            for (why, number) in &self.reasons {
                lines.push(format!("  {:>12}  {why}", grouped(*number)));
            }
        }
        lines
    }
}
