//! `bloodbank-audit stats`: how much of what, when.

use anyhow::Result;
use serde_json::Value;

use crate::support::{Bed, Kept, Scene, control_characters};

/// Yesterday: 12 events of 11 types in its first hour, and 3 in its second, one malformed, one without a type; today one.
async fn scene() -> Result<Scene> {
    let scene = Scene::migrated(Bed::shared().await?).await?;
    let yesterday = |seq, kind: &str| Kept { days: 1, ..Kept::new(seq, kind) };
    let mut events: Vec<_> = (1..=11).map(|n| yesterday(n, &format!("type.{n:02}"))).collect();
    events.push(yesterday(12, "type.02"));
    events.push(Kept { malformed: true, event_type: None, ..yesterday(3600, "") });
    events.push(Kept { source: Some("\u{1b}[2J".to_owned()), ..yesterday(3601, "type.02") });
    events.push(Kept { conflict: true, ..yesterday(3602, "type.03") });
    events.push(Kept::new(0, "today"));
    scene.keeps(&events).await?;
    let mut sql = scene.sql().await?;
    sqlx::raw_sql(
        "insert into audit.batches (lane, number, committed_at, first_seq, events, conflicts, duplicates, rejections, body_bytes)
         values (md5('lane')::uuid, 1, date_trunc('day', now(), 'UTC') - interval '20 hours', 1, 15, 1, 5, 2, 4711);
         insert into audit.rejections (lane, number, ordinal, received_at, reason, detail, redelivered, exchange, routing_key,
             properties, body_sha256, body_bytes)
         select md5('lane')::uuid, 1, n, date_trunc('day', now(), 'UTC') - interval '20 hours', 'too-large', '', false, '', '',
                '{}', '', 0
           from generate_series(1, 2) n;
         analyze audit.events;",
    )
    .execute(&mut sql)
    .await?;
    Ok(scene)
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_came_is_counted() -> Result<()> {
    let scene = scene().await?;
    let asked = ["stats", "--since", "yesterday", "--until", "today"];
    let json: Value =
        serde_json::from_str(scene.asks(&[&asked[..], &["--format", "json"]].concat())?.text())?;
    for (name, number) in [
        ("events", 15),
        ("conflicts", 1),
        ("malformed", 1),
        ("duplicates", 5),
        ("batches", 1),
        ("body_bytes", 4711),
    ] {
        assert_eq!(json[name], number, "{name} in {json:#}");
    }
    let hours: Vec<_> =
        json["hours"].as_array().unwrap().iter().map(|hour| &hour["events"]).collect();
    assert_eq!(hours, [12, 3]);
    assert_eq!(json["types"]["different"], 12);
    let top = json["types"]["top"].as_array().unwrap();
    assert_eq!((top.len(), &top[0]["name"], &top[0]["events"]), (10, &"type.02".into(), &3.into()));
    assert_eq!(
        json["sources"]["top"][0],
        serde_json::json!({"name": "host-a", "events": 14, "conflicts": 1, "malformed": 1})
    );
    assert_eq!(
        (&json["rejections"][0]["reason"], &json["rejections"][0]["rejections"]),
        (&"too-large".into(), &2.into())
    );
    let partitions = json["partitions"].as_array().unwrap();
    assert_eq!((partitions.len(), &partitions[0]["events"]), (1, &15.into()), "{json:#}");
    assert!(partitions[0]["bytes"].as_i64() > Some(8192));

    let table = scene.asks(&asked)?;
    table.lines();
    for said in [
        "\nevents          15\n",
        "\nper hour, most  12 at ",
        "\nevents per hour\n█▂",
        "\ntype.02          3  20.0%\n",
        "\n2 others         2  13.3%\n",
        "\ntoo-large           2  ",
        "\nall of these  ",
    ] {
        assert!(table.text().contains(said), "{said:?} is not in\n{}", table.text());
    }
    let all: Value =
        serde_json::from_str(scene.asks(&["stats", "--all", "--format", "json"])?.text())?;
    assert_eq!((&all["events"], all["partitions"].as_array().unwrap().len()), (&16.into(), 2));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_fits_a_narrow_terminal_and_says_when_there_is_nothing() -> Result<()> {
    let scene = scene().await?;
    let variables = [("PAGER", ""), ("NO_COLOR", "1")];
    for columns in [20, 100] {
        let (status, screen) = scene.asks_at_a_terminal(
            columns,
            &variables,
            &["stats", "--since", "yesterday", "--until", "today"],
        )?;
        assert_eq!((status, control_characters(&screen)), (0, vec![]), "{screen}");
    }
    let nothing = scene.asks(&["stats", "--until", "2020-01-01"])?;
    assert_eq!((nothing.status, &*nothing.stderr), (1, ""), "{nothing:?}");
    // No span that ends before it begins.
    assert!(nothing.text().starts_with("to              2020-01-01T00:00:00Z\n"), "{nothing:?}");
    scene.asks(&["stats", "--since", "2031-01-01"])?.refuses(2, "in the future");
    scene.asks(&["stats", "--all", "--since", "1d"])?.refuses(2, "cannot be used with");
    Ok(())
}
