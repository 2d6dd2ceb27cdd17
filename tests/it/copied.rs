//! Rows are the same, whether few of them are inserted or many are copied.

use std::time::Duration;

use anyhow::Result;
use bloodbank_audit::{
    event::{Delivery, Envelope, Event, FieldValue, Preset, Properties, now},
    store::{Append as _, Batch, Entry, Settings, Writer, options},
};
use sqlx::Connection as _;
use time::OffsetDateTime;

use crate::support::{Bed, Message, Scene, event, fixtures};

/// Below this a batch is inserted.
const FEW: usize = 40;

fn writer(scene: &Scene) -> Result<Writer> {
    let long = Duration::from_secs(60);
    Ok(Writer::new(Settings {
        options: options(scene.database_url())?,
        connect_timeout: long,
        statement_timeout: long,
        hourly: false,
        partitions_ahead: 1,
        dedupe_overlap: long,
        redelivered_within: long,
        ledger: None,
        rejected_body: 0,
    }))
}

/// Whatever has a column of its own, and more of it than are inserted.
fn messages() -> Vec<Message> {
    let mut messages: Vec<_> = fixtures().into_iter().map(|(_, message)| message).collect();
    for body in ["", "hello", "[1]", r#"{"a":"\u0000"}"#, r#"{"id":"no uuid","type":"ä\"\\"}"#] {
        messages.push(Message::new("odd.body", body));
    }
    messages.push(Message::new("a\0key", b"\xff\0".to_vec()));
    messages
        .push(Message::new("many.parents", r#"{"correlation_ids":["a","","{,}","\"\\","NULL"]}"#));
    let headers = [("text", "ä"), ("nul", "a\0b")];
    let value = |(name, text): (&str, &str)| (name.to_owned(), FieldValue::String(text.to_owned()));
    messages.push(Message {
        properties: Properties {
            headers: Some(headers.map(value).into()),
            timestamp: Some(1_700_000_000),
            ..Properties::default()
        },
        ..Message::new("some.headers", "{}")
    });
    messages.extend((0..3 * FEW).map(event));
    messages
}

fn entries(messages: &[Message], body_suffix: &[u8], at: OffsetDateTime) -> Vec<Entry> {
    let envelope = Envelope::preset(Preset::Bloodbank);
    let entry = |(tag, message): (u64, &Message)| {
        let delivery = Delivery {
            tag,
            redelivered: tag % 2 == 0,
            exchange: "an.exchange".to_owned(),
            routing_key: message.routing_key.clone(),
            properties: message.properties.clone(),
            body: [&message.body, body_suffix].concat(),
            received_at: at,
        };
        Entry::Event(Event::from_delivery(delivery, &envelope))
    };
    (1..).zip(messages).map(entry).collect()
}

/// Appends the entries in batches of that many, and says what is in the table then.
async fn rows(scene: &Scene, batches: Vec<Vec<Entry>>) -> Result<Vec<String>> {
    scene.daemon().await?.stops_cleanly().await?;
    let mut writer = writer(scene)?;
    for entries in batches {
        writer.append(&mut Batch::new(entries)).await?;
    }
    writer.close().await;
    let mut sql = scene.sql().await?;
    let columns = "select (received_at, event_time, event_id, redelivered, conflict, malformed, event_key, event_type,
                           source, exchange, routing_key, correlation_ids, defects, properties, payload, body,
                           conflict_digest)::text
                     from audit.events order by seq";
    let rows = sqlx::query_scalar(columns).fetch_all(&mut sql).await?;
    sql.close().await?;
    Ok(rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_way_they_go_in() -> Result<()> {
    let bed = Bed::shared().await?;
    let (messages, at) = (messages(), now());
    // The same, then all ids with other content: conflicts, which have a digest.
    let first = || entries(&messages, b"", at);
    let second = || entries(&messages, b" ", at);
    let by_few = |mut entries: Vec<Entry>| {
        let mut few = Vec::new();
        while !entries.is_empty() {
            let rest = entries.split_off(FEW.min(entries.len()));
            few.push(std::mem::replace(&mut entries, rest));
        }
        few
    };
    let few = by_few(first()).into_iter().chain(by_few(second())).collect();
    let inserted = rows(&Scene::set(bed).await?, few).await?;
    let copied = rows(&Scene::set(bed).await?, vec![first(), second()]).await?;
    assert_eq!(inserted.len(), 2 * messages.len());
    assert_eq!(inserted, copied);
    Ok(())
}
