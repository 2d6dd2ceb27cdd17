use std::collections::BTreeMap;

use proptest::prelude::*;
use time::OffsetDateTime;

use super::super::wire;
use super::*;

fn table<const N: usize>(entries: [(&str, FieldValue); N]) -> BTreeMap<String, FieldValue> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn text(text: &str) -> FieldValue {
    FieldValue::String(text.to_owned())
}

fn with_headers<const N: usize>(entries: [(&str, FieldValue); N]) -> Properties {
    Properties { headers: Some(table(entries)), ..Properties::default() }
}

fn delivery(properties: Properties) -> Delivery {
    Delivery {
        tag: 1,
        redelivered: false,
        exchange: "bus".into(),
        routing_key: "a.b".into(),
        properties,
        body: Vec::new(),
        received_at: OffsetDateTime::UNIX_EPOCH,
    }
}

/// Every type AMQP has, with the values that are hard to keep.
fn every_type() -> Properties {
    with_headers([
        ("bool", FieldValue::Bool(true)),
        ("i8", FieldValue::I8(-128)),
        ("u8", FieldValue::U8(255)),
        ("i16", FieldValue::I16(-32768)),
        ("u16", FieldValue::U16(65535)),
        ("i32", FieldValue::I32(i32::MIN)),
        ("u32", FieldValue::U32(u32::MAX)),
        ("i64", FieldValue::I64(i64::MIN)),
        ("f32", FieldValue::F32(0.1)),
        ("f64 integral", FieldValue::F64(1.0)),
        ("f64 large", FieldValue::F64(1e300)),
        ("f64 -0", FieldValue::F64(-0.0)),
        ("f64 inf", FieldValue::F64(f64::INFINITY)),
        ("decimal", FieldValue::Decimal { scale: 2, value: -5 }),
        ("decimal 0", FieldValue::Decimal { scale: 0, value: 7 }),
        ("text", text("grün \"\\\n\u{1}")),
        ("text nul", text("a\0b")),
        ("array", FieldValue::Array(vec![FieldValue::U8(1), text("x"), FieldValue::Array(vec![])])),
        ("timestamp", FieldValue::Timestamp(u64::MAX)),
        (
            "table",
            FieldValue::Table(table([("a/b~c", FieldValue::I16(1)), ("", FieldValue::Void)])),
        ),
        ("void", FieldValue::Void),
        ("bytes", FieldValue::Bytes(vec![0, 255])),
    ])
}

#[test]
fn properties_are_readable_in_sql() {
    let properties = Properties {
        content_type: Some("application/json".into()),
        delivery_mode: Some(2),
        timestamp: Some(u64::MAX),
        message_type: Some("llm.prompt".into()),
        headers: Some(table([
            ("x-retries", FieldValue::I32(3)),
            ("x-trace", text("ab")),
            ("n", FieldValue::I64(1)),
        ])),
        ..Properties::default()
    };
    assert_eq!(
        properties.to_json(),
        r#"{"content_type":"application/json","delivery_mode":2,"header_types":{"/x-retries":"I"},"#
            .to_owned()
            + r#""headers":{"n":1,"x-retries":3,"x-trace":"ab"},"timestamp":18446744073709551615,"type":"llm.prompt"}"#
    );
    assert_eq!(Properties::from_json(&properties.to_json()).unwrap(), properties);
}

#[test]
fn every_header_type_reads_back() {
    let properties = every_type();
    let json = properties.to_json();
    assert_eq!(Properties::from_json(&json).unwrap(), properties);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    for (pointer, expected) in [
        ("/headers/decimal", "-0.05"),
        ("/headers/f32", "0.1"),
        ("/headers/f64 integral", "1.0"),
        ("/headers/text nul", "\"YQBi\""),
        ("/header_types/~1table~1a~01b~00c", "\"s\""),
        ("/header_types/~1array~10", "\"B\""),
    ] {
        assert_eq!(
            value.pointer(pointer).map(ToString::to_string).as_deref(),
            Some(expected),
            "{pointer}"
        );
    }
}

