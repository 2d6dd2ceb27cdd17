//! Among ten thousand events some that the database refuses, some over the size limit and some that the AMQP client
//! cannot parse: each ends in exactly one place, and all the others are stored.

use anyhow::Result;
use serde_json::json;

use crate::support::{
    Bed, Message, Scene, UNPARSABLE, digests, drain, event, publish_with_headers,
};

/// Somebody's own rules on the table: a constraint, and a trigger that raises, or stumbles itself.
const OWN_RULES: &str = "
    alter table audit.events add constraint own_rule check (routing_key <> 'refused.by.constraint');
    create function public.own_trigger() returns trigger language plpgsql as $$
        begin
            case new.routing_key
                when 'refused.by.trigger' then raise exception 'not this one';
                when 'refused.by.division' then perform 1 / (length(new.routing_key) - 19);
                else null;
            end case;
            return new;
        end $$;
    create trigger own_trigger before insert on audit.events for each row execute function public.own_trigger();";

/// So many events that the database refuses, each reason in turn.
fn refused(count: usize) -> Vec<Message> {
    let keys = ["refused.by.constraint", "refused.by.trigger", "refused.by.division"];
    let one =
        |(number, key): (usize, &&str)| Message { routing_key: (*key).into(), ..event(number) };
    keys.iter().cycle().take(count).enumerate().map(|(n, key)| one((n, key))).collect()
}

/// So many events larger than 20 KiB.
fn too_large(count: usize) -> Vec<Message> {
    let body = |number| json!({"number": number, "filler": "x".repeat(20 * 1024)}).to_string();
    (0..count).map(|number| Message::new("too.large", body(number))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_eight_bad_ones_are_dead_lettered_and_the_others_stored() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?)
        .await?
        .with("ingest.max_body", "20 KiB")
        .with("ingest.prefetch", "200")
        .with("rabbitmq.delivery_limit", "3");
    scene.daemon().await?.stops_cleanly().await?;
    let mut sql = scene.sql().await?;
    sqlx::raw_sql(OWN_RULES).execute(&mut sql).await?;

    let good: Vec<_> = (0..9_972).map(event).collect();
    let rejected = [refused(20), too_large(5)].concat();
    let mut mixed = good.clone();
    // None of them in hand together with an unparsable one: a rejection that is recorded while the session dies comes
    // again, and is recorded again.
    for (number, message) in rejected.iter().enumerate() {
        mixed.insert(number * 380 + 11, message.clone());
    }
    // The unparsable ones come by another client: one alone, two together.
    let unparsable = [b"first".as_slice(), b"second", b"third"];
    let (start, rest) = mixed.split_at(3_000);
    let (middle, end) = rest.split_at(3_000);
    scene.publish(start).await?;
    publish_with_headers(&scene, UNPARSABLE, unparsable[0]).await?;
    scene.publish(middle).await?;
    publish_with_headers(&scene, UNPARSABLE, unparsable[1]).await?;
    publish_with_headers(&scene, UNPARSABLE, unparsable[2]).await?;
    scene.publish(end).await?;

    let daemon = scene.daemon().await?;
    scene.stored(9_972).await?;
    scene.waits(&scene.dead_letter_queue(), 28).await?;
    scene.waits(&scene.queue(), 0).await?;
    daemon.says("\"unparsable\":3", 1).await?;
    daemon.stops_cleanly().await?;
    let log = daemon.log();
    let stopped = log.iter().find(|line| line.contains("\"stopped\"")).cloned();
    assert!(stopped.is_some_and(|line| line.contains("\"unparsable\":3")), "{log:#?}");

    let published = |messages: &[Message]| digests(messages.iter().map(|message| &message.body));
    let recorded: Vec<(Vec<u8>, String, i64)> =
        sqlx::query_as("select body_sha256, reason, body_bytes from audit.rejections")
            .fetch_all(&mut sql)
            .await?;
    let of = |reason: &str| recorded.iter().filter(|(_, given, _)| given == reason).count();
    let mut recorded_digests: Vec<_> = recorded.iter().map(|(digest, ..)| digest.clone()).collect();
    recorded_digests.sort();
    let dead = drain(&scene, &scene.dead_letter_queue()).await?;
    let mut dead_letters: Vec<_> = rejected.iter().map(|message| message.body.clone()).collect();
    dead_letters.extend(unparsable.map(<[u8]>::to_vec));

    assert_eq!(digests(&scene.bodies().await?), published(&good));
    assert_eq!((of("refused"), of("too-large")), (20, 5), "{log:#?}");
    assert_eq!(recorded_digests, published(&rejected));
    assert_eq!(digests(&dead), digests(&dead_letters));
    let states: Vec<(String, i64)> = sqlx::query_as(
        "select sqlstate, count(*) from audit.rejections where sqlstate is not null group by 1 order by 1",
    )
    .fetch_all(&mut sql)
    .await?;
    let state = |code: &str, count| (code.to_owned(), count);
    assert_eq!(states, [state("22012", 6), state("23514", 7), state("P0001", 7)]);
    Ok(())
}
