//! What is too old goes, once and in nobody's way; a clock that is wrong costs nothing; and a partition that somebody took
//! away is mended or named.

use anyhow::Result;
use nix::sys::signal::Signal;
use sqlx::{Connection as _, PgConnection};

use crate::support::{Bed, Daemon, Scene, event};

/// Events, rejections and batches of ten and nine days ago, and of three.
const OLD: &str = "
    create function pg_temp.fill(at timestamptz, first bigint) returns void language plpgsql as $$
    declare lane uuid := gen_random_uuid();
    begin
        perform audit.ensure_partition(at, 'daily');
        insert into audit.batches (lane, number, committed_at, first_seq, events, conflicts, duplicates, rejections, body_bytes,
                                   received_from, received_to, position)
            values (lane, 1, at, first, 5, 0, 0, 1, 10, at, at, first);
        insert into audit.events (seq, received_at, redelivered, conflict, malformed, exchange, routing_key, correlation_ids,
                                  properties, payload)
            select first + n, at, false, false, false, '', '', '{}', '{}', '{}' from generate_series(0, 4) n;
        insert into audit.rejections (lane, number, ordinal, received_at, reason, detail, redelivered, exchange, routing_key,
                                      properties, body_sha256, body_bytes)
            values (lane, 1, 0, at, 'malformed', '', false, '', '', '{}', '', 0);
    end $$;
    select pg_temp.fill(now() - interval '10 days', -1000), pg_temp.fill(now() - interval '9 days', -900),
           pg_temp.fill(now() - interval '3 days', -800);";

/// A database with that history, which is kept for so long.
async fn with_history(keep: &str) -> Result<(Scene, PgConnection)> {
    let scene = Scene::migrated(Bed::shared().await?).await?.with("retention.keep", keep);
    let mut sql = scene.sql().await?;
    sqlx::raw_sql(OLD).execute(&mut sql).await?;
    Ok((scene, sql))
}

