//! An event's fields, taken from a delivery.

use std::borrow::Cow;
use std::collections::HashSet;

use time::OffsetDateTime;
use uuid::Uuid;

use super::{Envelope, Place, PropertyName};
use crate::event::scan::{Document, Value, elements};
use crate::event::{Defect, Delivery, Event, EventId, FieldValue, timestamp};

/// What the envelope says.
#[derive(Debug, Default)]
pub(in crate::event) struct Fields {
    pub id: Option<EventId>,
    pub id_in_header: bool,
    pub event_type: Option<String>,
    pub event_time: Option<OffsetDateTime>,
    pub source: Option<String>,
    pub correlation_ids: Vec<String>,
}

/// What stands at a place.
enum Found<'a> {
    /// Not empty, without U+0000.
    Text(Cow<'a, str>),
    /// A number, as written.
    Number(Cow<'a, str>),
    /// Seconds since 1970.
    Seconds(u64),
    /// A JSON array.
    Array(&'a str),
    /// An AMQP array.
    Fields(&'a [FieldValue]),
    /// A value that no field can be.
    Other,
}

impl Envelope {
    /// Takes the fields from a delivery and its body, if that is JSON; adds what was found wrong.
    pub(in crate::event) fn extract(
        &self,
        delivery: &Delivery,
        document: Option<&Document<'_>>,
        defects: &mut Vec<Defect>,
    ) -> Fields {
        let mut found = Lookup { delivery, document, defects };
        let id = found.first(&self.event_id, event_id);
        let id_in_header = matches!(id, Some((_, Place::Header(_))));
        if id_in_header && self.binary_mode {
            found.document = None;
        }
        let id = id.map(|(id, _)| id);
        if self.uuid_ids && matches!(id, Some(EventId::Text(_))) {
            found.defects.push(Defect::EventIdNotAUuid);
        }
        let event_type =
            found.first(&self.event_type, |value| text(value, Defect::EventTypeUnusable));
        let event_time = found.first(&self.event_time, event_time);
        let source = found.first(&self.source, |value| text(value, Defect::SourceUnusable));
        Fields {
            id,
            id_in_header,
            event_type: event_type.map(|(event_type, _)| event_type),
            event_time: event_time.map(|(event_time, _)| event_time),
            source: source.map(|(source, _)| source),
            correlation_ids: found.correlation_ids(&self.correlation_ids),
        }
    }
}

fn event_id(value: Found<'_>) -> Result<EventId, Defect> {
    let id = id_text(value).ok_or(Defect::EventIdUnusable)?;
    Ok(match Uuid::try_parse(&id) {
        Ok(uuid) => EventId::Uuid(uuid),
        Err(_) => EventId::Text(id.into_owned()),
    })
}

/// An identifier; a number stands for its digits.
fn id_text(value: Found<'_>) -> Option<Cow<'_, str>> {
    let text = match value {
        Found::Text(text) | Found::Number(text) => text,
        Found::Seconds(seconds) => Cow::Owned(seconds.to_string()),
        Found::Array(_) | Found::Fields(_) | Found::Other => return None,
    };
    (text.len() <= Event::MAX_ID).then_some(text)
}

/// A uuid as PostgreSQL writes it, so that it equals the id of the event that it names; anything else as it is.
fn usual_form(id: Cow<'_, str>) -> Cow<'_, str> {
    let Ok(uuid) = Uuid::try_parse(&id) else { return id };
    let mut buffer = Uuid::encode_buffer();
    let usual = uuid.hyphenated().encode_lower(&mut buffer);
    if *usual == *id { id } else { Cow::Owned(usual.to_owned()) }
}

fn event_time(value: Found<'_>) -> Result<OffsetDateTime, Defect> {
    match value {
        Found::Text(text) => timestamp::parse(&text),
        Found::Seconds(seconds) => timestamp::from_unix_seconds(seconds),
        // Whether a number counts seconds, milli- or nanoseconds would be a guess.
        _ => Err(Defect::EventTimeUnreadable),
    }
}

fn text(value: Found<'_>, unusable: Defect) -> Result<String, Defect> {
    match value {
        Found::Text(text) if text.len() <= Event::MAX_TEXT => Ok(text.into_owned()),
        _ => Err(unusable),
    }
}

/// Looks things up in one delivery.
struct Lookup<'a, 'd> {
    delivery: &'a Delivery,
    document: Option<&'a Document<'a>>,
    defects: &'d mut Vec<Defect>,
}

impl<'a> Lookup<'a, '_> {
    /// The first usable value, and where it stood.
    fn first<'p, T>(
        &mut self,
        places: &'p [Place],
        read: impl Fn(Found<'a>) -> Result<T, Defect>,
    ) -> Option<(T, &'p Place)> {
        for place in places {
            match self.at(place).map(&read) {
                None => {}
                Some(Ok(value)) => return Some((value, place)),
                Some(Err(defect)) => self.defects.push(defect),
            }
        }
        None
    }

    /// What stands at a place; `None` also for what is as good as absent.
    fn at(&self, place: &Place) -> Option<Found<'a>> {
        match place {
            Place::Body(slot) => of_json(self.document?.at(*slot)?),
            Place::Property(name) => of_property(self.delivery, *name),
            Place::Header(name) => of_field(self.delivery.properties.headers.as_ref()?.get(name)?),
        }
    }

    fn correlation_ids(&mut self, places: &[Place]) -> Vec<String> {
        let groups: [fn(&Place) -> bool; 3] = [
            |place| matches!(place, Place::Body(_)),
            |place| matches!(place, Place::Header(_)),
            |place| matches!(place, Place::Property(_)),
        ];
        for group in groups {
            let mut ids = Ids::default();
            for place in places.iter().filter(|place| group(place)) {
                match self.at(place) {
                    Some(Found::Array(array)) => {
                        ids.extend(elements(array).filter_map(|value| of_json(&value)))
                    }
                    Some(Found::Fields(fields)) => ids.extend(fields.iter().filter_map(of_field)),
                    value => ids.extend(value),
                }
            }
            if ids.unusable {
                self.defects.push(Defect::CorrelationIdsUnusable);
            }
            if !ids.kept.is_empty() {
                return ids.kept;
            }
        }
        Vec::new()
    }
}

/// Identifiers in order, each once.
#[derive(Default)]
struct Ids {
    kept: Vec<String>,
    /// The same, once there are so many that looking through them would cost more than a hash.
    seen: HashSet<String>,
    unusable: bool,
}

impl Ids {
    const FEW: usize = 16;

    fn has(&self, id: &str) -> bool {
        if self.kept.len() <= Ids::FEW {
            self.kept.iter().any(|kept| kept == id)
        } else {
            self.seen.contains(id)
        }
    }

    fn keep(&mut self, id: Cow<'_, str>) {
        self.kept.push(id.into_owned());
        match self.kept.len() {
            0..=Ids::FEW => {}
            len if len == Ids::FEW + 1 => self.seen.extend(self.kept.iter().cloned()),
            _ => self.seen.extend(self.kept.last().cloned()),
        }
    }

    fn extend<'a>(&mut self, values: impl IntoIterator<Item = Found<'a>>) {
        for value in values {
            match id_text(value).map(usual_form) {
                Some(id) if self.has(&id) => {}
                Some(id) if self.kept.len() < Event::MAX_CORRELATION_IDS => self.keep(id),
                _ => self.unusable = true,
            }
        }
    }
}

fn of_text(text: Cow<'_, str>) -> Option<Found<'_>> {
    match text {
        text if text.is_empty() => None,
        text if text.contains('\0') => Some(Found::Other),
        text => Some(Found::Text(text)),
    }
}

fn of_json<'a>(value: &Value<'a>) -> Option<Found<'a>> {
    match value {
        Value::Null => None,
        Value::String(text) => text.value().map_or(Some(Found::Other), of_text),
        Value::Number(number) => Some(Found::Number(Cow::Borrowed(number))),
        Value::Array(array) => Some(Found::Array(array)),
        Value::Bool | Value::Object(_) => Some(Found::Other),
    }
}

fn of_field(value: &FieldValue) -> Option<Found<'_>> {
    let number = |number: i64| Some(Found::Number(Cow::Owned(number.to_string())));
    match value {
        FieldValue::Void => None,
        FieldValue::String(text) => of_text(Cow::Borrowed(text)),
        FieldValue::Timestamp(seconds) => Some(Found::Seconds(*seconds)),
        FieldValue::Array(fields) => Some(Found::Fields(fields)),
        FieldValue::I8(v) => number(i64::from(*v)),
        FieldValue::U8(v) => number(i64::from(*v)),
        FieldValue::I16(v) => number(i64::from(*v)),
        FieldValue::U16(v) => number(i64::from(*v)),
        FieldValue::I32(v) => number(i64::from(*v)),
        FieldValue::U32(v) => number(i64::from(*v)),
        FieldValue::I64(v) => number(*v),
        FieldValue::Bool(_)
        | FieldValue::F32(_)
        | FieldValue::F64(_)
        | FieldValue::Decimal { .. }
        | FieldValue::Table(_)
        | FieldValue::Bytes(_) => Some(Found::Other),
    }
}

fn of_property(delivery: &Delivery, name: PropertyName) -> Option<Found<'_>> {
    let p = &delivery.properties;
    let text = match name {
        PropertyName::DeliveryMode => {
            return Some(Found::Number(Cow::Owned(p.delivery_mode?.to_string())));
        }
        PropertyName::Priority => return Some(Found::Number(Cow::Owned(p.priority?.to_string()))),
        PropertyName::Timestamp => return Some(Found::Seconds(p.timestamp?)),
        PropertyName::ContentType => &p.content_type,
        PropertyName::ContentEncoding => &p.content_encoding,
        PropertyName::CorrelationId => &p.correlation_id,
        PropertyName::ReplyTo => &p.reply_to,
        PropertyName::Expiration => &p.expiration,
        PropertyName::MessageId => &p.message_id,
        PropertyName::Type => &p.message_type,
        PropertyName::UserId => &p.user_id,
        PropertyName::AppId => &p.app_id,
        PropertyName::ClusterId => &p.cluster_id,
    };
    of_text(Cow::Borrowed(text.as_deref()?))
}