#[test]
fn a_nan_keeps_its_bits() {
    for bits in [f64::NAN.to_bits(), 0x7ff0_0000_0000_0001, 0xfff8_dead_beef_0000] {
        let json = with_headers([("x", FieldValue::F64(f64::from_bits(bits)))]).to_json();
        let back = Properties::from_json(&json).unwrap();
        let Some(FieldValue::F64(value)) = back.headers.unwrap().remove("x") else {
            panic!("{json}")
        };
        assert_eq!(value.to_bits(), bits);
    }
    for bits in [f32::NAN.to_bits(), 0x7f80_0001, 0xffc0_1234] {
        let json = with_headers([("x", FieldValue::F32(f32::from_bits(bits)))]).to_json();
        let back = Properties::from_json(&json).unwrap();
        let Some(FieldValue::F32(value)) = back.headers.unwrap().remove("x") else {
            panic!("{json}")
        };
        assert_eq!(value.to_bits(), bits);
    }
}

#[test]
fn no_table_and_an_empty_one_stay_different() {
    assert_eq!(Properties::default().to_json(), "{}");
    assert_eq!(with_headers([]).to_json(), r#"{"headers":{}}"#);
    assert_eq!(Properties::from_json("{}").unwrap(), Properties::default());
    assert_eq!(Properties::from_json(r#"{"headers":{}}"#).unwrap(), with_headers([]));
}

#[test]
fn u0000_never_reaches_the_json() {
    let mut delivery = delivery(Properties {
        message_id: Some("a\0b".into()),
        ..with_headers([("k\0", FieldValue::U8(1))])
    });
    delivery.exchange = "e\0".into();
    delivery.routing_key = "\0r".into();
    let json = delivery.properties_json();
    assert_eq!(
        json,
        r#"{"base64":{"exchange":"ZQA=","message_id":"YQBi","routing_key":"AHI="},"#.to_owned()
            + r#""header_types":{"":"F"},"headers":"AAAABQJrAEIB"}"#
    );
    let recorded = RecordedProperties::from_json(&json).unwrap();
    assert_eq!(recorded.properties, delivery.properties);
    assert_eq!(
        (recorded.exchange.as_deref(), recorded.routing_key.as_deref()),
        (Some("e\0"), Some("\0r"))
    );
}

#[test]
fn headers_as_deep_as_a_frame_are_neither_lost_nor_recursed() {
    let mut deep = FieldValue::Void;
    for _ in 0..20_000 {
        deep = FieldValue::Array(vec![deep]);
    }
    let properties = with_headers([("deep", deep)]);
    let json = properties.to_json();
    assert!(json.len() < 300_000);
    // Dropping it does recurse, and a test's stack is small.
    std::mem::forget(properties);

    let mut back = Properties::from_json(&json).unwrap().headers.unwrap().remove("deep").unwrap();
    let mut depth = 0;
    while let FieldValue::Array(mut items) = back {
        depth += 1;
        back = items.pop().unwrap();
    }
    assert_eq!((depth, back), (20_000, FieldValue::Void));
}

#[test]
fn a_redelivered_or_dead_lettered_message_keeps_its_identity() {
    let published = Properties {
        message_id: Some("m".into()),
        expiration: Some("60000".into()),
        ..Properties::default()
    };
    let death = |original: &str| {
        FieldValue::Table(table([
            ("count", FieldValue::I64(1)),
            ("original-expiration", text(original)),
        ]))
    };
    let returned = Properties {
        expiration: None,
        headers: Some(table([
            ("x-death", FieldValue::Array(vec![FieldValue::Table(table([])), death("60000")])),
            ("x-first-death-queue", text("q")),
            ("x-last-death-reason", text("expired")),
            ("x-delivery-count", FieldValue::I64(2)),
            ("x-acquired-count", FieldValue::I64(2)),
        ])),
        ..published.clone()
    };
    let (published, returned) = (delivery(published), delivery(returned));
    assert_eq!(published.identity_json(), r#"{"expiration":"60000","message_id":"m"}"#);
    assert_eq!(returned.identity_json(), published.identity_json());
    assert_ne!(returned.properties_json(), published.properties_json());
    let recorded = RecordedProperties::from_json(&returned.properties_json()).unwrap();
    assert_eq!(recorded.identity_json(), published.identity_json());

    let other = delivery(Properties {
        headers: Some(table([("x-deaths", FieldValue::Void)])),
        ..published.properties.clone()
    });
    assert_ne!(other.identity_json(), published.identity_json());
}

#[test]
fn what_is_no_properties_is_refused() {
    for json in [
        "",
        "[]",
        r#"{"unknown":1}"#,
        r#"{"headers":1}"#,
        r#"{"headers":{"a":300},"header_types":{"/a":"B"}}"#,
        r#"{"headers":{"a":"AAAA"},"header_types":{"/a":"A"}}"#,
        r#"{"headers":{"a":"AAAAZg=="},"header_types":{"/a":"F"}}"#,
        r#"{"headers":{"a":9223372036854775808}}"#,
        r#"{"base64":{"nothing":""}}"#,
    ] {
        assert!(Properties::from_json(json).is_err(), "{json}");
    }
    let deep = format!(r#"{{"headers":{{"a":{}{}}}}}"#, "[".repeat(100), "]".repeat(100));
    assert!(Properties::from_json(&deep).is_err());
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z/~]{0,6}",
        1 => proptest::collection::vec(prop_oneof![Just('\0'), any::<char>()], 0..6).prop_map(String::from_iter),
    ]
}

fn any_value() -> impl Strategy<Value = FieldValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(FieldValue::Bool),
        any::<i8>().prop_map(FieldValue::I8),
        any::<u8>().prop_map(FieldValue::U8),
        any::<i16>().prop_map(FieldValue::I16),
        any::<u16>().prop_map(FieldValue::U16),
        any::<i32>().prop_map(FieldValue::I32),
        any::<u32>().prop_map(FieldValue::U32),
        any::<i64>().prop_map(FieldValue::I64),
        any::<u32>().prop_map(|bits| FieldValue::F32(f32::from_bits(bits))),
        any::<u64>().prop_map(|bits| FieldValue::F64(f64::from_bits(bits))),
        any::<i32>().prop_map(|v| FieldValue::F64(f64::from(v))),
        (any::<u8>(), any::<i32>()).prop_map(|(scale, value)| FieldValue::Decimal { scale, value }),
        any_text().prop_map(FieldValue::String),
        any::<u64>().prop_map(FieldValue::Timestamp),
        Just(FieldValue::Void),
        proptest::collection::vec(any::<u8>(), 0..6).prop_map(FieldValue::Bytes),
    ];
    leaf.prop_recursive(40, 60, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(FieldValue::Array),
            proptest::collection::btree_map(any_text(), inner, 0..3).prop_map(FieldValue::Table),
        ]
    })
}

