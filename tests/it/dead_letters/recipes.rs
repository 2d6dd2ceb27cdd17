//! The commands of docs/dead-letters.md, one by one.

use anyhow::{Context as _, Result, ensure};

use crate::support::{Bed, Scene, event, recipes};

#[tokio::test(flavor = "multi_thread")]
async fn each_command_does_what_it_says() -> Result<()> {
    let commands = recipes("docs/dead-letters.md")?;
    ensure!(commands.len() == 8, "{commands:?}");
    let scene = Scene::migrated(Bed::shared().await?).await?;
    let mut sql = scene.sql().await?;
    let rule =
        "alter table audit.events add constraint own_rule check (routing_key not like 'refused.%')";
    sqlx::raw_sql(rule).execute(&mut sql).await?;
    let mut messages: Vec<_> = (0..6).map(event).collect();
    for (number, message) in messages.iter_mut().enumerate() {
        message.routing_key = format!("refused.{number}");
    }
    let daemon = scene.daemon().await?;
    scene.publish(&messages).await?;
    scene.waits(&scene.dead_letter_queue(), 6).await?;
    let id = messages[3].properties.message_id.clone().context("an id")?;
    let directory = tempfile::tempdir()?;
    let file = |name: &str| {
        Ok::<_, anyhow::Error>(directory.path().join(name).to_str().context("a path")?.to_owned())
    };
    let (body, exported, discarded) = (file("body")?, file("exported")?, file("discarded")?);
    let names = [
        ("8057a88f-1d84-5270-8500-1fe179622bcf", &*id),
        ("body.json", &*body),
        ("dead-letters.ndjson", &*exported),
        ("discarded.ndjson", &*discarded),
        ("test.#", "refused.#"),
    ];
    for (number, said) in [(0, "6 dead letter(s)"), (1, "refused 23514"), (2, "own_rule")] {
        let answer = scene.runs(&commands[number], &names)?;
        assert_eq!((answer.status, answer.text().contains(said)), (0, true), "{said}: {answer:?}");
    }
    assert_eq!(scene.runs(&commands[3], &names)?.status, 0);
    assert_eq!(std::fs::read(&body)?, messages[3].body);

    sqlx::raw_sql("alter table audit.events drop constraint own_rule").execute(&mut sql).await?;
    let answer = scene.runs(&commands[4], &names)?;
    assert_eq!(
        (answer.status, answer.text().contains("6 dead letter(s)")),
        (0, true),
        "{answer:?}"
    );
    scene.stored_exactly(&messages).await?;
    assert_eq!(scene.runs(&commands[5], &names)?.status, 1, "none is left");

    sqlx::raw_sql("alter table audit.events add constraint own_rule check (routing_key not like 'refused.%') not valid")
        .execute(&mut sql)
        .await?;
    let mut more: Vec<_> = (0..3).map(event).collect();
    more.iter_mut().for_each(|message| message.routing_key = "refused.more".to_owned());
    scene.publish(&more).await?;
    scene.waits(&scene.dead_letter_queue(), 3).await?;
    assert_eq!(scene.runs(&commands[6], &names)?.status, 0);
    assert_eq!(std::fs::read_to_string(&exported)?.lines().count(), 3);
    let answer = scene.runs(&commands[7], &names)?;
    assert_eq!(
        (answer.status, answer.text().contains("3 dead letter(s) discarded")),
        (0, true),
        "{answer:?}"
    );
    assert_eq!(std::fs::read_to_string(&discarded)?.lines().count(), 3);
    scene.waits(&scene.dead_letter_queue(), 0).await?;
    daemon.stops_cleanly().await
}
