//! What becomes of a delivery.

mod any_delivery;
mod bad_input;
mod bounded_time;

use std::collections::BTreeMap;

use serde_json::Value;
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::uuid;

use super::*;

fn delivery(body: impl Into<Vec<u8>>, properties: Properties) -> Delivery {
    Delivery {
        tag: 1,
        redelivered: false,
        exchange: "bloodbank.events.v1".into(),
        routing_key: "llm.prompt".into(),
        properties,
        body: body.into(),
        received_at: OffsetDateTime::UNIX_EPOCH,
    }
}

fn bloodbank(body: impl Into<Vec<u8>>) -> Event {
    Event::from_delivery(
        delivery(body, Properties::default()),
        &Envelope::preset(Preset::Bloodbank),
    )
}

fn with_message_id(body: impl Into<Vec<u8>>, message_id: &str) -> Event {
    let properties = Properties { message_id: Some(message_id.into()), ..Properties::default() };
    Event::from_delivery(delivery(body, properties), &Envelope::preset(Preset::Bloodbank))
}

fn text_id(text: &str) -> Option<EventId> {
    Some(EventId::Text(text.into()))
}

/// The deliveries of `events.json`, in its order.
fn fixtures() -> Vec<Delivery> {
    let events: Vec<Value> =
        serde_json::from_str(include_str!("../../tests/fixtures/events.json")).unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let fixture = |event: Value| {
        let properties = &event["properties"];
        let mut delivery = delivery(
            serde_json::to_vec(&event["body"]).unwrap(),
            Properties {
                content_type: text(&properties["content_type"]),
                content_encoding: text(&properties["content_encoding"]),
                headers: properties["headers"].as_object().map(|_| BTreeMap::new()),
                delivery_mode: Some(2),
                message_id: text(&properties["message_id"]),
                correlation_id: text(&properties["correlation_id"]),
                ..Properties::default()
            },
        );
        delivery.routing_key = text(&event["routing_key"]).unwrap();
        delivery
    };
    events.into_iter().map(fixture).collect()
}

#[test]
fn every_shape_of_the_fixtures_gives_its_columns() {
    let expected = [
        (
            Some(uuid!("0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11")),
            "transcription.voice.completed",
            datetime!(2026-01-27 15:30:00.123456 UTC),
            Some("bloodbank-cli"),
            vec![],
        ),
        (
            Some(uuid!("8057a88f-1d84-5270-8500-1fe179622bcf")),
            "fireflies.transcript.upload",
            datetime!(2026-01-28 09:00:01 UTC),
            Some("file-watcher"),
            vec!["0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11"],
        ),
        (
            Some(uuid!("5b1c6f0e-3a55-4c7f-8a21-cc1b9a9f2a10")),
            "agent.thread.prompt",
            datetime!(2026-01-30 21:44:07.000001 UTC),
            Some("agent"),
            vec![],
        ),
        (
            // The body's event_id, not the random message_id beside it; a time without zone is in UTC.
            Some(uuid!("d3f9895d-dfeb-478e-8b3a-caabc15baacd")),
            "tts.response.completed",
            datetime!(2026-01-29 11:29:52.481516 UTC),
            Some("tonny"),
            vec![],
        ),
        (
            None,
            "tool.mutation.write",
            datetime!(2026-02-06 09:53:00.123456 UTC),
            None,
            vec!["sess-7"],
        ),
        (
            Some(uuid!("ef332175-aec1-4d2a-a8b6-bd36640eeb81")),
            "command.envelope",
            datetime!(2026-02-26 17:40:00 UTC),
            Some("hookd-bridge"),
            vec!["3e0b0a52-7b52-4a54-9a8e-0d8c1f2a4b6c"],
        ),
        (
            Some(uuid!("ca8bfda6-4b80-4857-ace2-03cef572218b")),
            "command.envelope",
            datetime!(2026-02-26 18:00:00 UTC),
            Some("context-monitor"),
            vec![],
        ),
        (
            Some(uuid!("83f0a62b-77a0-4ed9-a432-9015b519e89a")),
            "llm.prompt",
            datetime!(2025-10-08 12:00:00 UTC),
            Some("cli/claude"),
            vec!["8daba21c-a916-4032-a87a-810dcb69814f"],
        ),
    ];
    let deliveries = fixtures();
    assert_eq!(deliveries.len(), expected.len());
    for (delivery, (id, event_type, time, source, correlation_ids)) in
        deliveries.into_iter().zip(expected)
    {
        let event = Event::from_delivery(delivery.clone(), &Envelope::preset(Preset::Bloodbank));
        assert_eq!(event.id, id.map(EventId::Uuid), "{}", delivery.routing_key);
        assert_eq!(event.event_type.as_deref(), Some(event_type));
        assert_eq!(event.event_time, Some(time));
        assert_eq!(event.source.as_deref(), source);
        assert_eq!(event.correlation_ids, correlation_ids);
        assert_eq!((event.body_form, event.malformed), (BodyForm::Json, false));
        assert_eq!(event.defects, []);
        assert_eq!(event.delivery, delivery);
    }
}

