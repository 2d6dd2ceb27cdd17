//! An event of our own, written so that an envelope finds its fields.

use serde_json::{Map, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Envelope, PropertyName, Selector};
use crate::event::{FieldValue, Properties, rfc3339};

/// What an event is to say of itself.
pub struct Fields<'a> {
    /// Its id.
    pub id: Uuid,
    /// Its type.
    pub event_type: &'a str,
    /// When it happened.
    pub at: OffsetDateTime,
    /// Who produced it.
    pub source: &'a str,
}

impl Envelope {
    /// Properties and a body with each field at the first place where it is looked for. A place that cannot hold it is left as it
    /// is.
    pub(in crate::event) fn write(&self, fields: &Fields<'_>) -> (Properties, Vec<u8>) {
        let mut body = Value::Object(Map::new());
        let mut properties = Properties {
            content_type: Some("application/json".to_owned()),
            delivery_mode: Some(2),
            message_id: Some(fields.id.to_string()),
            ..Properties::default()
        };
        let [id, event_type, at, source] = &self.first_places;
        // The id last: nothing else may take its place.
        put(source, fields.source.to_owned(), None, &mut properties, &mut body);
        put(event_type, fields.event_type.to_owned(), None, &mut properties, &mut body);
        let seconds = u64::try_from(fields.at.unix_timestamp()).ok();
        put(at, rfc3339(fields.at), seconds, &mut properties, &mut body);
        put(id, fields.id.to_string(), None, &mut properties, &mut body);
        (properties, body.to_string().into_bytes())
    }
}

fn put(
    place: &Option<Selector>,
    text: String,
    seconds: Option<u64>,
    properties: &mut Properties,
    body: &mut Value,
) {
    match place {
        Some(Selector::Body(steps)) => {
            if let Some(place) = place_in(body, steps) {
                *place = Value::String(text);
            }
        }
        Some(Selector::Header(name)) => {
            let headers = properties.headers.get_or_insert_default();
            headers.insert(name.clone(), FieldValue::String(text));
        }
        Some(Selector::Property(name)) => match name {
            PropertyName::CorrelationId => properties.correlation_id = Some(text),
            PropertyName::MessageId => properties.message_id = Some(text),
            PropertyName::Type => properties.message_type = Some(text),
            PropertyName::AppId => properties.app_id = Some(text),
            PropertyName::ReplyTo => properties.reply_to = Some(text),
            PropertyName::Timestamp => properties.timestamp = seconds,
            // They mean something to the broker or to whoever reads the body.
            PropertyName::ContentType
            | PropertyName::ContentEncoding
            | PropertyName::DeliveryMode
            | PropertyName::Priority
            | PropertyName::Expiration
            | PropertyName::UserId
            | PropertyName::ClusterId => {}
        },
        None => {}
    }
}

/// The place to which a pointer leads, made where it is missing. `None` where an array would need others before it.
fn place_in<'a>(body: &'a mut Value, steps: &[String]) -> Option<&'a mut Value> {
    let mut place = body;
    for step in steps {
        if place.is_null() && step == "0" {
            *place = Value::Array(vec![Value::Null]);
        } else if !place.is_object() && !place.is_array() {
            *place = Value::Object(Map::new());
        }
        place = match place {
            Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?)?,
            Value::Object(fields) => fields.entry(step.clone()).or_insert(Value::Null),
            _ => return None,
        };
    }
    Some(place)
}
