//! Somebody changes events.

use anyhow::{Result, ensure};
use sqlx::Connection as _;

use super::{History, Tamper, verdicts_of};

/// The columns of a table, and how each is made another, whatever it is.
pub(super) async fn changes(
    history: &History,
    table: &'static str,
) -> Result<Vec<(String, String)>> {
    let mut sql = history.scene.sql().await?;
    let columns: Vec<(String, String)> = sqlx::query_as(
        "select a.attname::text, format_type(a.atttypid, null) from pg_attribute a
          where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum",
    )
    .bind(table)
    .fetch_all(&mut sql)
    .await?;
    sql.close().await?;
    let change = |(column, kind): (String, String)| {
        let change = match &*kind {
            "smallint" | "integer" | "bigint" => format!("coalesce({column}, 0) + 1"),
            "timestamp with time zone" => {
                format!("coalesce({column}, now()) + interval '1 second'")
            }
            "uuid" => "gen_random_uuid()".to_owned(),
            "boolean" => format!("not {column}"),
            "text" => format!("coalesce({column}, '') || 'x'"),
            "text[]" => format!("coalesce({column}, '{{}}') || '{{x}}'::text[]"),
            // Another text of the same JSON.
            "json" => format!("coalesce({column}::text || ' ', '1')::json"),
            "bytea" => format!(
                "case when length({column}) > 0 then set_byte({column}, 0, get_byte({column}, 0) # 1) else '\\x00' end"
            ),
            other => panic!("{table}.{column} is {other}: how is it changed?"),
        };
        (column, change)
    };
    Ok(columns.into_iter().map(change).collect())
}

/// The event of which the tests change something: one of a quarter's end, with leaves, and neither the first nor the last of its
/// batch. The batch is chosen first, since each event with each batch would take minutes.
const ONE: &str = "(select e.seq from audit.events e, (
                         select b.first_seq, b.events from audit.batches b where b.leaves is not null and b.events > 5 order by b.first_seq
                         offset (select count(*) / 4 from audit.batches c where c.leaves is not null and c.events > 5) limit 1) b
                     where e.payload is not null and e.seq > b.first_seq and e.seq < b.first_seq + b.events - 1 order by e.seq limit 1)";

#[tokio::test(flavor = "multi_thread")]
async fn every_column_that_is_altered_shows() -> Result<()> {
    let history = History::shared().await?;
    for (column, change) in changes(history, "audit.events").await? {
        let which = match &*column {
            "body" => {
                "(select e.seq from audit.events e where e.body is not null order by e.seq limit 1)"
            }
            _ => ONE,
        };
        let verdict = match &*column {
            "seq" => "MOVED",
            "received_at" => "BACKDATED",
            _ => "ALTERED",
        };
        // A number that is nobody's.
        let change = if column == "seq" { "seq + 1000000000".to_owned() } else { change };
        let said = history
            .after(&format!("update audit.events set {column} = {change} where seq = {which}"))
            .await?;
        ensure!(verdicts_of(&said)? == [verdict], "{column}: {said:#}");
        let findings = said["findings"].as_array().map_or(0, Vec::len);
        ensure!(findings == 1 && said["findings"][0]["kind"] == "event", "{column}: {said:#}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_inserted_or_swapped_shows() -> Result<()> {
    let history = History::shared().await?;
    let others = "received_at, event_time, event_id, redelivered, conflict, malformed, event_key, event_type, source, exchange,
                  routing_key, correlation_ids, defects, properties, payload, body, conflict_digest";
    let without_indexes = "do $$ declare i record; begin
             for i in select indexrelid::regclass as x from pg_index where indisunique and not indisprimary
                       and indrelid in (select inhrelid from pg_inherits where inhparent = 'audit.events'::regclass)
             loop execute format('drop index %s', i.x); end loop; end $$;";
    let swapped = format!("(select array[{ONE}, {ONE} + 1])");
    history
        .tells(&[
            Tamper { what: "deleted", sql: &format!("delete from audit.events where seq = {ONE}"), verdicts: &["DELETED"] },
            Tamper {
                what: "many deleted",
                sql: "delete from audit.events where seq in (select seq from audit.events order by seq offset 50 limit 200)",
                verdicts: &["DELETED"],
            },
            Tamper {
                what: "inserted under a number of its own",
                sql: &format!("{without_indexes} insert into audit.events (seq, {others}) select seq + 1000000000, {others}
                                 from audit.events where seq = {ONE}; update audit.events set routing_key = 'forged' where seq > 1000000000"),
                verdicts: &["INSERTED"],
            },
            Tamper {
                what: "duplicated",
                sql: &format!("{without_indexes} insert into audit.events (seq, {others}) select seq, {others} from audit.events where seq = {ONE}"),
                verdicts: &["INSERTED"],
            },
            Tamper {
                what: "a second one of its number",
                sql: &format!("{without_indexes} insert into audit.events (seq, {others}) select seq, {others} from audit.events where seq = {ONE};
                               update audit.events set source = 'forged' where ctid = (select max(ctid) from audit.events where seq = {ONE})
                                  and seq = {ONE}"),
                verdicts: &["INSERTED"],
            },
            Tamper {
                what: "two swapped",
                sql: &format!("with pair as (select {swapped} as seqs)
                               update audit.events e set seq = case when e.seq = p.seqs[1] then p.seqs[2] else p.seqs[1] end
                                 from pair p where e.seq = any (p.seqs)"),
                verdicts: &["MOVED"],
            },
            Tamper {
                what: "moved to another day",
                sql: &format!("update audit.events set received_at = received_at + interval '1 day' where seq = {ONE}"),
                verdicts: &["BACKDATED"],
            },
            Tamper {
                what: "times of two swapped",
                sql: &format!("with pair as (select array_agg(e.seq order by e.seq) as seqs, array_agg(e.received_at order by e.seq) as times
                                               from audit.events e where e.seq in ({ONE}, {ONE} + 1))
                               update audit.events e set received_at = case when e.seq = p.seqs[1] then p.times[2] else p.times[1] end
                                 from pair p where e.seq = any (p.seqs)"),
                verdicts: &["BACKDATED"],
            },
            Tamper { what: "all gone", sql: "truncate audit.events", verdicts: &["DELETED"] },
            Tamper { what: "a partition dropped", sql: "drop table audit.events_early", verdicts: &["DELETED"] },
            Tamper {
                what: "a partition dropped as if it had expired",
                sql: "insert into audit.expired_partitions (name, from_at, to_at, events, bytes, keep)
                          select 'events_early', '2000-01-01', now(), 1, 1, interval '1 day'; drop table audit.events_early",
                verdicts: &["DELETED"],
            },
        ])
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_in_no_order_are_read_in_theirs() -> Result<()> {
    let history = History::shared().await?;
    let shuffled = "create table audit.shuffled as select * from audit.events_late order by random();
                    truncate audit.events_late; insert into audit.events_late select * from audit.shuffled;";
    let sql = format!("{shuffled} delete from audit.events where seq = {ONE};
                       update audit.events set received_at = received_at + interval '1 day' where seq = {ONE}");
    // With room for all batches, and with room for none.
    for memory in ["64 MiB", "1 B"] {
        let said = history.after_with(&sql, &["--memory", memory]).await?;
        ensure!(verdicts_of(&said)? == ["BACKDATED", "DELETED"], "{memory}: {said:#}");
        ensure!(
            said["verdicts"] == serde_json::json!({"BACKDATED": 1, "DELETED": 1}),
            "{memory}: {said:#}"
        );
    }
    Ok(())
}
