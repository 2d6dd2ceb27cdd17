//! The queue is read whole, in order, and without taking anything out of it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use bloodbank_audit::{
    broker::DeadLetter,
    event::{FieldValue, Properties},
};

use super::{dead_lettered, malformed, opened, strict};
use crate::support::{Bed, Message, Scene, drain};

/// Reads all that waits, and says what it is: the body, or nothing for what nobody can read.
async fn read(scene: &Scene) -> Result<Vec<Option<Vec<u8>>>> {
    let mut letters = opened(scene).await?;
    letters.permit(letters.waiting());
    let mut found = Vec::new();
    while let Some(letter) = letters.next().await? {
        found.push(match letter {
            DeadLetter::Message(delivery) => Some(delivery.body),
            DeadLetter::Unreadable { body_bytes, .. } => {
                assert_eq!(body_bytes, 2);
                None
            }
        });
    }
    assert!(letters.close().await);
    Ok(found)
}

async fn is_passed_by(queue_type: &str) -> Result<()> {
    let scene = strict(Bed::shared().await?).await?.with("rabbitmq.queue_type", queue_type);
    let messages = malformed(100);
    dead_lettered(&scene, &messages, Some(40)).await?;
    let mut wanted: Vec<_> = messages.iter().map(|message| Some(message.body.clone())).collect();
    wanted.insert(40, None);
    for _ in 0..3 {
        assert_eq!(read(&scene).await?, wanted);
        scene.waits(&scene.dead_letter_queue(), 101).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_no_client_can_decode_is_passed_by_in_a_quorum_queue() -> Result<()> {
    is_passed_by("quorum").await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_no_client_can_decode_is_passed_by_in_a_classic_queue() -> Result<()> {
    is_passed_by("classic").await
}

async fn takes_each_acknowledgement(queue_type: &str) -> Result<()> {
    let scene = strict(Bed::shared().await?).await?.with("rabbitmq.queue_type", queue_type);
    let messages = malformed(1000);
    dead_lettered(&scene, &messages, None).await?;
    let mut letters = opened(&scene).await?;
    letters.permit(letters.waiting());
    let mut tags = Vec::new();
    while let Some(letter) = letters.next().await? {
        let DeadLetter::Message(delivery) = letter else { anyhow::bail!("{letter:?}") };
        if ![&b"no json 700"[..], b"no json 999"].contains(&&*delivery.body) {
            tags.push(delivery.tag);
        }
    }
    letters.acknowledge(tags).await?;
    assert!(letters.close().await);
    scene.waits(&scene.dead_letter_queue(), 2).await?;
    let left = drain(&scene, &scene.dead_letter_queue()).await?;
    assert_eq!(left, [b"no json 700".to_vec(), b"no json 999".to_vec()]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_queue_takes_each_acknowledgement_before_the_end() -> Result<()> {
    takes_each_acknowledgement("quorum").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_classic_queue_takes_each_acknowledgement_before_the_end() -> Result<()> {
    takes_each_acknowledgement("classic").await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_property_and_header_is_read_with_its_type() -> Result<()> {
    let scene = strict(Bed::shared().await?).await?;
    let headers = BTreeMap::from([
        ("t".to_owned(), FieldValue::Bool(true)),
        ("b".to_owned(), FieldValue::I8(-1)),
        ("s".to_owned(), FieldValue::I16(-2)),
        ("I".to_owned(), FieldValue::I32(i32::MIN)),
        ("l".to_owned(), FieldValue::I64(i64::MIN)),
        ("d".to_owned(), FieldValue::F64(-0.1)),
        ("D".to_owned(), FieldValue::Decimal { scale: 2, value: 12_345 }),
        ("S".to_owned(), FieldValue::String("a\0b".to_owned())),
        ("A".to_owned(), FieldValue::Array(vec![FieldValue::Void, FieldValue::I64(1)])),
        ("T".to_owned(), FieldValue::Timestamp(1_700_000_000)),
        (
            "F".to_owned(),
            FieldValue::Table(BTreeMap::from([("x".to_owned(), FieldValue::Bytes(vec![0, 255]))])),
        ),
        ("V".to_owned(), FieldValue::Void),
    ]);
    let text = |text: &str| Some(text.to_owned());
    let properties = Properties {
        content_type: text("text/plain"),
        content_encoding: text("none"),
        headers: Some(headers.clone()),
        delivery_mode: Some(2),
        priority: Some(7),
        correlation_id: text("correlation"),
        reply_to: text("somewhere"),
        expiration: None,
        message_id: text("id"),
        timestamp: Some(1_700_000_001),
        message_type: text("type"),
        user_id: None,
        app_id: text("app"),
        cluster_id: text("cluster"),
    };
    let message = Message { properties: properties.clone(), ..Message::new("bad.one", "no json") };
    // Larger than a frame.
    let large = Message::new("bad.large", vec![b'x'; 300_000]);
    dead_lettered(&scene, &[message, large.clone()], None).await?;

    let mut letters = opened(&scene).await?;
    assert_eq!(letters.waiting(), 2);
    letters.permit(2);
    let first = letters.next().await?.context("no dead letter")?;
    let DeadLetter::Message(mut first) = first else { anyhow::bail!("{first:?}") };
    let found = first.properties.headers.as_mut().context("no headers")?;
    let deaths = found.remove("x-death").context("no x-death")?;
    assert!(format!("{deaths:?}").contains(&scene.queue()), "{deaths:?}");
    found.retain(|name, _| headers.contains_key(name));
    assert_eq!(first.properties, properties);
    assert_eq!((&*first.routing_key, &*first.body), ("bad.one", &b"no json"[..]));
    assert_eq!(first.exchange, scene.dead_letter_exchange());
    let second = letters.next().await?.context("no second dead letter")?;
    let DeadLetter::Message(second) = second else { anyhow::bail!("{second:?}") };
    assert!(second.body == large.body);
    assert_eq!(letters.next().await?, None);
    assert!(letters.close().await);
    scene.waits(&scene.dead_letter_queue(), 2).await
}
