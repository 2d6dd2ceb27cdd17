//! Dead letters: looked at without being taken, sent again, discarded, taken along; and none lost on the way.

mod discarded;
mod hostile;
mod looking;
mod outages;
mod reading;
mod recipes;
mod requeued;

use std::time::Duration;

use anyhow::Result;
use bloodbank_audit::broker::DeadLetters;

use crate::support::{Answer, Bed, Daemon, Message, Scene, UNPARSABLE, publish_to_with_headers};

/// Opens the dead-letter queue of a scene.
async fn opened(scene: &Scene) -> Result<DeadLetters> {
    let (address, queue) = (scene.address()?, scene.dead_letter_queue());
    Ok(DeadLetters::open(&address, &scene.name, Duration::from_secs(10), &queue).await?)
}

/// A scene whose daemon takes nothing that is malformed.
async fn strict(bed: &Bed) -> Result<Scene> {
    Ok(Scene::set(bed).await?.with("ingest.malformed", "dead-letter"))
}

/// Messages that a strict daemon dead-letters, each with an id.
fn malformed(count: usize) -> Vec<Message> {
    let message = |number: usize| {
        let mut message = Message::new(&format!("bad.{}", number % 3), format!("no json {number}"));
        message.properties.message_id = Some(format!("bad-{number}"));
        message
    };
    (0..count).map(message).collect()
}

/// Publishes these, and one that no client can parse before the `nth`, and awaits that a daemon has dead-lettered them all.
/// The daemon is stopped then.
async fn dead_lettered(
    scene: &Scene,
    messages: &[Message],
    unparsable: Option<usize>,
) -> Result<()> {
    let daemon = scene.daemon().await?;
    let nth = unparsable.unwrap_or(messages.len());
    scene.publish(&messages[..nth]).await?;
    if unparsable.is_some() {
        scene.waits(&scene.dead_letter_queue(), nth).await?;
        // Straight into the dead letters: a daemon on a classic queue would never get past it.
        publish_to_with_headers(scene, &scene.dead_letter_exchange(), UNPARSABLE, b"{}").await?;
    }
    let all = messages.len() + usize::from(unparsable.is_some());
    scene.publish(&messages[nth..]).await?;
    scene.waits(&scene.dead_letter_queue(), all).await?;
    daemon.stops_cleanly().await
}

/// A scene whose database refuses what has the routing key `refused`.
async fn refusing(bed: &Bed) -> Result<Scene> {
    let scene = Scene::migrated(bed).await?;
    let mut sql = scene.sql().await?;
    sqlx::raw_sql(
        "create function public.own_trigger() returns trigger language plpgsql as $$
             begin
                 if new.routing_key = 'refused' then raise exception 'not this one'; end if;
                 return new;
             end $$;
         create trigger own_trigger before insert on audit.events
             for each row execute function public.own_trigger();",
    )
    .execute(&mut sql)
    .await?;
    Ok(scene)
}

/// Runs the command, and reads its answer.
fn letters(scene: &Scene, arguments: &[&str]) -> Result<Answer> {
    scene.asks(&[&["dead-letters"], arguments].concat())
}

/// Runs the command beside the test.
fn letters_beside(scene: &Scene, arguments: &[&str]) -> Result<Daemon> {
    Daemon::spawn(&[&["dead-letters"], arguments].concat(), &scene.environment())
}
