//! However a delivery is made, it is understood in a time that grows with its size, not with the square of it.

use std::{sync::mpsc, thread, time::Duration};

use super::*;

/// Bytes of a body. At ten nanoseconds a byte this is a moment; squared it is two days.
const SIZE: usize = 4 << 20;

/// Far beyond what anything takes that is not squared, on a busy machine and without optimizations.
const DEADLINE: Duration = Duration::from_secs(120);

fn repeated(start: &str, part: &str, end: &str) -> String {
    format!("{start}{}{end}", part.repeat(SIZE / part.len()))
}

fn numbered(start: &str, part: impl Fn(usize) -> String, end: &str) -> String {
    let mut body = start.to_owned();
    for number in 0.. {
        if body.len() > SIZE {
            break;
        }
        body.push_str(&part(number));
    }
    body + end
}

fn bodies() -> Vec<(&'static str, String)> {
    vec![
        ("arrays that do not end", "[".repeat(SIZE)),
        ("arrays in arrays", format!("{}{}", "[".repeat(SIZE / 2), "]".repeat(SIZE / 2))),
        ("objects in objects", repeated("", r#"{"source":"#, "")),
        ("quotes", "\"".repeat(SIZE)),
        ("backslashes", repeated("\"", "\\\\", "\"")),
        ("escapes of NUL", repeated(r#"{"payload":""#, "\\u0000", "\"}")),
        ("lone surrogates", repeated(r#"{"event_id":""#, "\\ud800", "\"}")),
        ("blanks", repeated("{", " ", "}")),
        ("a long number", repeated(r#"{"timestamp":"#, "1", "}")),
        ("a long type", repeated(r#"{"event_type":""#, "ä", "\"}")),
        ("one member, again", repeated("{", r#""event_id":"a","#, r#""id":1}"#)),
        ("members", numbered("{", |number| format!(r#""k{number}":1,"#), r#""id":1}"#)),
        ("sources", repeated("{", r#""source":{"host":"a","app":"b"},"#, r#""id":1}"#)),
        ("parents", numbered(r#"{"correlation_ids":["#, |number| format!("\"{number}\","), "1]}")),
        ("one parent, again", repeated(r#"{"correlation_ids":["#, "\"a\",", "1]}")),
        ("bytes that are no text", repeated("{", "\u{fffd}", "}")),
    ]
}

#[test]
fn however_a_body_is_made() {
    for (what, body) in bodies() {
        for preset in Preset::ALL {
            let (done, wait) = mpsc::channel();
            let body = body.clone().into_bytes();
            let length = body.len();
            thread::spawn(move || {
                let event = Event::from_delivery(
                    delivery(body, Properties::default()),
                    &Envelope::preset(preset),
                );
                // Nobody waits any more where it took too long.
                let _ = done.send(event.delivery.body.len());
            });
            assert_eq!(wait.recv_timeout(DEADLINE), Ok(length), "{what}, {preset:?}");
        }
    }
}

#[test]
fn however_its_headers_are_made() {
    let text = || FieldValue::String("ä".repeat(100));
    let deep = (0..10_000).fold(text(), |inner, _| FieldValue::Array(vec![inner]));
    let wide = FieldValue::Array((0..100_000).map(|_| text()).collect());
    for (what, value) in [("deep", deep), ("wide", wide)] {
        let (done, wait) = mpsc::channel();
        let run = move || {
            let headers = (0..1_000).map(|number| (format!("h{number}"), text()));
            let mut headers: std::collections::BTreeMap<_, _> = headers.collect();
            headers.insert("ce-id".to_owned(), value);
            let properties = Properties { headers: Some(headers), ..Properties::default() };
            let event = Event::from_delivery(
                delivery(b"{}".to_vec(), properties),
                &Envelope::preset(Preset::Cloudevents),
            );
            // Nobody waits any more where it took too long.
            let _ = done.send(event.delivery.properties_json().len() > 100_000);
        };
        // Nested values are let go of one in the other.
        let thread = thread::Builder::new().stack_size(256 << 20).spawn(run);
        assert!(thread.is_ok());
        assert_eq!(wait.recv_timeout(DEADLINE), Ok(true), "{what}");
    }
}
