//! `bloodbank-audit show`: one event whole.

use anyhow::Result;
use serde_json::Value;

use crate::support::{Bed, Body, Kept, Scene, control_characters};

const ID: &str = "00000000-0000-4000-8000-000000000002";
const SHOWN: &str = "urn:uuid:00000000-0000-4000-8000-000000000002";
const EVIL: &str = "\u{1b}[2J\u{9b}31m\u{202e}evil\r\t\u{7f}";

async fn scene() -> Result<Scene> {
    let scene = Scene::migrated(Bed::shared().await?).await?;
    let id = |seq: i64| Kept::new(seq, "").id.unwrap();
    scene
        .keeps(&[
            Kept { days: 2, ..Kept::new(1, "what.led.to.it") },
            Kept {
                days: 1,
                causes: vec![id(1), "lost".to_owned()],
                body: Body::Json("{\"z\":1.10,\"a\":[{}, \"x\"]}".to_owned()),
                ..Kept::new(2, "the.event")
            },
            Kept { causes: vec![ID.to_owned()], ..Kept::new(3, "followed.first") },
            Kept { causes: vec!["x".to_owned(), ID.to_owned()], ..Kept::new(4, "followed.second") },
            Kept {
                id: Some(ID.to_owned()),
                conflict: true,
                body: Body::Bytes(b"no \xff text \x1b[2J that is longer".to_vec()),
                malformed: true,
                ..Kept::new(5, "the.event.again")
            },
            Kept {
                id: Some(EVIL.to_owned()),
                source: Some(EVIL.to_owned()),
                body: Body::Bytes(EVIL.as_bytes().to_vec()),
                ..Kept::new(6, EVIL)
            },
        ])
        .await?;
    let mut sql = scene.sql().await?;
    sqlx::query(
        "insert into audit.batches (lane, number, committed_at, first_seq, events, conflicts, duplicates, rejections,
                body_bytes)
         select md5('lane')::uuid, 7, e.received_at, 2, 1, 0, 0, 0, 24 from audit.events e where e.seq = 2",
    )
    .execute(&mut sql)
    .await?;
    Ok(scene)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_shown_with_all_that_is_known_of_it() -> Result<()> {
    let scene = scene().await?;
    let shown = scene.asks(&["show", SHOWN])?;
    shown.lines();
    let text = shown.text();
    for said in [
        "id            00000000-0000-4000-8000-000000000002\nevent_type    the.event\n",
        "routing_key   the.event\n",
        "body_bytes    24\n",
        "seq           2\npartition     audit.events_2",
        "batch         7 of ",
        "properties\n  {\n    \"delivery_mode\": 2\n  }\n",
        "body\n  {\n    \"z\": 1.10,\n    \"a\": [\n      {},\n      \"x\"\n    ]\n  }\n",
        "\nconflict: other content came under this id before\nmalformed: the body",
        "  00000000  6e 6f 20 ff 20 74 65 78 74 20 1b 5b 32 4a 20 74  no . text .[2J t\n  00000010  68 61",
        "  what.led.to.it  host-a  00000000-0000-4000-8000-000000000001\n",
        &format!("not stored{:40}lost\n", ""),
        "  followed.first   host-a  00000000-0000-4000-8000-000000000003\n",
        "  followed.second  host-a  00000000-0000-4000-8000-000000000004\n",
    ] {
        assert!(text.contains(said), "{said:?} is not in\n{text}");
    }

    let json: Value = serde_json::from_str(scene.asks(&["show", ID, "--format", "json"])?.text())?;
    assert_eq!(json["events"][0]["payload"]["a"][1], "x");
    assert_eq!(json["events"][0]["batch"]["number"], 7);
    assert!(json["events"][0]["partition"].as_str().unwrap().starts_with("events_2"));
    assert_eq!(json["events"][1]["conflict"], true);
    assert!(json["events"][1]["body_base64"].is_string());
    assert_eq!(json["causes"][0]["event_type"], "what.led.to.it");
    assert_eq!(
        (&json["causes"][1]["id"], &json["causes"][1]["stored"]),
        (&"lost".into(), &false.into())
    );
    assert_eq!(json["effects"][1]["event_type"], "followed.second");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_stored_is_said_and_nothing_raw_is_written() -> Result<()> {
    let scene = scene().await?;
    scene.asks(&["show", "no such id"])?.refuses(1, "no event with the id no such id is stored");
    scene.asks(&["show", "lost"])?.refuses(1, "others name it: bloodbank-audit trace lost");
    scene.asks(&["show", "x' or '1'='1"])?.refuses(1, "no event with the id");
    scene.asks(&["show"])?.refuses(2, "<ID>");
    for arguments in [&["show", EVIL][..], &["show", EVIL, "--format", "json"], &["show", ID]] {
        for columns in [20, 120] {
            let variables = [("PAGER", ""), ("NO_COLOR", "1")];
            let (status, screen) = scene.asks_at_a_terminal(columns, &variables, arguments)?;
            assert_eq!(status, 0, "{screen}");
            assert!(control_characters(&screen).is_empty(), "{screen:?}");
            assert!(!screen.contains('\u{202e}'), "{screen:?}");
        }
    }
    Ok(())
}
