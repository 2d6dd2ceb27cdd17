//! Rejections as columns: all of a batch in one statement.

use sha2::{Digest, Sha256};
use sqlx::{Postgres, postgres::PgArguments, query::Query};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    batch::HeaderKey,
    rows::{id_columns, whole},
};
use crate::event::{Event, Reason, Rejection, column_text};

const INSERT: &str =
    "insert into audit.rejections (lane, number, ordinal, received_at, reason, detail, sqlstate, redelivered, event_id,
         event_key, exchange, routing_key, properties, body_sha256, body_bytes, body)
     select $1, $2, r.ordinal - 1, r.received_at, r.reason, r.detail, r.sqlstate, r.redelivered, r.event_id, r.event_key,
            r.exchange, r.routing_key, r.properties::json, r.body_sha256, r.body_bytes, r.body
       from unnest($3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::bool[], $8::uuid[], $9::text[], $10::text[],
                   $11::text[], $12::text[], $13::bytea[], $14::int8[], $15::bytea[])
            with ordinality
         as r (received_at, reason, detail, sqlstate, redelivered, event_id, event_key, exchange, routing_key, properties,
               body_sha256, body_bytes, body, ordinal)";

/// The columns of some rejections.
#[derive(Default)]
pub(super) struct Rejections<'a> {
    /// Most bytes of a body that are kept.
    kept: usize,
    received_at: Vec<OffsetDateTime>,
    reason: Vec<&'static str>,
    detail: Vec<String>,
    sqlstate: Vec<Option<&'a str>>,
    redelivered: Vec<bool>,
    event_id: Vec<Option<Uuid>>,
    event_key: Vec<Option<&'a str>>,
    exchange: Vec<String>,
    routing_key: Vec<String>,
    properties: Vec<String>,
    body_sha256: Vec<[u8; 32]>,
    body_bytes: Vec<i64>,
    body: Vec<&'a [u8]>,
}

impl<'a> Rejections<'a> {
    /// None yet; of each body at most so many bytes will be kept, its first ones.
    pub fn keeping(kept: usize) -> Rejections<'a> {
        Rejections { kept, ..Rejections::default() }
    }

    pub fn push(&mut self, rejection: &'a Rejection) {
        let Event { delivery, defects, .. } = &rejection.event;
        let (event_id, event_key) = id_columns(&rejection.event);
        let (sqlstate, detail) = match &rejection.reason {
            Reason::Malformed => {
                (None, defects.iter().map(|defect| defect.as_str()).collect::<Vec<_>>().join(", "))
            }
            Reason::TooLarge { limit } => {
                (None, format!("{} bytes, and ingest.max_body is {limit}", delivery.body.len()))
            }
            Reason::Refused { sqlstate, message } => (Some(sqlstate.as_str()), message.clone()),
        };
        self.received_at.push(delivery.received_at);
        self.reason.push(rejection.reason.as_str());
        self.detail.push(column_text(&detail).into_owned());
        self.sqlstate.push(sqlstate);
        self.redelivered.push(delivery.redelivered);
        self.event_id.push(event_id);
        self.event_key.push(event_key);
        self.exchange.push(column_text(&delivery.exchange).into_owned());
        self.routing_key.push(column_text(&delivery.routing_key).into_owned());
        self.properties.push(delivery.properties_json());
        self.body_sha256.push(Sha256::digest(&delivery.body).into());
        self.body_bytes.push(whole(delivery.body.len()));
        self.body.push(&delivery.body[..self.kept.min(delivery.body.len())]);
    }

    pub fn len(&self) -> usize {
        self.received_at.len()
    }

    /// The statement that inserts them beside that header.
    pub fn insert(&self, key: HeaderKey) -> Query<'_, Postgres, PgArguments> {
        sqlx::query(INSERT)
            .bind(key.lane)
            .bind(key.number)
            .bind(&self.received_at)
            .bind(&self.reason)
            .bind(&self.detail)
            .bind(&self.sqlstate)
            .bind(&self.redelivered)
            .bind(&self.event_id)
            .bind(&self.event_key)
            .bind(&self.exchange)
            .bind(&self.routing_key)
            .bind(&self.properties)
            .bind(&self.body_sha256)
            .bind(&self.body_bytes)
            .bind(&self.body)
    }
}
