//! Who looked: whoever takes events out of the history leaves a row, or gets nothing.

use anyhow::Result;
use bloodbank_audit::store::{self, Access, NotedAccess};
use std::time::Duration;

use crate::support::{Bed, Kept, Scene};

fn settings(url: &str) -> Result<store::Settings> {
    Ok(store::Settings {
        options: store::options(url)?,
        connect_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(30),
        hourly: false,
        partitions_ahead: 1,
        dedupe_overlap: Duration::ZERO,
        redelivered_within: Duration::ZERO,
        ledger: None,
        rejected_body: 0,
    })
}

fn access() -> Access {
    Access {
        os_user: "ann".to_owned(),
        host: "desk".to_owned(),
        command: "events".to_owned(),
        filter: r#"{"type": "llm.#"}"#.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_leaves_a_row_and_can_change_none() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = Scene::migrated(bed).await?;
    let reader = format!("{}_reader", scene.name);
    let create = format!("create role {reader} login");
    bed.postgres.sql("postgres", &create).await?;
    let url = scene.database_url().replace("postgres@", &format!("{reader}@"));
    let settings = settings(&url)?;

    let refused = NotedAccess::begin(&settings, &access()).await.unwrap_err();
    assert_eq!(refused.sqlstate.as_deref(), Some("42501"), "{refused}");
    let grant = format!("select audit.grant_reader('{reader}')");
    bed.postgres.sql(&scene.name, &grant).await?;
    let noted = NotedAccess::begin(&settings, &access()).await?;
    let began = "select count(*) from audit.access_log where role like '%_reader' and address is not null and os_user = 'ann'
                    and host = 'desk' and command = 'events' and filter = '{\"type\": \"llm.#\"}' and at <= now()
                    and ended_at is null and count is null";
    assert_eq!(scene.number(began).await?, 1);
    let broken_off = NotedAccess::begin(&settings, &access()).await?;
    drop(broken_off);
    noted.end(7).await?;
    let ended =
        "select count(*) from audit.access_log where id = 1 and count = 7 and ended_at >= at";
    assert_eq!(scene.number(ended).await?, 1);
    assert_eq!(scene.number(began).await?, 1);

    // Once, its own, and by no other way.
    let mut sql = scene.clone().through(None, Some(url)).sql().await?;
    let again: bool =
        sqlx::query_scalar("select audit.log_access_end(1, 0)").fetch_one(&mut sql).await?;
    assert!(!again);
    let mut owner = scene.sql().await?;
    let of_another: bool =
        sqlx::query_scalar("select audit.log_access_end(2, 0)").fetch_one(&mut owner).await?;
    assert!(!of_another);
    for statement in [
        "delete from audit.access_log",
        "update audit.access_log set count = 0",
        "insert into audit.access_log (role, os_user, host, command, filter) values ('', '', '', '', '{}')",
        "truncate audit.access_log",
    ] {
        let error = sqlx::query(statement).execute(&mut sql).await.unwrap_err();
        assert_eq!(
            error.as_database_error().and_then(|e| e.code()).as_deref(),
            Some("42501"),
            "{statement}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_is_noted_or_not_exported() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = Scene::migrated(bed).await?;
    scene.keeps(&[Kept::new(1, "a.one"), Kept::new(2, "a.two"), Kept::new(3, "b.three")]).await?;
    let rows = "select count(*) from audit.access_log";
    assert_eq!(scene.asks(&["events"])?.lines().len(), 4);
    assert_eq!(scene.asks(&["events", "--count"])?.lines(), ["3"]);
    assert_eq!(scene.number(rows).await?, 0);

    let export =
        ["events", "--format", "ndjson", "--type", "a.#", "--limit", "5", "--since", "2020-01-01"];
    assert_eq!(scene.asks(&export)?.lines().len(), 2);
    let noted = "select count(*) from audit.access_log where command = 'events' and count = 2 and ended_at > at and os_user <> ''
                    and host <> '' and filter = '{\"type\": \"a.#\", \"limit\": 5, \"since\": \"2020-01-01T00:00:00Z\"}'";
    assert_eq!(scene.number(noted).await?, 1);
    for format in ["json", "csv"] {
        assert_eq!(scene.asks(&["events", "--format", format])?.status, 0);
    }
    assert_eq!(scene.number(rows).await?, 3);
    let watched = scene.clone().with("access_log.reads", "true");
    assert_eq!(watched.asks(&["events"])?.lines().len(), 4);
    assert_eq!(watched.asks(&["events", "--count"])?.lines(), ["3"]);
    assert_eq!(watched.asks(&["stats", "--all"])?.status, 0);
    assert_eq!(
        scene.number("select count from audit.access_log where command = 'stats'").await?,
        3
    );
    assert_eq!(watched.asks(&["show", "nothing"])?.status, 1);
    assert_eq!(watched.asks(&["trace", "nothing"])?.status, 1);
    assert_eq!(scene.number(rows).await?, 8);

    // Who may read and leaves no row can look, and take nothing along.
    let mute = format!("{}_mute", scene.name);
    let create = format!("create role {mute} login");
    bed.postgres.sql("postgres", &create).await?;
    let grant = format!(
        "grant usage on schema audit to {mute}; grant select on all tables in schema audit to {mute}"
    );
    bed.postgres.sql(&scene.name, &grant).await?;
    let url = scene.database_url().replace("postgres@", &format!("{mute}@"));
    let mute = scene.clone().through(None, Some(url));
    assert_eq!(mute.asks(&["events"])?.lines().len(), 4);
    mute.asks(&export)?.refuses(
        69,
        "this leaves a row in audit.access_log, which cannot be written, so nothing is handed out",
    );
    mute.asks(&["prove", "nothing"])?.refuses(69, "audit.access_log, which cannot be written");
    mute.with("access_log.reads", "true").asks(&["events"])?.refuses(69, "audit.access_log");
    assert_eq!(scene.number(rows).await?, 8);
    Ok(())
}
