//! At a terminal: it fits, it is safe, and colours are as asked for.

use anyhow::Result;

use super::with;
use crate::support::{Body, Kept, Scene, control_characters};

const NO_PAGER: (&str, &str) = ("PAGER", "");
const NO_COLOUR: (&str, &str) = ("NO_COLOR", "1");

async fn scene() -> Result<Scene> {
    let evil = "\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m\u{202e}evil\r\n\t\u{7f}";
    with(&[
        Kept::new(1, "a.rather.long.type.of.event"),
        Kept {
            source: Some(evil.to_owned()),
            routing_key: evil.to_owned(),
            id: Some(evil.to_owned()),
            body: Body::Bytes(evil.as_bytes().to_vec()),
            ..Kept::new(2, evil)
        },
        // C1 controls may stand in JSON as they are.
        Kept { body: Body::Json("\"\u{9b}31m\u{7f}\u{202e}\"".to_owned()), ..Kept::new(3, "b") },
    ])
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_it_would_act_on_is_written() -> Result<()> {
    let scene = scene().await?;
    for format in ["table", "json", "ndjson", "csv"] {
        for columns in [20, 80, 200] {
            let arguments = ["events", "--format", format];
            let (status, screen) =
                scene.asks_at_a_terminal(columns, &[NO_PAGER, NO_COLOUR], &arguments)?;
            assert_eq!(status, 0, "{screen}");
            assert!(control_characters(&screen).is_empty(), "{format} at {columns}: {screen:?}");
            assert!(!screen.contains('\u{202e}'), "{format} at {columns}: {screen:?}");
            if format == "table" {
                let widest = screen.lines().map(|line| line.trim_end().chars().count()).max();
                assert!(widest <= Some(columns.into()), "{columns}: {screen}");
                assert!(screen.contains("a.rather"), "{screen}");
            }
        }
    }
    // Where there is no room for columns, nothing is left out that the width allows.
    let (_, screen) =
        scene.asks_at_a_terminal(80, &[NO_PAGER, NO_COLOUR], &["events", "--type", "a.#"])?;
    let lines: Vec<_> = screen.lines().collect();
    assert!(
        matches!(lines[..], [first, second] if first.ends_with(":01.000  a.rather.long.type.of.event  host-a")
            && second == "  00000000-0000-4000-8000-000000000001"),
        "{screen}"
    );
    // What escaping changes is not the meaning.
    let arguments = ["events", "--format", "ndjson"];
    let (_, screen) = scene.asks_at_a_terminal(200, &[NO_PAGER], &arguments)?;
    let piped = scene.asks(&arguments)?;
    for (shown, exact) in screen.lines().zip(piped.lines()) {
        let read = |line: &str| serde_json::from_str::<serde_json::Value>(line);
        assert_eq!(read(shown)?, read(exact)?);
    }
    let (status, screen) =
        scene.asks_at_a_terminal(20, &[NO_COLOUR], &["events", "--type", "c"])?;
    assert_eq!((status, &*screen), (1, "nothing matches\r\n"));
    // And an error quotes nothing raw either.
    let (status, screen) =
        scene.asks_at_a_terminal(80, &[NO_COLOUR], &["events", "--type", "\u{1b}[2Ja*"])?;
    assert_eq!((status, control_characters(&screen)), (2, vec![]), "{screen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_are_for_terminals_and_no_color_is_honoured() -> Result<()> {
    let scene = scene().await?;
    let coloured = |variables: &[(&str, &str)]| -> Result<bool> {
        let (status, screen) = scene.asks_at_a_terminal(120, variables, &["events"])?;
        assert_eq!(status, 0);
        Ok(screen.contains("\u{1b}["))
    };
    assert!(coloured(&[NO_PAGER])?);
    assert!(coloured(&[NO_PAGER, ("NO_COLOR", "")])?);
    assert!(!coloured(&[NO_PAGER, NO_COLOUR])?);
    assert!(!coloured(&[NO_PAGER, ("TERM", "dumb")])?);
    assert!(!scene.asks(&["events"])?.text().contains('\u{1b}'));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pager_is_used_at_a_terminal_only() -> Result<()> {
    let scene = scene().await?;
    let pager = ("PAGER", "sed 's/^/paged: /'");
    let paged = |arguments: &[&str]| -> Result<bool> {
        let (status, screen) = scene.asks_at_a_terminal(120, &[pager], arguments)?;
        assert_eq!(status, 0, "{screen}");
        Ok(screen.lines().all(|line| line.starts_with("paged: ")))
    };
    assert!(paged(&["events"])?);
    assert!(paged(&["events", "--format", "json"])?);
    assert!(!paged(&["events", "--no-pager"])?);
    assert!(!paged(&["events", "--count"])?);
    let mut piped = scene.command(&["events"]);
    assert!(!String::from_utf8(piped.env("PAGER", pager.1).output()?.stdout)?.contains("paged"));
    // One that goes at once has seen enough; the usual one ends by itself where all fits.
    let (status, _) = scene.asks_at_a_terminal(120, &[("PAGER", "true")], &["events"])?;
    assert_eq!(status, 0);
    // One that is not there has seen nothing.
    for format in ["table", "json"] {
        let arguments = ["events", "--format", format];
        let (status, screen) =
            scene.asks_at_a_terminal(120, &[("PAGER", "no-such-pager --x")], &arguments)?;
        assert!(
            status == 74 && screen.contains("correct PAGER, or ask for none by --no-pager"),
            "{screen}"
        );
    }
    let (status, screen) = scene.asks_at_a_terminal(120, &[], &["events"])?;
    assert!(status == 0 && screen.contains("a.rather") && screen.contains('…'), "{screen}");
    Ok(())
}
