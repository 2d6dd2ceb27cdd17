//! An event, kept beyond its row.

use time::OffsetDateTime;

use crate::{
    commands::events::{body_of, object, text},
    store::{Column, Row, Value},
};

/// What is shown of an event that was read.
pub struct Copy {
    pub seq: i64,
    /// None where the database has no finite time.
    pub received_at: Option<OffsetDateTime>,
    pub causes: Vec<String>,
    /// The columns of text that say something, by name.
    pub fields: Vec<(Column, String)>,
    pub event_time: Option<OffsetDateTime>,
    pub malformed: bool,
    pub conflict: bool,
    pub properties: String,
    pub body: Body,
    /// The whole as a JSON object on one line.
    pub object: Vec<u8>,
}

/// Its body.
pub enum Body {
    /// JSON, verbatim.
    Json(String),
    /// Anything else.
    Bytes(Vec<u8>),
}

/// What is listed by name.
const FIELDS: [Column; 8] = [
    Column::Id,
    Column::EventType,
    Column::Source,
    Column::Exchange,
    Column::RoutingKey,
    Column::Redelivered,
    Column::Defects,
    Column::BodyBytes,
];

impl Copy {
    pub fn of(row: &Row) -> anyhow::Result<Copy> {
        let flag = |column| Ok::<_, anyhow::Error>(row.value(column)? == Some(Value::Flag(true)));
        let time = |column| {
            Ok::<_, anyhow::Error>(match row.value(column)? {
                Some(Value::Time(time)) => Some(time),
                _ => None,
            })
        };
        let mut fields = Vec::new();
        for column in FIELDS {
            if let Some(value) = row.value(column)? {
                fields.push((column, text(value).into_owned()));
            }
        }
        let causes = match row.value(Column::CorrelationIds)? {
            Some(Value::Texts(texts)) => texts.iter().map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let body = match body_of(row)? {
            Some(Value::Json(json)) => Body::Json(json.to_owned()),
            Some(Value::Bytes(bytes)) => Body::Bytes(bytes.to_vec()),
            _ => Body::Bytes(Vec::new()),
        };
        let mut whole = Vec::new();
        object(&mut whole, row, Column::stored(), false)?;
        Ok(Copy {
            seq: match row.value(Column::Seq)? {
                Some(Value::Number(seq)) => seq,
                _ => 0,
            },
            received_at: time(Column::ReceivedAt)?,
            causes,
            fields,
            event_time: time(Column::EventTime)?,
            malformed: flag(Column::Malformed)?,
            conflict: flag(Column::Conflict)?,
            properties: row.value(Column::Properties)?.map(text).unwrap_or_default().into_owned(),
            body,
            object: whole,
        })
    }
}
