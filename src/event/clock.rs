//! The wall clock, read in one place, and how its times are written.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The present by this machine's clock, in UTC and whole microseconds (what Postgres keeps).
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> OffsetDateTime {
    let now = OffsetDateTime::from(std::time::SystemTime::now());
    now.truncate_to_microsecond()
}

/// A time as RFC 3339 has it; empty where it has none, as of a year before 0.
#[must_use]
pub fn rfc3339(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::now;

    #[test]
    fn the_present_is_in_utc_and_whole_microseconds() {
        let now = now();
        assert_eq!(now.nanosecond() % 1000, 0);
        assert!(now.offset().is_utc());
        assert!(now.year() >= 2024);
    }
}
