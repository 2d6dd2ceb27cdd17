//! A trace: what led to an event and what followed from it.

use anyhow::Result;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use crate::support::{Bed, Scene, keep_workers_away};

/// Events are named by a letter or two. Their ids are those, or uuids made of them.
#[derive(Clone, Copy)]
enum Ids {
    Texts,
    Uuids,
}

impl Ids {
    fn of(self, name: &str) -> String {
        match self {
            Ids::Texts => name.to_owned(),
            Ids::Uuids => Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).to_string(),
        }
    }
}

/// An event: its name, nothing for none, the names of its causes, and how long ago it came.
type Told<'a> = (&'a str, &'a [&'a str], &'a str);

/// A database that holds these events, stored in this order; one whose name came before is a conflict.
async fn history(ids: Ids, events: &[Told<'_>]) -> Result<(Scene, PgConnection)> {
    let scene = Scene::migrated(Bed::shared().await?).await?;
    let mut sql = scene.sql().await?;
    for (seq, (name, causes, age)) in events.iter().enumerate() {
        let causes: Vec<_> = causes.iter().map(|cause| ids.of(cause)).collect();
        let conflict = events[..seq].iter().any(|before| !name.is_empty() && before.0 == *name);
        sqlx::query("select audit.ensure_partition(now() - $1::interval, 'daily')")
            .bind(age)
            .execute(&mut sql)
            .await?;
        sqlx::query(
            "insert into audit.events (seq, received_at, event_id, event_key, redelivered, conflict, malformed, exchange,
                    routing_key, correlation_ids, properties, payload, conflict_digest)
             select $1, now() - $2::interval, audit.as_uuid($3), case when audit.as_uuid($3) is null then $3 end, false, $5,
                    false, '', '', $4, '{}', '{}', case when $5 then int8send($1) end",
        )
        .bind(i64::try_from(seq)?)
        .bind(age)
        .bind((!name.is_empty()).then(|| ids.of(name)))
        .bind(causes)
        .bind(conflict)
        .execute(&mut sql)
        .await?;
    }
    Ok((scene, sql))
}

/// The rows of a trace: depth, name, and the parent's after `<`; how many copies, where more than one; `?` where missing.
async fn trace(
    sql: &mut PgConnection,
    ids: Ids,
    names: &[&str],
    name: &str,
    arguments: &str,
) -> Result<Vec<String>> {
    let query = match arguments {
        "" => "select * from audit.trace($1)",
        "depth 2" => "select * from audit.trace($1, max_depth => 2)",
        "at most 4" => "select * from audit.trace($1, max_events => 4)",
        "anywhere" => "select * from audit.trace($1, within => null)",
        other => anyhow::bail!("no such arguments: {other}"),
    };
    let rows = sqlx::query(query).bind(ids.of(name)).fetch_all(sql).await?;
    let name_of = |id: Option<String>| {
        let known = |id: &String| names.iter().find(|name| ids.of(name) == *id);
        id.map(|id| known(&id).map_or(id, |name| (*name).to_owned())).unwrap_or_default()
    };
    let line = |row: &sqlx::postgres::PgRow| {
        let mut line =
            format!("{} {}", row.try_get::<i32, _>("depth")?, name_of(row.try_get("id")?));
        if let Some(parent) = row.try_get("parent")? {
            line += &format!("<{}", name_of(Some(parent)));
        }
        let copies: i64 = row.try_get("copies")?;
        match (row.try_get("missing")?, copies) {
            (true, 0) => line += "?",
            (false, 1) => {}
            (false, copies) if copies > 1 => line += &format!(" x{copies}"),
            odd => anyhow::bail!("missing and copies are {odd:?}"),
        }
        Ok(line)
    };
    rows.iter().map(line).collect()
}

