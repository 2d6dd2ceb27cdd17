use time::OffsetDateTime;
use time::macros::datetime;
use uuid::uuid;

use super::*;
use crate::event::{BodyForm, Defect, Delivery, Event, EventId, FieldValue, Properties};

fn understood(envelope: &Envelope, body: impl Into<Vec<u8>>, properties: Properties) -> Event {
    let delivery = Delivery {
        tag: 1,
        redelivered: false,
        exchange: "x".into(),
        routing_key: "k".into(),
        properties,
        body: body.into(),
        received_at: OffsetDateTime::UNIX_EPOCH,
    };
    Event::from_delivery(delivery, envelope)
}

fn text(text: &str) -> FieldValue {
    FieldValue::String(text.into())
}

fn with_headers<const N: usize>(headers: [(&str, FieldValue); N]) -> Properties {
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Properties { headers: Some(headers), ..Properties::default() }
}

fn id(text: &str) -> Option<EventId> {
    Some(EventId::Text(text.into()))
}

#[test]
fn cloudevents_in_structured_mode() {
    let body = r#"{"specversion":"1.0","id":"A234-1234","type":"com.example.made","source":"/mycontext","time":"2018-04-05T17:31:00Z",
                   "correlationid":"c1","causationid":"c0","data":{"id":"not this"}}"#;
    let event = understood(&Envelope::preset(Preset::Cloudevents), body, Properties::default());
    assert_eq!(event.id, id("A234-1234"));
    assert_eq!(event.event_type.as_deref(), Some("com.example.made"));
    assert_eq!(event.source.as_deref(), Some("/mycontext"));
    assert_eq!(event.event_time, Some(datetime!(2018-04-05 17:31 UTC)));
    assert_eq!(event.correlation_ids, ["c1", "c0"]);
    // An id may be any text here.
    assert_eq!((event.malformed, event.defects), (false, vec![]));
}

#[test]
fn cloudevents_in_binary_mode_take_nothing_from_the_body() {
    for prefix in ["ce-", "cloudEvents:", "cloudEvents_"] {
        let name = |attribute: &str| format!("{prefix}{attribute}");
        let properties = with_headers([
            (&name("id"), text("A234-1234")),
            (&name("type"), text("com.example.made")),
            (&name("source"), text("/mycontext")),
            (&name("correlationid"), text("c1")),
        ]);
        let envelope = Envelope::preset(Preset::Cloudevents);
        let data = r#"{"id":"not this","time":"2018-04-05T17:31:00Z","correlationid":"not this"}"#;
        let event = understood(&envelope, data, properties.clone());
        assert_eq!((event.id, event.body_form), (id("A234-1234"), BodyForm::Json));
        assert_eq!(event.event_type.as_deref(), Some("com.example.made"));
        assert_eq!(event.source.as_deref(), Some("/mycontext"));
        assert_eq!(event.event_time, None);
        assert_eq!(event.correlation_ids, ["c1"]);

        for data in [b"".as_slice(), b"\xff\xfe", b"hello", b"[1]"] {
            let event = understood(&envelope, data, properties.clone());
            assert_eq!(
                (event.id, event.malformed, event.defects),
                (id("A234-1234"), false, vec![])
            );
        }
    }
}

#[test]
fn a_cloudevent_that_is_neither_is_malformed() {
    let event = understood(&Envelope::preset(Preset::Cloudevents), "hello", Properties::default());
    assert_eq!((event.malformed, event.defects), (true, vec![Defect::InvalidJson]));
}

#[test]
fn masstransits_envelope() {
    let body = r#"{"messageId":"181c0000-6393-3630-36a4-08daf4e7c6da","conversationId":"181c0000-6393-3630-7b5a-08daf4e7c6da",
                   "correlationId":null,"sourceAddress":"rabbitmq://localhost/order","sentTime":"2023-01-12T21:37:56.8763189Z",
                   "messageType":["urn:message:Company.Project:SubmitOrder","urn:message:Company:IOrder"],"message":{"messageId":1}}"#;
    let event = understood(&Envelope::preset(Preset::Masstransit), body, Properties::default());
    assert_eq!(event.id, Some(EventId::Uuid(uuid!("181c0000-6393-3630-36a4-08daf4e7c6da"))));
    assert_eq!(event.event_type.as_deref(), Some("urn:message:Company.Project:SubmitOrder"));
    assert_eq!(event.event_time, Some(datetime!(2023-01-12 21:37:56.876318 UTC)));
    assert_eq!(event.source.as_deref(), Some("rabbitmq://localhost/order"));
    assert_eq!(event.correlation_ids, ["181c0000-6393-3630-7b5a-08daf4e7c6da"]);
    assert_eq!(event.defects, []);
}

