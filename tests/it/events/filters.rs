//! Each filter, and in which order.

use anyhow::Result;

use super::{events, with};
use crate::support::{Kept, Scene};

const ID: &str = "8057A88F-1D84-5270-8500-1FE179622BCF";

/// The numbers of the events that match, as they come.
fn found(scene: &Scene, arguments: &[&str]) -> Result<Vec<i64>> {
    let answer = events(scene, &[&["--format", "csv", "--columns", "seq"], arguments].concat())?;
    assert_eq!(answer.stderr, "", "{arguments:?}");
    let numbers: Vec<i64> =
        answer.text().lines().skip(1).map(str::parse).collect::<Result<_, _>>()?;
    assert_eq!(answer.status, i32::from(numbers.is_empty()), "{arguments:?}");
    Ok(numbers)
}

fn history() -> Vec<Kept> {
    let kept = Kept::new;
    vec![
        Kept { days: 3, ..kept(1, "llm.prompt.sent") },
        Kept { days: 2, routing_key: "other.key".to_owned(), ..kept(2, "llm.prompt.sent") },
        Kept { days: 1, source: Some("host-b".to_owned()), ..kept(3, "llm.answer") },
        Kept { days: 1, id: Some(ID.to_lowercase()), ..kept(4, "llm.prompt.sent.twice") },
        Kept { days: 1, id: Some("order '7'".to_owned()), ..kept(5, "order.made") },
        Kept { causes: vec![ID.to_lowercase()], ..kept(6, "follows.first") },
        Kept { causes: vec!["x".to_owned(), ID.to_lowercase()], ..kept(7, "follows.second") },
        Kept { causes: vec!["order '7'".to_owned()], ..kept(8, "follows.order") },
        Kept { malformed: true, id: None, event_type: None, ..kept(9, "odd.one") },
        Kept { conflict: true, id: Some(ID.to_lowercase()), ..kept(10, "llm.prompt.sent.twice") },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_selects_what_it_says() -> Result<()> {
    let scene = with(&history()).await?;
    let urn = format!("urn:uuid:{}", ID.to_lowercase());
    for (arguments, wanted) in [
        (&[][..], &[10, 9, 8, 7, 6, 5, 4, 3, 2, 1][..]),
        (&["--order", "oldest"], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (&["--limit", "3"], &[10, 9, 8]),
        (&["-n", "2", "--order", "oldest"], &[1, 2]),
        (&["-n", "4294967295", "--type", "llm.prompt.sent"], &[2, 1]),
        (&["-n", "all"], &[10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (&["--type", "llm.prompt.sent"], &[2, 1]),
        (&["--type", "llm.*"], &[3]),
        (&["--type", "llm.#"], &[10, 4, 3, 2, 1]),
        (&["--type", "#.sent.#"], &[10, 4, 2, 1]),
        (&["--key", "other.key"], &[2]),
        (&["--key", "*.key"], &[2]),
        (&["--key", "llm.prompt.sent", "--type", "llm.prompt.sent"], &[1]),
        (&["--source", "host-b"], &[3]),
        (&["--id", ID], &[10, 4]),
        (&["--id", &urn], &[10, 4]),
        (&["--id", "order '7'"], &[5]),
        (&["--correlation", ID], &[7, 6]),
        (&["--correlation", "x"], &[7]),
        (&["--correlation", "order '7'"], &[8]),
        (&["--since", "yesterday"], &[10, 9, 8, 7, 6, 5, 4, 3]),
        (&["--since", "yesterday", "--until", "today"], &[5, 4, 3]),
        (&["--until", "yesterday"], &[2, 1]),
        (&["--malformed"], &[9]),
        (&["--conflict"], &[10]),
        (&["--conflict", "--malformed"], &[]),
        (&["--type", "no.such.#"], &[]),
        (&["--id", "00000000-0000-4000-8000-00000000ffff"], &[]),
        // What would be SQL, or a pattern of other kinds, is only text.
        (&["--type", "' or true --"], &[]),
        (&["--source", "host-a' or '1'='1"], &[]),
        (&["--source", "host-%"], &[]),
        (&["--id", "x'); drop table audit.events; --"], &[]),
        (&["--correlation", "{x}"], &[]),
        (&["--key", "(.+)"], &[]),
    ] {
        assert_eq!(found(&scene, arguments)?, wanted, "{arguments:?}");
    }
    for (arguments, status, number) in [
        (&["--count"][..], 0, "10\n"),
        (&["--count", "--type", "llm.#", "--since", "yesterday"], 0, "3\n"),
        (&["--count", "--source", "nobody"], 1, "0\n"),
    ] {
        let answer = events(&scene, arguments)?;
        assert_eq!((answer.status, answer.text(), &*answer.stderr), (status, number, ""));
    }
    Ok(())
}
