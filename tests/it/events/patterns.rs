//! Patterns that begin with a wildcard: what they match is looked up by index, and is what matches.

use anyhow::Result;
use sqlx::PgConnection;
use testbed::{Postgres, PostgresOptions, RabbitMq};

use super::events;
use crate::support::{Bed, Scene, made_history};

/// A history of three days, of so many events each.
async fn history(
    rabbitmq: &RabbitMq,
    postgres: &Postgres,
    per_day: i32,
) -> Result<(Scene, PgConnection)> {
    let scene = Scene::between(rabbitmq, postgres).await?;
    assert_eq!(scene.asks(&["migrate"])?.status, 0);
    let mut sql = scene.sql().await?;
    made_history(&mut sql, 2, per_day).await?;
    Ok((scene, sql))
}

/// The numbers of the events that the command finds.
fn found(scene: &Scene, arguments: &[&str]) -> Result<Vec<i64>> {
    let answer = events(scene, &[&["--format", "csv", "--columns", "seq"], arguments].concat())?;
    assert_eq!(answer.stderr, "", "{arguments:?}");
    Ok(answer.text().lines().skip(1).map(str::parse).collect::<Result<_, _>>()?)
}

/// Those that SQL finds, the newest first.
async fn wanted(sql: &mut PgConnection, kind: &str, key: &str, since: &str) -> Result<Vec<i64>> {
    let query = sqlx::query_scalar(
        "select seq from audit.events
          where audit.topic_matches(event_type, $1) and audit.topic_matches(routing_key, $2)
            and received_at >= now() - $3::interval
          order by received_at desc, seq desc",
    );
    Ok(query.bind(kind).bind(key).bind(since).fetch_all(sql).await?)
}

