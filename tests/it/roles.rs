//! Roles: a reader reads all and changes nothing, the daemon adds to the history and changes nothing of it, and the owner
//! of the schema need be no superuser.

use anyhow::{Result, ensure};
use sqlx::{AssertSqlSafe, PgConnection, postgres::PgDatabaseError};

use crate::support::{Bed, Daemon, Message, Scene, event};

/// A database that belongs to a role of its own, migrated by that role; and a role that reads, and one that writes.
struct House {
    scene: Scene,
    bed: &'static Bed,
}

impl House {
    async fn built() -> Result<House> {
        let bed = Bed::shared().await?;
        let scene = Scene::set(bed).await?;
        let house = House { scene, bed };
        let [owner, writer, reader] = ["owner", "writer", "reader"].map(|who| house.role(who));
        let admin = format!(
            "create role {owner} login; create role {writer} login; create role {reader} login;
             alter database {name} owner to {owner}; alter database {name} set search_path = nowhere",
            name = house.scene.name
        );
        bed.postgres.sql("postgres", &admin).await?;
        let migrate = Daemon::spawn(&["migrate"], &house.as_role("owner").environment())?;
        ensure!(migrate.ends().await? == 0, "{:#?}", migrate.log());
        let mut sql = house.as_role("owner").sql().await?;
        let grant =
            format!("select audit.grant_writer('{writer}'), audit.grant_reader('{reader}')");
        sqlx::raw_sql(AssertSqlSafe(grant)).execute(&mut sql).await?;
        Ok(house)
    }

    fn role(&self, who: &str) -> String {
        format!("{}_{who}", self.scene.name)
    }

    /// The same scene, its database reached as that role.
    fn as_role(&self, who: &str) -> Scene {
        let url = self.bed.postgres.url(&self.scene.name);
        let url = url.replace("postgres@", &format!("{}@", self.role(who)));
        self.scene.clone().through(None, Some(url)).with("postgres.migrate", "false")
    }
}

/// Expects that a statement is refused for want of a right.
async fn may_not(sql: &mut PgConnection, statement: &str) -> Result<()> {
    let error = match sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(sql).await {
        Ok(_) => anyhow::bail!("allowed: {statement}"),
        Err(error) => error,
    };
    let answer = error.as_database_error();
    let answer = answer.and_then(|answer| answer.try_downcast_ref::<PgDatabaseError>());
    ensure!(answer.map(PgDatabaseError::code) == Some("42501"), "{statement}: {error}");
    Ok(())
}

