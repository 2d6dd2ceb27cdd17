//! Times as publishers write them.

use time::{Date, Month, OffsetDateTime};

use super::Defect;

/// The years an event time may have, in UTC: what RFC 3339 can write.
const YEARS: std::ops::RangeInclusive<i32> = 0..=9999;

/// Reads a time with its date: RFC 3339, and what is usual beside it.
///
/// Taken are also: no zone at all, which means UTC, for that is how this bus's publishers write it; a space
/// or `t` in place of `T`; `z`; a comma before the fraction; offsets as `+hhmm` and `+hh`. Any number of
/// decimals is taken and cut, not rounded, to microseconds, which is what Postgres keeps. Second 60 is the
/// first second of the next minute. A year of more digits is readable, but out of range.
pub(super) fn parse(text: &str) -> Result<OffsetDateTime, Defect> {
    read(text.as_bytes()).unwrap_or(Err(Defect::EventTimeUnreadable))
}

/// Seconds since 1970.
pub(super) fn from_unix_seconds(seconds: u64) -> Result<OffsetDateTime, Defect> {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| in_range(seconds, 0))
        .ok_or(Defect::EventTimeOutOfRange)
}

fn in_range(seconds: i64, microseconds: u32) -> Option<OffsetDateTime> {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    let time = time.replace_microsecond(microseconds).ok()?;
    YEARS.contains(&time.year()).then_some(time)
}

/// `None` where `text` has not the form of a time, or names no day or hour there is.
fn read(text: &[u8]) -> Option<Result<OffsetDateTime, Defect>> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let year_digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if year_digits < 4 {
        return None;
    }
    let (year, mut rest) = text.split_at(year_digits);
    let year = year
        .iter()
        .skip_while(|digit| **digit == b'0')
        .try_fold(0_i32, |year, digit| year.checked_mul(10)?.checked_add(i32::from(digit - b'0')));

    literal(&mut rest, b"-")?;
    let month = Month::try_from(two_digits(&mut rest)?).ok()?;
    literal(&mut rest, b"-")?;
    let day = two_digits(&mut rest)?;
    literal(&mut rest, b"Tt ")?;
    let hour = two_digits(&mut rest).filter(|hour| *hour < 24)?;
    literal(&mut rest, b":")?;
    let minute = two_digits(&mut rest).filter(|minute| *minute < 60)?;
    literal(&mut rest, b":")?;
    let second = two_digits(&mut rest).filter(|second| *second <= 60)?;
    let microseconds = fraction(&mut rest)?;
    let offset = offset(rest)?;

    let year = match year {
        Some(year) if YEARS.contains(&year) && !(negative && year > 0) => year,
        _ => return Some(Err(Defect::EventTimeOutOfRange)),
    };
    let day = Date::from_calendar_date(year, month, day).ok()?;
    let of_day = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    let seconds = day.midnight().assume_utc().unix_timestamp() + of_day - offset;
    Some(in_range(seconds, microseconds).ok_or(Defect::EventTimeOutOfRange))
}

/// Takes one byte that must be among `bytes`.
fn literal(rest: &mut &[u8], bytes: &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    bytes.contains(first).then(|| {
        *rest = after;
        *first
    })
}

fn two_digits(rest: &mut &[u8]) -> Option<u8> {
    let ([tens @ b'0'..=b'9', ones @ b'0'..=b'9'], after) = rest.split_first_chunk()? else {
        return None;
    };
    *rest = after;
    Some((tens - b'0') * 10 + (ones - b'0'))
}

/// The microseconds of a fraction, if there is one.
fn fraction(rest: &mut &[u8]) -> Option<u32> {
    if literal(rest, b".,").is_none() {
        return Some(0);
    }
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, after) = rest.split_at(digits);
    *rest = after;
    if digits.is_empty() {
        return None;
    }
    let padded = digits.iter().copied().chain(std::iter::repeat(b'0'));
    Some(padded.take(6).fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
}

