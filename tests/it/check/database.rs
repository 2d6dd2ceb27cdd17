//! Broken in the database: roles, rights, settings, schema, partitions.

use anyhow::Result;
use testbed::{Postgres, PostgresOptions};

use super::{Checked, House};
use crate::support::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_log_in_is_told_from_a_database_that_is_not_there() -> Result<()> {
    let house = House::built().await?;
    let (name, user) = (&house.root.name, &house.user);
    let url = house.scene.database_url();
    let at = |url: String| house.scene.clone().through(None, Some(url));

    let nobody = at(url.replace(user, "nobody_of_that_name"));
    let checked = Checked::of(&nobody)?;
    checked.finds(
        ("postgresql", "login"),
        "fault",
        "does not exist",
        "CREATE ROLE nobody_of_that_name LOGIN",
    );
    assert_eq!(checked.all("postgresql", "schema")[0]["verdict"], "skipped");
    checked.is_well("rabbitmq", "bindings");

    // The server has no certificate.
    let secured = Checked::of(&at(format!("{url}?sslmode=require")))?;
    secured.finds(("postgresql", "tls"), "fault", "TLS", "set sslmode");
    house.sql(&format!("alter role {user} connection limit 0")).await?;
    let limit = format!("ALTER ROLE {user} CONNECTION LIMIT -1;");
    let full = Checked::of(&house.scene)?;
    let commands = full.finds(("postgresql", "login"), "fault", "too many connections", &limit);
    house.runs(&commands).await?;
    Checked::of(&house.scene)?.is_well("postgresql", "login");

    let other = format!("{name}_other");
    let elsewhere = at(house.bed.postgres.url(&other).replace("postgres@", &format!("{user}@")));
    let database = ("postgresql", "database");
    let create =
        format!("CREATE DATABASE {other} ENCODING 'UTF8' TEMPLATE template0 OWNER {user};");
    let commands = Checked::of(&elsewhere)?.finds(database, "fault", "does not exist", &create);
    house.bed.postgres.sql("postgres", &commands[0]).await?;
    let checked = Checked::of(&elsewhere)?;
    checked.is_well("postgresql", "database");
    checked.finds(
        ("postgresql", "schema"),
        "fault",
        "no schema audit yet",
        "bloodbank-audit migrate",
    );

    house.sql(&format!("revoke connect on database {name} from public")).await?;
    let grant = format!("GRANT CONNECT ON DATABASE {name} TO {user};");
    let commands = Checked::of(&house.scene)?.finds(database, "fault", "permission denied", &grant);
    house.runs(&commands).await?;
    Checked::of(&house.scene)?.is_well("postgresql", "database");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_role_is_set_to_or_is_too_much_is_named_and_mended() -> Result<()> {
    let house = House::built().await?;
    let user = &house.user;
    for (broken, check, verdict, said, advice) in [
        (
            "set synchronous_commit = off",
            "synchronous_commit",
            "warning",
            "off (user)",
            "RESET synchronous_commit",
        ),
        (
            "set default_transaction_read_only = on",
            "writable",
            "fault",
            "is on (user)",
            "RESET default_transaction",
        ),
        (
            "set idle_session_timeout = '30s'",
            "idle sessions",
            "warning",
            "is 30s",
            "RESET idle_session_timeout",
        ),
        ("connection limit 2", "connections", "warning", "the role takes 2", "CONNECTION LIMIT -1"),
        (
            "createrole createdb",
            "role",
            "warning",
            "CREATEROLE, CREATEDB",
            "NOCREATEROLE NOCREATEDB",
        ),
    ] {
        house.sql(&format!("alter role {user} {broken}")).await?;
        let checked = Checked::of(&house.scene)?;
        let commands = checked.finds(("postgresql", check), verdict, said, advice);
        assert_eq!(checked.status, i32::from(verdict == "fault"));
        assert_eq!(house.scene.asks(&["check", "--strict"])?.status, 1);
        house.runs(&commands).await?;
        let mended = Checked::of(&house.scene)?;
        assert_eq!((mended.status, mended.bad()), (0, Vec::new()), "{broken}");
    }
    // What others take counts, which an ordinary role sees little of.
    let name = &house.root.name;
    house.sql(&format!("alter database {name} connection limit 6")).await?;
    Checked::of(&house.scene)?.is_well("postgresql", "connections");
    let others = [house.root.sql().await?, house.root.sql().await?, house.root.sql().await?];
    let connections = ("postgresql", "connections");
    let commands = Checked::of(&house.scene)?.finds(
        connections,
        "warning",
        "the database takes 6, and",
        &format!("ALTER DATABASE {name} CONNECTION LIMIT -1;"),
    );
    house.runs(&commands).await?;
    Checked::of(&house.scene)?.is_well("postgresql", "connections");
    drop(others);
    // A superuser is told of another role.
    house.sql(&format!("alter role {user} superuser")).await?;
    let checked = Checked::of(&house.scene)?;
    checked.finds(
        ("postgresql", "role"),
        "warning",
        "SUPERUSER",
        "CREATE ROLE bloodbank_audit LOGIN;",
    );
    checked.finds(("postgresql", "history"), "warning", "delete audit.batches", "grant_writer");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_lack_or_are_too_many_are_named_and_mended() -> Result<()> {
    let house = House::built().await?;
    let user = &house.user;
    for (broken, check, verdict, said, advice) in [
        (
            format!("revoke insert on audit.events from {user}"),
            "rights",
            "fault",
            "lacks insert on audit.events",
            "SELECT audit.grant_writer",
        ),
        (
            format!(
                "revoke execute on function audit.ensure_partition(timestamptz, text) from {user}"
            ),
            "rights",
            "fault",
            "execute on audit.ensure_partition",
            "SELECT audit.grant_writer",
        ),
        (
            format!("revoke usage on schema audit from {user}"),
            "schema",
            "fault",
            "may not read the schema",
            "SELECT audit.grant_writer",
        ),
        (
            format!("grant update, delete on audit.events to {user}"),
            "history",
            "warning",
            "can delete audit.events, update audit.events",
            "REVOKE UPDATE, DELETE",
        ),
        (
            "grant delete on audit.events to public".to_owned(),
            "rights of others",
            "warning",
            "public: delete on audit.events",
            "FROM public",
        ),
    ] {
        house.sql(&broken).await?;
        let checked = Checked::of(&house.scene)?;
        let commands = checked.finds(("postgresql", check), verdict, said, advice);
        house.runs(&commands).await?;
        let mended = Checked::of(&house.scene)?;
        assert_eq!((mended.status, mended.bad()), (0, Vec::new()), "{broken}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_and_indexes_that_are_gone_are_named_and_mended() -> Result<()> {
    let house = House::built().await?;
    let name = house.sql("select name from audit.partitions order by from_at desc limit 1").await?;
    for (broken, check, verdict, said, advice) in [
        (
            format!("alter table audit.events detach partition audit.{name}"),
            "partitions",
            "warning",
            "is detached",
            "ATTACH PARTITION",
        ),
        (
            format!("drop index audit.{name}_event_id"),
            "indexes",
            "fault",
            "could be stored twice",
            "CREATE UNIQUE INDEX",
        ),
    ] {
        house.sql(&broken).await?;
        let commands =
            Checked::of(&house.scene)?.finds(("postgresql", check), verdict, said, advice);
        house.runs(&commands).await?;
        let mended = Checked::of(&house.scene)?;
        assert_eq!((mended.status, mended.bad()), (0, Vec::new()), "{broken}");
    }
    house.sql(&format!("drop table audit.{name}")).await?;
    let gone = ("postgresql", "partitions");
    Checked::of(&house.scene)?.finds(gone, "warning", "is gone", "pg_restore");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_another_version_is_named() -> Result<()> {
    let house = House::built().await?;
    let schema = ("postgresql", "schema");
    house.sql("delete from audit.schema_migrations where version = (select max(version) from audit.schema_migrations)").await?;
    Checked::of(&house.scene)?.finds(
        schema,
        "fault",
        "1 step(s) behind",
        "bloodbank-audit migrate",
    );
    let migrating = house.scene.clone().with("postgres.migrate", "true");
    Checked::of(&migrating)?.finds(schema, "fault", "may not mend that", "bloodbank-audit migrate");
    house.sql("insert into audit.schema_migrations select 9999, description, installed_on, success, checksum, execution_time from audit.schema_migrations limit 1").await?;
    Checked::of(&house.scene)?.finds(schema, "fault", "run the newer program", "another database");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_loses_what_is_committed_is_named_and_mended() -> Result<()> {
    let house = House::built().await?;
    let options = PostgresOptions::default()
        .setting("fsync", "off")
        .setting("full_page_writes", "off")
        .setting("synchronous_commit", "off");
    let postgres = Postgres::start(options).await?;
    let scene = Scene::between(&house.bed.rabbitmq, &postgres).await?;
    let checked = Checked::of(&scene)?;
    for (check, verdict) in
        [("fsync", "fault"), ("full_page_writes", "fault"), ("synchronous_commit", "warning")]
    {
        let advice = format!("ALTER SYSTEM SET {check} = on;");
        for command in checked.finds(("postgresql", check), verdict, "off", &advice) {
            postgres.sql("postgres", &command).await?;
        }
    }
    testbed::eventually(
        "the server has taken its settings",
        crate::support::PATIENCE,
        async || {
            let checked = Checked::of(&scene).map_err(|error| format!("{error:#}"))?;
            if checked.status == 0 { Ok(()) } else { Err(format!("{:#?}", checked.bad())) }
        },
    )
    .await?;
    for check in ["fsync", "full_page_writes", "synchronous_commit"] {
        Checked::of(&scene)?.is_well("postgresql", check);
    }
    // A superuser may know where its files are, and they are on this machine.
    assert_ne!(Checked::of(&scene)?.all("postgresql", "disk")[0]["verdict"], "unknown");

    postgres
        .sql("postgres", "create database ascii encoding 'SQL_ASCII' locale 'C' template template0")
        .await?;
    let ascii = scene.clone().through(None, Some(postgres.url("ascii")));
    let encoding = ("postgresql", "encoding");
    let commands =
        Checked::of(&ascii)?.finds(encoding, "fault", "SQL_ASCII", "CREATE DATABASE ascii_utf8");
    postgres.sql("postgres", &commands[0]).await?;
    let utf8 = scene.clone().through(None, Some(postgres.url("ascii_utf8")));
    Checked::of(&utf8)?.is_well("postgresql", "encoding");

    postgres.stop().await?;
    let checked = Checked::of(&scene)?;
    checked.finds(
        ("postgresql", "tcp"),
        "fault",
        "refused",
        &format!("sport = :{}", postgres.port()),
    );
    assert_eq!(checked.all("postgresql", "login")[0]["verdict"], "skipped");
    Ok(())
}