prop_compose! {
    fn any_properties()(
        texts in proptest::collection::vec(proptest::option::of(any_text()), 10),
        headers in proptest::option::of(proptest::collection::btree_map(any_text(), any_value(), 0..4)),
        delivery_mode in any::<Option<u8>>(),
        priority in any::<Option<u8>>(),
        timestamp in any::<Option<u64>>(),
    ) -> Properties {
        let mut texts = texts.into_iter();
        let mut next = || texts.next().flatten();
        Properties {
            content_type: next(),
            content_encoding: next(),
            headers,
            delivery_mode,
            priority,
            correlation_id: next(),
            reply_to: next(),
            expiration: next(),
            message_id: next(),
            timestamp,
            message_type: next(),
            user_id: next(),
            app_id: next(),
            cluster_id: next(),
        }
    }
}

/// Headers as bytes, so that a NaN equals itself.
fn comparable(properties: &Properties) -> (Properties, Option<Vec<u8>>) {
    let headers = properties.headers.as_ref().map(|headers| wire::encode_table(headers.iter()));
    (Properties { headers: None, ..properties.clone() }, headers)
}

proptest! {
    #[test]
    fn any_properties_read_back_as_they_were(properties in any_properties()) {
        let json = properties.to_json();
        let back = Properties::from_json(&json).unwrap();
        prop_assert_eq!(comparable(&back), comparable(&properties), "{}", json);
        prop_assert_eq!(back.to_json(), json.clone());

        // What SQL reads: JSON without an escaped U+0000, its members sorted.
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert!(!json.contains("\\u0000"));
        let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
        prop_assert!(keys.is_sorted());
    }

    #[test]
    fn any_bytes_decode_or_not_but_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        for tag in [b'A', b'F', b'S'] {
            if let Some(value) = wire::decode(tag, &bytes) {
                let again = wire::decode(tag, &wire::encode(&value)).unwrap();
                prop_assert_eq!(wire::encode(&again), wire::encode(&value));
            }
        }
    }
}