/// Expects these traces of these events, with ids of either kind.
async fn expect(events: &[Told<'_>], traces: &[(&str, &str, &[&str])]) -> Result<()> {
    let mut names: Vec<_> = events.iter().flat_map(|event| event.1.iter().copied()).collect();
    names.extend(events.iter().map(|event| event.0));
    for ids in [Ids::Texts, Ids::Uuids] {
        let (_scene, mut sql) = history(ids, events).await?;
        for (name, arguments, wanted) in traces {
            let found = trace(&mut sql, ids, &names, name, arguments).await?;
            assert_eq!(found, *wanted, "the trace of {name} {arguments}");
        }
    }
    Ok(())
}

const NOW: &str = "1 second";

#[tokio::test(flavor = "multi_thread")]
async fn what_led_to_an_event_and_what_followed_whoever_came_first() -> Result<()> {
    let events: &[Told] = &[
        // The last of the chain came first.
        ("d", &["c"], "4 hours"),
        ("a", &[], "3 hours"),
        ("b", &["a"], "2 hours"),
        ("c", &["b"], "1 hour"),
        ("x", &["b"], NOW),
        ("other", &["unrelated"], NOW),
        // Without an id it ends its branch.
        ("", &["x"], NOW),
    ];
    let whole = ["0 b<a", "1 c<b", "1 x<b", "2 d<c", "2 <x"];
    expect(
        events,
        &[
            ("b", "", &["-1 a", whole[0], whole[1], whole[2], whole[3], whole[4]]),
            ("a", "", &["0 a", "1 b<a", "2 c<b", "2 x<b", "3 d<c", "3 <x"]),
            ("d", "", &["-3 a", "-2 b<a", "-1 c<b", "0 d<c"]),
            ("a", "depth 2", &["0 a", "1 b<a", "2 c<b", "2 x<b"]),
            ("d", "depth 2", &["-2 b", "-1 c<b", "0 d<c"]),
            ("nobody", "", &[]),
        ],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named() -> Result<()> {
    let events: &[Told] = &[("b", &["a"], NOW), ("c", &["b", "gone"], NOW)];
    expect(
        events,
        &[
            ("c", "", &["-2 a?", "-1 b<a", "-1 gone?", "0 c<b"]),
            // It is not stored, and yet something followed from it.
            ("a", "", &["0 a?", "1 b<a", "2 c<b"]),
            ("gone", "", &["0 gone?", "1 c<gone"]),
        ],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn circles_end() -> Result<()> {
    let events: &[Told] = &[
        ("a", &["c"], "3 minutes"),
        ("b", &["a", "b"], "2 minutes"),
        ("c", &["b"], "1 minute"),
        ("self", &["self"], NOW),
    ];
    expect(
        events,
        &[
            ("self", "", &["0 self"]),
            ("a", "", &["-1 c<b", "0 a<c", "1 b<a"]),
            ("a", "anywhere", &["-1 c<b", "0 a<c", "1 b<a"]),
        ],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_several_causes_is_there_once_and_as_near_as_it_is() -> Result<()> {
    let events: &[Told] = &[
        ("a", &[], "6 minutes"),
        ("b", &["a"], "5 minutes"),
        ("c", &["b"], "4 minutes"),
        ("d", &["c"], "3 minutes"),
        // By its first cause it is four links away, by its last one.
        ("e", &["d", "x", "a"], "2 minutes"),
        ("f", &["e"], "1 minute"),
        ("g", &["z", "f"], NOW),
    ];
    expect(
        events,
        &[
            ("a", "", &["0 a", "1 b<a", "1 e<a", "2 c<b", "2 f<e", "3 d<c", "3 g<f"]),
            (
                "g",
                "",
                &[
                    "-5 b<a", "-4 c<b", "-3 a", "-3 d<c", "-3 x?", "-2 e<d", "-1 f<e", "-1 z?",
                    "0 g<f",
                ],
            ),
        ],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_causes_of_every_copy_count() -> Result<()> {
    let events: &[Told] = &[
        ("a", &[], "5 minutes"),
        ("b", &[], "4 minutes"),
        ("c", &["a"], "3 minutes"),
        ("c", &["b"], "2 minutes"),
        ("d", &["c"], NOW),
    ];
    expect(
        events,
        &[
            ("c", "", &["-1 a", "-1 b", "0 c<a x2", "1 d<c"]),
            ("d", "", &["-2 a", "-2 b", "-1 c<a x2", "0 d<c"]),
            ("b", "", &["0 b", "1 c<b", "2 d<c"]),
        ],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn causes_are_found_anywhere_and_effects_within_days_unless_told_otherwise() -> Result<()> {
    let events: &[Told] = &[
        ("a", &[], "40 days"),
        ("b", &["a"], "39 days"),
        ("c", &["b"], "20 days"),
        ("d", &["c"], NOW),
        ("e", &["x", "c"], NOW),
    ];
    expect(
        events,
        &[
            ("d", "", &["-3 a", "-2 b<a", "-1 c<b", "0 d<c"]),
            ("a", "", &["0 a", "1 b<a"]),
            ("a", "anywhere", &["0 a", "1 b<a", "2 c<b", "3 d<c", "3 e<c"]),
        ],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_bounded() -> Result<()> {
    let names: Vec<String> = (0..40).map(|number| format!("n{number}")).collect();
    let events: Vec<Told> = std::iter::once(("a", &[][..], "1 minute"))
        .chain(names.iter().map(|name| (name.as_str(), &["a"][..], NOW)))
        .collect();
    for ids in [Ids::Texts, Ids::Uuids] {
        let (_scene, mut sql) = history(ids, &events).await?;
        assert_eq!(trace(&mut sql, ids, &["a"], "a", "").await?.len(), 41);
        assert_eq!(trace(&mut sql, ids, &["a"], "a", "at most 4").await?.len(), 4);
    }
    Ok(())
}

/// Each link costs a few probes of an index, and no partition is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_a_thousand_reads_nothing_through() -> Result<()> {
    let scene = Scene::migrated(Bed::shared().await?).await?;
    let mut sql = scene.sql().await?;
    sqlx::query("select audit.ensure_partition(now() - d * interval '1 day', 'daily') from generate_series(0, 3) d")
        .execute(&mut sql)
        .await?;
    keep_workers_away(&mut sql).await?;
    sqlx::raw_sql(
        "insert into audit.events (seq, received_at, event_id, redelivered, conflict, malformed, exchange, routing_key,
                correlation_ids, properties, payload)
         select n, now() - interval '3 days' + n * interval '3 days' / 40000, md5(n::text)::uuid, false, false, false, '', '',
                case when n % 40 = 0 and n > 40 then array[md5((n - 40)::text)::uuid::text] else '{}' end, '{}', '{}'
           from generate_series(1, 40000) n",
    )
    .execute(&mut sql)
    .await?;
    // A whole index may be read through too, which shows as rows fetched.
    let scans = "select coalesce(sum(seq_scan), 0)::int8, coalesce(sum(idx_tup_fetch), 0)::int8
                   from pg_stat_user_tables where relname like 'events\\_2%'";
    sqlx::query("select pg_stat_force_next_flush()").execute(&mut sql).await?;
    let mut before: (i64, i64) = sqlx::query_as(scans).fetch_one(&mut sql).await?;
    for (id, depths) in [("40", (0, 999)), ("40000", (-999, 0)), ("20000", (-499, 500))] {
        let found: (i64, i32, i32) = sqlx::query_as(
            "select count(*), min(depth), max(depth) from audit.trace(md5($1), max_depth => 1000)",
        )
        .bind(id)
        .fetch_one(&mut sql)
        .await?;
        assert_eq!(found, (1000, depths.0, depths.1), "{id}");
        sqlx::query("select pg_stat_force_next_flush()").execute(&mut sql).await?;
        let after: (i64, i64) = sqlx::query_as(scans).fetch_one(&mut sql).await?;
        assert_eq!(after.0, before.0, "{id}");
        let fetched = after.1 - before.1;
        assert!(fetched < 5_000, "{fetched} rows fetched for {id}");
        before = after;
    }
    Ok(())
}
