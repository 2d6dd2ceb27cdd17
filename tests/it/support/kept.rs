//! Events that are there without a bus: written as the daemon would have written them.

use anyhow::Result;
use sqlx::PgConnection;

use super::Scene;

/// A body, in the column that the daemon would choose.
#[derive(Debug, Clone)]
pub enum Body {
    Json(String),
    Bytes(Vec<u8>),
}

/// An event to be kept.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its number, and how many seconds after the beginning of today it was received.
    pub seq: i64,
    /// How many days ago.
    pub days: i32,
    pub id: Option<String>,
    pub event_type: Option<String>,
    pub source: Option<String>,
    pub routing_key: String,
    pub causes: Vec<String>,
    pub conflict: bool,
    pub malformed: bool,
    pub body: Body,
}

impl Kept {
    /// An event of that number and type, with a routing key like its type.
    pub fn new(seq: i64, event_type: &str) -> Kept {
        Kept {
            seq,
            days: 0,
            id: Some(format!("00000000-0000-4000-8000-{seq:012}")),
            event_type: Some(event_type.to_owned()),
            source: Some("host-a".to_owned()),
            routing_key: event_type.to_owned(),
            causes: Vec::new(),
            conflict: false,
            malformed: false,
            body: Body::Json(format!("{{\"number\": {seq}}}")),
        }
    }
}

impl Scene {
    /// Writes them.
    pub async fn keeps(&self, events: &[Kept]) -> Result<()> {
        let mut sql = self.sql().await?;
        for event in events {
            keep(&mut sql, event).await?;
        }
        Ok(())
    }
}

async fn keep(sql: &mut PgConnection, event: &Kept) -> Result<()> {
    let at = "date_trunc('day', now(), 'UTC') - $1 * interval '1 day' + $2 * interval '1 second'";
    let partition = format!("select from_at from audit.ensure_partition({at}, 'daily')");
    sqlx::query(sqlx::AssertSqlSafe(partition))
        .bind(event.days)
        .bind(event.seq)
        .execute(&mut *sql)
        .await?;
    let insert = format!(
        "insert into audit.events (received_at, seq, event_id, event_key, event_type, source, exchange, routing_key,
             correlation_ids, conflict, conflict_digest, malformed, redelivered, properties, payload, body)
         values ({at}, $2, case when $3 ~ '^[0-9a-f-]{{36}}$' then $3::uuid end,
                 case when $3 !~ '^[0-9a-f-]{{36}}$' then $3 end, $4, $5, 'bus', $6, $7, $8,
                 case when $8 then '\\x00' end::bytea, $9, false, '{{\"delivery_mode\":2}}', $10::json, $11)"
    );
    let (json, bytes) = match &event.body {
        Body::Json(json) => (Some(json), None),
        Body::Bytes(bytes) => (None, Some(bytes)),
    };
    sqlx::query(sqlx::AssertSqlSafe(insert))
        .bind(event.days)
        .bind(event.seq)
        .bind(&event.id)
        .bind(&event.event_type)
        .bind(&event.source)
        .bind(&event.routing_key)
        .bind(&event.causes)
        .bind(event.conflict)
        .bind(event.malformed)
        .bind(json)
        .bind(bytes)
        .execute(sql)
        .await?;
    Ok(())
}
