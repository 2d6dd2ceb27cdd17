//! Whom it would reach, by the bindings that the broker's management interface tells.

use amqprs::channel::{
    ExchangeBindArguments, ExchangeDeclareArguments, QueueBindArguments, QueueDeclareArguments,
};
use anyhow::{Context as _, Result};
use serde_json::Value;
use testbed::{Port, RabbitMqOptions};

use super::{YESTERDAY, history, replays};
use crate::support::{Answer, Bed, Scene};

/// Queues behind a topic exchange, behind exchanges that are bound to it in a circle, and behind one with headers.
async fn bound(scene: &Scene) -> Result<String> {
    let (connection, channel) = scene.client().await?;
    let name = |what: &str| format!("{}.{what}", scene.name);
    for (exchange, kind) in
        [("bus", "topic"), ("fan", "fanout"), ("straight", "direct"), ("heads", "headers")]
    {
        let declare = ExchangeDeclareArguments::new(&name(exchange), kind);
        channel.exchange_declare(declare).await?;
    }
    for queue in ["all", "third", "fanned", "one", "never", "perhaps"] {
        let mut declare = QueueDeclareArguments::new(&name(queue));
        channel.queue_declare(declare.exclusive(false).finish()).await?;
    }
    for (queue, exchange, key) in [
        ("all", "bus", "#"),
        ("third", "bus", "kind.3.#"),
        ("third", "bus", "*.3.seen"),
        ("never", "bus", "other.#"),
        ("fanned", "fan", ""),
        ("one", "straight", "kind.4.seen"),
        ("perhaps", "heads", ""),
    ] {
        let bind = QueueBindArguments::new(&name(queue), &name(exchange), key);
        channel.queue_bind(bind).await?;
    }
    for (to, from, key) in [
        ("fan", "bus", "*.*.seen.again"),
        ("bus", "fan", ""),
        ("straight", "bus", "kind.#"),
        ("heads", "bus", "kind.5.seen"),
    ] {
        channel.exchange_bind(ExchangeBindArguments::new(&name(to), &name(from), key)).await?;
    }
    connection.close().await?;
    Ok(name("bus"))
}

fn json(answer: &Answer) -> Result<Value> {
    serde_json::from_slice(&answer.stdout).with_context(|| format!("{answer:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_named_with_their_bindings_and_what_each_would_get() -> Result<()> {
    let bed = Bed::with(RabbitMqOptions::default().management()).await?;
    let scene = history(&bed, 100).await?;
    let bus = bound(&scene).await?;
    let port = bed.rabbitmq.management_port().context("a management port")?;
    let url = format!("http://guest:guest@127.0.0.1:{port}");
    let asking = scene.clone().with("rabbitmq.management_url", &url);
    let dry = [&YESTERDAY[..], &["--to-exchange", &bus, "--dry-run"]].concat();
    let said = json(&replays(&asking, &[&dry[..], &["--json"]].concat())?)?;
    let found: Vec<_> = said["reach"]["queues"]
        .as_array()
        .context("queues")?
        .iter()
        .map(|queue| {
            let name = queue["queue"].as_str().unwrap_or_default();
            let short = name.strip_prefix(&format!("{}.", scene.name)).unwrap_or_default();
            (short.to_owned(), queue["events"].clone(), queue["certain"].clone())
        })
        .collect();
    let wanted = [
        ("all", 100, 100),
        ("fanned", 10, 10),
        ("third", 10, 10),
        ("one", 9, 9),
        ("perhaps", 9, 0),
    ];
    assert_eq!(
        found,
        wanted.map(|(name, events, certain)| (name.to_owned(), events.into(), certain.into()))
    );
    assert_eq!(said["reach"]["nowhere"], 0);
    // It is what happens, where keys tell.
    let answer = replays(&scene, &[&YESTERDAY[..], &["--to-exchange", &bus]].concat())?;
    assert_eq!(answer.status, 0, "{answer:?}");
    for (queue, events, certain) in wanted {
        let waiting = scene.ready(&format!("{}.{queue}", scene.name)).await?;
        assert!(
            waiting <= events && (events != certain || waiting == events),
            "{queue}: {waiting}"
        );
    }
    assert_eq!(scene.ready(&format!("{}.never", scene.name)).await?, 0);

    let text = replays(&asking, &dry)?;
    for part in [
        "third' 10 event(s), by '*.3.seen' at",
        "'kind.3.#' at",
        "perhaps 9 event(s), by the headers exchange",
    ] {
        assert!(text.text().contains(part), "{part}: {text:?}");
    }
    // Before it is published to what is called like the bus, it is said too.
    let asked = asking.clone().with("rabbitmq.exchange", &bus);
    let answer = replays(&asked, &[&YESTERDAY[..], &["--to-exchange", &bus]].concat())?;
    answer.refuses(2, "third' 10 event(s)");
    let original = replays(&asking, &[&YESTERDAY[..], &["--to-original", "--dry-run"]].concat())?;
    assert!(original.text().contains("the exchange 'made' is not there"), "{original:?}");
    let prefixed = replays(&asking, &[&dry[..], &["--key-prefix", "other.", "--json"]].concat())?;
    let queues = &json(&prefixed)?["reach"]["queues"];
    assert!(queues.to_string().contains(".never\""), "{queues}");

    // Who does not answer, or not as RabbitMQ does, is named, and the rest goes on.
    let nobody = Port::free()?;
    for (url, said) in [
        (format!("http://guest:wrong@127.0.0.1:{port}"), "401 Unauthorized"),
        (format!("http://guest:wrong@127.0.0.1:{}", nobody.number()), "Connection refused"),
        (format!("http://guest:wrong@127.0.0.1:{port}/elsewhere"), "400 Bad Request"),
    ] {
        let answer = replays(&scene, &[&dry[..], &["--management-url", &url]].concat())?;
        assert_eq!(answer.status, 0, "{answer:?}");
        let lines: Vec<_> =
            answer.stderr.lines().filter(|line| line.contains("is not known")).collect();
        assert!(
            lines.len() == 1 && lines[0].contains(said) && !lines[0].contains("wrong"),
            "{answer:?}"
        );
        assert!(answer.text().contains("every queue that is bound there"), "{answer:?}");
    }
    let wrong = replays(&scene, &[&dry[..], &["--management-url", "amqp://h"]].concat())?;
    wrong.refuses(2, "neither http nor https");
    Ok(())
}
