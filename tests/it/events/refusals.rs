//! What makes no sense, or cannot be asked: a clear word, and the status that says which.

use anyhow::Result;

use super::{events, with};
use crate::support::{Bed, Kept, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_use_says_what_was_meant() -> Result<()> {
    // Nothing of it gets as far as the database.
    let scene = Scene::set(Bed::shared().await?)
        .await?
        .through(None, Some("postgres://127.0.0.1:1/x".to_owned()));
    let long = "a.".repeat(10_000);
    for (arguments, said) in [
        (&["--tpye", "a"][..], "a similar argument exists: '--type'"),
        (&["--type", &long], "at most 1000 characters, and this one has 20000"),
        (&["--key", "llm*"], "as in llm.#"),
        (&["--since", "yestreday"], "did you mean yesterday?"),
        (&["--since", "2 parsecs"], "parsecs"),
        (&["--since", "2031-01-01"], "--since is in the future: 2031-01-01T00:00:00Z"),
        (&["--since", "-2h"], "No number here has a sign: --since 2h is from two hours ago on"),
        (&["--since=-2h"], "did you mean 2h?"),
        (&["--limit", "-1"], "No number here has a sign"),
        (&["--limit=-1"], "write a number from 1 on, or all"),
        (&["--since", "--type", "a"], "a value is required for '--since <WHEN>'"),
        (&["--since", "1h", "--until", "2h"], "nothing can be between them"),
        (&["--columns", "seq,recieved_at"], "did you mean received_at?"),
        (&["--columns", "x"], "there are seq, received_at"),
        (&["--columns", ""], "there is no column"),
        (&["--format", "jsno"], "a similar value exists: 'json'"),
        (&["--limit", "0"], "write a number from 1 on, or all"),
        (&["--order", "random"], "[possible values: newest, oldest]"),
        (&["--timeout", "2x"], "unknown time unit"),
        (&["--timeout", "2d"], "write a duration from 1ms to 1d"),
        (&["--count", "--format", "csv"], "cannot be used with"),
        (&["llm.#"], "unexpected argument"),
    ] {
        let answer = events(&scene, arguments)?;
        answer.refuses(2, said);
    }
    let help = scene.asks(&["events", "--help"])?;
    for said in ["Examples:", "Exit status:", "69  the database is away"] {
        assert!(help.text().contains(said), "{}", help.text());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_asked_is_told_from_nothing_found() -> Result<()> {
    let bed = Bed::shared().await?;
    let empty = Scene::set(bed).await?;
    events(&empty, &[])?.refuses(69, "the database has no schema audit");
    let away = empty.clone().through(None, Some("postgres://127.0.0.1:1/x".to_owned()));
    events(&away, &["--count"])?.refuses(69, "127.0.0.1:1");
    let missing = empty.through(None, Some(bed.postgres.url("no_such_database")));
    events(&missing, &[])?.refuses(69, "create the database, or correct its name in postgres.url");
    events(&missing.with("ingest.prefetch", "0"), &[])?.refuses(78, "ingest.prefetch");

    let scene = with(&[Kept::new(1, "a")]).await?;
    let mut sql = scene.sql().await?;
    sqlx::raw_sql("delete from audit.schema_migrations where version = (select max(version) from audit.schema_migrations)")
        .execute(&mut sql)
        .await?;
    events(&scene, &[])?.refuses(69, "the schema is older than this program");
    sqlx::query("insert into audit.schema_migrations values (9999, 'later', now(), true, '', 0)")
        .execute(&mut sql)
        .await?;
    events(&scene, &[])?.refuses(69, "run the newer program");
    Ok(())
}
