//! Faults of the database, sorted: what time mends is waited for, what somebody has to mend ends the daemon with what
//! to do; either way nothing is lost.

use anyhow::Result;
use sqlx::PgConnection;

use crate::support::{Bed, Message, Scene, event};

fn events(count: usize) -> Vec<Message> {
    (0..count).map(event).collect()
}

/// A scene whose daemons log in as a role of their own, which owns the database; and the role.
async fn as_owner(bed: &Bed) -> Result<(Scene, Scene, String)> {
    let scene = Scene::set(bed).await?;
    let (database, role) = (scene.name.clone(), format!("{}_owner", scene.name));
    bed.postgres.sql("postgres", &format!("create role {role} login")).await?;
    bed.postgres.sql("postgres", &format!("alter database {database} owner to {role}")).await?;
    let url =
        bed.postgres.url(&database).replace("postgres://postgres", &format!("postgres://{role}"));
    Ok((scene.clone(), scene.through(None, Some(url)), role))
}

/// Ends the daemon's connections, so that it has to open new ones.
async fn disconnect(sql: &mut PgConnection) -> Result<()> {
    let all = "select pg_terminate_backend(pid) from pg_stat_activity
                where datname = current_database() and application_name = 'bloodbank-audit'";
    sqlx::query(all).execute(sql).await?;
    Ok(())
}

/// Somebody's disk is full, two transactions are in each other's way: as the server itself says it, here by a trigger.
#[tokio::test(flavor = "multi_thread")]
async fn what_time_mends_is_tried_again() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let mut sql = scene.sql().await?;
    sqlx::raw_sql(
        "create table public.says (code text);
         create function public.raises() returns trigger language plpgsql as $$
         declare code text; begin
             select says.code into code from public.says;
             if found then raise exception 'as if' using errcode = code; end if;
             return new;
         end $$;
         create trigger raises before insert on audit.batches for each row execute function public.raises()",
    )
    .execute(&mut sql)
    .await?;
    let mut messages = Vec::new();
    for code in ["53100", "53200", "40001", "40P01", "55P03", "57P01", "58030"] {
        sqlx::query("insert into public.says values ($1)").bind(code).execute(&mut sql).await?;
        let after = events(5);
        scene.publish(&after).await?;
        messages.extend(after);
        daemon.says(&format!("(SQLSTATE {code})"), 2).await?;
        sqlx::query("delete from public.says").execute(&mut sql).await?;
        scene.stored_exactly(&messages).await?;
    }
    assert!(
        daemon.log().iter().any(|line| line.contains("53100") && line.contains("disk is full"))
    );
    scene.ends_with(&daemon, &messages).await?;
    assert_eq!(scene.number("select count(*) from audit.rejections").await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_is_waited_for() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = Scene::set(bed).await?;
    let daemon = scene.daemon().await?;
    let mut sql = scene.sql().await?;
    let database = scene.name.clone();
    let read_only = async |set: &str| {
        let alter = format!("alter database {database} {set}");
        bed.postgres.sql("postgres", &alter).await.map(drop)
    };
    read_only("set default_transaction_read_only = on").await?;
    disconnect(&mut sql).await?;
    let messages = events(20);
    scene.publish(&messages).await?;
    daemon.says("(SQLSTATE 25006)", 2).await?;
    assert!(daemon.said("read-only standby") >= 2, "{:#?}", daemon.log());
    // The same at the start: it takes nothing before it can store it.
    daemon.signal(nix::sys::signal::Signal::SIGKILL)?;
    let next = scene.starts()?;
    next.says("(SQLSTATE 25006)", 2).await?;
    assert_eq!(next.said("\"consuming\""), 0, "{:#?}", next.log());
    read_only("reset default_transaction_read_only").await?;
    scene.ends_with(&next, &messages).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_out_of_connections_is_waited_for() -> Result<()> {
    let bed = Bed::shared().await?;
    let (scene, owned, role) = as_owner(bed).await?;
    let daemon = owned.daemon().await?;
    let mut sql = scene.sql().await?;
    bed.postgres.sql("postgres", &format!("alter role {role} connection limit 0")).await?;
    disconnect(&mut sql).await?;
    let messages = events(20);
    scene.publish(&messages).await?;
    daemon.says("(SQLSTATE 53300)", 2).await?;
    assert!(daemon.said("raise the limit") >= 2, "{:#?}", daemon.log());
    bed.postgres.sql("postgres", &format!("alter role {role} connection limit -1")).await?;
    scene.ends_with(&daemon, &messages).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_ends_the_daemon_and_loses_nothing() -> Result<()> {
    let bed = Bed::shared().await?;
    let (scene, owned, role) = as_owner(bed).await?;
    let daemon = owned.daemon().await?;
    let database = scene.name.clone();
    let may = async |what: &str| bed.postgres.sql(&database, what).await.map(drop);
    may(&format!("revoke insert on audit.batches from {role}")).await?;
    let messages = events(20);
    scene.publish(&messages).await?;
    for daemon in [daemon, owned.starts()?] {
        assert_eq!(daemon.ends().await?, 1);
        let last = daemon.log().pop().unwrap_or_default();
        for part in ["42501", "permission denied", "grant the daemon's role"] {
            assert!(last.contains(part), "{part} in {last}");
        }
    }
    scene.waits(&scene.queue(), 20).await?;
    may(&format!("grant insert on audit.batches to {role}")).await?;
    let daemon = owned.daemon().await?;
    scene.ends_with(&daemon, &messages).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_withdrawn_ends_the_daemon_and_loses_nothing() -> Result<()> {
    let bed = Bed::shared().await?;
    let (scene, owned, role) = as_owner(bed).await?;
    let daemon = owned.daemon().await?;
    let mut sql = scene.sql().await?;
    bed.postgres.sql("postgres", &format!("alter role {role} nologin")).await?;
    disconnect(&mut sql).await?;
    let messages = events(20);
    scene.publish(&messages).await?;
    for daemon in [daemon, owned.starts()?] {
        assert_eq!(daemon.ends().await?, 1);
        let last = daemon.log().pop().unwrap_or_default();
        for part in ["28000", "check the user and the password"] {
            assert!(last.contains(part), "{part} in {last}");
        }
    }
    bed.postgres.sql("postgres", &format!("alter role {role} login")).await?;
    let daemon = owned.daemon().await?;
    scene.ends_with(&daemon, &messages).await
}