/// Tables and views of the schema, partitions included; and which of them are tables.
async fn relations(sql: &mut PgConnection) -> Result<Vec<(String, bool)>> {
    let found: Vec<(String, bool)> = sqlx::query_as(
        "select format('audit.%I', c.relname), c.relkind <> 'v' from pg_class c
           join pg_namespace n on n.oid = c.relnamespace
          where n.nspname = 'audit' and c.relkind in ('r', 'p', 'v') order by c.relname",
    )
    .fetch_all(sql)
    .await?;
    ensure!(found.len() > 15, "{found:?}");
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_adds_to_the_history_and_changes_nothing_of_it() -> Result<()> {
    let house = House::built().await?;
    let scene = house.as_role("writer").with("ingest.malformed", "dead-letter");
    let scene = scene.with("retention.keep", "400d");
    let daemon = scene.daemon().await?;
    let mut messages: Vec<_> = (0..20).map(event).collect();
    messages.push(Message::new("malformed", *b"hello"));
    scene.publish(&messages).await?;
    scene.stored(20).await?;
    scene.counts(1, "select count(*) from audit.rejections").await?;
    scene.publish(&messages[..3]).await?;
    scene.counts(3, "select coalesce(sum(duplicates), 0)::int8 from audit.batches").await?;
    daemon.stops_cleanly().await?;
    // Killed, and found dead by the next one.
    drop(scene.daemon().await?);
    let daemon = scene.daemon().await?;
    scene.counts(1, "select count(*) from audit.deaths").await?;
    // Nor does it lack a right to look after partitions.
    scene.counts(1, "select count(*) from audit.retention_clock").await?;
    daemon.stops_cleanly().await?;
    assert_eq!(daemon.said("cannot be looked after"), 0, "{:#?}", daemon.log());

    let mut sql = scene.sql().await?;
    for (table, _) in relations(&mut sql).await?.into_iter().filter(|(_, table)| *table) {
        let (column,): (String,) = sqlx::query_as(
            "select quote_ident(attname::text) from pg_attribute where attrelid = $1::text::regclass and attnum = 1",
        )
        .bind(&table)
        .fetch_one(&mut sql)
        .await?;
        for statement in [
            format!("delete from {table}"),
            format!("truncate {table}"),
            format!("update {table} set {column} = {column}"),
            format!("alter table {table} add column more text"),
            format!("drop table {table}"),
        ] {
            may_not(&mut sql, &statement).await?;
        }
    }
    for statement in [
        "update audit.runs set started_at = now()",
        "insert into audit.partitions values ('x', now(), now() + interval '1 day')",
        "insert into audit.origin values (77)",
        "update audit.batches set position = 0",
        "create table audit.mine ()",
        "drop function audit.raw(audit.events)",
        "select setval('audit.event_seq', 1)",
        "select audit.grant_writer(current_user::regrole)",
    ] {
        may_not(&mut sql, statement).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_reads_all_and_nothing_else() -> Result<()> {
    let house = House::built().await?;
    let scene = house.as_role("writer");
    let daemon = scene.daemon().await?;
    scene.publish(&[event(0)]).await?;
    scene.stored(1).await?;
    daemon.stops_cleanly().await?;

    let mut sql = house.as_role("reader").sql().await?;
    for (relation, table) in relations(&mut sql).await? {
        // A partition is read through its parent.
        if !relation.starts_with("audit.events_") {
            let select = format!("select * from {relation}");
            sqlx::raw_sql(AssertSqlSafe(select)).execute(&mut sql).await?;
        }
        if table {
            may_not(&mut sql, &format!("insert into {relation} default values")).await?;
            may_not(&mut sql, &format!("delete from {relation}")).await?;
            may_not(&mut sql, &format!("truncate {relation}")).await?;
        }
    }
    let id = "(select event_id::text from audit.events limit 1)";
    for call in [
        "select audit.raw(e) from audit.events e".to_owned(),
        "select audit.topic_matches('a', '#'), audit.topic_regex('#'), audit.as_uuid('x')"
            .to_owned(),
        format!("select * from audit.event({id})"),
        format!("select count(*) from audit.caused_by({id})"),
        format!("select * from audit.trace({id})"),
        "select * from audit.newest('test.event.happened')".to_owned(),
        "select audit.routing_keys('#')".to_owned(),
        "select * from audit.events_since()".to_owned(),
        "select audit.cursor_at()".to_owned(),
        "select count(*) from audit.gaps()".to_owned(),
        "select * from audit.listening(now())".to_owned(),
    ] {
        let rows = sqlx::query(AssertSqlSafe(call.clone())).fetch_all(&mut sql).await?.len();
        assert!(rows > 0, "{call}");
    }
    for statement in [
        "update audit.events set seq = 1",
        "select nextval('audit.event_seq')",
        "select audit.ensure_order()",
        "select audit.record_replayed(gen_random_uuid(), 1, '{}', '{}', '{}', '{}', '{}', '{}', '{}')",
        "select audit.resume_replay(gen_random_uuid(), gen_random_uuid(), null)",
        "select audit.record_dead_letters(gen_random_uuid(), 'discarded', 'x', 'x', 'x', null, 'x', '{}', '{}', '{}', '{}', '{}', '{}', '{}')",
        "select audit.grant_replayer(current_user::regrole)",
        "select audit.ensure_partition(now(), 'daily')",
        "select audit.grant_reader(current_user::regrole)",
        "create table audit.mine ()",
        "create view audit.mine as select 1",
    ] {
        may_not(&mut sql, statement).await?;
    }
    Ok(())
}

/// Rights that somebody gave by hand, for an earlier version.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_recognising_replays_takes_is_missed_at_the_start() -> Result<()> {
    let house = House::built().await?;
    let writer = house.role("writer");
    let may = async |what: &str| house.bed.postgres.sql(&house.scene.name, what).await.map(drop);
    may(&format!("revoke select on audit.replays from {writer}")).await?;
    let daemon = house.as_role("writer").starts()?;
    assert_eq!(daemon.ends().await?, 1, "{:#?}", daemon.log());
    let last = daemon.log().pop().unwrap_or_default();
    for part in ["42501", "permission denied for table replays", "grant the daemon's role"] {
        assert!(last.contains(part), "{part} in {last}");
    }
    may(&format!("grant select on audit.replays to {writer}")).await?;
    house.as_role("writer").daemon().await?.stops_cleanly().await
}

/// A table of a later version is readable too, without anybody's doing.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_reads_what_is_added_later() -> Result<()> {
    let house = House::built().await?;
    let mut owner = house.as_role("owner").sql().await?;
    sqlx::raw_sql("create table audit.later (); create view audit.later_view as select 1 as one")
        .execute(&mut owner)
        .await?;
    let mut reader = house.as_role("reader").sql().await?;
    sqlx::raw_sql("select * from audit.later; select * from audit.later_view")
        .execute(&mut reader)
        .await?;
    Ok(())
}

/// A backlog would have a second connection, which is not to be had.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_with_few_connections_drains_a_backlog_on_one() -> Result<()> {
    let house = House::built().await?;
    let scene = house.as_role("writer").with("ingest.batch_events", "20");
    scene.daemon().await?.stops_cleanly().await?;
    let messages: Vec<_> = (0..1_000).map(event).collect();
    scene.publish(&messages).await?;
    // One for the writer, and one for whoever keeps coverage.
    let limit = format!("alter role {} connection limit 2", house.role("writer"));
    house.bed.postgres.sql("postgres", &limit).await?;

    let daemon = scene.daemon().await?;
    house.scene.stored_exactly(&messages).await?;
    scene.waits(&scene.queue(), 0).await?;
    ensure!(daemon.said("PostgreSQL cannot store") == 0, "{:#?}", daemon.log());
    daemon.stops_cleanly().await
}
