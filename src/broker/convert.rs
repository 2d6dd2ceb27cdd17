//! The client's types, to and from ours.

use std::collections::BTreeMap;

use amqprs::{
    BasicProperties, ByteArray, DecimalValue, FieldArray, FieldTable, FieldValue as Theirs,
    ShortStr,
};

use crate::event::{FieldValue, Properties};

/// A value that AMQP cannot carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} is longer than AMQP allows: at most 255 bytes for names and properties, 4 GiB for header values"
)]
pub struct TooLong {
    what: String,
}

/// Properties as the client decoded them.
pub(super) fn properties(theirs: &BasicProperties) -> Properties {
    Properties {
        content_type: theirs.content_type().cloned(),
        content_encoding: theirs.content_encoding().cloned(),
        headers: theirs.headers().cloned().map(table),
        delivery_mode: theirs.delivery_mode(),
        priority: theirs.priority(),
        correlation_id: theirs.correlation_id().cloned(),
        reply_to: theirs.reply_to().cloned(),
        expiration: theirs.expiration().cloned(),
        message_id: theirs.message_id().cloned(),
        timestamp: theirs.timestamp(),
        message_type: theirs.message_type().cloned(),
        user_id: theirs.user_id().cloned(),
        app_id: theirs.app_id().cloned(),
        cluster_id: theirs.cluster_id().cloned(),
    }
}

/// Takes the table apart by moving: cloning at each level would cost the square of the depth.
fn table(mut theirs: FieldTable) -> BTreeMap<String, FieldValue> {
    let names: Vec<ShortStr> = theirs.as_ref().keys().cloned().collect();
    names
        .into_iter()
        .filter_map(|name| theirs.remove(&name).map(|theirs| (name.into(), value(theirs))))
        .collect()
}

fn value(theirs: Theirs) -> FieldValue {
    match theirs {
        Theirs::t(v) => FieldValue::Bool(v),
        Theirs::b(v) => FieldValue::I8(v),
        Theirs::B(v) => FieldValue::U8(v),
        Theirs::s(v) => FieldValue::I16(v),
        Theirs::u(v) => FieldValue::U16(v),
        Theirs::I(v) => FieldValue::I32(v),
        Theirs::i(v) => FieldValue::U32(v),
        Theirs::l(v) => FieldValue::I64(v),
        Theirs::f(v) => FieldValue::F32(v),
        Theirs::d(v) => FieldValue::F64(v),
        Theirs::D(v) => decimal(&v),
        Theirs::S(v) => FieldValue::String(v.into()),
        Theirs::A(v) => FieldValue::Array(Vec::from(v).into_iter().map(value).collect()),
        Theirs::T(v) => FieldValue::Timestamp(v),
        Theirs::F(v) => FieldValue::Table(table(v)),
        Theirs::V => FieldValue::Void,
        Theirs::x(v) => FieldValue::Bytes(v.into()),
    }
}

/// The client keeps a decimal's two numbers to itself, but serializes them in order.
fn decimal(theirs: &DecimalValue) -> FieldValue {
    let parts = serde_json::to_value(theirs).ok();
    let part = |nth: usize| {
        parts.as_ref().and_then(|parts| parts.get(nth)).and_then(serde_json::Value::as_i64)
    };
    let scale = part(0).and_then(|scale| u8::try_from(scale).ok());
    let value = part(1).and_then(|value| i32::try_from(value).ok());
    FieldValue::Decimal { scale: scale.unwrap_or_default(), value: value.unwrap_or_default() }
}

/// Properties to be published.
pub(super) fn basic_properties(ours: &Properties) -> Result<BasicProperties, TooLong> {
    for (what, text) in [
        ("content_type", &ours.content_type),
        ("content_encoding", &ours.content_encoding),
        ("correlation_id", &ours.correlation_id),
        ("reply_to", &ours.reply_to),
        ("expiration", &ours.expiration),
        ("message_id", &ours.message_id),
        ("type", &ours.message_type),
        ("user_id", &ours.user_id),
        ("app_id", &ours.app_id),
        ("cluster_id", &ours.cluster_id),
    ] {
        // The client panics on a longer one.
        if text.as_ref().is_some_and(|text| text.len() > u8::MAX.into()) {
            return Err(TooLong { what: format!("the property {what}") });
        }
    }
    Ok(BasicProperties::new(
        ours.content_type.clone(),
        ours.content_encoding.clone(),
        ours.headers.as_ref().map(their_table).transpose()?,
        ours.delivery_mode,
        ours.priority,
        ours.correlation_id.clone(),
        ours.reply_to.clone(),
        ours.expiration.clone(),
        ours.message_id.clone(),
        ours.timestamp,
        ours.message_type.clone(),
        ours.user_id.clone(),
        ours.app_id.clone(),
        ours.cluster_id.clone(),
    ))
}

