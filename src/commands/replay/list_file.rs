//! Events that a file names, one a line.

use std::{
    io::{self, BufRead, BufReader},
    path::Path,
};

use anyhow::Context as _;
use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{commands::reading::Misuse, store::Arrival};

/// Most lines of a list.
const MOST: usize = 1_000_000;

/// What a list names, each once and in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Events by their ids: all that is stored under each is meant.
    pub ids: Vec<String>,
    /// Events by their place in the order of arrival, which each has, whether or not it has an id.
    pub arrivals: Vec<Arrival>,
}

/// The list in this file, or on stdin for `-`.
///
/// # Errors
/// It cannot be read, or a line of it names no event.
pub fn read(file: &Path) -> anyhow::Result<List> {
    if file.as_os_str() == "-" {
        return of_lines(io::stdin().lock());
    }
    let open = std::fs::File::open(file)
        .map_err(|error| Misuse(format!("--ids-from {}: {error}", file.display())))?;
    of_lines(BufReader::new(open))
}

fn of_lines(lines: impl BufRead) -> anyhow::Result<List> {
    let mut list = List::default();
    for (number, line) in lines.lines().enumerate() {
        let line = line.context("--ids-from")?;
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if number >= MOST {
            let words = format!("--ids-from: more than {MOST} lines; take them in parts");
            return Err(Misuse(words).into());
        }
        if !line.starts_with('{') {
            list.ids.push(line.to_owned());
            continue;
        }
        let wrong = |what: String| Misuse(format!("--ids-from: line {}: {what}", number + 1));
        let object: Map<String, Value> =
            serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        match (arrival(&object), object.get("id").and_then(Value::as_str)) {
            // Of several events with one id, the line is about this one.
            (Some(arrival), _) => list.arrivals.push(arrival),
            (None, Some(id)) => list.ids.push(id.to_owned()),
            (None, None) => {
                let what = "it names no event: neither by \"received_at\" and \"seq\", as --report writes them, nor by \"id\"";
                return Err(wrong(what.to_owned()).into());
            }
        }
    }
    list.ids.sort_unstable();
    list.ids.dedup();
    list.arrivals.sort_unstable();
    list.arrivals.dedup();
    Ok(list)
}

fn arrival(object: &Map<String, Value>) -> Option<Arrival> {
    let received_at = object.get("received_at")?.as_str()?;
    let received_at = OffsetDateTime::parse(received_at, &Rfc3339).ok()?;
    Some(Arrival { received_at, seq: object.get("seq")?.as_i64()? })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_line_names_an_event_by_its_place_or_by_its_id() {
        let text = "b\n\n a \n{\"id\": \"c\"}\nb\n\
                    {\"received_at\": \"2026-01-01T00:00:00.000001Z\", \"seq\": 7, \"id\": \"d\"}\n\
                    {\"received_at\": \"no time\", \"seq\": 7, \"id\": \"e\"}";
        let list = of_lines(text.as_bytes()).unwrap();
        assert_eq!(list.ids, ["a", "b", "c", "e"]);
        let arrival = Arrival { received_at: datetime!(2026-01-01 00:00:00.000001 UTC), seq: 7 };
        assert_eq!(list.arrivals, [arrival]);
        for (text, said) in [("x\n{}", "line 2: it names no event"), ("{", "line 1: ")] {
            let error = of_lines(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
