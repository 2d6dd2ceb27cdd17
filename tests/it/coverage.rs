//! Whether anyone was listening, and why not: every start, stop, outage and death is a span, and what that means for
//! the events of a moment is one query.

use anyhow::Result;
use nix::sys::signal::Signal;
use sqlx::Connection as _;
use testbed::{Proxy, eventually, proxy::Mode};

use crate::support::{Bed, Message, PATIENCE, Scene, event};

/// The spans of one instance in order: state, cause, whether each begins where the one before ends, and whether it
/// lasts.
async fn spans(scene: &Scene) -> Result<Vec<(String, String, bool, bool)>> {
    let mut sql = scene.sql().await?;
    let spans = sqlx::query_as(
        "select state, cause, coalesce(from_at = lag(to_at) over ordered, true), to_at is null
           from audit.coverage where instance = 'here' window ordered as (order by from_at, to_at) order by from_at, to_at",
    )
    .fetch_all(&mut sql)
    .await?;
    sql.close().await?;
    Ok(spans)
}

/// Awaits these states in this order, without gap or overlap, of which the last lasts. Tells their causes.
async fn states(scene: &Scene, wanted: &[&str]) -> Result<Vec<String>> {
    let spans = eventually(&format!("{wanted:?}"), PATIENCE, async || {
        let spans = spans(scene).await.map_err(|error| format!("{error:#}"))?;
        let states: Vec<_> = spans.iter().map(|span| span.0.as_str()).collect();
        if states == wanted { Ok(spans) } else { Err(format!("{spans:?}")) }
    })
    .await?;
    for (position, (_, _, joined, lasts)) in spans.iter().enumerate() {
        assert!(*joined, "a gap or an overlap before {position}: {spans:?}");
        assert_eq!(*lasts, position + 1 == spans.len(), "{spans:?}");
    }
    Ok(spans.into_iter().map(|span| span.1).collect())
}

/// What `audit.listening` answers for the middle of the first span of that state, or a moment ago where it lasts.
async fn answer(scene: &Scene, state: &str) -> Result<(String, String)> {
    let mut sql = scene.sql().await?;
    let answer = sqlx::query_as(
        "select l.answer, l.states from audit.listening(
             (select c.from_at + (coalesce(c.to_at, clock_timestamp()) - c.from_at) / 2
                from audit.coverage c where c.state = $1 order by c.from_at limit 1)) l",
    )
    .bind(state)
    .fetch_one(&mut sql)
    .await?;
    sql.close().await?;
    Ok(answer)
}