fn their_table(ours: &BTreeMap<String, FieldValue>) -> Result<FieldTable, TooLong> {
    let mut theirs = FieldTable::new();
    for (name, value) in ours {
        let short: ShortStr = name
            .clone()
            .try_into()
            .map_err(|_| TooLong { what: format!("the name of the header {name:.40}…") })?;
        theirs.insert(short, their_value(name, value)?);
    }
    Ok(theirs)
}

fn their_value(name: &str, ours: &FieldValue) -> Result<Theirs, TooLong> {
    let too_long = |_| TooLong { what: format!("the header {name}") };
    Ok(match ours {
        FieldValue::Bool(v) => Theirs::t(*v),
        FieldValue::I8(v) => Theirs::b(*v),
        FieldValue::U8(v) => Theirs::B(*v),
        FieldValue::I16(v) => Theirs::s(*v),
        FieldValue::U16(v) => Theirs::u(*v),
        FieldValue::I32(v) => Theirs::I(*v),
        FieldValue::U32(v) => Theirs::i(*v),
        FieldValue::I64(v) => Theirs::l(*v),
        FieldValue::F32(v) => Theirs::f(*v),
        FieldValue::F64(v) => Theirs::d(*v),
        FieldValue::Decimal { scale, value } => Theirs::D(DecimalValue::new(*scale, *value)),
        FieldValue::String(v) => Theirs::S(v.clone().try_into().map_err(too_long)?),
        FieldValue::Array(v) => {
            let values: Vec<Theirs> =
                v.iter().map(|v| their_value(name, v)).collect::<Result<_, _>>()?;
            Theirs::A(FieldArray::try_from(values).map_err(too_long)?)
        }
        FieldValue::Timestamp(v) => Theirs::T(*v),
        FieldValue::Table(v) => Theirs::F(their_table(v)?),
        FieldValue::Void => Theirs::V,
        FieldValue::Bytes(v) => Theirs::x(ByteArray::try_from(v.clone()).map_err(too_long)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_goes_through_the_client_and_back() {
        let all = BTreeMap::from([
            ("t".to_owned(), FieldValue::Bool(true)),
            ("b".to_owned(), FieldValue::I8(-1)),
            ("B".to_owned(), FieldValue::U8(255)),
            ("s".to_owned(), FieldValue::I16(-2)),
            ("u".to_owned(), FieldValue::U16(65_535)),
            ("I".to_owned(), FieldValue::I32(i32::MIN)),
            ("i".to_owned(), FieldValue::U32(u32::MAX)),
            ("l".to_owned(), FieldValue::I64(i64::MIN)),
            ("f".to_owned(), FieldValue::F32(1.5)),
            ("d".to_owned(), FieldValue::F64(-0.1)),
            ("D".to_owned(), FieldValue::Decimal { scale: 2, value: -12_345 }),
            ("S".to_owned(), FieldValue::String("a\0b".to_owned())),
            ("A".to_owned(), FieldValue::Array(vec![FieldValue::Void, FieldValue::I64(1)])),
            ("T".to_owned(), FieldValue::Timestamp(u64::MAX)),
            (
                "F".to_owned(),
                FieldValue::Table(BTreeMap::from([(
                    "x".to_owned(),
                    FieldValue::Bytes(vec![0, 255]),
                )])),
            ),
            ("V".to_owned(), FieldValue::Void),
            ("x".to_owned(), FieldValue::Bytes(Vec::new())),
        ]);
        let ours = Properties {
            headers: Some(all),
            priority: Some(9),
            timestamp: Some(u64::MAX),
            message_type: Some(String::new()),
            ..Properties::default()
        };
        assert_eq!(properties(&basic_properties(&ours).unwrap()), ours);
        assert_eq!(
            properties(&basic_properties(&Properties::default()).unwrap()),
            Properties::default()
        );
    }

    #[test]
    fn what_amqp_cannot_carry_is_an_error() {
        let long = Properties { reply_to: Some("x".repeat(256)), ..Properties::default() };
        assert!(basic_properties(&long).unwrap_err().to_string().contains("reply_to"));
        let named = BTreeMap::from([("n".repeat(256), FieldValue::Void)]);
        let long = Properties { headers: Some(named), ..Properties::default() };
        assert!(basic_properties(&long).is_err());
    }
}
