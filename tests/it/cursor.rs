//! Reading along: every committed event once, none skipped, whoever writes, dies or keeps a transaction open meanwhile.

mod reader;

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bloodbank_audit::{
    event::{Delivery, Envelope, Event, Preset, Properties, now},
    store::{Append as _, Batch, Entry, Kind, Settings, Writer, options},
};
use futures_util::future::join_all;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sqlx::{Connection as _, PgConnection};
use testbed::Deadline;

use crate::support::{Bed, Scene};
use reader::Reader;

pub fn settings(bed: &Bed, scene: &Scene, name: &str) -> Result<Settings> {
    let options = options(&format!("{}?application_name={name}", bed.postgres.url(&scene.name)))?;
    Ok(Settings {
        options,
        connect_timeout: Duration::from_secs(30),
        statement_timeout: Duration::from_secs(30),
        hourly: false,
        partitions_ahead: 1,
        dedupe_overlap: Duration::ZERO,
        redelivered_within: Duration::from_secs(60),
        ledger: None,
        rejected_body: 100,
    })
}

/// An event without an id, which nothing would tell from a copy of itself.
fn entry(number: usize) -> Entry {
    let delivery = Delivery {
        tag: 0,
        redelivered: false,
        exchange: String::new(),
        routing_key: "read.along".to_owned(),
        properties: Properties::default(),
        body: number.to_string().into_bytes(),
        received_at: now(),
    };
    Entry::Event(Event::from_delivery(delivery, &Envelope::preset(Preset::Plain)))
}

