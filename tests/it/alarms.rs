//! An alarm of the broker: it takes nothing from publishers for as long as it is short of memory or disk. The daemon
//! notices within a heartbeat, says so and goes on recording what is queued.

use std::fs;

use amqprs::channel::ExchangeDeleteArguments;
use anyhow::Result;
use testbed::eventually;

use crate::support::{Bed, Daemon, Message, PATIENCE, Scene, event};

const RAISED: &str = "an alarm of the broker holds up publishers";
const OVER: &str = "the broker's alarm is over";
const UNHEARD: &str = "an alarm of the broker would not be noticed";

/// An alarm: the broker's words for it, and how to raise and to end it.
struct Cause {
    words: &'static str,
    raise: [&'static str; 2],
    end: [&'static str; 2],
}

const MEMORY: Cause = Cause {
    words: "low on memory",
    raise: ["set_vm_memory_high_watermark", "0.0000001"],
    end: ["set_vm_memory_high_watermark", "0.4"],
};

const DISK: Cause = Cause {
    words: "low on disk",
    raise: ["set_disk_free_limit", "1000000GB"],
    end: ["set_disk_free_limit", "1MB"],
};

/// A daemon that looks at the broker every two seconds.
async fn scene(bed: &Bed) -> Result<Scene> {
    Ok(Scene::set(bed).await?.with("rabbitmq.heartbeat", "2s"))
}

fn events(count: usize) -> Vec<Message> {
    (0..count).map(event).collect()
}

/// Expects that a line of the log holds all of this.
fn line_with(daemon: &Daemon, parts: &[&str]) {
    let log = daemon.log();
    assert!(
        log.iter().any(|line| parts.iter().all(|part| line.contains(part))),
        "no line with {parts:?} in {log:#?}"
    );
}

/// Awaits these causes of these states, in order.
async fn coverage(scene: &Scene, wanted: &[(&str, &str)]) -> Result<()> {
    eventually("the coverage", PATIENCE, async || {
        let found = spans(scene).await.map_err(|error| format!("{error:#}"))?;
        let as_wanted = found.len() == wanted.len()
            && found.iter().zip(wanted).all(|((state, cause), (wanted_state, words))| {
                state == wanted_state && cause.contains(words)
            });
        if as_wanted { Ok(()) } else { Err(format!("{found:#?}")) }
    })
    .await
}

async fn spans(scene: &Scene) -> Result<Vec<(String, String)>> {
    let mut sql = scene.sql().await?;
    let spans = sqlx::query_as("select state, cause from audit.coverage order by from_at, to_at")
        .fetch_all(&mut sql)
        .await?;
    sqlx::Connection::close(sql).await?;
    Ok(spans)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_and_its_end_are_noticed_and_said_with_the_cause() -> Result<()> {
    let bed = Bed::own().await?;
    let scene = scene(&bed).await?;
    let daemon = scene.daemon().await?;
    let mut messages = scene.opens_the_window(&daemon).await?;
    let mut spans = vec![("starting", ""), ("recording", "")];
    for (round, Cause { words, raise, end }) in [MEMORY, DISK].into_iter().enumerate() {
        bed.rabbitmq.ctl(&raise).await?;
        daemon.says(RAISED, round + 1).await?;
        line_with(&daemon, &["WARN", RAISED, words]);
        spans.push(("recording", words));
        coverage(&scene, &spans).await?;
        let blocked = events(10);
        let publishing = scene.publish(&blocked);
        let ending = async { bed.rabbitmq.ctl(&end).await.map(drop) };
        let (published, ended) = tokio::join!(publishing, ending);
        published.and(ended)?;
        messages.extend(blocked);
        daemon.says(OVER, round + 1).await?;
        spans.push(("recording", OVER));
        coverage(&scene, &spans).await?;
    }
    // Whoever asks about that time is told that it was recorded.
    let recorded = "select count(*) from audit.coverage c, audit.listening(c.from_at) l
                     where c.cause like '%low on%' and l.answer = 'recorded' and l.states like '%low on%'";
    scene.counts(2, recorded).await?;
    scene.ends_with(&daemon, &messages).await?;
    for (said, times) in [(RAISED, 2), (OVER, 2), ("\"consuming\"", 1), (UNHEARD, 0)] {
        assert_eq!(daemon.said(said), times, "{said} in {:#?}", daemon.log());
    }
    Ok(())
}

/// What publishes nothing is not held up: neither the session, nor the watch over the topology, nor a stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_starts_works_and_stops_under_an_alarm() -> Result<()> {
    let bed = Bed::own().await?;
    let scene = scene(&bed).await?;
    scene.daemon().await?.stops_cleanly().await?;
    let messages = events(2_500);
    scene.publish(&messages).await?;
    bed.rabbitmq.ctl(&MEMORY.raise).await?;

    let daemon = scene.daemon().await?;
    daemon.says(RAISED, 1).await?;
    scene.stored_exactly(&messages).await?;
    let (connection, channel) = scene.client().await?;
    channel.exchange_delete(ExchangeDeleteArguments::new(&scene.exchange())).await?;
    connection.close().await?;
    daemon.says("is there again, and the queue is bound", 1).await?;
    daemon.stops_cleanly().await?;
    for (said, times) in [(RAISED, 1), (OVER, 0), ("refuses", 0), ("\"consuming\"", 1)] {
        assert_eq!(daemon.said(said), times, "{said} in {:#?}", daemon.log());
    }
    Ok(())
}

/// While an alarm lasts, what is queued is handed out and stored as ever.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_queued_is_stored_under_an_alarm() -> Result<()> {
    let bed = Bed::own().await?;
    let scene = scene(&bed).await?;
    let mut messages = Vec::new();
    for Cause { raise, end, .. } in [MEMORY, DISK] {
        let daemon = scene.daemon().await?;
        bed.postgres.stop().await?;
        // More than the prefetch: part of it is handed out under the alarm.
        let queued = events(2_500);
        scene.publish(&queued).await?;
        messages.extend(queued);
        daemon.says("PostgreSQL cannot store", 1).await?;
        bed.rabbitmq.ctl(&raise).await?;
        daemon.says(RAISED, 1).await?;
        let blocked = events(10);
        let publishing = async {
            let publisher = scene.publisher().await?;
            scene.publish_with(&publisher, &blocked).await
        };
        let draining = async {
            bed.postgres.start_again().await?;
            scene.stored(messages.len()).await?;
            scene.waits(&scene.queue(), 0).await?;
            bed.rabbitmq.ctl(&end).await.map(drop)
        };
        let (published, drained) = tokio::join!(publishing, draining);
        drained?;
        published?;
        messages.extend(blocked);
        scene.ends_with(&daemon, &messages).await?;
        assert_eq!(daemon.said("the session with the broker ended"), 0, "{:#?}", daemon.log());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_that_outlives_a_session_is_said_once_and_one_that_does_not_is_over() -> Result<()>
{
    let bed = Bed::own().await?;
    let scene = scene(&bed).await?;
    let daemon = scene.daemon().await?;
    let mut messages = events(10);
    scene.publish(&messages).await?;
    scene.stored(messages.len()).await?;
    bed.rabbitmq.ctl(&MEMORY.raise).await?;
    daemon.says(RAISED, 1).await?;
    bed.rabbitmq.ctl(&["close_all_connections", "during the alarm"]).await?;
    daemon.consumes(2).await?;
    let mut spans = vec![
        ("starting", ""),
        ("recording", ""),
        ("recording", MEMORY.words),
        ("disconnected", "during the alarm"),
        ("recording", "a session with the broker was opened"),
        ("recording", MEMORY.words),
    ];
    coverage(&scene, &spans).await?;
    // What was set at run time is gone then.
    bed.rabbitmq.restart().await?;
    daemon.says(OVER, 1).await?;
    spans.extend([("disconnected", ""), ("recording", "a session with the broker was opened")]);
    coverage(&scene, &spans).await?;
    messages.extend(events(10));
    scene.publish(&messages[10..]).await?;
    scene.ends_with(&daemon, &messages).await?;
    assert_eq!(daemon.said(RAISED), 1, "{:#?}", daemon.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_publish_hears_of_no_alarm_and_records_everything() -> Result<()> {
    let bed = Bed::own().await?;
    for arguments in [
        &["add_user", "auditor", "word"][..],
        &["set_permissions", "auditor", ".*", "^(?!amq\\.default$)", ".*"],
    ] {
        bed.rabbitmq.ctl(arguments).await?;
    }
    let scene = scene(&bed).await?;
    let url = format!("amqp://auditor:word@127.0.0.1:{}/%2f", bed.rabbitmq.port());
    let daemon = scene.clone().through(Some(url), None).daemon().await?;
    daemon.says(UNHEARD, 1).await?;
    line_with(&daemon, &["INFO", UNHEARD, "403", "amq.default"]);
    let (connection, channel) = scene.client().await?;
    // Two looks at the topology: it would have been asked again by then.
    for round in 1..=2 {
        channel.exchange_delete(ExchangeDeleteArguments::new(&scene.exchange())).await?;
        daemon.says("is there again, and the queue is bound", round).await?;
    }
    connection.close().await?;
    let refusals = || -> Result<usize> {
        let log = fs::read_to_string(bed.rabbitmq.log_file())?;
        Ok(log.matches("access_refused").count())
    };
    assert_eq!(refusals()?, 1);
    let mut messages = events(10);
    scene.publish(&messages).await?;
    scene.stored(messages.len()).await?;

    // A new session asks once more, and has nothing new to say.
    bed.rabbitmq.ctl(&["close_all_connections", "once more"]).await?;
    daemon.consumes(2).await?;
    eventually("it is refused again", PATIENCE, async || match refusals() {
        Ok(2) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    messages.extend(events(10));
    scene.publish(&messages[10..]).await?;
    scene.ends_with(&daemon, &messages).await?;
    assert_eq!(daemon.said(UNHEARD), 1, "{:#?}", daemon.log());
    Ok(())
}
