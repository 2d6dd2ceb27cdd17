//! What commands that give an overview share: two formats, and how numbers, sizes and times are written.

use std::io::{self, Write as _};

use bytesize::ByteSize;
use clap::ValueEnum;
use serde::Serialize;
use time::OffsetDateTime;

use super::terminal::{Output, json_safe};
use crate::event::rfc3339;

/// How an overview is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people: cut to the width of the terminal
    Table,
    /// For programs
    Json,
}

/// Writes a value as indented JSON, and ends the line.
pub(super) fn write_json(out: &mut Output, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    let safe = if out.look().terminal { json_safe(&text) } else { text.as_str().into() };
    writeln!(out, "{safe}")
}

/// A time to the second, as RFC 3339.
pub(super) fn seconds(at: OffsetDateTime) -> String {
    exact(at.replace_nanosecond(0).unwrap_or(at))
}

/// A time as it is, as RFC 3339.
pub(super) fn exact(at: OffsetDateTime) -> String {
    rfc3339(at)
}

/// A size with a unit.
pub(super) fn size(bytes: i64) -> String {
    ByteSize::b(u64::try_from(bytes).unwrap_or_default()).to_string()
}

/// A number with its thousands apart.
pub(super) fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        let left = digits.len() - position;
        if position > 0 && left.is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        let numbers = [0, 999, 1_000, -123_456, 50_000_000].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "-123,456", "50,000,000"]);
    }
}