/// Stores batches of random size until told to stop. Numbers are taken from `next`, and a batch whose connection is killed
/// is stored again as the same value, as the daemon does.
pub async fn write(
    settings: Settings,
    seed: u64,
    next: &AtomicUsize,
    over: &AtomicBool,
) -> Result<Writer> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut writer = Writer::new(settings);
    while !over.load(Ordering::Relaxed) {
        let size = if random.random_bool(0.5) { 1 } else { random.random_range(1..60) };
        let first = next.fetch_add(size, Ordering::Relaxed);
        let mut batch = Batch::new((first..first + size).map(entry).collect());
        loop {
            match writer.append(&mut batch).await {
                Ok(commit) => {
                    ensure!(commit.events() == size, "{commit:?} of {size}");
                    break;
                }
                Err(fault) => ensure!(fault.kind == Kind::Unavailable, "{fault}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..8))).await;
    }
    Ok(writer)
}

const WRITERS: u64 = 6;
const EVENTS: usize = 6_000;

/// Kills a writer's connection now and then, and reads along, until so many events are on their way. Tells how many
/// connections were killed.
async fn disturb(
    sql: &mut PgConnection,
    reader: &mut Reader,
    next: &AtomicUsize,
    events: usize,
    random: &mut StdRng,
) -> Result<i64> {
    let mut kills = 0;
    while next.load(Ordering::Relaxed) < events {
        reader.reads(sql, random.random_range(1..400)).await?;
        if random.random_bool(0.2) {
            let (killed,): (i64,) = sqlx::query_as(
                "select count(*) filter (where pg_terminate_backend(pid)) from pg_stat_activity
                  where datname = current_database() and application_name = 'writer ' || $1",
            )
            .bind(random.random_range(0..i64::try_from(WRITERS)?))
            .fetch_one(&mut *sql)
            .await?;
            kills += killed;
        }
    }
    Ok(kills)
}

/// A batch of one event, number 0, in a transaction that has not ended.
const DAWDLE: &str = "
    with header as (
        insert into audit.batches (lane, number, first_seq, events, conflicts, duplicates, rejections, body_bytes,
               received_from, received_to)
        values (gen_random_uuid(), 1, -1, 1, 0, 0, 0, 1, now(), now()))
    insert into audit.events (seq, received_at, redelivered, conflict, malformed, exchange, routing_key, correlation_ids,
           properties, payload)
    values (-1, now(), false, false, false, '', '', '{}', '{}', '0')";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_skipped_or_repeated_whoever_writes_dies_or_dawdles() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = Scene::migrated(bed).await?;
    let (next, over) = (AtomicUsize::new(1), AtomicBool::new(false));
    let mut sql = scene.sql().await?;
    let mut reader = Reader::default();
    sqlx::query("select audit.ensure_partition(now(), 'daily')").execute(&mut sql).await?;

    // Somebody else's, begun before all others; nobody has to wait for it.
    let mut other = scene.sql().await?;
    let mut others = other.begin().await?;
    sqlx::query("select pg_current_xact_id()").execute(&mut *others).await?;
    let mut long = scene.sql().await?;

    let writers = join_all((0..WRITERS).map(|number| {
        let settings = settings(bed, &scene, &format!("writer {number}"));
        let (next, over) = (&next, &over);
        async move {
            write(settings?, number, next, over).await?.close().await;
            Ok(())
        }
    }));
    let disturbed = async {
        let mut random = StdRng::seed_from_u64(99);
        let mut kills = disturb(&mut sql, &mut reader, &next, EVENTS / 2, &mut random).await?;
        let read = reader.numbers.len();
        // One of ours that has not ended; all that have a later place wait for it.
        let mut dawdler = long.begin().await?;
        sqlx::query(DAWDLE).execute(&mut *dawdler).await?;
        kills += disturb(&mut sql, &mut reader, &next, EVENTS, &mut random).await?;
        over.store(true, Ordering::Relaxed);
        anyhow::Ok((kills, read, dawdler))
    };
    let (disturbed, written) = tokio::join!(disturbed, writers);
    let (kills, read, dawdler) = disturbed.context("beside the writers")?;
    written.into_iter().collect::<Result<()>>()?;
    let events = next.load(Ordering::Relaxed);
    assert!(kills > 10, "only {kills} connections were killed");
    assert!(read > EVENTS / 4, "only {read} were read along");

    while reader.reads(&mut sql, 400).await? > 0 {}
    assert!(!reader.numbers.contains(&0), "what is not committed was read");
    let held = reader.numbers.len();
    assert!(held < events - 1, "nothing waited for the one that had not ended");
    dawdler.commit().await?;
    reader.reads_up_to(&mut sql, 400, events).await?;
    assert_eq!(reader.numbers[held], 0, "it came at its place");
    reader.has_each_once(events)?;

    // From wherever on, the rest is the rest; and it is the same rest each time.
    for place in (0..reader.places.len()).step_by(reader.places.len() / 12) {
        let (cursor, read) = &reader.places[place];
        let mut rest = reader.goes_on_from(cursor, *read);
        rest.reads_up_to(&mut sql, 777, events).await?;
        assert_eq!(rest.numbers, reader.numbers, "from {cursor}");
    }
    Ok(())
}

/// Stores batches of these sizes, one after the other.
async fn stored(bed: &Bed, scene: &Scene, sizes: &[usize]) -> Result<usize> {
    let mut writer = Writer::new(settings(bed, scene, "writer")?);
    let mut first = 0;
    for size in sizes {
        writer.append(&mut Batch::new((first..first + size).map(entry).collect())).await?;
        first += size;
    }
    writer.close().await;
    Ok(first)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_can_stand_anywhere_in_a_batch() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = Scene::migrated(bed).await?;
    let events = stored(bed, &scene, &[1, 10, 3, 1, 25]).await?;
    let mut sql = scene.sql().await?;
    let mut whole = Reader::default();
    whole.reads_up_to(&mut sql, 1000, events).await?;
    assert_eq!(whole.numbers, (0..events).collect::<Vec<_>>());
    for limit in [1, 2, 3, 7, 11, 40] {
        let mut reader = Reader::default();
        reader.reads_up_to(&mut sql, limit, events).await?;
        assert_eq!(reader.numbers, whole.numbers, "{limit} at a time");
        assert_eq!(reader.places, whole.places, "{limit} at a time");
    }
    for (cursor, read) in &whole.places {
        let mut reader = whole.goes_on_from(cursor, *read);
        reader.reads_up_to(&mut sql, 9, events).await?;
        assert_eq!(reader.numbers, whole.numbers, "from {cursor}");
    }
    Ok(())
}

/// A cursor for that time, once it stands behind that batch: as with pages, a transaction of another test that ends just
/// then holds it up.
async fn begins_behind(sql: &mut PgConnection, since: &str, batch: &str) -> Result<String> {
    let deadline = Deadline::after(Duration::from_secs(30));
    loop {
        let (cursor,): (String,) = sqlx::query_as("select audit.cursor_at($1::text::timestamptz)")
            .bind(since)
            .fetch_one(&mut *sql)
            .await?;
        if cursor == batch {
            return Ok(cursor);
        }
        ensure!(!deadline.passed(), "it stands behind {cursor:?}, and not {batch:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_begins_at_a_time_or_at_the_end() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = Scene::migrated(bed).await?;
    let mut sql = scene.sql().await?;
    let (empty,): (String,) =
        sqlx::query_as("select audit.cursor_at()").fetch_one(&mut sql).await?;
    let events = stored(bed, &scene, &[5, 5]).await?;
    let batch =
        "select position || '@' || right(lane::text, 12) from audit.batches order by position";
    let batches: Vec<(String,)> = sqlx::query_as(batch).fetch_all(&mut sql).await?;
    let last = "select max(received_from)::text from audit.batches";
    let end = begins_behind(&mut sql, "infinity", &batches[1].0).await?;
    let (last,): (String,) = sqlx::query_as(last).fetch_one(&mut sql).await?;
    let middle = begins_behind(&mut sql, &last, &batches[0].0).await?;
    let start = begins_behind(&mut sql, "-infinity", "").await?;
    for (cursor, wanted) in [(empty, events), (end, 0), (middle, 5), (start, events)] {
        let mut reader = Reader { cursor: Some(cursor.clone()), ..Reader::default() };
        reader.reads_up_to(&mut sql, 100, wanted).await?;
        assert_eq!(reader.numbers, (events - wanted..events).collect::<Vec<_>>(), "{cursor:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_history_is_refused() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = Scene::migrated(bed).await?;
    stored(bed, &scene, &[1, 1, 1]).await?;
    let mut sql = scene.sql().await?;
    let mut reader = Reader::default();
    reader.reads_up_to(&mut sql, 100, 3).await?;

    // As on a standby that had not received the last commit, and is the primary now.
    sqlx::raw_sql(
        "delete from audit.batches where position = (select max(position) from audit.batches)",
    )
    .execute(&mut sql)
    .await?;
    let lost = reader.reads(&mut sql, 100).await.unwrap_err().to_string();
    assert!(lost.contains("is of another history"), "{lost}");
    stored(bed, &scene, &[1]).await?;
    let other = reader.reads(&mut sql, 100).await.unwrap_err().to_string();
    assert!(other.contains("is of another history"), "{other}");

    for nonsense in ["x", "1", "1@", "1:-1@0123456789ab", "1@0123456789ab,", "1+@0123456789ab"] {
        let mut reader = Reader { cursor: Some(nonsense.to_owned()), ..Reader::default() };
        let refused = reader.reads(&mut sql, 100).await.unwrap_err().to_string();
        assert!(refused.contains("is no cursor"), "{refused}");
    }
    Ok(())
}

/// A dump that is restored into a younger server: its transactions have lower numbers than those of the history.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_from_another_server_goes_on() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = Scene::migrated(bed).await?;
    let mut sql = scene.sql().await?;
    stored(bed, &scene, &[2, 3]).await?;
    sqlx::raw_sql("update audit.batches set position = position + 1000000000")
        .execute(&mut sql)
        .await?;
    let mut reader = Reader::default();
    assert_eq!(
        reader.reads(&mut sql, 100).await?,
        0,
        "nothing tells yet whether others come before"
    );
    for round in 1..3 {
        stored(bed, &scene, &[4]).await?;
        reader.reads_up_to(&mut sql, 2, 5 + round * 4).await?;
    }
    assert_eq!(reader.numbers, [0, 1, 2, 3, 4, 0, 1, 2, 3, 0, 1, 2, 3]);
    Ok(())
}

/// Partitions that were dropped hold nothing up.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_passed_over() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = Scene::migrated(bed).await?;
    let mut sql = scene.sql().await?;
    stored(bed, &scene, &[5, 5]).await?;
    let mut early = Reader::default();
    early.reads_some(&mut sql, 3).await?;
    // As if those had come the day before yesterday, in a partition that is no more.
    sqlx::raw_sql(
        "delete from audit.events;
         update audit.batches set received_from = received_from - interval '2 days', received_to = received_to - interval '2 days'",
    )
    .execute(&mut sql)
    .await?;
    stored(bed, &scene, &[4]).await?;
    let mut late = Reader::default();
    for reader in [&mut early, &mut late] {
        reader.numbers.clear();
        reader.reads_some(&mut sql, 2).await?;
        assert_eq!(reader.numbers, [0, 1]);
    }
    early.reads_up_to(&mut sql, 2, 4).await?;
    assert_eq!(early.numbers, [0, 1, 2, 3]);
    Ok(())
}
