//! Replays that come back to the daemon through `#`.

use std::collections::BTreeMap;

use anyhow::Result;
use bloodbank_audit::event::{FieldValue, Properties};

use super::{last_replay, replays};
use crate::support::{Bed, Body, Kept, Load, Message, Scene, event, fixtures};

#[tokio::test(flavor = "multi_thread")]
async fn to_the_bus_and_back_adds_nothing_to_the_history() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let mut messages: Vec<_> = fixtures().into_iter().map(|(_, message)| message).collect();
    messages.push(Message::new("no id", *b"[1]"));
    messages.push(Message::new("no id", *b"[1]"));
    messages.push(Message::new("binary", *b"\xff\x00"));
    messages.extend((0..300).map(event));
    let headers = BTreeMap::from([("n".to_owned(), FieldValue::I16(1))]);
    messages[0].properties.headers = Some(headers);
    messages[1].properties.expiration = Some("600000".to_owned());
    let before = messages.len();
    scene.publish(&messages).await?;
    scene.stored(before).await?;

    let live = Load::new(&scene, 6)
        .under(async |load| {
            load.goes_on().await?;
            // Twice, and with a fresh id.
            for more in
                [&["--to-original"][..], &["--to-exchange", &scene.exchange(), "--fresh-ids"]]
            {
                let limit = before.to_string();
                let answer = replays(&scene, &[more, &["--yes", "--limit", &limit]].concat())?;
                assert_eq!(answer.status, 0, "{answer:?}");
            }
            load.goes_on().await
        })
        .await?;
    messages.extend(live);
    let replayed = i64::try_from(2 * before)?;
    scene.counts(replayed, "select count(*) from audit.replayed").await?;
    scene.ends_with(&daemon, &messages).await?;
    for (wanted, query) in [
        (
            replayed,
            "select count(distinct (replay, original_at, original_seq)) from audit.replayed",
        ),
        (replayed, "select count(*) from audit.replayed p join audit.replays r on r.id = p.replay"),
        (replayed, "select sum(replays)::int8 from audit.batches"),
        (0, "select sum(duplicates)::int8 from audit.batches"),
        (0, "select count(*) from audit.events where conflict or 'not-a-replay' = any (defects)"),
    ] {
        assert_eq!(scene.number(query).await?, wanted, "{query}");
    }
    let shown = |arguments: &[&str]| -> Result<usize> {
        Ok(scene.asks(&[&["events", "--count"], arguments].concat())?.text().trim().parse()?)
    };
    assert_eq!(shown(&[])?, messages.len());
    assert_eq!(shown(&["--replays"])?, messages.len() + 2 * before);
    // Which of them are replays, of which replay and of which event.
    let tells = |format: &str, columns: &[&str]| -> Result<String> {
        let arguments = ["events", "--replays", "--order", "oldest", "--format", format];
        Ok(scene.asks(&[&arguments[..], columns].concat())?.text().to_owned())
    };
    let lines = tells("ndjson", &[])?;
    let rows = lines.lines().map(serde_json::from_str::<serde_json::Value>);
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let replays_shown = rows.iter().filter(|row| row.get("replay").is_some()).count();
    assert_eq!(replays_shown, 2 * before);
    for row in &rows {
        let Some(at) = row.get("original_at") else {
            assert!(row.get("replay").is_none(), "{row}");
            continue;
        };
        let original =
            rows.iter().find(|one| one["received_at"] == *at && one["seq"] == row["seq"]);
        let original = original.expect("its event is there");
        assert!(original.get("replay").is_none() && original["event_type"] == row["event_type"]);
    }
    let last = last_replay(&scene).await?;
    let columns = ["--columns", "seq,replay,original_at"];
    let csv = tells("csv", &columns)?;
    assert!(csv.starts_with("seq,replay,original_at\r\n"), "{csv}");
    assert_eq!(csv.lines().filter(|line| line.contains(&last)).count(), before);
    assert!(tells("json", &columns)?.contains(&last));
    let table = scene.asks(&["events", "--replays", "--limit", "all"])?;
    assert!(table.text().contains(&last), "{table:?}");
    scene.asks(&["events", "--columns", "replay"])?.refuses(2, "--replays");
    scene.asks(&["events", "--follow", "--replays"])?.refuses(2, "cannot be used with");
    let id = messages[before - 1].properties.message_id.clone().unwrap();
    assert_eq!((shown(&["--id", &id])?, shown(&["--id", &id, "--replays"])?), (1, 3));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_event_that_comes_again_beside_its_replay_is_no_conflict() -> Result<()> {
    let scene = Scene::migrated(Bed::shared().await?).await?;
    // Longer ago than it is looked for what comes again.
    let originals: Vec<_> = (1..=20)
        .map(|seq| {
            let mut kept = Kept { days: 3, ..Kept::new(seq, "a.b") };
            let id = kept.id.as_deref().unwrap_or_default();
            kept.body = Body::Json(format!("{{\"event_id\": \"{id}\", \"number\": {seq}}}"));
            kept
        })
        .collect();
    scene.keeps(&originals).await?;
    // In the first hours of a day the partition before is looked through, too: this is it.
    scene.keeps(&[Kept { days: 1, ..Kept::new(77, "other") }]).await?;
    scene.daemon().await?.stops_cleanly().await?;
    let exchange = scene.exchange();
    let answer = replays(&scene, &["--type", "a.b", "--to-exchange", &exchange, "--yes"])?;
    assert_eq!(answer.status, 0, "{answer:?}");
    let again = originals.iter().map(|original| match &original.body {
        Body::Json(body) => Message::new("a.b", body.as_bytes()),
        Body::Bytes(body) => Message::new("a.b", &body[..]),
    });
    scene.publish(&again.collect::<Vec<_>>()).await?;
    let daemon = scene.daemon().await?;
    scene.counts(20, "select count(*) from audit.replayed").await?;
    scene.counts(41, "select count(*) from audit.events").await?;
    scene.counts(0, "select count(*) from audit.events where conflict").await?;
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_says_so_is_stored_and_flagged() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let original = event(1);
    scene.publish(std::slice::from_ref(&original)).await?;
    scene.stored(1).await?;
    let answer = replays(&scene, &["--to-original", "--yes"])?;
    assert_eq!(answer.status, 0, "{answer:?}");
    scene.counts(1, "select count(*) from audit.replayed").await?;
    // The same broker under another name.
    let url = format!("amqp://guest:guest@localhost:{}/%2f", scene.address()?.port);
    let answer = replays(&scene, &["--to-exchange", &scene.exchange(), "--url", &url])?;
    assert_eq!(answer.status, 2, "{answer:?}");
    assert!(answer.stderr.contains("--yes says that this is meant"), "{answer:?}");
    let known = last_replay(&scene).await?;
    let mut sql = scene.sql().await?;
    let received_at: String = sqlx::query_scalar(
        "select to_char(received_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') from audit.events",
    )
    .fetch_one(&mut sql)
    .await?;

    let says = |replay: &str, received_at: &str, message: &Message| {
        let text = |text: &str| FieldValue::String(text.to_owned());
        let headers = BTreeMap::from([
            ("x-replay-id".to_owned(), text(replay)),
            ("x-original-received-at".to_owned(), text(received_at)),
            ("x-original-exchange".to_owned(), text(&scene.exchange())),
        ]);
        let properties = Properties { headers: Some(headers), ..message.properties.clone() };
        Message { properties, ..message.clone() }
    };
    let other_body = Message { body: event(2).body, ..original.clone() };
    let other_key = Message { routing_key: "other.key".to_owned(), ..original.clone() };
    let mut other_header = says(&known, &received_at, &original);
    other_header.properties.priority = Some(9);
    let unknown = "00000000-0000-4000-8000-00000000ffff";
    let false_ones = [
        says(unknown, &received_at, &original),
        says(&known, &received_at, &other_body),
        says(&known, &received_at, &other_key),
        says(&known, "2020-01-01T00:00:00Z", &original),
        says(&known, "yesterday", &original),
        says("mine", &received_at, &Message::new("a.b", *b"hidden")),
        other_header,
    ];
    scene.publish(&false_ones).await?;
    // The same words, and true ones.
    scene.publish(&[says(&known, &received_at, &original)]).await?;
    scene.counts(2, "select count(*) from audit.replayed").await?;
    let flagged = "select count(*) from audit.events where 'not-a-replay' = any (defects)";
    assert_eq!(scene.number(flagged).await?, i64::try_from(false_ones.len())?);
    let mut messages = false_ones.to_vec();
    messages.push(original);
    scene.ends_with(&daemon, &messages).await
}
