//! The same events, in the same order, in the same words.

use std::collections::BTreeMap;

use anyhow::Result;
use bloodbank_audit::event::{Delivery, FieldValue, Properties};
use sqlx::Row as _;

use super::{header, history, numbers, own_headers, quorum_queue, replays, taken};
use crate::support::{Bed, Message, Scene, event, fixtures};

/// How many events there are here; `REPLAY_EVENTS` says another number.
const EVENTS: usize = 4000;

/// Messages of every kind that the bus carries, and some that it should not.
fn messages() -> Vec<Message> {
    let headers = BTreeMap::from([
        ("i16".to_owned(), FieldValue::I16(-3)),
        ("u8".to_owned(), FieldValue::U8(200)),
        ("f32".to_owned(), FieldValue::F32(0.1)),
        ("time".to_owned(), FieldValue::Timestamp(1_700_000_000)),
        ("bytes".to_owned(), FieldValue::Bytes(vec![0, 255])),
        ("decimal".to_owned(), FieldValue::Decimal { scale: 2, value: 314 }),
        ("nothing".to_owned(), FieldValue::Void),
        ("nul".to_owned(), FieldValue::String("a\0b".to_owned())),
        (
            "table".to_owned(),
            FieldValue::Table(BTreeMap::from([(
                "list".to_owned(),
                FieldValue::Array(vec![FieldValue::I64(1), FieldValue::Bool(true)]),
            )])),
        ),
    ]);
    let full = Properties {
        content_type: Some("text/plain".to_owned()),
        content_encoding: Some("identity".to_owned()),
        headers: Some(headers),
        delivery_mode: Some(1),
        priority: Some(7),
        correlation_id: Some("c".to_owned()),
        reply_to: Some("r".to_owned()),
        expiration: Some("86400000".to_owned()),
        message_id: Some("m".to_owned()),
        timestamp: Some(1_700_000_000),
        message_type: Some("t".to_owned()),
        user_id: None,
        app_id: Some("app".to_owned()),
        cluster_id: Some("cluster".to_owned()),
    };
    let mut messages: Vec<_> = fixtures().into_iter().map(|(_, message)| message).collect();
    messages
        .push(Message { properties: full.clone(), ..Message::new("every.property", *b"hello") });
    messages.push(Message::new("empty", *b""));
    messages.push(Message::new("binary", *b"\xff\xfe\x00{}"));
    messages.push(Message::new("no id", *b"[1,  2]"));
    messages.push(Message::new("no id", *b"[1,  2]"));
    messages.push(Message::new("large", vec![b'x'; 700_000]));
    let number = std::env::var("REPLAY_EVENTS").ok().and_then(|n| n.parse().ok());
    messages.extend((0..number.unwrap_or(EVENTS)).map(|number| with_some(number, &full)));
    messages
}

/// An event with some of these properties, each set of them in its turn, and one of their headers.
fn with_some(number: usize, full: &Properties) -> Message {
    let mut message = event(number);
    let own = message.properties.clone();
    let bits = number % 1024;
    macro_rules! some {
        ($($bit:literal $name:ident),*) => {
            Properties {
                $($name: if bits >> $bit & 1 == 1 { full.$name.clone() } else { own.$name.clone() },)*
                headers: full.headers.iter().flatten().nth(number % 10).map(|(name, value)| {
                    BTreeMap::from([
                        (name.clone(), value.clone()),
                        ("number".to_owned(), FieldValue::I64(number.try_into().unwrap_or_default())),
                    ])
                }),
                priority: u8::try_from(number % 11).ok().filter(|&priority| priority < 10),
                ..own.clone()
            }
        };
    }
    message.properties = some!(0 content_type, 1 content_encoding, 2 delivery_mode, 3 correlation_id, 4 reply_to, 5 expiration,
        6 timestamp, 7 message_type, 8 app_id, 9 cluster_id);
    message
}

