//! Spans of single runs made into what became of a queue: for how long it was recorded without a break, and the holes.

use time::{Duration, OffsetDateTime};

use crate::store::CoverageSpan;

/// What is known of one queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Queue {
    pub exchange: String,
    pub queue: String,
    /// In order, without gap or overlap.
    pub periods: Vec<Period>,
}

/// A time in which somebody recorded throughout, or nobody.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Period {
    pub from: OffsetDateTime,
    pub to: OffsetDateTime,
    pub lasts: bool,
    pub recorded: bool,
    /// Of a hole: what the daemons did meanwhile, and why; in order, each once.
    pub causes: Vec<String>,
}

impl Period {
    pub fn length(&self) -> Duration {
        self.to - self.from
    }
}

impl Queue {
    /// From the first that is known to the last.
    pub fn length(&self) -> Duration {
        self.periods.iter().map(Period::length).sum()
    }

    /// For how long somebody recorded.
    pub fn recorded(&self) -> Duration {
        self.periods.iter().filter(|period| period.recorded).map(Period::length).sum()
    }

    pub fn holes(&self) -> impl Iterator<Item = &Period> {
        self.periods.iter().filter(|period| !period.recorded)
    }
}

/// Sorts spans, which come by queue and then by their beginning, into queues.
pub(super) fn queues(spans: &[CoverageSpan]) -> Vec<Queue> {
    let same =
        |a: &CoverageSpan, b: &CoverageSpan| (&a.exchange, &a.queue) == (&b.exchange, &b.queue);
    spans.chunk_by(same).filter_map(queue).collect()
}

fn queue(spans: &[CoverageSpan]) -> Option<Queue> {
    let first = spans.first()?;
    let end = spans.iter().map(|span| span.to).max()?;
    let lasts = spans.iter().any(|span| span.lasts);
    let mut periods: Vec<Period> = Vec::new();
    let mut at = first.from;
    let hole = |from, to| Period { from, to, lasts: false, recorded: false, causes: Vec::new() };
    for span in spans.iter().filter(|span| span.state == "recording") {
        if span.from > at {
            periods.push(hole(at, span.from));
        }
        match periods.last_mut() {
            Some(last) if last.recorded && span.from <= last.to => last.to = last.to.max(span.to),
            _ => periods.push(Period { recorded: true, ..hole(span.from, span.to) }),
        }
        at = at.max(span.to);
    }
    if at < end {
        periods.push(hole(at, end));
    }
    if let Some(last) = periods.last_mut() {
        last.lasts = lasts;
    }
    for span in spans.iter().filter(|span| span.state != "recording") {
        let cause = format!("{} {}: {}", span.instance, span.state, span.cause);
        let start = periods.partition_point(|period| period.to <= span.from);
        let met = periods.iter_mut().skip(start).take_while(|period| period.from < span.to);
        for period in met.filter(|period| !period.recorded) {
            if !period.causes.contains(&cause) {
                period.causes.push(cause.clone());
            }
        }
    }
    Some(Queue { exchange: first.exchange.clone(), queue: first.queue.clone(), periods })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(queue: &str, instance: &str, state: &str, from: i64, to: i64) -> CoverageSpan {
        let at = |seconds| OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds);
        CoverageSpan {
            exchange: "bus".to_owned(),
            queue: queue.to_owned(),
            instance: instance.to_owned(),
            state: state.to_owned(),
            cause: "why".to_owned(),
            from: at(from),
            to: at(to),
            lasts: to == 100,
        }
    }

    fn shape(queue: &Queue) -> Vec<(i64, i64, bool, usize)> {
        let of = |period: &Period| {
            let second = OffsetDateTime::unix_timestamp;
            (second(period.from), second(period.to), period.recorded, period.causes.len())
        };
        queue.periods.iter().map(of).collect()
    }

    #[test]
    fn recording_goes_on_from_one_daemon_to_the_other() {
        let spans = [
            span("q", "a", "starting", 0, 5),
            span("q", "a", "recording", 5, 20),
            span("q", "b", "starting", 10, 15),
            span("q", "b", "recording", 15, 40),
            span("q", "a", "stopped", 20, 100),
            span("q", "b", "dead", 40, 60),
            span("q", "b", "starting", 60, 61),
            span("q", "b", "recording", 61, 61 + 9),
            span("q", "b", "recording", 70, 100),
        ];
        let queues = queues(&spans);
        assert_eq!(queues.len(), 1);
        let wanted = [(0, 5, false, 1), (5, 40, true, 0), (40, 61, false, 3), (61, 100, true, 0)];
        assert_eq!(shape(&queues[0]), wanted);
        assert_eq!(queues[0].periods[2].causes[0], "a stopped: why");
        assert_eq!(queues[0].recorded(), Duration::seconds(35 + 39));
        assert_eq!(queues[0].length(), Duration::seconds(100));
        assert!(queues[0].periods[3].lasts && !queues[0].periods[1].lasts);
    }

    #[test]
    fn queues_are_told_apart_and_one_may_never_have_been_recorded() {
        let spans = [span("p", "a", "paused", 0, 7), span("q", "a", "recording", 3, 4)];
        let queues = queues(&spans);
        assert_eq!(shape(&queues[0]), [(0, 7, false, 1)]);
        assert_eq!(shape(&queues[1]), [(3, 4, true, 0)]);
        assert!(super::queues(&[]).is_empty());
    }
}
