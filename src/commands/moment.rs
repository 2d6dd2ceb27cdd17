//! Times as people write them: `2h`, `yesterday`, `2026-11-23`, RFC 3339. Without a zone UTC is meant.

use std::time::Duration;

use time::{
    Date, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset,
    format_description::{BorrowedFormatItem, well_known::Rfc3339},
    macros::format_description,
};

use super::{overview::exact, reading::Misuse};
use crate::{config::closest, event};

const WORDS: [&str; 3] = ["now", "today", "yesterday"];

const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
const DATE_AND_TIME: &[BorrowedFormatItem<'_>] = format_description!(
    "[year]-[month]-[day] [hour]:[minute][optional [:[second][optional [.[subsecond]]]]]"
);

/// `--since` and `--until`, of commands that read a span of the history.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Span {
    /// From this time on, by when the daemon received it: 2h (ago), "1d 3h", today, yesterday, 2026-11-23,
    /// "2026-11-23 14:03" (UTC), 2026-11-23T14:03:00+01:00
    #[arg(long, value_name = "WHEN", value_parser = parse)]
    pub since: Option<OffsetDateTime>,
    /// Up to this time, which is not included; as --since
    #[arg(long, value_name = "WHEN", value_parser = parse)]
    pub until: Option<OffsetDateTime>,
}

impl Span {
    /// The span, if anything can be in it.
    ///
    /// # Errors
    /// It begins in the future, or ends before it begins.
    pub fn checked(self) -> Result<Span, Misuse> {
        let Some(since) = self.since else { return Ok(self) };
        if since > event::now() {
            return Err(Misuse(format!(
                "--since is in the future: {}; where no zone is given, UTC is meant",
                exact(since)
            )));
        }
        match self.until {
            Some(until) if until <= since => Err(Misuse(format!(
                "--until ({}) is not after --since ({}), so nothing can be between them",
                exact(until),
                exact(since)
            ))),
            _ => Ok(self),
        }
    }
}

/// What a time means now.
///
/// # Errors
/// It is none; says what may be written, or was meant.
pub fn parse(text: &str) -> Result<OffsetDateTime, String> {
    at(text, event::now())
}

fn at(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, String> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let today = now.replace_time(Time::MIDNIGHT);
    match &*lower {
        "now" => return Ok(now),
        "today" => return Ok(today),
        "yesterday" => return Ok(today.saturating_sub(time::Duration::DAY)),
        _ => {}
    }
    let is_date = text.len() >= 8 && text.as_bytes().get(4) == Some(&b'-');
    if is_date {
        return date(text);
    }
    let ago = lower.strip_suffix("ago").unwrap_or(&lower).trim();
    if ago.starts_with(|c: char| c.is_ascii_digit()) {
        let ago = humantime::parse_duration(ago).map_err(|error| advice(&error.to_string()))?;
        return before(now, ago).ok_or_else(|| advice("that is before all times"));
    }
    if let Some(ago) = lower.strip_prefix('-').filter(|ago| humantime::parse_duration(ago).is_ok())
    {
        return Err(format!("did you mean {ago}? A duration is how long ago, and has no sign"));
    }
    Err(match closest(&lower, &WORDS) {
        Some(word) => format!("did you mean {word}?"),
        None => advice("that is no time"),
    })
}

fn date(text: &str) -> Result<OffsetDateTime, String> {
    let plain = text.replacen(['T', 't'], " ", 1);
    if text.get(..10).is_some_and(|day| Date::parse(day, DATE).is_err()) {
        return Err(advice("there is no such day"));
    }
    let parsed = if let Ok(day) = Date::parse(text, DATE) {
        Ok(day.midnight().assume_utc())
    } else if let Ok(time) = PrimitiveDateTime::parse(&plain, DATE_AND_TIME) {
        Ok(time.assume_utc())
    } else {
        OffsetDateTime::parse(&text.replacen(' ', "T", 1), &Rfc3339)
    };
    let at = parsed.map_err(|error| advice(&error.to_string()))?;
    at.checked_to_offset(UtcOffset::UTC).ok_or_else(|| advice("that is beyond all times"))
}

fn before(now: OffsetDateTime, ago: Duration) -> Option<OffsetDateTime> {
    // PostgreSQL has no times before 4713 BC, and RFC 3339 none before the year 0.
    now.checked_sub(time::Duration::try_from(ago).ok()?).filter(|at| at.year() >= 0)
}

fn advice(problem: &str) -> String {
    format!(
        "{problem}; write 2h (ago), \"1d 3h\", now, today, yesterday, 2026-11-23, \"2026-11-23 14:03\" (UTC) or \
         2026-11-23T14:03:00+01:00"
    )
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-24 01:30:00 UTC);

    #[test]
    fn times_as_people_write_them() {
        for (text, meant) in [
            ("2h", datetime!(2026-11-23 23:30 UTC)),
            ("1d 3h", datetime!(2026-11-22 22:30 UTC)),
            ("90m ago", datetime!(2026-11-24 00:00 UTC)),
            ("now", NOW),
            ("Today", datetime!(2026-11-24 00:00 UTC)),
            ("yesterday", datetime!(2026-11-23 00:00 UTC)),
            ("2026-11-23", datetime!(2026-11-23 00:00 UTC)),
            ("2026-11-23 14:03", datetime!(2026-11-23 14:03 UTC)),
            ("2026-11-23T14:03:05.25", datetime!(2026-11-23 14:03:05.25 UTC)),
            ("2026-11-23T14:03:05Z", datetime!(2026-11-23 14:03:05 UTC)),
            ("2026-11-23 14:03:05+01:00", datetime!(2026-11-23 13:03:05 UTC)),
        ] {
            assert_eq!(at(text, NOW), Ok(meant), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_says_what_may_be_written() {
        for (text, said) in [
            ("yestreday", "did you mean yesterday?"),
            ("2x", "\"x\""),
            ("last week", "write 2h (ago)"),
            ("2026-13-01", "no such day"),
            ("2026-02-30T00:00:00Z", "no such day"),
            ("", "that is no time"),
            ("999999999999999h", "write 2h"),
            ("9999999y", "before all times"),
            ("7000y", "before all times"),
            ("-1h", "did you mean 1h?"),
            ("2026-ü", "write 2h"),
        ] {
            let error = at(text, NOW).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_span_holds_something() {
        let hour = time::Duration::HOUR;
        let span = |since, until| Span { since: Some(since), until: Some(until) }.checked();
        let now = event::now();
        assert!(span(now - hour, now).is_ok());
        assert!(span(now - hour, now + hour).is_ok());
        assert!(span(now - hour, now - hour).is_err());
        assert!(span(now + hour, now + 2 * hour).is_err());
    }
}