async fn here(bed: &Bed) -> Result<Scene> {
    Ok(Scene::set(bed).await?.with("storage.instance", "here"))
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_and_stops_are_spans_without_gap_or_overlap() -> Result<()> {
    let scene = here(Bed::shared().await?).await?;
    scene.daemon().await?.stops_cleanly().await?;
    let causes = states(&scene, &["starting", "recording", "stopped"]).await?;
    assert_eq!(causes[2], "told to stop");
    assert_eq!(answer(&scene, "stopped").await?.0, "waiting");

    let daemon = scene.daemon().await?;
    let whole = ["starting", "recording", "stopped", "starting", "recording"];
    states(&scene, &whole).await?;
    assert_eq!(answer(&scene, "recording").await?.0, "recorded");
    let (said, states) = answer(&scene, "stopped").await?;
    assert_eq!((&*said, &*states), ("delayed", "here stopped: told to stop"));
    let unknown =
        "select count(*) from audit.runs r, audit.listening(r.started_at - interval '1 hour') l
                    where l.answer = 'unknown' and l.states is null";
    assert_eq!(scene.number(unknown).await?, 2);
    let ahead =
        "select count(*) from audit.listening(now() + interval '1 hour') where answer = 'unknown'";
    assert_eq!(scene.number(ahead).await?, 1);
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_session_is_a_span_with_its_cause() -> Result<()> {
    let bed = Bed::shared().await?;
    let broker = Proxy::start(bed.rabbitmq.port()).await?;
    let scene = here(bed).await?.through(Some(bed.rabbitmq.amqp_url_at(broker.port())), None);
    let daemon = scene.daemon().await?;
    broker.set(Mode::Refuse).await;
    broker.cut().await;
    daemon.says("the broker cannot be used", 2).await?;
    let causes = states(&scene, &["starting", "recording", "disconnected"]).await?;
    assert_eq!(causes[2], "the connection was lost");
    assert_eq!(answer(&scene, "disconnected").await?.0, "waiting");
    broker.set(Mode::Forward).await;
    daemon.consumes(2).await?;
    states(&scene, &["starting", "recording", "disconnected", "recording"]).await?;
    assert_eq!(answer(&scene, "disconnected").await?.0, "delayed");
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_postgres_is_written_afterwards_with_its_own_times() -> Result<()> {
    let bed = Bed::own().await?;
    let scene = here(&bed).await?;
    let daemon = scene.daemon().await?;
    states(&scene, &["starting", "recording"]).await?;
    bed.postgres.stop().await?;
    scene.publish(&[event(0)]).await?;
    daemon.says("PostgreSQL cannot store", 2).await?;
    bed.postgres.start_again().await?;
    scene.stored(1).await?;
    let causes = states(&scene, &["starting", "recording", "paused", "recording"]).await?;
    assert!(causes[2].contains("PostgreSQL"), "{causes:?}");
    // It began before the server that tells of it was started, and lasted until then.
    let true_times = "select count(*) from audit.coverage where state = 'paused'
                         and from_at < pg_postmaster_start_time() and to_at > pg_postmaster_start_time()";
    assert_eq!(scene.number(true_times).await?, 1);
    assert_eq!(answer(&scene, "paused").await?.0, "delayed");
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_postgres_and_a_failure_are_told_later() -> Result<()> {
    let bed = Bed::shared().await?;
    let database = Proxy::start(bed.postgres.port()).await?;
    let scene = here(bed).await?;
    let (direct_url, url) =
        (bed.postgres.url(&scene.name), bed.postgres.url_at(database.port(), &scene.name));
    database.set(Mode::Refuse).await;
    let scene = scene.through(None, Some(url));
    let daemon = scene.starts()?;
    daemon.says("PostgreSQL cannot be used", 2).await?;
    database.set(Mode::Forward).await;
    daemon.consumes(1).await?;
    let scene = scene.through(None, Some(direct_url));
    states(&scene, &["starting", "paused", "recording"]).await?;

    let mut sql = scene.sql().await?;
    sqlx::raw_sql("alter table audit.events rename to elsewhere").execute(&mut sql).await?;
    scene.publish(&[event(0)]).await?;
    assert_eq!(daemon.ends().await?, 1);
    let causes = states(&scene, &["starting", "paused", "recording", "stopped"]).await?;
    assert!(causes[3].starts_with("events cannot be stored: "), "{causes:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_left_by_kill_is_closed_at_the_next_start() -> Result<()> {
    let scene = here(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    states(&scene, &["starting", "recording"]).await?;
    // Killed.
    drop(daemon);
    // As it is after a minute, if it is not started again.
    let mut sql = scene.sql().await?;
    sqlx::query("update audit.runs set beat_at = beat_at - interval '61 seconds'")
        .execute(&mut sql)
        .await?;
    states(&scene, &["starting", "recording", "dead"]).await?;
    assert_eq!(answer(&scene, "dead").await?.0, "waiting");
    assert_eq!(scene.number("select count(*) from audit.deaths").await?, 0);
    // And as it is without that minute.
    sqlx::query("update audit.runs set beat_at = now()").execute(&mut sql).await?;
    states(&scene, &["starting", "recording"]).await?;

    let daemon = scene.daemon().await?;
    states(&scene, &["starting", "recording", "dead", "starting", "recording"]).await?;
    let since_the_last_sign = "select count(*) from audit.coverage c join audit.runs r using (run)
                                where c.state = 'dead' and c.from_at = r.seen_at";
    assert_eq!(scene.number(since_the_last_sign).await?, 1);
    assert_eq!(answer(&scene, "dead").await?.0, "delayed");
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_sibling_of_the_same_name_is_not_taken_for_dead() -> Result<()> {
    let scene = here(Bed::shared().await?).await?;
    let sibling = scene.daemon().await?;
    scene.counts(1, "select count(*) from audit.coverage where state = 'recording'").await?;
    let daemon = scene.daemon().await?;
    let recording =
        "select count(*) from audit.coverage where state = 'recording' and to_at is null";
    scene.counts(2, recording).await?;
    // Whoever looks for the dead does so in the same breath as it says that it records.
    let beats = "select count(*) from audit.runs where seen_at > started_at + interval '5 seconds'";
    scene.counts(2, beats).await?;
    assert_eq!(scene.number("select count(*) from audit.deaths").await?, 0);
    // It was looked for: killed, it is found by the other one, without a start.
    drop(sibling);
    scene.counts(1, "select count(*) from audit.deaths").await?;
    scene.counts(1, recording).await?;
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_found_dead_that_lives_is_not_dead() -> Result<()> {
    let scene = here(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    states(&scene, &["starting", "recording"]).await?;
    // So that it gives no sign of life meanwhile.
    daemon.freezes().await?;
    let mut sql = scene.sql().await?;
    sqlx::query(
        "insert into audit.deaths (run, at, found_by) select run, seen_at, run from audit.runs",
    )
    .execute(&mut sql)
    .await?;
    states(&scene, &["starting", "recording", "dead"]).await?;
    daemon.signal(Signal::SIGCONT)?;
    states(&scene, &["starting", "recording"]).await?;
    daemon.stops_cleanly().await?;
    states(&scene, &["starting", "recording", "stopped"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halted_process_does_not_claim_to_have_listened() -> Result<()> {
    let scene = here(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    states(&scene, &["starting", "recording"]).await?;
    daemon.freezes().await?;
    // Fifteen seconds count; its last tick was up to five after the last sign of life that it wrote.
    let silent = "select count(*) from audit.runs where seen_at < now() - interval '21 seconds'";
    scene.counts(1, silent).await?;
    daemon.signal(Signal::SIGCONT)?;
    states(&scene, &["starting", "recording", "frozen", "recording"]).await?;
    assert_eq!(answer(&scene, "frozen").await?.0, "delayed");
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn recording_goes_on_where_coverage_cannot_be_written() -> Result<()> {
    let scene = here(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    states(&scene, &["starting", "recording"]).await?;
    let mut sql = scene.sql().await?;
    sqlx::raw_sql("alter table audit.runs rename to elsewhere").execute(&mut sql).await?;
    daemon.says("coverage cannot be written", 1).await?;
    let messages = [event(0), event(1)];
    scene.publish(&messages).await?;
    scene.stored_exactly(&messages).await?;
    sqlx::raw_sql("alter table audit.elsewhere rename to runs").execute(&mut sql).await?;
    scene.ends_with(&daemon, &messages).await?;
    assert_eq!(daemon.said("coverage cannot be written"), 1, "{:#?}", daemon.log());
    states(&scene, &["starting", "recording", "stopped"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_of_rejections_are_spans() -> Result<()> {
    let scene = here(Bed::shared().await?).await?.with("ingest.malformed", "dead-letter");
    let daemon = scene.daemon().await?;
    let bad = |number: usize| Message::new("bad.one", format!("no json {number}"));
    scene.publish(&(0..5).map(bad).collect::<Vec<_>>()).await?;
    scene.counts(5, "select count(*) from audit.rejections").await?;
    let mut sql = scene.sql().await?;
    // As if these came earlier: one 61 seconds before the next one, which is 59 seconds before the rest.
    sqlx::raw_sql(
        "with numbered as (
             select lane, number, ordinal, row_number() over (order by lane, number, ordinal) as n from audit.rejections
         )
         update audit.rejections r
            set received_at = date_trunc('second', now())
                              - case n.n when 1 then interval '220 seconds' when 2 then interval '159 seconds'
                                         else interval '100 seconds' end,
                reason = case n.n when 2 then 'refused' else r.reason end
           from numbered n where (r.lane, r.number, r.ordinal) = (n.lane, n.number, n.ordinal)",
    )
    .execute(&mut sql)
    .await?;
    let bursts: Vec<(String, i64, bool)> = sqlx::query_as(
        "select cause, extract(epoch from to_at - from_at)::int8, instance is null
           from audit.coverage where state = 'rejecting' order by from_at",
    )
    .fetch_all(&mut sql)
    .await?;
    let of = |cause: &str, seconds| (cause.to_owned(), seconds, true);
    assert_eq!(bursts, [of("1 malformed", 60), of("3 malformed, 1 refused", 119)]);
    scene.publish(&[bad(5)]).await?;
    let under_way =
        "select count(*) from audit.coverage where state = 'rejecting' and to_at is null";
    scene.counts(1, under_way).await?;
    // Rejecting says nothing against recording.
    assert_eq!(answer(&scene, "recording").await?.0, "recorded");
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_passed_an_unbound_queue_are_missed() -> Result<()> {
    let scene = here(Bed::shared().await?).await?;
    scene.daemon().await?.stops_cleanly().await?;
    let mut sql = scene.sql().await?;
    // A run that found the binding gone when it came, and another hour later was told to stop.
    sqlx::raw_sql(
        "insert into audit.runs
         select gen_random_uuid(), 'here', '', exchange, queue, seen_at + interval '1 hour', seen_at + interval '9 hours', now()
           from audit.runs;
         insert into audit.coverage_changes
         select r.run, c.number, r.started_at + (c.number - 1) * interval '1 hour', c.state, 'test'
           from audit.runs r, (values (1, 'unbound'), (2, 'recording'), (3, 'stopped')) c (number, state)
          where r.version = ''",
    )
    .execute(&mut sql)
    .await?;
    sqlx::query("update audit.coverage_changes set at = at - interval '1 day'")
        .execute(&mut sql)
        .await?;
    sqlx::query("update audit.runs set started_at = started_at - interval '1 day'")
        .execute(&mut sql)
        .await?;
    assert_eq!(answer(&scene, "unbound").await?.0, "missed");
    // Since when it was gone while nobody looked, nobody knows.
    assert_eq!(answer(&scene, "stopped").await?.0, "unknown");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_from_before_coverage_is_migrated_at_the_start() -> Result<()> {
    let scene = here(Bed::shared().await?).await?;
    let mut first = sqlx::migrate!();
    first.migrations.to_mut().truncate(1);
    first.create_schema("audit");
    first.dangerous_set_table_name("audit.schema_migrations");
    let mut sql = scene.sql().await?;
    first.run_direct(None, &mut sql, false).await?;
    assert_eq!(scene.number("select count(*) from pg_class where relname = 'coverage'").await?, 0);
    let daemon = scene.daemon().await?;
    states(&scene, &["starting", "recording"]).await?;
    let messages = [event(0), event(1)];
    scene.publish(&messages).await?;
    scene.ends_with(&daemon, &messages).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_tells_spans_and_holes() -> Result<()> {
    let scene = here(Bed::shared().await?).await?;
    scene.daemon().await?.stops_cleanly().await?;
    let daemon = scene.daemon().await?;
    states(&scene, &["starting", "recording", "stopped", "starting", "recording"]).await?;
    let queues = scene.asks(&["coverage", "--since", "1h", "--format", "json"])?.json()?;
    let queue = &queues[0];
    assert_eq!(
        (&queue["queue"], &queue["exchange"]),
        (&scene.queue().into(), &scene.exchange().into())
    );
    let spans = queue["spans"].as_array().unwrap();
    let of = |name: &str| spans.iter().map(|span| span[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("recorded"), [false, true, false, true]);
    assert_eq!(of("lasts"), [false, false, false, true]);
    assert_eq!(of("from")[1..], of("to")[..3]);
    let causes = ["here stopped: told to stop", "here starting: the program was started"];
    assert_eq!(of("causes")[2], serde_json::json!(causes));
    let seconds = |name: &str| queue[name].as_f64().unwrap();
    assert!(0.0 < seconds("recorded_seconds") && seconds("recorded_seconds") < seconds("seconds"));

    let table = scene.asks(&["coverage"])?;
    let last = table.text().lines().last().unwrap_or_default();
    assert!(
        last.starts_with(&format!("{} from {}: recorded for ", scene.queue(), scene.exchange())),
        "{table:?}"
    );
    assert!(last.contains(" %), 2 hole(s), the longest of "), "{table:?}");
    assert_eq!(table.text().lines().count(), 6);
    daemon.stops_cleanly().await?;
    let before = scene.asks(&["coverage", "--until", "1h"])?;
    assert_eq!((before.status, before.text(), &*before.stderr), (1, "", ""), "{before:?}");
    let (status, screen) = scene.asks_at_a_terminal(80, &[], &["coverage", "--until", "1h"])?;
    assert_eq!((status, &*screen), (1, "no daemon is known to have run in that time\r\n"));
    assert_eq!(scene.asks(&["coverage", "--since", "yestreday"])?.status, 2);
    Ok(())
}
