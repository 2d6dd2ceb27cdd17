//! Durations, sizes and whole numbers as people write them.

use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, de};

/// A day, of 24 hours.
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What [`timeout`] allows.
pub(super) const TIMEOUT: &str = "a duration from 1ms to 1d, such as \"10s\"";

/// A duration as humantime reads it: `30s`, `1h 30m`, `400d`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    read_duration(&String::deserialize(deserializer)?)
}

/// The same of text that was read already.
pub(super) fn read_duration<E: de::Error>(text: &str) -> Result<Duration, E> {
    humantime::parse_duration(text.trim()).map_err(|error| E::custom(format!("{text:?}: {error}")))
}

/// A duration that something waits: more than zero, at most a day.
pub(super) fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    within(duration(deserializer)?, Duration::from_millis(1), DAY)
}

/// The duration itself if it lies within the bounds, both included.
pub(super) fn within<E: de::Error>(
    value: Duration,
    least: Duration,
    most: Duration,
) -> Result<Duration, E> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(E::custom(format!("{} is out of range", humantime::format_duration(value))))
    }
}

/// A size: a string such as `64 MiB` or `500 kB`, or an integer of bytes.
pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    deserializer.deserialize_any(SizeVisitor)
}

struct SizeVisitor;

impl de::Visitor<'_> for SizeVisitor {
    type Value = ByteSize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size")
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
        u64::try_from(bytes)
            .map(ByteSize::b)
            .map_err(|_| E::custom(format!("{bytes} is out of range")))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
        text.trim().parse().map_err(|_| E::custom(format!("{text:?} is not a size")))
    }
}

/// A whole number within the bounds, both included.
pub(super) fn whole<'de, D, T>(deserializer: D, least: T, most: T) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i64> + PartialOrd,
{
    let number = i64::deserialize(deserializer)?;
    match T::try_from(number) {
        Ok(value) if value >= least && value <= most => Ok(value),
        _ => Err(de::Error::custom(format!("{number} is out of range"))),
    }
}
