//! Asking: by id, by cause, by type, by pattern; and nothing is read through for it.

use anyhow::Result;
use sqlx::PgConnection;

use crate::support::{Bed, Scene, made_history};

/// A history of three days, of 20,000 events each: enough for reading a partition through to be the dearer way.
async fn history() -> Result<(Scene, PgConnection)> {
    let scene = Scene::migrated(Bed::shared().await?).await?;
    let mut sql = scene.sql().await?;
    made_history(&mut sql, 2, 20_000).await?;
    Ok((scene, sql))
}

/// How often partitions were read through so far.
async fn read_through(sql: &mut PgConnection) -> Result<i64> {
    sqlx::query("select pg_stat_force_next_flush()").execute(&mut *sql).await?;
    let (scans,): (i64,) = sqlx::query_as(
        "select coalesce(sum(seq_scan), 0)::int8 from pg_stat_user_tables where relname like 'events\\_2%'",
    )
    .fetch_one(sql)
    .await?;
    Ok(scans)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_most_reads_no_partition_through() -> Result<()> {
    let (_scene, mut sql) = history().await?;
    for (query, rows) in [
        ("select * from audit.events where event_id = md5('77')::uuid", 1),
        ("select * from audit.event(md5('77'))", 1),
        ("select * from audit.event('no uuid')", 0),
        ("select * from audit.caused_by(md5('77'))", 1),
        ("select * from audit.newest('kind.3.seen', 50)", 50),
        ("select * from audit.newest('unheard.of', 50)", 0),
        ("select * from audit.events order by received_at desc limit 10", 10),
        (
            "select * from audit.events where audit.topic_matches(routing_key, 'kind.3.seen.*')
                and received_at >= now() - interval '30 hours' order by received_at limit 100",
            100,
        ),
        (
            "select * from audit.events where routing_key = any (array(select audit.routing_keys('#.again', now() - interval '30 hours')))
                and received_at >= now() - interval '30 hours' order by received_at limit 100",
            100,
        ),
    ] {
        let before = read_through(&mut sql).await?;
        let found = sqlx::query(query).fetch_all(&mut sql).await?.len();
        assert_eq!(found, rows, "{query}");
        assert_eq!(read_through(&mut sql).await?, before, "{query}");
    }
    // What the numbers are worth.
    let before = read_through(&mut sql).await?;
    sqlx::query("select count(*) from audit.events where seq < 0").fetch_all(&mut sql).await?;
    assert!(read_through(&mut sql).await? > before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_of_a_type_come_in_order_from_as_many_partitions_as_it_takes() -> Result<()> {
    let (_scene, mut sql) = history().await?;
    let wanted = "select seq from audit.events where event_type = 'kind.3.seen' order by received_at desc, seq desc limit 5000";
    let found = "select seq from audit.newest('kind.3.seen', 5000)";
    let wanted: Vec<(i64,)> = sqlx::query_as(wanted).fetch_all(&mut sql).await?;
    let found: Vec<(i64,)> = sqlx::query_as(found).fetch_all(&mut sql).await?;
    assert_eq!(found.len(), 5000);
    assert_eq!(found, wanted);
    // So few that they are found among the newest of all.
    let few = "select seq from audit.newest('kind.3.seen', 50)";
    let few: Vec<(i64,)> = sqlx::query_as(few).fetch_all(&mut sql).await?;
    assert_eq!(few, wanted[..50]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_found_under_every_spelling_of_its_id() -> Result<()> {
    let scene = Scene::migrated(Bed::shared().await?).await?;
    let mut sql = scene.sql().await?;
    sqlx::raw_sql(
        "select audit.ensure_partition(now(), 'daily');
         insert into audit.events (seq, received_at, event_id, event_key, redelivered, conflict, malformed, exchange,
                routing_key, correlation_ids, properties, payload, conflict_digest)
         select n, now(), case when n < 3 then '0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11'::uuid end,
                case when n = 3 then 'order 12/a' end, false, n = 2, false, '', '',
                case n when 4 then array['0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11'] when 5 then array['order 12/a', 'other']
                       when 6 then array['other', 'order 12/a', '0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11'] else '{}' end,
                '{}', '{}', case when n = 2 then 'x'::bytea end
           from generate_series(1, 6) n",
    )
    .execute(&mut sql)
    .await?;
    for (id, stored, caused) in [
        ("0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11", vec![1, 2], vec![4, 6]),
        ("0F3C2C2E6A0E4F0B9A526A4A7C0F1D11", vec![1, 2], vec![4, 6]),
        ("urn:uuid:0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11", vec![1, 2], vec![4, 6]),
        ("{0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11}", vec![1, 2], vec![4, 6]),
        ("order 12/a", vec![3], vec![5, 6]),
        ("other", vec![], vec![5, 6]),
        ("0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d1", vec![], vec![]),
        ("", vec![], vec![]),
    ] {
        let found: (Vec<i64>, Vec<i64>) = sqlx::query_as(
            "select array(select seq from audit.event($1)), array(select seq from audit.caused_by($1))",
        )
        .bind(id)
        .fetch_one(&mut sql)
        .await?;
        assert_eq!(found, (stored, caused), "{id:?}");
    }
    Ok(())
}

/// Events that the documents ask for: one of that id, one that follows from it, a replay of it, a partition that is gone, and
/// somebody who looked, and a canary that did not come back.
const ASKED_FOR: &str = r#"
    insert into audit.events (seq, received_at, event_time, event_id, redelivered, conflict, malformed, event_type, source,
           exchange, routing_key, correlation_ids, properties, payload)
    select n, now() - interval '10 minutes' / n, now(), case n when 1 then '0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11'::uuid
           else gen_random_uuid() end, false, false, false, 'transcription.voice.completed', 'whisper', 'made',
           'transcription.voice.completed', case n when 2 then array['0f3c2c2e-6a0e-4f0b-9a52-6a4a7c0f1d11'] else '{}' end,
           '{}', '{}'
      from generate_series(1, 2) n;
    insert into audit.batches (lane, number, first_seq, events, conflicts, duplicates, rejections, body_bytes, received_from,
           received_to)
    values (gen_random_uuid(), 1, 1, 2, 0, 0, 0, 4, now() - interval '10 minutes', now());
    insert into audit.expired_partitions (name, from_at, to_at) values ('events_20200101', '2020-01-01', '2020-01-02');
    insert into audit.replays (id, role, os_user, host, filter, target, pace, matched, runner)
    values (gen_random_uuid(), 'ann', 'ann', 'desk', '{}', '{}', '{}', 1, gen_random_uuid());
    insert into audit.replayed (lane, number, ordinal, received_at, replay, original_at, original_seq, redelivered, exchange,
           routing_key)
    select b.lane, b.number, 0, now(), r.id, e.received_at, e.seq, false, 'made', e.routing_key
      from audit.events e, audit.replays r, (select lane, number from audit.batches limit 1) b
     where e.seq = 1;
    select audit.log_access('ann', 'desk', 'events', '{}');
    select audit.send_canary(gen_random_uuid(), 'desk', 'made', 'audit.canary', '{}', '\x00');
"#;

/// What stands between fences of that language, statement by statement.
fn queries(document: &str) -> Vec<String> {
    let blocks = document.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks
        .flat_map(|block| block.split(";\n"))
        .filter(|query| !query.trim().is_empty())
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_documents_runs() -> Result<()> {
    let scene = Scene::migrated(Bed::shared().await?).await?;
    let mut sql = scene.sql().await?;
    made_history(&mut sql, 2, 2_000).await?;
    sqlx::raw_sql("delete from audit.events where seq < 3").execute(&mut sql).await?;
    sqlx::raw_sql(ASKED_FOR).execute(&mut sql).await?;
    let queries = queries(include_str!("../../docs/sql.md"));
    assert!(queries.len() > 15, "only {} found", queries.len());
    // Roles are the whole server's: nothing of this is to stay.
    let mut transaction = sqlx::Connection::begin(&mut sql).await?;
    for query in queries {
        let rows = sqlx::query(sqlx::AssertSqlSafe(query.clone()))
            .fetch_all(&mut *transaction)
            .await
            .map_err(|error| anyhow::anyhow!("{query}: {error}"))?;
        // Of what is odd, and of a daemon that runs, there is nothing in this history.
        let nothing = [
            "audit.gaps",
            "audit.conflicts",
            "audit.malformed",
            "audit.rejections",
            "audit.coverage",
            "audit.listening",
            "create role",
        ];
        let empty = nothing.iter().any(|name| query.contains(name));
        assert_eq!(rows.is_empty(), empty, "{query}");
    }
    Ok(())
}
