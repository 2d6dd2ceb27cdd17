//! `bloodbank-audit trace`: what led to an event and what followed, drawn or for other programs.

use anyhow::Result;
use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use crate::support::{Bed, Kept, Scene, control_characters};

fn id(seq: i64) -> String {
    Kept::new(seq, "").id.unwrap()
}

/// An event that follows from these.
fn from(causes: &[i64], kept: Kept) -> Kept {
    Kept { causes: causes.iter().map(|&seq| id(seq)).collect(), ..kept }
}

async fn scene() -> Result<Scene> {
    let scene = Scene::migrated(Bed::shared().await?).await?;
    scene
        .keeps(&[
            Kept::new(1, "began"),
            from(&[1, 99], Kept::new(2, "asked")),
            from(&[2], Kept::new(5, "answered")),
            from(
                &[2],
                Kept { source: Some("\u{1b}[2J\"]; x".to_owned()), ..Kept::new(7, "called") },
            ),
            from(&[7], Kept::new(3, "returned")),
            from(&[5, 3], Kept::new(70, "ended")),
            // A circle.
            from(&[201], Kept::new(200, "chicken")),
            from(&[200], Kept::new(201, "egg")),
        ])
        .await?;
    Ok(scene)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_tells_who_followed_from_whom_and_how_long_it_took() -> Result<()> {
    let scene = scene().await?;
    let asked = scene.asks(&["trace", &id(2).to_uppercase()])?;
    let short: Vec<_> =
        asked.lines().into_iter().map(|line| line.replace(&id(0)[..35], "…")).collect();
    let day = short[0].split('T').next().unwrap().to_owned();
    assert_eq!(
        short,
        [
            &format!("{day}T00:00:01.000Z  began  host-a  …1"),
            "↓ +1.0 s  asked  host-a  …2  ◀  and from 1 other(s)",
            "├─ +3.0 s  answered  host-a  …5",
            "│  ↓ +1m 5s  ended  host-a  00000000-0000-4000-8000-000000000070  and from 1 other(s)",
            "└─ +5.0 s  called  \\u{1b}[2J\"]; x  …7",
            "   ↓ -4.0 s  returned  host-a  …3",
            &format!("not stored  {}", id(99)),
        ]
    );
    // A circle ends, wherever one begins.
    assert_eq!(scene.asks(&["trace", &id(200)])?.lines().len(), 2);
    // Also the trace of what is only named.
    let named = scene.asks(&["trace", &id(99)])?;
    assert!(named.lines()[0].starts_with("not stored  "), "{named:?}");

    let cut = scene.asks(&["trace", &id(1), "--depth", "1"])?;
    assert_eq!((cut.status, cut.text().lines().count()), (0, 2), "{cut:?}");
    assert!(cut.stderr.contains("--depth"), "{cut:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_get_every_link() -> Result<()> {
    let scene = scene().await?;
    let json: Value =
        serde_json::from_str(scene.asks(&["trace", &id(2), "--format", "json"])?.text())?;
    let events = json["events"].as_array().unwrap();
    assert_eq!((events.len(), &json["left_out"]), (7, &Value::Null));
    let ended = events.iter().find(|event| event["event_type"] == "ended").unwrap();
    assert_eq!(ended["causes"], serde_json::json!([id(5), id(3)]));
    assert_eq!(ended["depth"], 2);
    let missing: Vec<_> = events.iter().filter(|event| event["missing"] == true).collect();
    assert_eq!(
        (missing.len(), &missing[0]["id"], &missing[0]["depth"]),
        (1, &id(99).into(), &(-1).into())
    );

    let mermaid = scene.asks(&["trace", &id(2), "--format", "mermaid"])?;
    let lines = mermaid.lines();
    assert_eq!(lines[0], "flowchart TD");
    assert_eq!(lines.iter().filter(|line| line.contains("-->|")).count(), 6, "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line.contains("-.->")).count(), 1, "{lines:#?}");
    assert!(mermaid.text().contains("#92;u{1b}[2J#34;]#59; x<br/>"), "{}", mermaid.text());

    let dot = scene.asks(&["trace", &id(2), "--format", "dot"])?;
    let lines = dot.lines();
    assert_eq!((lines[0], lines[lines.len() - 1]), ("digraph trace {", "}"));
    assert_eq!(lines.iter().filter(|line| line.contains(" -> ")).count(), 7, "{lines:#?}");
    assert!(dot.text().contains("\\\\u{1b}[2J\\\"]; x\\n"), "{}", dot.text());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_fits_a_terminal_and_an_unknown_id_is_said() -> Result<()> {
    let scene = scene().await?;
    for columns in [20, 100] {
        let variables = [("PAGER", ""), ("NO_COLOR", "1")];
        let (status, screen) = scene.asks_at_a_terminal(columns, &variables, &["trace", &id(2)])?;
        assert_eq!((status, control_characters(&screen)), (0, vec![]), "{screen}");
        let widest = screen.lines().map(|line| line.width()).max();
        assert!(widest <= Some(columns.into()), "{screen}");
    }
    scene
        .asks(&["trace", "no' such"])?
        .refuses(1, "no event with the id no' such is stored, and none names it");
    scene.asks(&["trace"])?.refuses(2, "<ID>");
    scene
        .asks(&["trace", "x", "--within", "soon"])?
        .refuses(2, "write a duration such as 12h or 30d, or all");
    scene
        .asks(&["trace", "x", "--within", "1000000y"])?
        .refuses(2, "write a duration up to 36500d, or all");
    scene.asks(&["trace", "x", "--format", "tre"])?.refuses(2, "'tree'");
    Ok(())
}
