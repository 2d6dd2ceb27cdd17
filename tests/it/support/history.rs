//! A history made by SQL, for tests that only ask.

use anyhow::Result;
use sqlx::PgConnection;

/// Keeps PostgreSQL's own work out of the statistics of the partitions that are there: its autovacuum workers summarise what
/// the index of sources has not seen yet, which counts as reading a table through, and comes whenever they get to it.
pub async fn keep_workers_away(sql: &mut PgConnection) -> Result<()> {
    sqlx::raw_sql(
        "do $$ declare of_one record; begin
             for of_one in select c.oid::regclass as name
                             from audit.partitions p
                             join pg_index i on i.indrelid = format('audit.%I', p.name)::regclass
                             join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam where a.amname = 'brin'
             loop
                 execute format('alter index %s set (autosummarize = off)', of_one.name);
             end loop;
             for of_one in select format('audit.%I', p.name) as name from audit.partitions p loop
                 execute format('alter table %s set (autovacuum_enabled = off)', of_one.name);
             end loop;
         end $$",
    )
    .execute(sql)
    .await?;
    Ok(())
}

/// Stores so many events a day, of the last so many days and today, at regular times. Event number n, counted from 1, has
/// the id `md5(n)`, and each third one follows from the one before it. Types and keys are `kind.<n % 10>.seen`, and for
/// one event in ten the key has a fourth word.
pub async fn made_history(sql: &mut PgConnection, days: i32, per_day: i32) -> Result<()> {
    sqlx::query("select audit.ensure_partition(now() - d * interval '1 day', 'daily') from generate_series(0, $1) d")
        .bind(days)
        .execute(&mut *sql)
        .await?;
    keep_workers_away(sql).await?;
    sqlx::raw_sql(
        "create function pg_temp.made(days int, per_day int) returns void language sql as $$
             insert into audit.events (seq, received_at, event_time, event_id, redelivered, conflict, malformed, event_type,
                    source, exchange, routing_key, correlation_ids, properties, payload)
             select n, e.at, e.at - interval '20 ms', md5(n::text)::uuid, false, false, false, e.kind, 'source-' || n % 7,
                    'made', e.kind || case when n % 10 = n / 10 % 10 then '.again' else '' end,
                    case when n % 3 = 0 then array[md5((n - 1)::text)::uuid::text] else '{}' end, '{}',
                    json_build_object('number', n)
               from generate_series(1, (days + 1) * per_day) n
              cross join lateral (select 'kind.' || n % 10 || '.seen' as kind,
                    date_trunc('day', now(), 'UTC') - days * interval '1 day' + n * interval '1 day' / (per_day + 1)
                    + (n - 1) / per_day * interval '1 day' / (per_day + 1) as at) e;
         $$",
    )
    .execute(&mut *sql)
    .await?;
    sqlx::query("select pg_temp.made($1, $2)").bind(days).bind(per_day).execute(&mut *sql).await?;
    sqlx::raw_sql("analyze audit.events").execute(&mut *sql).await?;
    Ok(())
}