/// What has to be the same: the key, the properties, the body.
fn same(delivery: &Delivery) -> (String, Properties, Vec<u8>) {
    let key = header(delivery, "x-original-routing-key").unwrap_or(&delivery.routing_key);
    let headers = own_headers(delivery);
    (key.to_owned(), Properties { headers, ..delivery.properties.clone() }, delivery.body.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_gets_each_event_as_it_was_in_the_order_of_arrival() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let messages = messages();
    scene.publish(&messages).await?;
    scene.stored(messages.len()).await?;
    daemon.stops_cleanly().await?;
    let queue = quorum_queue(&scene, "target").await?;

    let answer = replays(&scene, &["--to-queue", &queue, "--json"])?;
    assert_eq!(answer.status, 0, "{answer:?}");
    let said: serde_json::Value = serde_json::from_slice(&answer.stdout)?;
    let events = messages.len();
    assert_eq!((&said["matched"], &said["confirmed"]), (&events.into(), &events.into()), "{said}");
    assert_eq!(said["state"], "finished");

    let taken = taken(&scene, &queue).await?;
    let mut sql = scene.sql().await?;
    let rows = sqlx::query(
        "select routing_key, properties::text, audit.raw(e), exchange,
                to_char(received_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') from audit.events e order by received_at, seq",
    )
    .fetch_all(&mut sql)
    .await?;
    assert_eq!(taken.len(), rows.len());
    for (delivery, row) in taken.iter().zip(&rows) {
        let mut properties = Properties::from_json(row.get(1))?;
        properties.headers = properties.headers.filter(|headers| !headers.is_empty());
        let stored = (row.get::<String, _>(0), properties, row.get::<Vec<u8>, _>(2));
        assert_eq!(same(delivery), stored);
        assert_eq!(header(delivery, "x-original-exchange"), Some(row.get(3)));
        let received_at = header(delivery, "x-original-received-at").unwrap();
        let received_at = received_at.trim_end_matches('Z');
        assert!(row.get::<&str, _>(4).starts_with(received_at), "{received_at}");
        assert_eq!(header(delivery, "x-replay-id"), said["id"].as_str());
    }
    let recorded = "select count(*) from audit.replays where state = 'finished' and confirmed = matched and settled_all
                        and os_user <> '' and host <> '' and role = session_user";
    let recorded = recorded.replace(
        " and settled_all",
        " and reached_at = (select max(received_at) from audit.events)",
    );
    let on_record: i64 =
        sqlx::query_scalar(sqlx::AssertSqlSafe(recorded)).fetch_one(&mut sql).await?;
    assert_eq!(on_record, 1);
    let noted = "select count(*) from audit.access_log where command = 'replay' and ended_at is not null and count > 1000";
    assert_eq!(scene.number(noted).await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_lists_traces_and_earlier_replays_choose() -> Result<()> {
    let scene = history(Bed::shared().await?, 300).await?;
    let queue = quorum_queue(&scene, "target").await?;
    let directory = tempfile::tempdir()?;
    let list = directory.path().join("ids");
    let id = |number: i32| {
        let sql = scene.sql();
        async move {
            let mut sql = sql.await?;
            let id: String = sqlx::query_scalar("select md5($1::text)::uuid::text")
                .bind(number.to_string())
                .fetch_one(&mut sql)
                .await?;
            anyhow::Ok(id)
        }
    };
    let (fifth, sixth) = (id(5).await?, id(6).await?);
    let unknown = "00000000-0000-4000-8000-00000000ffff";
    std::fs::write(&list, format!("{sixth}\n\n{{\"id\": \"{fifth}\"}}\n{unknown}\n{sixth}\n"))?;
    let list = list.to_str().unwrap();
    let every_tenth: Vec<i64> = (0..30).map(|n| n * 10 + 3).collect();
    for (arguments, wanted) in [
        (&["--type", "kind.3.seen", "--since", "yesterday", "--until", "today"][..], every_tenth),
        (&["--since", "yesterday", "--limit", "3"], vec![1, 2, 3]),
        (&["--source", "source-3", "--until", "today", "--limit", "2"], vec![3, 10]),
        (&["--id", &fifth], vec![5]),
        // Each third one follows from the one before it.
        (&["--trace", &sixth], vec![5, 6]),
        (&["--ids-from", list], vec![5, 6]),
        (&["--ids-from", list, "--type", "kind.6.#"], vec![6]),
    ] {
        let answer = replays(&scene, &[arguments, &["--to-queue", &queue]].concat())?;
        assert_eq!(answer.status, 0, "{arguments:?}: {answer:?}");
        let said_missing = answer.stderr.contains(unknown);
        assert_eq!(said_missing, arguments.contains(&"--ids-from"), "{answer:?}");
        assert_eq!(numbers(&taken(&scene, &queue).await?)?, wanted, "{arguments:?}");
    }
    let last = super::last_replay(&scene).await?;
    let again = replays(&scene, &["--replay-of", &last, "--to-queue", &queue])?;
    assert_eq!(again.status, 0, "{again:?}");
    assert_eq!(numbers(&taken(&scene, &queue).await?)?, [6]);
    // Those of one with a limit are no more than it had.
    let limited = replays(&scene, &["--since", "yesterday", "--limit", "2", "--to-queue", &queue])?;
    assert_eq!(limited.status, 0, "{limited:?}");
    let last = super::last_replay(&scene).await?;
    let again = replays(&scene, &["--replay-of", &last, "--to-queue", &queue])?;
    assert_eq!(again.status, 0, "{again:?}");
    assert_eq!(numbers(&taken(&scene, &queue).await?)?, [1, 2, 1, 2]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_gets_them_under_their_own_keys_or_with_a_prefix() -> Result<()> {
    let scene = history(Bed::shared().await?, 20).await?;
    let queue = quorum_queue(&scene, "target").await?;
    let prefixed = format!("{}.#", scene.name);
    super::bind(&scene, &queue, "amq.topic", &prefixed).await?;
    let prefix = format!("{}.", scene.name);
    let answer = replays(
        &scene,
        &[
            &super::YESTERDAY[..],
            &["--to-exchange", "amq.topic", "--key-prefix", &prefix, "--fresh-ids"],
        ]
        .concat(),
    )?;
    assert_eq!(answer.status, 0, "{answer:?}");
    let taken = taken(&scene, &queue).await?;
    assert_eq!(numbers(&taken)?, (1..=20).collect::<Vec<_>>());
    for delivery in &taken {
        let key = header(delivery, "x-original-routing-key").unwrap();
        assert_eq!(delivery.routing_key, format!("{prefix}{key}"));
        assert!(key.starts_with("kind."), "{key}");
        assert!(delivery.properties.message_id.is_some());
    }
    Ok(())
}
