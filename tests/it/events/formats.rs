//! Formats: what programs read is all there, and the body is exact.

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{events, with};
use crate::support::{Body, Kept};

#[derive(Deserialize)]
struct Line<'a> {
    seq: i64,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    body: Option<String>,
    body_base64: Option<String>,
}

fn bodies() -> Vec<(Body, &'static str)> {
    let json = |text: &str| Body::Json(text.to_owned());
    let bytes = |bytes: &[u8]| Body::Bytes(bytes.to_vec());
    vec![
        (json("{\"b\": 1.10, \"a\":12345678901234567890123, \"a\": null }"), "payload"),
        (json("  \"text with \\n and \u{7f} and \u{9b}\"\t"), "payload"),
        (json("[]"), "payload"),
        (json("{\r\n  \"a\":\n 1}"), "body"),
        (bytes(b""), "body"),
        (bytes(b"two\nlines \x1b[31m\0 \"quoted\" \\"), "body"),
        (bytes("ü 漢 \u{2028}".as_bytes()), "body"),
        (bytes(b"no \xff text\n"), "body_base64"),
        (bytes(&[0xc3, 0x28, 0, 1, 2]), "body_base64"),
    ]
}

fn history() -> Vec<Kept> {
    let numbered = bodies().into_iter().zip(1..);
    numbered.map(|((body, _), seq)| Kept { body, ..Kept::new(seq, "a.b") }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_hold_each_body_exactly() -> Result<()> {
    let scene = with(&history()).await?;
    let answer = events(&scene, &["--format", "ndjson", "--order", "oldest"])?;
    let lines = answer.lines();
    assert_eq!(lines.len(), bodies().len());
    for ((line, (body, wanted)), seq) in lines.into_iter().zip(bodies()).zip(1..) {
        let read: Line = serde_json::from_str(line).context(line.to_owned())?;
        assert_eq!(read.seq, seq);
        let (name, found) = match (read.payload, read.body, read.body_base64) {
            (Some(payload), None, None) => ("payload", payload.get().as_bytes().to_vec()),
            (None, Some(body), None) => ("body", body.into_bytes()),
            (None, None, Some(body)) => ("body_base64", STANDARD.decode(body)?),
            _ => anyhow::bail!("not one body in {line}"),
        };
        let (Body::Json(_) | Body::Bytes(_)) = &body;
        let published = match &body {
            Body::Json(json) => json.as_bytes(),
            Body::Bytes(bytes) => bytes,
        };
        assert_eq!(name, wanted, "{line}");
        if name == "payload" {
            // A parser leaves out the spaces around it; the line has them.
            let json = std::str::from_utf8(published)?;
            assert!(line.ends_with(&format!("\"payload\":{json}}}")), "{line}");
        } else {
            assert_eq!(found, published, "{line}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_is_there_in_every_format() -> Result<()> {
    let scene = with(&[
        Kept {
            causes: vec!["a, \"b\"".to_owned(), "ü".to_owned()],
            source: Some("a,\"b\"\nc".to_owned()),
            ..Kept::new(1, "a.b")
        },
        Kept { id: Some("no uuid".to_owned()), event_type: None, ..Kept::new(2, "c.d") },
    ])
    .await?;

    let lines = events(&scene, &["--format", "ndjson", "--order", "oldest"])?;
    let day = lines.text().split("\"received_at\":\"").nth(1).unwrap()[..10].to_owned();
    assert_eq!(
        lines.lines(),
        [
            format!(
                "{{\"seq\":1,\"received_at\":\"{day}T00:00:01.000000Z\",\
                 \"event_id\":\"00000000-0000-4000-8000-000000000001\",\"redelivered\":false,\"conflict\":false,\
                 \"malformed\":false,\"event_type\":\"a.b\",\"source\":\"a,\\\"b\\\"\\nc\",\"exchange\":\"bus\",\
                 \"routing_key\":\"a.b\",\"correlation_ids\":[\"a, \\\"b\\\"\",\"ü\"],\"properties\":{{\"delivery_mode\":2}},\
                 \"payload\":{{\"number\": 1}}}}"
            ),
            format!(
                "{{\"seq\":2,\"received_at\":\"{day}T00:00:02.000000Z\",\"redelivered\":false,\"conflict\":false,\
                 \"malformed\":false,\"event_key\":\"no uuid\",\"source\":\"host-a\",\"exchange\":\"bus\",\
                 \"routing_key\":\"c.d\",\"correlation_ids\":[],\"properties\":{{\"delivery_mode\":2}},\
                 \"payload\":{{\"number\": 2}}}}"
            ),
        ]
    );

    let array = events(&scene, &["--format", "json", "--order", "oldest"])?;
    let array: Vec<serde_json::Value> = serde_json::from_str(array.text())?;
    let each: Vec<serde_json::Value> =
        lines.lines().iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?;
    assert_eq!(array, each);
    let nothing = events(&scene, &["--format", "json", "--source", "nobody"])?;
    assert_eq!((nothing.status, nothing.text()), (1, "[]\n"));

    let csv = events(
        &scene,
        &[
            "--format",
            "csv",
            "--order",
            "oldest",
            "--columns",
            "id,source,correlation_ids,body_bytes",
        ],
    )?;
    assert_eq!(
        csv.text(),
        "id,source,correlation_ids,body_bytes\r\n\
         00000000-0000-4000-8000-000000000001,\"a,\"\"b\"\"\nc\",\"[\"\"a, \\\"\"b\\\"\"\"\",\"\"ü\"\"]\",13\r\n\
         no uuid,host-a,[],13\r\n"
    );
    let all = events(&scene, &["--format", "csv"])?;
    assert!(all.text().starts_with("seq,received_at,event_time,"), "{}", all.text());
    let some = events(&scene, &["--format", "ndjson", "--columns", "ID, body_bytes", "-n", "1"])?;
    assert_eq!(some.text(), "{\"id\":\"no uuid\",\"body_bytes\":13}\n");

    let table = events(&scene, &["--columns", "seq,event_type,id,payload"])?;
    assert_eq!(
        table.text(),
        "seq  event_type  id                                    payload\n  \
           2              no uuid                               {\"number\": 2}\n  \
           1  a.b         00000000-0000-4000-8000-000000000001  {\"number\": 1}\n"
    );
    Ok(())
}

/// A reader that has seen enough is no failure, whatever is left, and the table has its limit.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_seen_enough_may_go() -> Result<()> {
    use std::{io::Read as _, process::Stdio};

    let large = Body::Json(format!("\"{}\"", "x".repeat(20_000)));
    let kept = |seq| Kept { body: large.clone(), ..Kept::new(seq, "a.b") };
    let scene = with(&(1..=60).map(kept).collect::<Vec<_>>()).await?;
    for format in ["ndjson", "json", "csv"] {
        let mut command = scene.command(&["events", "--format", format]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut stdout = child.stdout.take().context("stdout")?;
        stdout.read_exact(&mut [0; 10])?;
        drop(stdout);
        let ended = child.wait_with_output()?;
        assert_eq!((ended.status.code(), &*ended.stderr), (Some(0), &b""[..]), "{format}");
    }
    assert_eq!(events(&scene, &[])?.lines().len(), 1 + 50);
    assert_eq!(events(&scene, &["-n", "all"])?.lines().len(), 1 + 60);
    // No room on the device.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
    let ended = scene.command(&["events", "--format", "ndjson"]).stdout(full).output()?;
    assert_eq!(ended.status.code(), Some(74));
    Ok(())
}