#[test]
fn plain_json_and_plain_bytes_take_all_from_properties() {
    let properties = Properties {
        message_id: Some("m1".into()),
        message_type: Some("t".into()),
        timestamp: Some(1_700_000_000),
        app_id: Some("a".into()),
        correlation_id: Some("c".into()),
        ..Properties::default()
    };
    for (preset, body, form, malformed) in [
        (Preset::Plain, b"{\"event_id\":\"not this\"}".as_slice(), BodyForm::Json, false),
        (Preset::Plain, b"[1]", BodyForm::Json, false),
        (Preset::Plain, b"hello", BodyForm::Bytes, true),
        (Preset::Plain, b"", BodyForm::Bytes, true),
        (Preset::Binary, b"", BodyForm::Bytes, false),
        (Preset::Binary, b"\xff\x00", BodyForm::Bytes, false),
        (Preset::Binary, b"{}", BodyForm::Json, false),
    ] {
        let event = understood(&Envelope::preset(preset), body, properties.clone());
        assert_eq!(
            (event.id, event.event_type.as_deref(), event.source.as_deref()),
            (id("m1"), Some("t"), Some("a"))
        );
        assert_eq!(event.event_time, Some(datetime!(2023-11-14 22:13:20 UTC)));
        assert_eq!(event.correlation_ids, ["c"]);
        assert_eq!((event.body_form, event.malformed), (form, malformed), "{preset:?} {body:?}");
        assert_eq!(event.defects.is_empty(), !malformed);
    }
}

#[test]
fn overrides_replace_field_by_field() {
    let places = |texts: &[&str]| Some(texts.iter().map(|text| text.parse().unwrap()).collect());
    let overrides = Overrides {
        event_id: places(&["/meta/ids/1", "header:x-id", "property:timestamp"]),
        event_time: places(&["header:x-at"]),
        correlation_ids: places(&["property:reply_to", "header:x-parents"]),
        expects: Some(Expects::Json),
        ..Overrides::default()
    };
    let envelope = Envelope::with_overrides(Preset::Bloodbank, overrides);
    assert_eq!(envelope.expects(), Expects::Json);

    let properties = Properties {
        reply_to: Some("not this".into()),
        ..with_headers([
            ("x-id", FieldValue::I64(-7)),
            ("x-at", FieldValue::Timestamp(1)),
            (
                "x-parents",
                FieldValue::Array(vec![text("p"), FieldValue::U8(2), FieldValue::Bool(true)]),
            ),
        ])
    };
    let event =
        understood(&envelope, r#"{"meta":{"ids":["a","b"]},"event_type":"t"}"#, properties.clone());
    assert_eq!((event.id, event.event_type.as_deref()), (id("b"), Some("t")));
    assert_eq!(event.event_time, Some(datetime!(1970-01-01 00:00:01 UTC)));
    assert_eq!(event.correlation_ids, ["p", "2"]);
    assert_eq!(event.defects, [Defect::EventIdNotAUuid, Defect::CorrelationIdsUnusable]);

    // The id from a header: any body will do, and outside binary mode it is still looked at.
    let event = understood(&envelope, r#"{"event_type":"t"}"#, properties.clone());
    assert_eq!(
        (event.id, event.event_type.as_deref(), event.malformed),
        (id("-7"), Some("t"), false)
    );
    assert!(!understood(&envelope, "hello", properties).malformed);

    let event = understood(
        &envelope,
        "7",
        Properties { timestamp: Some(u64::MAX), ..Properties::default() },
    );
    assert_eq!((event.id, event.malformed), (id("18446744073709551615"), false));
}
