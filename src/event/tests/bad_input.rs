//! Bodies and fields that are not what they should be.

use time::macros::datetime;
use uuid::uuid;

use super::*;

#[test]
fn a_body_that_is_no_object_is_malformed_and_says_why() {
    let deep_garbage = "[".repeat(100_000);
    for (body, form, defect) in [
        (b"".as_slice(), BodyForm::Bytes, Defect::EmptyBody),
        (b" ", BodyForm::Bytes, Defect::InvalidJson),
        (b"hello", BodyForm::Bytes, Defect::InvalidJson),
        (b"{\"a\":1", BodyForm::Bytes, Defect::InvalidJson),
        (b"\xef\xbb\xbf{}", BodyForm::Bytes, Defect::InvalidJson),
        (b"{\"a\":\"\0\"}", BodyForm::Bytes, Defect::InvalidJson),
        (deep_garbage.as_bytes(), BodyForm::Bytes, Defect::InvalidJson),
        (b"{\"a\":\"\xc3\x28\"}", BodyForm::Bytes, Defect::InvalidUtf8),
        (b"42", BodyForm::Json, Defect::NotAnObject),
        (b"[{\"event_id\":\"x\"}]", BodyForm::Json, Defect::NotAnObject),
    ] {
        let event = with_message_id(body, "0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11");
        assert_eq!(
            (event.body_form, event.malformed, event.defects),
            (form, true, vec![defect]),
            "{body:?}"
        );
        // The properties still say what they can.
        assert_eq!(event.id, Some(EventId::Uuid(uuid!("0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11"))));
        assert_eq!(event.delivery.body, body);
    }
}

#[test]
fn json_that_sql_cannot_project_is_kept_as_bytes_and_is_not_malformed() {
    let nested = |depth: usize| {
        format!(r#"{{"event_type":"t","a":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1))
    };
    for (body, defects) in [
        (r#"{"event_type":"t","payload":"a\u0000b"}"#.to_owned(), vec![Defect::NulEscape]),
        (
            r#"{"event_type":"t","\u0000":1,"x":"\ud800"}"#.to_owned(),
            vec![Defect::NulEscape, Defect::LoneSurrogate],
        ),
        (nested(513), vec![Defect::TooDeep]),
        (nested(100_000), vec![Defect::TooDeep]),
    ] {
        let event = bloodbank(body);
        assert_eq!(
            (event.body_form, event.malformed, event.defects),
            (BodyForm::Bytes, false, defects)
        );
        assert_eq!(event.event_type.as_deref(), Some("t"));
    }
    assert_eq!(bloodbank(nested(512)).body_form, BodyForm::Json);
}

#[test]
fn odd_json_is_still_json() {
    for body in [
        r#"{"event_type":"t","n":1e400000}"#,
        r#"{"event_type":"t","n":123456789012345678901234567890}"#,
        r#"{"event_type":"x","event_type":"t"}"#,
        r#"{"event_type":"\u0074","unknown":{"a":[]}}"#,
    ] {
        let event = bloodbank(body);
        assert_eq!(
            (event.body_form, event.malformed, event.defects),
            (BodyForm::Json, false, vec![]),
            "{body}"
        );
        assert_eq!(event.event_type.as_deref(), Some("t"));
    }
    let large = format!(r#"{{"payload":"{}","event_type":"t"}}"#, "x".repeat(16 << 20));
    assert_eq!(bloodbank(large).event_type.as_deref(), Some("t"));
}

#[test]
fn an_id_is_kept_whatever_it_looks_like() {
    let id = uuid!("0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11");
    for text in [
        "0F3C2C2E-6A0E-4F0B-9A52-6A4A7C0F1D11",
        "0f3c2c2e6a0e4f0b9a526a4a7c0f1d11",
        &format!("{{{id}}}"),
        &id.urn().to_string(),
    ] {
        let event = bloodbank(format!(r#"{{"event_id":"{text}"}}"#));
        assert_eq!((event.id, event.defects), (Some(EventId::Uuid(id)), vec![]), "{text}");
    }
    for (json, text) in
        [("\"evt-7\"", "evt-7"), ("\" x \"", " x "), ("42", "42"), ("1e400000", "1e400000")]
    {
        let event = bloodbank(format!(r#"{{"event_id":{json}}}"#));
        assert_eq!((event.id, event.defects), (text_id(text), vec![Defect::EventIdNotAUuid]));
    }
    let longest = "x".repeat(512);
    assert_eq!(bloodbank(format!(r#"{{"event_id":"{longest}"}}"#)).id, text_id(&longest));
}

#[test]
fn an_id_that_cannot_be_kept_is_said_to_be_so_and_the_next_place_is_tried() {
    for json in [
        "true",
        "{}",
        "[\"a\"]",
        r#""a\u0000""#,
        r#""\ud800""#,
        &format!("\"{}\"", "x".repeat(513)),
    ] {
        let event = with_message_id(format!(r#"{{"event_id":{json}}}"#), "m\u{fc}");
        assert_eq!(event.id, text_id("mü"), "{json}");
        assert!(event.defects.contains(&Defect::EventIdUnusable), "{json}");
        assert!(!event.malformed);
    }
    let event = with_message_id("{}", "a\0");
    assert_eq!((event.id, event.defects), (None, vec![Defect::EventIdUnusable]));
}

#[test]
fn a_time_that_cannot_be_kept_is_said_to_be_so() {
    for (json, time, defects) in [
        ("\"0000-01-01T00:00:00Z\"", Some(datetime!(0000-01-01 00:00 UTC)), vec![]),
        ("\"+300000-01-01T00:00:00Z\"", None, vec![Defect::EventTimeOutOfRange]),
        ("\"yesterday\"", None, vec![Defect::EventTimeUnreadable]),
        ("1700000000", None, vec![Defect::EventTimeUnreadable]),
    ] {
        let event = bloodbank(format!(r#"{{"timestamp":{json}}}"#));
        assert_eq!((event.event_time, event.defects), (time, defects), "{json}");
    }
    let from_property = |timestamp| {
        let properties = Properties { timestamp: Some(timestamp), ..Properties::default() };
        let event =
            Event::from_delivery(delivery("{}", properties), &Envelope::preset(Preset::Bloodbank));
        (event.event_time, event.defects)
    };
    assert_eq!(from_property(1_700_000_000), (Some(datetime!(2023-11-14 22:13:20 UTC)), vec![]));
    assert_eq!(from_property(u64::MAX), (None, vec![Defect::EventTimeOutOfRange]));
}

#[test]
fn text_that_cannot_be_a_column_is_said_to_be_so() {
    let event = bloodbank(format!(r#"{{"event_type":"{}","source":"a\u0000"}}"#, "x".repeat(1025)));
    assert_eq!((event.event_type, event.source), (None, None));
    assert_eq!(
        event.defects,
        [Defect::NulEscape, Defect::EventTypeUnusable, Defect::SourceUnusable]
    );
    let event = bloodbank(r#"{"event_type":7,"source":{"host":"h"}}"#);
    assert_eq!(event.defects, [Defect::EventTypeUnusable, Defect::SourceUnusable]);
    assert_eq!(bloodbank(r#"{"source":{"app":"a\ud83d\ude00"}}"#).source.as_deref(), Some("a😀"));

    let mut odd = delivery("{}", Properties::default());
    odd.routing_key = "a\0".into();
    assert_eq!(
        Event::from_delivery(odd, &Envelope::preset(Preset::Bloodbank)).defects,
        [Defect::NulInAddress]
    );
}
