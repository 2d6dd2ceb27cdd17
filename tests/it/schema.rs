//! The schema: migrated at the start, or by `migrate` alone; partitions; and what a wrong one says.

use std::process::{Command, Output};

use anyhow::Result;
use sqlx::Connection as _;

use crate::support::{Bed, Scene, event};

fn migrate(scene: &Scene, arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(env!("CARGO_BIN_EXE_bloodbank-audit"))
        .arg("migrate")
        .args(arguments)
        .env_clear()
        .envs(scene.environment())
        .output()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_says_what_it_would_do_does_it_and_has_nothing_left_to_do() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let said = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let dry = migrate(&scene, &["--dry-run"])?;
    assert!(dry.status.success());
    assert!(said(&dry).starts_with("would apply 0001 history\n"), "{}", said(&dry));
    assert_eq!(scene.number("select count(*) from pg_namespace where nspname = 'audit'").await?, 0);

    let unmigrated = scene.with("postgres.migrate", "false");
    let daemon = unmigrated.starts()?;
    assert_eq!(daemon.ends().await?, 1);
    assert_eq!(daemon.said("run `bloodbank-audit migrate`"), 1, "{:#?}", daemon.log());

    let done = migrate(&unmigrated, &[])?;
    assert!(said(&done).starts_with("applied 0001 history\n"), "{}", said(&done));
    assert_eq!(said(&migrate(&unmigrated, &[])?), "the schema is up to date\n");
    let daemon = unmigrated.daemon().await?;
    unmigrated.publish(&[event(0)]).await?;
    unmigrated.stored(1).await?;
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_and_column_is_described() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    assert!(migrate(&scene, &[])?.status.success());
    let mut sql = scene.sql().await?;
    // Number 0 stands for the table or view itself. Partitions are described by their table.
    let undescribed: Vec<String> = sqlx::query_scalar(
        "select c.relname || coalesce('.' || a.attname, '')
           from pg_class c
           join lateral (select 0 as attnum, null::name as attname
                         union all
                         select p.attnum, p.attname from pg_attribute p
                          where p.attrelid = c.oid and p.attnum > 0 and not p.attisdropped) a on true
          where c.relnamespace = 'audit'::regnamespace and c.relkind in ('r', 'p', 'v') and not c.relispartition
            and not exists (select from pg_description d
                             where d.classoid = 'pg_class'::regclass and d.objoid = c.oid and d.objsubid = a.attnum)
          order by 1",
    )
    .fetch_all(&mut sql)
    .await?;
    assert!(undescribed.is_empty(), "{undescribed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_a_later_program_is_refused() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    scene.daemon().await?.stops_cleanly().await?;
    let mut sql = scene.sql().await?;
    sqlx::query("insert into audit.schema_migrations values (9999, 'later', now(), true, '', 0)")
        .execute(&mut sql)
        .await?;
    let daemon = scene.starts()?;
    assert_eq!(daemon.ends().await?, 1);
    assert_eq!(daemon.said("run the newer program"), 1, "{:#?}", daemon.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_daemons_may_start_on_an_empty_database_at_once() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemons = [scene.starts()?, scene.starts()?, scene.starts()?];
    for daemon in &daemons {
        daemon.consumes(1).await?;
    }
    let messages: Vec<_> = (0..300).map(event).collect();
    scene.publish(&messages).await?;
    scene.stored_exactly(&messages).await?;
    for daemon in &daemons {
        daemon.stops_cleanly().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_would_convert_bytes_is_refused() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = Scene::set(bed).await?;
    let latin = format!("{}_latin", scene.name);
    let create = format!("create database {latin} encoding 'LATIN1' locale 'C' template template0");
    bed.postgres.sql("postgres", &create).await?;
    let url = bed.postgres.url(&latin);
    let daemon = scene.through(None, Some(url)).starts()?;
    assert_eq!(daemon.ends().await?, 1);
    assert_eq!(daemon.said("encoding is LATIN1"), 1, "{:#?}", daemon.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_made_ahead_and_fit_beside_one_another() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?.with("storage.partitions_ahead", "2");
    let daemon = scene.daemon().await?;
    scene.publish(&[event(0)]).await?;
    scene.stored(1).await?;
    daemon.stops_cleanly().await?;
    let spans = "select count(*) from audit.partitions where to_at - from_at = interval '1 day'
                    and from_at >= date_trunc('day', now(), 'UTC')";
    assert_eq!(scene.number(spans).await?, 3);

    // From now on hourly: what exists is used, what comes after is cut to fit.
    let hourly = scene.with("retention.partition", "1h");
    let daemon = hourly.daemon().await?;
    hourly.publish(&[event(1)]).await?;
    hourly.stored(2).await?;
    daemon.stops_cleanly().await?;
    let overlaps = "select count(*) from audit.partitions a join audit.partitions b
                       on a.name < b.name and a.from_at < b.to_at and b.from_at < a.to_at";
    assert_eq!(hourly.number(overlaps).await?, 0);
    let attached = "select count(*) from pg_inherits where inhparent = 'audit.events'::regclass";
    assert_eq!(
        hourly.number(attached).await?,
        hourly.number("select count(*) from audit.partitions").await?
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_writable_and_readable_under_another_search_path() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = Scene::set(bed).await?;
    let database = scene.name.clone();
    bed.postgres
        .sql("postgres", &format!("alter database {database} set search_path = nowhere"))
        .await?;
    let daemon = scene.daemon().await?;
    let messages: Vec<_> = (0..10).map(event).collect();
    scene.publish(&messages).await?;
    scene.stored_exactly(&messages).await?;
    let sql = scene.sql().await?;
    sql.close().await?;
    daemon.stops_cleanly().await
}

/// Making partitions ahead waits for locks that recording need not wait for.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_on_the_table_that_lets_rows_in_holds_nothing_up() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    scene.daemon().await?.stops_cleanly().await?;
    let mut sql = scene.sql().await?;
    // As if it had been off for days: the present partition is there, those after it are not.
    sqlx::raw_sql(
        "do $$ declare name text; begin
             for name in delete from audit.partitions where from_at > now() returning partitions.name loop
                 execute format('drop table audit.%I', name);
             end loop;
         end $$",
    )
    .execute(&mut sql)
    .await?;
    let mut maintenance = sql.begin().await?;
    sqlx::raw_sql("lock table audit.events in share update exclusive mode")
        .execute(&mut *maintenance)
        .await?;
    let daemon = scene.daemon().await?;
    daemon.says("partitions are not made ahead now", 1).await?;
    let messages = [event(1), event(2)];
    scene.publish(&messages).await?;
    scene.stored_exactly(&messages).await?;
    maintenance.rollback().await?;
    daemon.stops_cleanly().await
}

/// Whoever fills a pending list empties it in the middle of a batch.
#[tokio::test(flavor = "multi_thread")]
async fn no_partition_has_a_long_pending_list() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    scene.daemon().await?.stops_cleanly().await?;
    let of = "select count(*) from pg_inherits i join pg_class c on c.oid = i.inhrelid
               where i.inhparent = 'audit.events_causes'::regclass";
    assert!(scene.number(of).await? >= 4);
    let long = "select count(*) from pg_inherits i join pg_class c on c.oid = i.inhrelid
                 where i.inhparent = 'audit.events_causes'::regclass
                   and c.reloptions <> '{gin_pending_list_limit=64}'";
    assert_eq!(scene.number(long).await?, 0);
    Ok(())
}