/// What one call answers: outcome, and which partition it is about.
async fn expire(sql: &mut PgConnection, ahead: &str) -> Result<String> {
    let query = "select e.outcome from audit.expire('4 days', now() + $1::text::interval) e";
    Ok(sqlx::query_scalar(query).bind(ahead).fetch_one(sql).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wholly_past_goes_once_whatever_the_number_of_daemons() -> Result<()> {
    let (scene, mut sql) = with_history("4d").await?;
    let mut other = scene.sql().await?;
    let mut first = sql.begin().await?;
    assert_eq!(expire(&mut first, "0").await?, "dropped");
    assert_eq!(expire(&mut other, "0").await?, "busy");
    first.rollback().await?;
    let daemons = [scene.daemon().await?, scene.daemon().await?];
    scene.counts(2, "select count(*) from audit.expired_partitions where events = 5 and bytes > 0 and keep = '4 days'").await?;
    scene.counts(1, "select count(*) from audit.rejections").await?;
    let messages: Vec<_> = (0..10).map(event).collect();
    scene.publish(&messages).await?;
    scene.stored(messages.len() + 5).await?;
    assert_eq!(scene.number("select count(*) from audit.batches where body_bytes = 10").await?, 3);
    assert_eq!(scene.number("select min(received_at)::date - (now() - interval '3 days')::date + 0::int8 from audit.events").await?, 0);
    let left = "select count(*) from audit.partitions p full join
                       (select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
                         where i.inhparent = 'audit.events'::regclass) c on c.relname = p.name
                 where p.name is null or c.relname is null or p.to_at < now() - interval '4 days'";
    assert_eq!(scene.number(left).await?, 0);
    for daemon in &daemons {
        daemon.stops_cleanly().await?;
    }
    let said = |what: &str| daemons.iter().map(|daemon| daemon.said(what)).sum::<usize>();
    assert_eq!(said("dropped a partition that was old enough"), 2);
    assert_eq!(said("deleted rejections that were old enough"), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shorter_time_counts_from_the_moment_of_sighup_on() -> Result<()> {
    let (scene, _sql) = with_history("1h").await?;
    let credentials = tempfile::tempdir()?;
    let keep = credentials.path().join("retention.keep");
    std::fs::write(&keep, "never")?;
    let mut environment = scene.environment();
    environment
        .push(("CREDENTIALS_DIRECTORY".to_owned(), credentials.path().display().to_string()));
    let daemon = Daemon::spawn(&["run"], &environment)?;
    daemon.consumes(1).await?;
    std::fs::write(&keep, "4d")?;
    daemon.signal(Signal::SIGHUP)?;
    daemon.says("taken over: retention.keep\"", 1).await?;
    scene.counts(2, "select count(*) from audit.expired_partitions where keep = '4 days'").await?;
    daemon.stops_cleanly().await
}

/// Dropping a partition locks the table. Whoever waits for that lock makes all others wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_read_holds_up_retention_and_retention_nobody() -> Result<()> {
    let (scene, mut sql) = with_history("4d").await?;
    let mut reader = sql.begin().await?;
    sqlx::query("select count(*) from audit.events").execute(&mut *reader).await?;
    let daemon = scene.daemon().await?;
    let tries = "select count(*) from pg_stat_activity where datname = current_database() and state = 'active'
                    and query like '%from audit.expire%' and pid <> pg_backend_pid()";
    scene.counts(1, tries).await?;
    let messages: Vec<_> = (0..100).map(event).collect();
    scene.publish(&messages).await?;
    scene.stored(messages.len() + 15).await?;
    // Nor whoever follows what is committed.
    scene.counts(115, "select count(*) from audit.events_since(null, 1000)").await?;
    daemon.says("transactions that read the history are in the way", 1).await?;
    reader.rollback().await?;
    scene.counts(2, "select count(*) from audit.expired_partitions").await?;
    daemon.stops_cleanly().await?;
    assert_eq!(daemon.said("are in the way"), 1, "{:#?}", daemon.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_drops_nothing() -> Result<()> {
    let (scene, mut sql) = with_history("4d").await?;
    assert_eq!(expire(&mut sql, "2 hours").await?, "clocks-differ");
    assert_eq!(expire(&mut sql, "-2 hours").await?, "clocks-differ");

    // As if the database's clock had said so at the last look.
    for looked_at in ["now() - interval '365 days'", "now() + interval '365 days'"] {
        let jump = format!(
            "delete from audit.retention_clock; insert into audit.retention_clock values (true, {looked_at}, '-infinity')"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(jump)).execute(&mut sql).await?;
        assert_eq!(expire(&mut sql, "0").await?, "clock-jumped");
        assert_eq!(expire(&mut sql, "0").await?, "clock-jumped");
    }
    let daemon = scene.daemon().await?;
    daemon.says("a clock that jumps must not cost history", 1).await?;
    daemon.stops_cleanly().await?;
    assert_eq!(scene.number("select count(*) from audit.expired_partitions").await?, 0);
    assert_eq!(scene.number("select count(*) from audit.rejections").await?, 3);

    // A day later. In one partition there is what was stored just now, under the time of a clock that was behind.
    sqlx::raw_sql(
        "update audit.retention_clock set steady_since = now() - interval '25 hours';
         update audit.batches set committed_at = now() where first_seq = -1000",
    )
    .execute(&mut sql)
    .await?;
    assert_eq!(expire(&mut sql, "0").await?, "dropped");
    assert_eq!(expire(&mut sql, "0").await?, "rejections");
    assert_eq!(expire(&mut sql, "0").await?, "held");
    assert_eq!(scene.number("select count(*) from audit.events where seq < -995").await?, 5);
    assert_eq!(scene.number("select count(*) from audit.rejections").await?, 2);
    // What replays left goes with the events, and no earlier.
    sqlx::raw_sql(
        "insert into audit.replays (id, created_at, noted_at, role, os_user, host, filter, target, pace, matched, runner, chosen_at, chosen_seq)
         select gen_random_uuid(), now() - d * interval '1 day', now() - d * interval '1 day', 'r', 'u', 'h', '{}', '{}', '{}', 2,
                gen_random_uuid(), array[now() - interval '9 days', now() - interval '3 days'], '{-900, -800}'
           from unnest('{5, 2}'::int[]) d;
         insert into audit.replayed (lane, number, ordinal, received_at, replay, original_at, original_seq, redelivered, exchange, routing_key)
         select b.lane, b.number, n, now(), r.id, now() - d * interval '1 day', n, false, '', ''
           from (select lane, number from audit.batches limit 1) b, (select id from audit.replays limit 1) r,
                unnest('{12, 11, 10, 9, 3}'::int[]) with ordinality t (d, n)",
    )
    .execute(&mut sql)
    .await?;
    // Of ten days ago the partition is held: only what is older points at nothing.
    assert_eq!(expire(&mut sql, "0").await?, "replayed");
    assert_eq!(scene.number("select count(*) from audit.replayed").await?, 3);
    assert_eq!(expire(&mut sql, "0").await?, "chosen");
    let lists = "select count(*) from audit.replays where cardinality(chosen_at) = 0 and cardinality(chosen_seq) = 0";
    assert_eq!(scene.number(lists).await?, 1);
    assert_eq!(expire(&mut sql, "0").await?, "held");
    // The newest stays, however old it is.
    sqlx::raw_sql(
        "do $$ declare name text; begin
             for name in delete from audit.partitions where from_at > now() - interval '9 days' returning partitions.name loop
                 execute format('drop table audit.%I', name);
             end loop;
         end $$;
         update audit.batches set committed_at = now() - interval '10 days'",
    )
    .execute(&mut sql)
    .await?;
    assert_eq!(expire(&mut sql, "0").await?, "rejections");
    assert_eq!(expire(&mut sql, "0").await?, "nothing");
    assert_eq!(scene.number("select count(*) from audit.events").await?, 5);
    assert!(
        sqlx::query("select audit.expire('59 minutes', now())").execute(&mut sql).await.is_err()
    );
    Ok(())
}

/// As if a daemon whose clock is behind had stored events into a partition after that was looked at.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_late_into_a_partition_is_not_dropped_with_it() -> Result<()> {
    let (scene, mut sql) = with_history("4d").await?;
    let mut holding_up = scene.sql().await?;
    let mut held_up = holding_up.begin().await?;
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('audit.ensure_partition', 0))")
        .execute(&mut *held_up)
        .await?;
    let mut expiring = scene.sql().await?;
    let late = async {
        let counted = "select count(*) from pg_stat_activity where datname = current_database()
                          and query like '%from audit.expire%' and wait_event = 'PgSleep'";
        scene.counts(1, counted).await?;
        sqlx::query("update audit.batches set committed_at = now() where first_seq = -1000")
            .execute(&mut sql)
            .await?;
        anyhow::Ok(held_up.rollback().await?)
    };
    let (outcome, late) = tokio::join!(expire(&mut expiring, "0"), late);
    late?;
    assert_eq!(outcome?, "dropped");
    assert_eq!(scene.number("select count(*) from audit.events where seq < -995").await?, 5);
    assert_eq!(
        scene.number("select count(*) from audit.events where seq between -900 and -895").await?,
        0
    );
    assert_eq!(expire(&mut expiring, "0").await?, "rejections");
    assert_eq!(expire(&mut expiring, "0").await?, "held");
    Ok(())
}

/// Does this to the partition that holds now, whose name it finds at `%I`.
async fn to_the_present_one(sql: &mut PgConnection, what: &[&str]) -> Result<()> {
    for what in what {
        let name: String = sqlx::query_scalar(
            "select format($1, name) from audit.partitions where from_at <= now() and now() < to_at",
        )
        .bind(what)
        .fetch_one(&mut *sql)
        .await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(name)).execute(&mut *sql).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_taken_away_by_hand_is_mended_and_named() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let opened = scene.opens_the_window(&daemon).await?;
    let mut sql = scene.sql().await?;
    sqlx::raw_sql(OLD).execute(&mut sql).await?;
    let stored = |events: usize| scene.stored(events);
    let old = 15;

    to_the_present_one(&mut sql, &["alter table audit.events detach partition audit.%I"]).await?;
    scene.publish(&(10..20).map(event).collect::<Vec<_>>()).await?;
    stored(old + opened.len() + 10).await?;
    daemon.says("it is attached again", 1).await?;

    // Enough of them to be copied.
    let gone = ["drop table audit.%I"];
    to_the_present_one(&mut sql, &gone).await?;
    scene.publish(&(20..620).map(event).collect::<Vec<_>>()).await?;
    stored(old + 600).await?;
    daemon.says("there is a new one, and the events that were in it are gone", 1).await?;
    assert_eq!(scene.number("select count(*) from audit.expired_partitions where events is null and keep is null").await?, 1);

    let changed = [
        "alter table audit.events detach partition audit.%I",
        "alter table audit.%I drop column source",
    ];
    to_the_present_one(&mut sql, &changed).await?;
    scene.publish(&(620..630).map(event).collect::<Vec<_>>()).await?;
    stored(old + 10).await?;
    daemon
        .says(
            "it cannot be attached again; there is a new one, and the old one is now audit.events_",
            1,
        )
        .await?;
    daemon.stops_cleanly().await?;
    assert_eq!(daemon.said("is not as it was made"), 3, "{:#?}", daemon.log());

    // The present one again, while nobody records; one that is needed soon; and two that are not needed any more.
    sqlx::raw_sql(
        "do $$ declare part record; begin
             for part in select p.name, p.from_at, row_number() over (order by p.from_at) as n from audit.partitions p loop
                 if part.n = 2 or part.from_at > now() then execute format('drop table audit.%I', part.name);
                 elsif part.n <> 3 then execute format('alter table audit.events detach partition audit.%I', part.name);
                 end if;
             end loop;
         end $$",
    )
    .execute(&mut sql)
    .await?;
    let daemon = scene.daemon().await?;
    daemon.says("its events are not in audit.events", 1).await?;
    scene
        .counts(
            4,
            "select count(*) from audit.partitions where audit.is_attached(name) and to_at > now()",
        )
        .await?;
    scene.publish(&[event(630)]).await?;
    stored(5 + 11).await?;
    daemon.says("is not as it was made: somebody dropped it, and the events", 1).await?;

    // What somebody attaches counts.
    daemon.stops_cleanly().await?;
    sqlx::raw_sql(
        "create table audit.by_hand (like audit.events including defaults including constraints);
         alter table audit.events attach partition audit.by_hand for values from ('2020-01-01') to ('2021-01-01')",
    )
    .execute(&mut sql)
    .await?;
    let daemon = scene.daemon().await?;
    scene.counts(1, "select count(*) from audit.partitions where name = 'by_hand' and from_at = '2020-01-01Z'").await?;
    daemon.says("somebody attached it", 1).await?;
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_listed_with_what_they_take_and_when_they_go() -> Result<()> {
    let (scene, mut sql) = with_history("7d").await?;
    assert_eq!(scene.asks(&["partitions", "--expired"])?.status, 1);
    assert_eq!(expire(&mut sql, "0").await?, "dropped");
    sqlx::raw_sql(
        "do $$ begin
             execute (select format('alter table audit.events detach partition audit.%I', name)
                        from audit.partitions where from_at < now() - interval '9 days');
         end $$",
    )
    .execute(&mut sql)
    .await?;
    let listed = scene.asks(&["partitions", "--exact", "--format", "json"])?.json()?;
    let of =
        |name: &str| listed.as_array().unwrap().iter().map(|p| p[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("state"), ["detached", "attached"]);
    assert_eq!(of("rows"), [serde_json::Value::Null, 5.into()]);
    assert!(
        of("table_bytes").iter().chain(&of("index_bytes")).all(|bytes| bytes.as_i64() > Some(0))
    );
    let kept_until: String = sqlx::query_scalar(
        "select to_char((max(to_at) + interval '7 days') at time zone 'UTC', 'YYYY-MM-DD') || 'T00:00:00Z' from audit.partitions",
    )
    .fetch_one(&mut sql)
    .await?;
    assert_eq!(of("kept_until"), [serde_json::Value::Null, kept_until.clone().into()]);

    let table = scene.asks(&["partitions"])?;
    assert_eq!(table.status, 0, "{table:?}");
    for said in [
        "2 partition(s), about ",
        "  detached  never",
        &format!("  attached  from {kept_until} on"),
    ] {
        assert!(table.text().contains(said), "{said}: {table:?}");
    }
    let expired = scene.asks(&["partitions", "--expired", "--format", "json"])?.json()?;
    assert_eq!(
        (&expired[0]["events"], &expired[0]["keep_seconds"]),
        (&5.into(), &(4 * 86_400).into())
    );
    let table = scene.asks(&["partitions", "--expired"])?;
    assert!(table.text().lines().nth(1).unwrap().ends_with("  4d"), "{table:?}");
    let misused = scene.asks(&["partitions", "--expired", "--exact"])?;
    assert_eq!(misused.status, 2, "{misused:?}");
    let empty = Scene::set(Bed::shared().await?).await?.asks(&["partitions"])?;
    assert_eq!(empty.status, 69, "{empty:?}");
    assert!(empty.stderr.contains("run `bloodbank-audit migrate`"), "{empty:?}");
    Ok(())
}