/// Seconds east of Greenwich; `rest` is all that is left of the text.
fn offset(mut rest: &[u8]) -> Option<i64> {
    let sign = match rest {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return None,
    };
    literal(&mut rest, b"+-")?;
    let hours = two_digits(&mut rest).filter(|hours| *hours < 24)?;
    let minutes = match rest {
        [] => 0,
        _ => {
            literal(&mut rest, b":");
            two_digits(&mut rest).filter(|minutes| *minutes < 60)?
        }
    };
    rest.is_empty().then_some(sign * (i64::from(hours) * 3600 + i64::from(minutes) * 60))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::format_description::well_known::Rfc3339;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_spellings_of_this_bus_are_read() {
        for (text, expected) in [
            ("2026-01-27T15:30:00.123456Z", datetime!(2026-01-27 15:30:00.123456 UTC)),
            ("2026-01-28T09:00:01Z", datetime!(2026-01-28 09:00:01 UTC)),
            ("2026-01-29T11:29:52.481516", datetime!(2026-01-29 11:29:52.481516 UTC)),
            ("2026-02-06T09:53:00.123456789Z", datetime!(2026-02-06 09:53:00.123456 UTC)),
            ("2026-02-26T17:40:00.000000+00:00", datetime!(2026-02-26 17:40:00 UTC)),
            ("2026-02-26T17:40:00-05:30", datetime!(2026-02-26 23:10:00 UTC)),
            ("2026-02-26 17:40:00+0100", datetime!(2026-02-26 16:40:00 UTC)),
            ("2026-02-26t17:40:00,5z", datetime!(2026-02-26 17:40:00.5 UTC)),
            ("2026-02-26 17:40:00.25+01", datetime!(2026-02-26 16:40:00.25 UTC)),
            (
                "2026-02-26T17:40:00.9999999999999999999999Z",
                datetime!(2026-02-26 17:40:00.999999 UTC),
            ),
            ("1969-12-31T23:59:59.5Z", datetime!(1969-12-31 23:59:59.5 UTC)),
            ("2016-12-31T23:59:60Z", datetime!(2017-01-01 00:00:00 UTC)),
            ("0000-01-01T00:00:00Z", datetime!(0000-01-01 00:00:00 UTC)),
            ("9999-12-31T23:59:59.999999Z", datetime!(9999-12-31 23:59:59.999999 UTC)),
            ("+2026-01-01T00:00:00Z", datetime!(2026-01-01 00:00:00 UTC)),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
            assert!(parse(text).unwrap().offset().is_utc());
        }
    }

    #[test]
    fn years_beyond_range_are_said_to_be_so() {
        for text in [
            "300000-01-01T00:00:00Z",
            "+300000-01-01T00:00:00Z",
            "-0001-12-31T00:00:00Z",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "9999-12-31T23:59:60Z",
            "99999999999999999999-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), Err(Defect::EventTimeOutOfRange), "{text}");
        }
        assert_eq!(from_unix_seconds(u64::MAX), Err(Defect::EventTimeOutOfRange));
        assert_eq!(from_unix_seconds(1_700_000_000_000), Err(Defect::EventTimeOutOfRange));
        assert_eq!(from_unix_seconds(1_700_000_000), Ok(datetime!(2023-11-14 22:13:20 UTC)));
    }

    #[test]
    fn what_is_no_time_is_not_guessed() {
        for text in [
            "",
            "now",
            "1700000000",
            "2026-01-27",
            "2026-01-27T15:30Z",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:61Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+1",
            "2026-01-01T00:00:00+01:",
            "2026-01-01T00:00:00 UTC",
            "2026-01-01T00:00:00ZZ",
            " 2026-01-01T00:00:00Z",
            "226-01-01T00:00:00Z",
            "２026-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), Err(Defect::EventTimeUnreadable), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_rfc_3339_time_is_read_as_the_time_crate_does(
            seconds in -62_167_132_800_i64..253_402_214_400,
            nanoseconds in 0..1_000_000_000_i128,
            offset in -1439..1440_i32,
        ) {
            let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(seconds) * 1_000_000_000 + nanoseconds).unwrap();
            let offset = time::UtcOffset::from_whole_seconds(offset * 60).unwrap();
            if let Ok(text) = time.to_offset(offset).format(&Rfc3339) {
                prop_assert_eq!(parse(&text), Ok(time.truncate_to_microsecond()), "{}", text);
            }
        }

        #[test]
        fn any_text_reads_or_not_but_never_panics(text in "[-+0-9TtZz:., ]{0,40}", other in any::<String>()) {
            let _ = (parse(&text), parse(&other));
        }
    }
}
