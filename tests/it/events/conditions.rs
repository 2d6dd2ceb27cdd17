//! `--where`: SQL of the reader's own, which can only read.

use anyhow::Result;
use sqlx::PgConnection;
use testbed::{Postgres, PostgresOptions};

use super::events;
use crate::support::{Bed, Kept, Scene};

/// A role of that name that may log in, and whose word for itself this scene uses from now on.
async fn as_role(scene: &Scene, postgres: &Postgres, role: &str) -> Result<Scene> {
    let role = format!("{}_{role}", scene.name);
    postgres.sql("postgres", &format!("create role {role} login")).await?;
    let url = scene.database_url().replace("postgres://postgres@", &format!("postgres://{role}@"));
    assert!(url.contains(&role), "{url}");
    Ok(scene.clone().through(None, Some(url)))
}

fn role_of(scene: &Scene) -> String {
    scene.database_url().split(['/', '@']).nth(2).unwrap().to_owned()
}

/// Calls one of the functions that give a role what it needs.
async fn grant(sql: &mut PgConnection, what: &str, role: &str) -> Result<()> {
    let grant = format!("select audit.{what}('{role}')");
    sqlx::raw_sql(sqlx::AssertSqlSafe(grant)).execute(sql).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_asked_read_only_by_a_role_that_cannot_write() -> Result<()> {
    // The role belongs to the whole server.
    let postgres = Postgres::start(PostgresOptions::default()).await?;
    let owner = Scene::between(&Bed::shared().await?.rabbitmq, &postgres).await?;
    assert_eq!(owner.asks(&["migrate"])?.status, 0);
    owner.keeps(&[Kept::new(1, "a.one"), Kept::new(2, "a.two"), Kept::new(3, "b.three")]).await?;
    let mut sql = owner.sql().await?;
    let reader = as_role(&owner, &postgres, "reads").await?;
    events(&reader, &[])?.refuses(69, "audit.grant_reader");
    grant(&mut sql, "grant_reader", &role_of(&reader)).await?;

    events(&owner, &["--where", "true"])?.refuses(2, "create role audit_reader");
    sqlx::raw_sql("create role audit_reader").execute(&mut sql).await?;
    grant(&mut sql, "grant_reader", "audit_reader").await?;
    let writer = as_role(&owner, &postgres, "writes").await?;
    grant(&mut sql, "grant_writer", &role_of(&writer)).await?;
    events(&writer, &["--where", "true"])?.refuses(2, &format!("'{}' can", role_of(&writer)));

    // The owner asks as the reader; a reader as himself.
    for scene in [&owner, &reader] {
        let number = |condition: &str| -> Result<i64> {
            let answer = events(scene, &["--count", "--where", condition])?;
            assert_eq!(answer.stderr, "", "{condition}");
            Ok(answer.text().trim().parse()?)
        };
        assert_eq!(number("payload->>'number' = '2'")?, 1);
        assert_eq!(number("(payload->>'number')::int > 1 and event_type like 'a.%'")?, 1);
        assert_eq!(number("seq in (select max(seq) from audit.events) -- the last")?, 1);
        assert_eq!(number("e.routing_key = 'a.one' or\nevent_type = 'it''s'")?, 1);
        assert_eq!(number("current_user = 'postgres'")?, 0);
        // It does not undo the other filters.
        let both = events(scene, &["--count", "--type", "b.#", "--where", "true or true"])?;
        assert_eq!(both.text(), "1\n");
        let ordered = events(scene, &["--where", "true --", "-n", "1", "--columns", "seq"])?;
        assert_eq!(ordered.lines(), ["seq", "  3"]);

        for (condition, said) in [
            ("payload->>'x", "unterminated quoted string"),
            ("no_such_column = 1", "column \"no_such_column\" does not exist"),
            ("seq", "must be type boolean"),
            ("", "PostgreSQL says"),
            ("(payload->>'number')::uuid is null", "invalid input syntax for type uuid"),
            ("seq = $1", "no parameters"),
            ("true) or (true", "syntax error"),
            ("true] or array[true", "must be type boolean"),
            ("true] = array[true", "syntax error"),
            ("true); drop table audit.events; --", "syntax error"),
            ("true) union all (select * from audit.events e where true", "syntax error"),
            ("true /*", "unterminated /* comment"),
            ("exists (delete from audit.events returning seq)", "syntax error"),
            (
                "exists (with d as (delete from audit.events returning seq) select from d)",
                "top level",
            ),
            ("nextval('audit.event_seq') > 0", "permission denied for sequence event_seq"),
            ("set_config('transaction_read_only', 'off', true) = 'off'", "read-write mode"),
            ("pg_read_file('/etc/hostname') <> ''", "permission denied for function pg_read_file"),
            ("query_to_xml('delete from audit.events', true, true, '') is null", "PostgreSQL says"),
        ] {
            events(scene, &["--where", condition])?.refuses(2, said);
        }
        // The place is shown.
        let wrong = events(scene, &["--where", "seq > 0 and\n seq > wrong"])?;
        assert!(wrong.stderr.contains("\n   seq > wrong\n         ^"), "{}", wrong.stderr);
        let slow = events(scene, &["--where", "pg_sleep(60) is null", "--timeout", "200ms"])?;
        slow.refuses(69, "PostgreSQL found nothing within 200ms");
    }
    assert_eq!(owner.number("select count(*) from audit.events").await?, 3);
    Ok(())
}