async fn as_sql_finds_them(scene: &Scene, sql: &mut PgConnection) -> Result<()> {
    for (kind, key) in [
        ("#", "#.again"),
        ("#", "*.3.seen.again"),
        ("#", "*.3.#"),
        ("#", "*.*.seen"),
        ("#", "*"),
        ("#", "#.never"),
        ("#", "#.3.#.again"),
        ("#.seen", "#"),
        ("*.4.seen", "#.again"),
        ("*.4.#", "kind.5.#"),
        ("*.never", "#"),
    ] {
        let patterns = ["--type", kind, "--key", key];
        let all = wanted(sql, kind, key, "10 days").await?;
        assert_eq!(found(scene, &patterns)?, all, "{patterns:?}");
        let few = found(scene, &[&patterns[..], &["-n", "70"]].concat())?;
        assert_eq!(few, all[..all.len().min(70)], "{patterns:?}");
        let few = [&patterns[..], &["-n", "3000", "--order", "oldest"]].concat();
        let oldest: Vec<_> = all.iter().rev().take(3000).copied().collect();
        assert_eq!(found(scene, &few)?, oldest, "{patterns:?}");
        let counted = events(scene, &[&patterns[..], &["--count"]].concat())?;
        assert_eq!(counted.text(), format!("{}\n", all.len()), "{patterns:?}");
        // The command's day ago is an instant before SQL's, and no event was received in between.
        let late = wanted(sql, kind, key, "1 day").await?;
        let since = [&patterns[..], &["--since", "1d"]].concat();
        assert_eq!(found(scene, &since)?.len().abs_diff(late.len()) / 2, 0, "{patterns:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_by_keys_is_what_matches() -> Result<()> {
    let bed = Bed::shared().await?;
    let (scene, mut sql) = history(&bed.rabbitmq, &bed.postgres, 3_000).await?;
    as_sql_finds_them(&scene, &mut sql).await?;
    // Events without a type, keys of no words, and more different keys than are gone through.
    sqlx::raw_sql(
        "insert into audit.events (seq, received_at, event_id, event_type, redelivered, conflict, malformed, exchange,
                routing_key, correlation_ids, properties, payload)
         select 100000 + n, now() - n * interval '1 s', gen_random_uuid(), case when n % 2 = 0 then 'kind.' || n end, false, false,
                false, '', case when n % 3 > 0 then 'one.' || n || case when n % 7 = 0 then '.again' else '' end else '' end,
                '{}', '{}', '{}'
           from generate_series(1, 3000) n",
    )
    .execute(&mut sql)
    .await?;
    as_sql_finds_them(&scene, &mut sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_partition_is_read_through_for_what_is_rare() -> Result<()> {
    // A server that writes down how it goes about each statement.
    let options = PostgresOptions::default()
        .setting("session_preload_libraries", "auto_explain")
        .setting("auto_explain.log_min_duration", "0");
    let postgres = Postgres::start(options).await?;
    let (scene, mut sql) = history(&Bed::shared().await?.rabbitmq, &postgres, 20_000).await?;
    let mut seen = 0;
    let mut plans = || -> Result<String> {
        let log = std::fs::read_to_string(postgres.log_file())?;
        Ok(log[std::mem::replace(&mut seen, log.len())..].to_owned())
    };
    const READ_THROUGH: &str = "Seq Scan on events_2";
    // What a plan is worth, and what is done without keys.
    let plain = "select count(*) from audit.events e where audit.topic_matches(e.routing_key, '*.3.seen.again')";
    let (count,): (i64,) = sqlx::query_as(plain).fetch_one(&mut sql).await?;
    assert!(count > 100, "{count}");
    assert!(plans()?.contains(READ_THROUGH));

    sqlx::raw_sql(
        "insert into audit.events (seq, received_at, event_id, event_type, redelivered, conflict, malformed, exchange,
                routing_key, correlation_ids, properties, payload)
         select 100000 + n, now() - interval '30 hours', gen_random_uuid(), 'kind.rare', false, false, false, '', 'kind.rare',
                '{}', '{}', '{}'
           from generate_series(1, 60) n;
         analyze audit.events",
    )
    .execute(&mut sql)
    .await?;
    for (filter, pattern, index, few) in [
        ("--key", "#.rare", "Index Cond: (routing_key = ANY", true),
        ("--type", "#.rare", "Index Cond: (event_type = ANY", true),
        // Fifty of what is frequent are found sooner among the newest of all.
        ("--key", "*.3.seen.again", "Index Cond: (routing_key = ANY", false),
        // Where none matches, nothing is looked for.
        ("--key", "#.never", "One-Time Filter: false", true),
        ("--type", "#.never", "One-Time Filter: false", true),
    ] {
        for rest in [&["--count"][..], &[], &["-n", "all", "--order", "oldest"]] {
            plans()?;
            let arguments = [&[filter, pattern], rest].concat();
            let answer = events(&scene, &arguments)?;
            assert_eq!(answer.stderr, "", "{arguments:?}");
            let plans = plans()?;
            assert!(!plans.contains(READ_THROUGH), "{arguments:?}: {plans}");
            assert_eq!(plans.contains(index), few || !rest.is_empty(), "{arguments:?}: {plans}");
            // To find the keys nothing is sorted either: from one to the next there is a step in each index.
            let mut nodes = plans.lines().zip(plans.lines().skip(1));
            let sorts =
                |(node, key): (&str, &str)| node.contains("->  Sort") && key.contains("USING ~<~");
            assert!(!nodes.any(sorts), "{arguments:?}: {plans}");
        }
    }
    // Who may read nothing but the events finds them as well.
    sqlx::raw_sql(
        "create role events_alone login; grant usage on schema audit to events_alone; grant select on audit.events to events_alone",
    )
    .execute(&mut sql)
    .await?;
    let url = scene.database_url().replace("postgres://postgres@", "postgres://events_alone@");
    let counted = events(&scene.through(None, Some(url)), &["--key", "#.rare", "--count"])?;
    assert_eq!((counted.text(), &*counted.stderr), ("60\n", ""));
    Ok(())
}
