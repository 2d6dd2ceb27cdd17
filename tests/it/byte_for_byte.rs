//! Byte for byte: whatever the bus carries is stored, recoverable exactly, and in the columns where it belongs.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use bloodbank_audit::event::{FieldValue, Properties};
use sqlx::Row as _;
use uuid::Uuid;

use crate::support::{Bed, Message, Scene, fixtures};

#[tokio::test(flavor = "multi_thread")]
async fn each_shape_of_the_bus_becomes_the_row_it_should() -> Result<()> {
    // event_id, event_type, event_time in UTC, source, correlation_ids
    let expected = [
        (
            "0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11",
            "transcription.voice.completed",
            "2026-01-27 15:30:00.123456",
            "bloodbank-cli",
            "",
        ),
        (
            "8057a88f-1d84-5270-8500-1fe179622bcf",
            "fireflies.transcript.upload",
            "2026-01-28 09:00:01.000000",
            "file-watcher",
            "0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11",
        ),
        (
            "5b1c6f0e-3a55-4c7f-8a21-cc1b9a9f2a10",
            "agent.thread.prompt",
            "2026-01-30 21:44:07.000001",
            "agent",
            "",
        ),
        (
            "d3f9895d-dfeb-478e-8b3a-caabc15baacd",
            "tts.response.completed",
            "2026-01-29 11:29:52.481516",
            "tonny",
            "",
        ),
        ("", "tool.mutation.write", "2026-02-06 09:53:00.123456", "", "sess-7"),
        (
            "ef332175-aec1-4d2a-a8b6-bd36640eeb81",
            "command.envelope",
            "2026-02-26 17:40:00.000000",
            "hookd-bridge",
            "3e0b0a52-7b52-4a54-9a8e-0d8c1f2a4b6c",
        ),
        (
            "ca8bfda6-4b80-4857-ace2-03cef572218b",
            "command.envelope",
            "2026-02-26 18:00:00.000000",
            "context-monitor",
            "",
        ),
        (
            "83f0a62b-77a0-4ed9-a432-9015b519e89a",
            "llm.prompt",
            "2025-10-08 12:00:00.000000",
            "cli/claude",
            "8daba21c-a916-4032-a87a-810dcb69814f",
        ),
    ];
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let (shapes, messages): (Vec<_>, Vec<_>) = fixtures().into_iter().unzip();
    scene.publish(&messages).await?;
    scene.stored_exactly(&messages).await?;

    let mut sql = scene.sql().await?;
    let rows = sqlx::query(
        "select coalesce(event_id::text, ''), coalesce(event_type, ''), to_char(event_time at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'),
                coalesce(source, ''), array_to_string(correlation_ids, ','), routing_key, exchange, properties::text,
                audit.raw(e), malformed or conflict or redelivered, defects::text, payload is not null
           from audit.events e order by seq",
    )
    .fetch_all(&mut sql)
    .await?;
    assert_eq!(rows.len(), expected.len());
    for (((row, expected), message), shape) in rows.iter().zip(expected).zip(&messages).zip(shapes)
    {
        let text = |column: usize| row.get::<&str, _>(column);
        assert_eq!((text(0), text(1), text(2), text(3), text(4)), expected, "{shape}");
        assert_eq!(
            (text(5), text(6)),
            (message.routing_key.as_str(), scene.exchange().as_str()),
            "{shape}"
        );
        assert_eq!(Properties::from_json(text(7))?, message.properties, "{shape}");
        assert_eq!(row.get::<&[u8], _>(8), message.body, "{shape}");
        assert!(!row.get::<bool, _>(9), "{shape}: flagged");
        assert_eq!(row.get::<Option<&str>, _>(10), None, "{shape}");
        assert!(row.get::<bool, _>(11), "{shape}: not in payload");
    }
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_bodies_are_stored_with_the_reason_why_they_are_odd() -> Result<()> {
    let id = Uuid::new_v4;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let mut large = format!(r#"{{"event_id":"{}","payload":""#, id()).into_bytes();
    large.resize(16 * 1024 * 1024 - 2, b'x');
    large.extend(b"\"}");
    // The body, whether it is malformed, whether SQL can look into it, and its defects.
    let cases: Vec<(Vec<u8>, bool, bool, &str)> = vec![
        (b"".to_vec(), true, false, "{empty-body}"),
        (b"hello".to_vec(), true, false, "{invalid-json}"),
        (b"\xff\xfe\x00{}".to_vec(), true, false, "{invalid-utf8}"),
        (b"[1,2]".to_vec(), true, true, "{not-an-object}"),
        (b"{\"event_id\":".to_vec(), true, false, "{invalid-json}"),
        (deep.clone().into_bytes(), true, false, "{not-an-object,too-deep}"),
        (
            format!(r#"{{"event_id":"{}","payload":{deep}}}"#, id()).into_bytes(),
            false,
            false,
            "{too-deep}",
        ),
        (large, false, true, ""),
        (
            format!(r#"{{"event_id":"{}","n":1e400000,"m":-0.1E-99999}}"#, id()).into_bytes(),
            false,
            true,
            "",
        ),
        (
            format!(r#"{{"event_id":"{}","n":123456789012345678901234567890}}"#, id()).into_bytes(),
            false,
            true,
            "",
        ),
        (format!(r#"{{"event_id":"x","event_id":"{}"}}"#, id()).into_bytes(), false, true, ""),
        (
            format!(r#"{{"event_id":"{}","payload":"a\u0000b"}}"#, id()).into_bytes(),
            false,
            false,
            "{nul-escape}",
        ),
        (
            format!(r#"{{"event_id":"{}","payload":"\ud800"}}"#, id()).into_bytes(),
            false,
            false,
            "{lone-surrogate}",
        ),
        (
            format!(r#"{{"event_id":"{}","payload":"a{}b"}}"#, id(), '\0').into_bytes(),
            true,
            false,
            "{invalid-json}",
        ),
        (br#"{"event_id":"not a uuid"}"#.to_vec(), false, true, "{event-id-not-a-uuid}"),
        (br#"{"event_id":{}}"#.to_vec(), false, true, "{event-id-unusable}"),
        (br#"{"event_type":"no.id","timestamp":"0000-01-01T00:00:00Z"}"#.to_vec(), false, true, ""),
        (
            br#"{"timestamp":"300000-01-01T00:00:00Z"}"#.to_vec(),
            false,
            true,
            "{event-time-out-of-range}",
        ),
        (br#"{"timestamp":"yesterday"}"#.to_vec(), false, true, "{event-time-unreadable}"),
        (
            format!("\u{feff}{{\"event_id\":\"{}\"}}", id()).into_bytes(),
            true,
            false,
            "{invalid-json}",
        ),
    ];
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let messages: Vec<_> =
        cases.iter().map(|(body, ..)| Message::new("bad.input", body.clone())).collect();
    scene.publish(&messages).await?;
    scene.stored_exactly(&messages).await?;

    let mut sql = scene.sql().await?;
    let rows: Vec<(bool, bool, String)> = sqlx::query_as(
        "select malformed, payload is not null, coalesce(defects::text, '') from audit.events order by seq",
    )
    .fetch_all(&mut sql)
    .await?;
    for ((row, (body, malformed, in_payload, defects)), number) in rows.iter().zip(&cases).zip(0..)
    {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(
            *row,
            (*malformed, *in_payload, (*defects).to_owned()),
            "case {number}: {shown}"
        );
    }
    let (key, time): (String, String) = sqlx::query_as(
        "select (select event_key from audit.events where event_key is not null),
                (select to_char(event_time at time zone 'UTC', 'YYYY-MM-DD BC') from audit.events where event_type = 'no.id')",
    )
    .fetch_one(&mut sql)
    .await?;
    assert_eq!(
        (key.as_str(), time.as_str()),
        ("not a uuid", "0001-01-01 BC"),
        "PostgreSQL has no year 0"
    );
    // Every reader of the table can look into every payload.
    let readable = "select count(payload->>'event_id') from audit.events where payload is not null and json_typeof(payload) = 'object'";
    assert!(scene.number(readable).await? > 0);
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_every_type_come_back_with_their_types() -> Result<()> {
    let every_type = BTreeMap::from(
        [
            ("t", FieldValue::Bool(true)),
            ("b", FieldValue::I8(-8)),
            ("B", FieldValue::U8(200)),
            ("s", FieldValue::I16(-300)),
            ("u", FieldValue::U16(60_000)),
            ("I", FieldValue::I32(i32::MIN)),
            ("i", FieldValue::U32(u32::MAX)),
            ("l", FieldValue::I64(i64::MIN)),
            ("f", FieldValue::F32(1.5)),
            ("d", FieldValue::F64(0.1)),
            ("D", FieldValue::Decimal { scale: 3, value: -12_345 }),
            ("S", FieldValue::String("with a NUL: \0, and ünïcode".to_owned())),
            (
                "A",
                FieldValue::Array(vec![
                    FieldValue::I32(1),
                    FieldValue::Array(vec![]),
                    FieldValue::Void,
                ]),
            ),
            ("T", FieldValue::Timestamp(u64::MAX)),
            (
                "F",
                FieldValue::Table(BTreeMap::from([(
                    "x".to_owned(),
                    FieldValue::Bytes(vec![0, 255]),
                )])),
            ),
            ("V", FieldValue::Void),
            ("x", FieldValue::Bytes(b"bytes".to_vec())),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let cases = [
        Properties { headers: Some(every_type), ..Properties::default() },
        Properties { headers: Some(BTreeMap::new()), ..Properties::default() },
        Properties::default(),
        Properties {
            content_type: Some("a/b".to_owned()),
            content_encoding: Some("gzip".to_owned()),
            headers: None,
            delivery_mode: Some(1),
            priority: Some(255),
            correlation_id: Some("corr".to_owned()),
            reply_to: Some("reply".to_owned()),
            expiration: Some("600000".to_owned()),
            message_id: Some("not-a-uuid".to_owned()),
            timestamp: Some(u64::MAX),
            message_type: Some("a.type".to_owned()),
            user_id: Some("guest".to_owned()),
            app_id: Some("nul \0 inside".to_owned()),
            cluster_id: Some("cluster".to_owned()),
        },
    ];
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let messages =
        cases.clone().map(|properties| Message { properties, ..Message::new("some.header", "{}") });
    scene.publish(&messages).await?;
    scene.stored_exactly(&messages).await?;

    let mut sql = scene.sql().await?;
    let stored: Vec<(String,)> =
        sqlx::query_as("select properties::text from audit.events order by seq")
            .fetch_all(&mut sql)
            .await?;
    for ((stored,), properties) in stored.iter().zip(cases) {
        assert_eq!(Properties::from_json(stored)?, properties, "{stored}");
    }
    let (word, list): (String, String) = sqlx::query_as(
        "select properties->'headers'->>'l', properties->'headers'->'A'->>0 from audit.events order by seq limit 1",
    )
    .fetch_one(&mut sql)
    .await?;
    assert_eq!((word, list), (i64::MIN.to_string(), "1".to_owned()));
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_routing_keys_are_kept_exactly() -> Result<()> {
    let keys = ["", "a", "a.b.c.d", "ünï.cöde", "with space", "n\0ul", &"k".repeat(255)]
        .map(str::to_owned);
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let messages = keys.clone().map(|key| Message::new(&key, "{}"));
    scene.publish(&messages).await?;
    scene.stored_exactly(&messages).await?;
    let mut sql = scene.sql().await?;
    let stored: Vec<(String, String)> =
        sqlx::query_as("select routing_key, properties::text from audit.events order by seq")
            .fetch_all(&mut sql)
            .await?;
    for ((column, properties), key) in stored.iter().zip(keys) {
        let recorded = bloodbank_audit::event::RecordedProperties::from_json(properties)?;
        assert_eq!(recorded.routing_key.as_ref().unwrap_or(column), &key);
        assert_eq!(column, &key.replace('\0', "\u{fffd}"));
    }
    daemon.stops_cleanly().await
}

/// AMQP bounds a header table by the frame, 128 KiB: room for some 18,000 levels.
#[test]
fn deeply_nested_headers_do_not_crash_the_daemon() -> Result<()> {
    let deep = || {
        let mut value = FieldValue::Void;
        for level in 0..15_000 {
            value = match level % 2 {
                0 => FieldValue::Table(BTreeMap::from([("a".to_owned(), value)])),
                _ => FieldValue::Array(vec![value]),
            };
        }
        let headers = Some(BTreeMap::from([("deep".to_owned(), value)]));
        let properties =
            Properties { headers, message_id: Some("deep".to_owned()), ..Properties::default() };
        Message { properties, ..Message::new("deep.headers", "{}") }
    };
    let play = move || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let scene = Scene::set(Bed::shared().await?).await?;
            let daemon = scene.daemon().await?;
            let messages = [deep(), Message::new("after.it", "{}")];
            scene.publish(&messages).await?;
            scene.stored(2).await?;
            assert_eq!(daemon.said("the session with the broker ended"), 0, "{:#?}", daemon.log());
            // What came once comes again, and is recognised.
            scene.publish(&messages[..1]).await?;
            scene.counts(1, "select coalesce(sum(duplicates), 0)::int8 from audit.batches").await?;
            daemon.stops_cleanly().await
        })
    };
    // The client's own encoder recurses too.
    let thread = std::thread::Builder::new().stack_size(1 << 30).spawn(play)?;
    thread.join().ok().context("the test's thread panicked")?
}
