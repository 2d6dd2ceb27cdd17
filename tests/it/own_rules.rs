//! An operator's own rules on `audit.events`, met by a batch that is large enough to be copied.

use anyhow::Result;
use sqlx::PgConnection;

use crate::support::{Bed, Message, Scene, event};

fn events(count: usize) -> Vec<Message> {
    (0..count).map(event).collect()
}

fn refused() -> Message {
    Message { routing_key: "refused".to_owned(), ..event(0) }
}

/// Publishes while no row gets in: what is not stored with the first of them is one batch.
async fn publish_as_one(scene: &Scene, sql: &mut PgConnection, messages: &[Message]) -> Result<()> {
    sqlx::raw_sql("begin; lock table audit.events in share mode").execute(&mut *sql).await?;
    scene.publish(messages).await?;
    scene.waits(&scene.queue(), 0).await?;
    sqlx::raw_sql("commit").execute(sql).await?;
    Ok(())
}

/// Expects that these are stored and one is rejected, and says with which code.
async fn rejects_one(scene: &Scene, good: &[Message]) -> Result<String> {
    scene.stored_exactly(good).await?;
    scene.waits(&scene.dead_letter_queue(), 1).await?;
    scene.waits(&scene.queue(), 0).await?;
    let mut sql = scene.sql().await?;
    let code = "select sqlstate from audit.rejections where reason = 'refused'";
    Ok(sqlx::query_scalar(code).fetch_one(&mut sql).await?)
}

/// It speaks at the commit, where the rows are in already.
#[tokio::test(flavor = "multi_thread")]
async fn a_deferred_trigger_that_raises_refuses_one_event() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let mut good = scene.opens_the_window(&daemon).await?;
    let mut sql = scene.sql().await?;
    sqlx::raw_sql(
        "create function public.own_trigger() returns trigger language plpgsql as $$
             begin
                 if new.routing_key = 'refused' then raise exception 'not this one'; end if;
                 return new;
             end $$;
         create constraint trigger own_trigger after insert on audit.events deferrable initially deferred
             for each row execute function public.own_trigger();",
    )
    .execute(&mut sql)
    .await?;
    let mut mixed = events(300);
    good.extend(mixed.clone());
    mixed.insert(150, refused());
    publish_as_one(&scene, &mut sql, &mixed).await?;
    assert_eq!(rejects_one(&scene, &good).await?, "P0001");
    daemon.stops_cleanly().await
}

/// Who copies does not read meanwhile, so the server could wait for it for ever, and it for the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_talks_of_each_row_holds_nothing_up() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?.with("postgres.statement_timeout", "5s");
    let daemon = scene.daemon().await?;
    let mut messages = scene.opens_the_window(&daemon).await?;
    let mut sql = scene.sql().await?;
    sqlx::raw_sql(
        "create function public.own_trigger() returns trigger language plpgsql as $$
             begin raise warning 'here comes %, % and %', new, new, new; return new; end $$;
         create trigger own_trigger before insert on audit.events
             for each row execute function public.own_trigger();",
    )
    .execute(&mut sql)
    .await?;
    let large = |number| {
        let body = format!(r#"{{"number":{number},"text":"{}"}}"#, "x".repeat(100_000));
        Message::new("large.one", body)
    };
    let many: Vec<_> = (0..150).map(large).collect();
    publish_as_one(&scene, &mut sql, &many).await?;
    messages.extend(many);
    scene.ends_with(&daemon, &messages).await?;
    assert_eq!(daemon.said("PostgreSQL is away"), 0, "{:#?}", daemon.log());
    assert_eq!(daemon.said("here comes"), 0, "contents in the log");
    Ok(())
}

/// PL/pgSQL has codes of its own for what a trigger did not expect.
#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_does_not_know_an_event_refuses_that_one() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let mut sql = scene.sql().await?;
    sqlx::raw_sql(
        "create table public.known (key text);
         insert into public.known values ('test.event.happened');
         create function public.own_trigger() returns trigger language plpgsql as $$
             declare found text;
             begin
                 select key into strict found from public.known where key = new.routing_key;
                 return new;
             end $$;
         create trigger own_trigger before insert on audit.events
             for each row execute function public.own_trigger();",
    )
    .execute(&mut sql)
    .await?;
    let good = events(20);
    let mut mixed = good.clone();
    mixed.insert(10, refused());
    scene.publish(&mixed).await?;
    assert_eq!(rejects_one(&scene, &good).await?, "P0002");
    daemon.stops_cleanly().await
}

/// PostgreSQL does not copy into a table with row-level security.
#[tokio::test(flavor = "multi_thread")]
async fn under_row_level_security_rows_are_inserted() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = Scene::set(bed).await?;
    // Not a superuser, to whom it does not apply.
    let role = format!("{}_owner", scene.name);
    bed.postgres.sql("postgres", &format!("create role {role} login")).await?;
    let own = format!("alter database {} owner to {role}", scene.name);
    bed.postgres.sql("postgres", &own).await?;
    let url = bed.postgres.url(&scene.name);
    let url = url.replace("postgres://postgres", &format!("postgres://{role}"));
    let daemon = scene.clone().through(None, Some(url)).daemon().await?;
    let mut messages = scene.opens_the_window(&daemon).await?;
    let mut sql = scene.sql().await?;
    sqlx::raw_sql(
        "alter table audit.events enable row level security;
         alter table audit.events force row level security;
         create policy everything on audit.events for all using (true) with check (true);",
    )
    .execute(&mut sql)
    .await?;
    for _ in 0..2 {
        let many = events(300);
        publish_as_one(&scene, &mut sql, &many).await?;
        messages.extend(many);
        scene.stored(messages.len()).await?;
    }
    scene.ends_with(&daemon, &messages).await
}
