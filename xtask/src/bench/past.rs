//! A past: so many events of so many days, generated on the server, in partitions with all their indexes.
//!
//! Event number n of N has the id `md5(n)`. There are 300 types, a few of them frequent, and one that comes once in a
//! million ([`RARE`]); keys are types, for one event in ten with a fourth word. Every third event follows from the one
//! before it, and the last ones hold a chain of [`CHAIN`] ([`link`]). Bodies are small: what fills the disk is not what makes
//! ingest or reading slower.

use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;
use sqlx::PgConnection;

use super::database::{self, Database};
use super::scene::Scene;
use super::space;
use crate::figures::count;
use crate::screen::Screen;

/// Bytes on disk of a generated row with its indexes, measured.
pub const ROW_BYTES: u64 = 560;

/// The type that comes once in a million.
pub const RARE: &str = "rare.thing.happened";
/// The most frequent type.
pub const FREQUENT: &str = "domain0.entity0.happened";
/// Links of the chain.
pub const CHAIN: u64 = 1_000;

/// Events between two links of the chain.
const STRIDE: u64 = 50;
/// Sessions that generate.
const SESSIONS: u64 = 2;

/// The number of the link in the middle of the chain.
pub fn link(rows: u64) -> u64 {
    let last = (rows - 7) / STRIDE * STRIDE + 7;
    last.saturating_sub(CHAIN / 2 * STRIDE)
}

/// A database that holds one.
pub struct Past {
    pub rows: u64,
    pub database: Database,
}

/// Makes one, today being its last day.
///
/// # Errors
/// When the disk is too small, or the server fails.
pub async fn generate(screen: &Screen, scene: &Scene, rows: u64, days: u64) -> Result<Past> {
    let status = || format!("  generating {} events of {days} days", count(rows));
    let database = screen.during(status, database(scene, rows, days)).await?;
    Ok(Past { rows, database })
}

async fn database(scene: &Scene, rows: u64, days: u64) -> Result<Database> {
    let what = format!("a past of {} events", count(rows));
    space::ensure(scene, rows * ROW_BYTES, &what).await?;
    let database = Database::migrated(scene).await?;
    let mut connection = database.connect().await?;
    database::run(&mut connection, FUNCTION).await?;
    let days = if rows == 0 { 0 } else { days };
    for day in 0..days {
        let made =
            sqlx::query("select audit.ensure_partition(now() - $1 * interval '24 hours', 'daily')");
        let made = made.bind(i64::try_from(days - 1 - day)?);
        made.execute(&mut connection).await.context("make a partition")?;
    }
    let sessions = (0..SESSIONS).map(|session| {
        let database = &database;
        async move {
            let mut connection = database.connect().await?;
            // It need not survive the machine, and has to be made.
            let settings = "set synchronous_commit = off; set maintenance_work_mem = '256MB';
                            set max_parallel_maintenance_workers = 0";
            database::run(&mut connection, settings).await?;
            for day in (0..days).filter(|day| day % SESSIONS == session) {
                fill(&mut connection, day, days, rows).await?;
            }
            anyhow::Ok(())
        }
    });
    try_join_all(sessions).await?;
    // As a server that has been running for long, and so that neither happens in the middle of a measurement.
    database::run(&mut connection, "vacuum (freeze, analyze)").await?;
    database::run(&mut connection, "checkpoint").await?;
    Ok(database)
}

async fn fill(connection: &mut PgConnection, day: u64, days: u64, rows: u64) -> Result<()> {
    let days_ago = days - 1 - day;
    let (first, last) = (rows * day / days + 1, rows * (day + 1) / days);
    database::run(connection, &format!("select public.fill({days_ago}, {first}, {last}, {rows})"))
        .await?;
    database::run(connection, &format!("select public.swap({days_ago})")).await
}

/// Fills a table for the day so many days ago, and puts it in the place of that day's partition. Indexes are made behind the
/// rows, which is faster, and beside the table, where no other session waits for them.
const FUNCTION: &str = r#"
create function public.fill(days_ago bigint, first bigint, last bigint, rows bigint) returns void language plpgsql as $$
declare
    p     audit.partitions;
    until timestamptz;
    index text;
begin
    select * into p from audit.partitions q
     where q.from_at <= now() - days_ago * interval '24 hours' and now() - days_ago * interval '24 hours' < q.to_at;
    until := least(p.to_at, now());
    execute format('create table public.%I (like audit.events including defaults including constraints including storage)', p.name);
    execute format($insert$
        insert into public.%I (seq, received_at, event_time, event_id, redelivered, conflict, malformed, event_type, source,
               exchange, routing_key, correlation_ids, properties, payload)
        select -$4 - 1 + n, e.at, e.at - interval '2 ms', md5(n::text)::uuid, false, false, false, e.kind, 'service-' || e.k %% 40,
               'bench', e.kind || case when n %% 10 = 0 then '.again' else '' end,
               case when n %% 50 = 7 and n > $4 - 50 * 1000 then array[md5((n - 50)::text)::uuid::text]
                    when n %% 3 = 0 and n %% 50 <> 8 then array[md5((n - 1)::text)::uuid::text] else '{}' end,
               '{"delivery_mode":2}', ('{"event_type":"' || e.kind || '","payload":{"number":' || n || '}}')::json
          from generate_series($1, $2) n
         cross join lateral (select floor(power((n * 7919 %% 1000) / 1000.0, 3) * 300)::int as k) k
         cross join lateral (select k.k, $3 + (n - $1) * ($5 - $3) / ($2 - $1 + 1) as at,
               case when n %% 1000000 = 500000 then 'rare.thing.happened'
                    else 'domain' || k.k %% 12 || '.entity' || k.k / 12 || '.happened' end as kind) e
        $insert$, p.name) using first, last, p.from_at, rows, until;
    for index in
        select regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE INDEX \S+ ON ONLY audit\.events ', format('CREATE INDEX ON public.%I ', p.name))
          from pg_index i where i.indrelid = 'audit.events'::regclass
        union all
        select replace(pg_get_indexdef(i.indexrelid), ' ON audit.', ' ON public.')
          from pg_index i where i.indrelid = format('audit.%I', p.name)::regclass and i.indisunique
    loop
        execute index;
    end loop;
    execute format('alter table public.%I add check (received_at >= %L and received_at < %L)', p.name, p.from_at, p.to_at);
end
$$;

create function public.swap(days_ago bigint) returns void language plpgsql as $$
declare
    p audit.partitions;
begin
    select * into p from audit.partitions q
     where q.from_at <= now() - days_ago * interval '24 hours' and now() - days_ago * interval '24 hours' < q.to_at;
    lock table audit.events in access exclusive mode;
    execute format('drop table audit.%I', p.name);
    execute format('alter table public.%I set schema audit', p.name);
    execute format('alter table audit.events attach partition audit.%I for values from (%L) to (%L)', p.name, p.from_at, p.to_at);
end
$$"#;