#[test]
fn what_is_absent_is_none_and_never_invented() {
    for body in [
        "{}",
        r#"{"event_id":null,"timestamp":null,"source":null,"correlation_ids":[null,""],"event_type":""}"#,
    ] {
        let event = bloodbank(body);
        let empty = Event {
            id: None,
            event_type: None,
            event_time: None,
            source: None,
            correlation_ids: vec![],
            body_form: BodyForm::Json,
            malformed: false,
            defects: vec![],
            delivery: event.delivery.clone(),
        };
        assert_eq!(event, empty);
    }
}

#[test]
fn correlation_ids_are_a_union_in_order_without_repeats() {
    let spellings = bloodbank(
        r#"{"correlation_ids":["0F3C2C2E-6A0E-4F0B-9A52-6A4A7C0F1D11","0f3c2c2e6a0e4f0b9a526a4a7c0f1d11",
            "urn:uuid:0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11","{0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11}","ABC"]}"#,
    );
    assert_eq!(spellings.correlation_ids, ["0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11", "ABC"]);

    let event = bloodbank(r#"{"correlation_id":"c","correlation_ids":["b","a","b",7,null,""]}"#);
    assert_eq!(
        (event.correlation_ids, event.defects),
        (["b", "a", "7", "c"].map(str::to_owned).to_vec(), vec![])
    );

    let event =
        bloodbank(format!(r#"{{"correlation_ids":["a",{{}},["b"],"{}"]}}"#, "x".repeat(513)));
    assert_eq!(
        (event.correlation_ids, event.defects),
        (vec!["a".into()], vec![Defect::CorrelationIdsUnusable])
    );

    let many: Vec<String> = (0..1001).map(|number| format!("\"{number}\"")).collect();
    let event = bloodbank(format!(r#"{{"correlation_ids":[{}]}}"#, many.join(",")));
    assert_eq!(
        (event.correlation_ids.len(), event.defects),
        (1000, vec![Defect::CorrelationIdsUnusable])
    );
    assert_eq!(event.correlation_ids[999], "999");

    let repeated = format!(
        r#"{{"correlation_ids":[{}"a"]}}"#,
        format!("{},", many[..999].join(",")).repeat(100)
    );
    assert_eq!(bloodbank(repeated).correlation_ids.len(), 1000);
}

#[test]
fn headers_of_every_type_or_none_change_nothing_about_the_event() {
    let every = [
        FieldValue::Bool(true),
        FieldValue::F64(f64::NAN),
        FieldValue::Decimal { scale: 255, value: i32::MIN },
        FieldValue::String("a\0".into()),
        FieldValue::Array(vec![FieldValue::Void]),
        FieldValue::Timestamp(u64::MAX),
        FieldValue::Bytes(vec![0xff]),
    ];
    let headers =
        every.into_iter().enumerate().map(|(index, value)| (format!("x-{index}"), value)).collect();
    let with = Properties { headers: Some(headers), ..Properties::default() };
    let body = r#"{"event_id":"0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11"}"#;
    let with = Event::from_delivery(delivery(body, with), &Envelope::preset(Preset::Bloodbank));
    let without = bloodbank(body);
    assert_eq!((with.id, with.defects), (without.id, without.defects));
}

#[test]
fn every_defect_has_a_name_of_its_own() {
    let all = [
        Defect::EmptyBody,
        Defect::InvalidUtf8,
        Defect::InvalidJson,
        Defect::NotAnObject,
        Defect::NulEscape,
        Defect::LoneSurrogate,
        Defect::TooDeep,
        Defect::TooLarge,
        Defect::EventIdNotAUuid,
        Defect::EventIdUnusable,
        Defect::EventTypeUnusable,
        Defect::EventTimeUnreadable,
        Defect::EventTimeOutOfRange,
        Defect::SourceUnusable,
        Defect::CorrelationIdsUnusable,
        Defect::NulInAddress,
    ];
    let names: std::collections::BTreeSet<&str> =
        all.iter().map(|defect| defect.as_str()).collect();
    assert_eq!(names.len(), all.len());
    let plain = |name: &&str| {
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    assert!(names.iter().all(plain));
}
