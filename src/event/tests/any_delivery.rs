//! Whatever arrives.

use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

use super::*;

/// Text as it comes, U+0000 and what is too long included.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => any::<String>(),
        1 => proptest::sample::select(vec!["", "\0", "a\0b", "LONE"]).prop_map(str::to_owned),
        1 => (400..2000_usize).prop_map(|length| "x".repeat(length)),
    ]
}

/// Times around both ends of the range, and others that are none.
fn any_time() -> impl Strategy<Value = String> {
    "(0000|9999|-0001|10000|2026)-(01-01|12-31|02-29)T(00:00:00|23:59:59.99999999|23:59:60)(Z|[+-]23:59)?"
}

fn any_field() -> impl Strategy<Value = FieldValue> {
    let leaf = prop_oneof![
        any_text().prop_map(FieldValue::String),
        any_time().prop_map(FieldValue::String),
        any::<u64>().prop_map(FieldValue::Timestamp),
        any::<i64>().prop_map(FieldValue::I64),
        any::<f64>().prop_map(FieldValue::F64),
        Just(FieldValue::Void),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        proptest::collection::vec(inner, 0..3).prop_map(FieldValue::Array)
    })
}

/// JSON whose members are those that the presets look at, with values of all kinds.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let keys = [
        "event_id",
        "id",
        "event_type",
        "timestamp",
        "ts",
        "time",
        "source",
        "app",
        "correlation_ids",
        "messageType",
    ];
    let leaf = prop_oneof![
        any_text().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        any_time().prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 12, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(proptest::sample::select(keys.to_vec()), inner, 0..6)
                .prop_map(|members| members
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect()),
        ]
    });
    prop_oneof![
        3 => value.prop_map(|value| value.to_string().replace("LONE", "\\ud800").into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_delivery_becomes_an_event_that_fits_its_columns(
        body in any_body(),
        text in proptest::option::of(any_text()),
        timestamp in any::<Option<u64>>(),
        field in any_field(),
        preset in proptest::sample::select(Preset::ALL.to_vec()),
    ) {
        let properties = Properties {
            message_id: text.clone(),
            app_id: text,
            timestamp,
            headers: Some(["ce-id", "ce-time", "ce-source", "ce-correlationid"].map(|name| (name.to_owned(), field.clone())).into()),
            ..Properties::default()
        };
        let event = Event::from_delivery(delivery(body.clone(), properties), &Envelope::preset(preset));
        prop_assert_eq!(&event.delivery.body, &body);

        let raises = body.windows(6).any(|window| window == b"\\u0000" || window == b"\\ud800");
        let json = serde_json::from_slice::<&RawValue>(&body).is_ok();
        prop_assert_eq!(event.body_form == BodyForm::Json, json && !raises);

        let mut columns = event.correlation_ids.clone();
        columns.extend(event.event_type.clone());
        columns.extend(event.source.clone());
        if let Some(EventId::Text(id)) = &event.id {
            columns.push(id.clone());
        }
        prop_assert!(columns.iter().all(|text| !text.is_empty() && !text.contains('\0') && text.len() <= 1024));
        if let Some(time) = event.event_time {
            prop_assert!((0..=9999).contains(&time.year()) && time.nanosecond() % 1000 == 0 && time.offset().is_utc());
        }
        prop_assert!(event.defects.is_sorted_by(|a, b| a < b));
    }
}
