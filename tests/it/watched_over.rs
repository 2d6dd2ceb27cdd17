//! Health, status and metrics: what whoever watches over the daemon is told by HTTP, and by SIGUSR1.

use std::{net::SocketAddr, path::Path};

use amqprs::channel::ExchangeDeleteArguments;
use anyhow::{Context as _, Result, bail, ensure};
use bloodbank_audit::{
    http::ask,
    measures::{self, Kind},
};
use nix::sys::signal::Signal;
use serde_json::Value;
use testbed::{Proxy, eventually, proxy::Mode};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Bed, Daemon, Message, PATIENCE, Scene, event};

async fn serving(scene: &Scene) -> Result<(Daemon, SocketAddr)> {
    let daemon = scene.daemon().await?;
    let address = daemon.serves_at().await?;
    Ok((daemon, address))
}

pub async fn status(address: SocketAddr) -> Result<Value> {
    let (code, body) = ask(address, "/status").await?;
    ensure!(code == 200, "{code}: {body}");
    Ok(serde_json::from_str(&body)?)
}

/// The value of the one sample that begins like that.
async fn metric(address: SocketAddr, sample: &str) -> Result<f64> {
    let (code, body) = ask(address, "/metrics").await?;
    ensure!(code == 200, "{code}: {body}");
    let value = body.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    Ok(value.with_context(|| format!("no {sample} in\n{body}"))?.parse()?)
}

async fn is_measured(address: SocketAddr, sample: &str, wanted: f64) -> Result<()> {
    eventually(&format!("{sample} is {wanted}"), PATIENCE, async || {
        let found = metric(address, sample).await?;
        ensure!((found - wanted).abs() < f64::EPSILON, "{found}");
        Ok(())
    })
    .await
}

/// Awaits an answer of that code that says that.
async fn answers(address: SocketAddr, path: &str, wanted: u16, text: &str) -> Result<String> {
    eventually(&format!("{path} answers {wanted} and {text:?}"), PATIENCE, async || {
        let (code, body) = ask(address, path).await?;
        if code != wanted || !body.contains(text) {
            bail!("{code}: {body}");
        }
        Ok(body)
    })
    .await
}

fn listening(scene: Scene) -> Scene {
    scene.with("http.listen", "127.0.0.1:0")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_what_passed_through() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = listening(Scene::set(bed).await?)
        .with("ingest.max_body", "1KiB")
        .with("rabbitmq.heartbeat", "2s");
    let (daemon, address) = serving(&scene).await?;
    let good: Vec<_> = (0..20).map(event).collect();
    let malformed = Message { body: b"no JSON".to_vec(), ..event(20) };
    let mut large = event(21);
    large.body = vec![b' '; 2000];
    scene.publish(&good).await?;
    scene.stored(20).await?;
    scene.publish(&[good[3].clone(), malformed, large]).await?;

    for (sample, wanted) in [
        ("bloodbank_audit_deliveries_total", 23.0),
        ("bloodbank_audit_events_stored_total", 21.0),
        ("bloodbank_audit_duplicates_total", 1.0),
        ("bloodbank_audit_rejections_total", 1.0),
        ("bloodbank_audit_conflicts_total", 0.0),
        ("bloodbank_audit_in_hand_deliveries", 0.0),
        ("bloodbank_audit_in_hand_bytes", 0.0),
        ("bloodbank_audit_ready", 1.0),
        ("bloodbank_audit_state{state=\"recording\"}", 1.0),
        ("bloodbank_audit_state{state=\"paused\"}", 0.0),
        ("bloodbank_audit_connected{side=\"broker\"}", 1.0),
        ("bloodbank_audit_connected{side=\"postgres\"}", 1.0),
        ("bloodbank_audit_connections_total{side=\"broker\"}", 1.0),
        ("bloodbank_audit_commit_latency_seconds_count", 23.0),
        ("bloodbank_audit_batch_deliveries_sum", 23.0),
        ("bloodbank_audit_dead_letters", 1.0),
        ("bloodbank_audit_queue_ready_messages", 0.0),
        ("bloodbank_audit_queue_consumers", 1.0),
        ("bloodbank_audit_partitions{presence=\"missing\"}", 0.0),
    ] {
        is_measured(address, sample, wanted).await.with_context(|| sample.to_owned())?;
    }
    assert!(metric(address, "bloodbank_audit_malformed_total").await? >= 1.0);
    let bodies: usize = good.iter().map(|message| message.body.len()).sum();
    assert!(metric(address, "bloodbank_audit_delivered_bytes_total").await? > bodies as f64);
    assert!(metric(address, "bloodbank_audit_partitions{presence=\"attached\"}").await? >= 1.0);

    let status = status(address).await?;
    assert_eq!(status["ready"], true);
    assert_eq!(status["state"], "recording");
    assert_eq!(status["counts"]["events"], 21);
    assert_eq!(status["queue"]["dead_letters"], 1);
    assert_eq!(status["exchange"], scene.exchange());

    // Made again at once, and yet what was published meanwhile passed by.
    is_measured(address, "bloodbank_audit_unbound_total", 0.0).await?;
    let (connection, channel) = scene.client().await?;
    channel.exchange_delete(ExchangeDeleteArguments::new(&scene.exchange())).await?;
    connection.close().await?;
    is_measured(address, "bloodbank_audit_unbound_total", 1.0).await?;
    answers(address, "/readyz", 200, "ready: ").await?;

    daemon.signal(Signal::SIGUSR1)?;
    daemon.says("SIGUSR1: how the daemon fares", 1).await?;
    let log = daemon.log();
    let line = log.iter().find(|line| line.contains("SIGUSR1")).context("no such line")?;
    let line: Value = serde_json::from_str(line)?;
    let told: Value = serde_json::from_str(line["status"].as_str().context("no status")?)?;
    assert_eq!(told["counts"]["events"], 21);
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_one_that_is_documented() -> Result<()> {
    let bed = Bed::shared().await?;
    let folder = tempfile::tempdir()?;
    let scene = listening(Scene::set(bed).await?)
        .with("canary.every", "1d")
        .with("ledger.key_file", crate::ledger::key(&folder)?.0)
        .with("ledger.checkpoint_log", "true");
    let (daemon, address) = serving(&scene).await?;
    is_measured(address, "bloodbank_audit_canary_duration_seconds_count", 1.0).await?;
    scene.publish(&[event(1)]).await?;
    is_measured(address, "bloodbank_audit_events_stored_total", 2.0).await?;
    let (_, body) = ask(address, "/metrics").await?;
    for measure in measures::ALL {
        let kind = match measure.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        // It is there from the first failure on.
        if measure.name == measures::FAILURES {
            continue;
        }
        // It is there under TLS, as `tls` shows.
        if measure.name == measures::CERTIFICATE {
            continue;
        }
        let name = measure.name;
        assert!(body.contains(&format!("# TYPE {name} {kind}\n")), "{name} is not in\n{body}");
        assert!(body.contains(&format!("# HELP {name} {}\n", measure.help)), "{name}\n{body}");
    }
    let typed = body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for name in typed {
        let known = measures::ALL.iter().any(|measure| measure.name == name);
        assert!(known || name.starts_with("process_"), "{name}");
    }
    assert!(body.contains("process_resident_memory_bytes "), "{body}");
    // A rate over it has to begin with zero.
    for outcome in ["unmarked", "unpublished", "unrouted", "lost"] {
        let sample = format!("bloodbank_audit_canaries_total{{outcome=\"{outcome}\"}} 0\n");
        assert!(body.contains(&sample), "{sample} is not in\n{body}");
    }
    // No label takes a value from the bus.
    assert!(!body.contains(&event(1).routing_key), "{body}");
    daemon.stops_cleanly().await
}

#[test]
fn the_documentation_lists_every_metric() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let listed: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `bloodbank_audit_"))
        .map(|rest| format!("| `bloodbank_audit_{rest}"))
        .collect();
    let rows: Vec<_> = measures::ALL
        .iter()
        .map(|measure| {
            let kind = match measure.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            let labels: Vec<_> = measure.labels.iter().map(|label| format!("`{label}`")).collect();
            let labels = labels.join(", ");
            format!("| `{}` | {kind} | {labels} | {} |", measure.name, measure.help)
        })
        .collect();
    assert_eq!(listed.join("\n"), rows.join("\n"), "docs/metrics.md should have these rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_which_side_is_away_and_since_when() -> Result<()> {
    let bed = Bed::shared().await?;
    let postgres = Proxy::start(bed.postgres.port()).await?;
    let broker = Proxy::start(bed.rabbitmq.port()).await?;
    let scene = Scene::set(bed).await?;
    let database = bed.postgres.url_at(postgres.port(), &scene.name);
    let amqp = bed.rabbitmq.amqp_url_at(broker.port());
    let scene = listening(scene).through(Some(amqp), Some(database));
    postgres.set(Mode::Refuse).await;
    let daemon = scene.starts()?;
    let address = daemon.serves_at().await?;

    // From the start on, with neither reached.
    let said = answers(address, "/readyz", 503, "not ready: paused since ").await?;
    assert!(said.contains("postgres: cannot be used since "), "{said}");
    assert!(said.contains("broker: cannot be used since "), "{said}");
    answers(address, "/healthz", 200, "alive").await?;

    postgres.set(Mode::Forward).await;
    let said = answers(address, "/readyz", 200, "ready: recording since ").await?;
    assert!(said.contains("broker: can be used since "), "{said}");

    broker.set(Mode::Refuse).await;
    broker.cut().await;
    let said = answers(address, "/readyz", 503, "not ready: disconnected since ").await?;
    assert!(said.contains("broker: cannot be used since "), "{said}");
    assert!(said.contains("postgres: can be used since "), "{said}");
    let since = |status: &Value| status["broker"]["since"].as_str().unwrap_or("none").to_owned();
    let first = since(&status(address).await?);
    let failures = "bloodbank_audit_failures_total{side=\"broker\",cause=\"unreachable\"}";
    eventually("it fails twice", PATIENCE, async || {
        ensure!(metric(address, failures).await? >= 2.0, "not yet");
        Ok(())
    })
    .await?;
    // An outage is as old as its first failure.
    assert_eq!(since(&status(address).await?), first);
    answers(address, "/healthz", 200, "alive").await?;
    broker.set(Mode::Forward).await;
    answers(address, "/readyz", 200, "ready: ").await?;
    is_measured(address, "bloodbank_audit_connections_total{side=\"broker\"}", 2.0).await?;

    // On an idle bus nothing is stored, and it is noticed all the same.
    postgres.set(Mode::Refuse).await;
    postgres.cut().await;
    let said = answers(address, "/readyz", 503, "postgres: cannot be used since ").await?;
    assert!(said.contains("not ready: recording since "), "{said}");
    postgres.set(Mode::Forward).await;
    answers(address, "/readyz", 200, "ready: ").await?;

    postgres.set(Mode::Refuse).await;
    postgres.cut().await;
    let message = event(1);
    scene.publish(std::slice::from_ref(&message)).await?;
    answers(address, "/readyz", 503, "postgres: cannot be used since ").await?;
    is_measured(address, "bloodbank_audit_connected{side=\"postgres\"}", 0.0).await?;
    is_measured(address, "bloodbank_audit_in_hand_deliveries", 1.0).await?;
    postgres.set(Mode::Forward).await;
    answers(address, "/readyz", 200, "ready: ").await?;
    scene.ends_with(&daemon, &[message]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_asks_it() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = listening(Scene::set(bed).await?);
    let (daemon, address) = serving(&scene).await?;
    let at = address.to_string();
    let asks = |arguments: &[&str]| {
        let arguments = [&["health", "--at", &at], arguments].concat();
        scene.asks(&arguments)
    };
    let ready = asks(&[])?;
    assert_eq!((ready.status, ready.stderr.as_str()), (0, ""));
    assert!(ready.text().starts_with("ready: recording since "), "{}", ready.text());
    let alive = asks(&["--live"])?;
    assert_eq!((alive.status, alive.text()), (0, "alive\n"));
    let told: Value = serde_json::from_str(asks(&["--status"])?.text())?;
    assert_eq!(told["state"], "recording");
    assert_eq!(asks(&["--live", "--status"])?.status, 2);
    assert_eq!(asks(&["--timeout", "never"])?.status, 2);
    daemon.stops_cleanly().await?;

    let nobody = asks(&[])?;
    assert_eq!(nobody.status, 1);
    assert!(nobody.stderr.contains("does it run, and with this http.listen?"), "{}", nobody.stderr);
    let off = scene.with("http.listen", "off").asks(&["health"])?;
    assert_eq!(off.status, 1);
    assert!(off.stderr.contains("http.listen is \"off\""), "{}", off.stderr);

    // Something else may listen there: it says nothing, or something else.
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let at = silent.local_addr()?.to_string();
    let scene = Scene::set(bed).await?;
    let arguments = ["health", "--at", &at, "--timeout", "300ms"];
    let unheard = scene.asks(&arguments)?;
    assert_eq!(unheard.status, 1);
    assert!(unheard.stderr.contains("does not answer within 300ms"), "{}", unheard.stderr);

    // What it says acts on no terminal.
    let other = std::net::TcpListener::bind("127.0.0.1:0")?;
    let at = other.local_addr()?.to_string();
    let answering = std::thread::spawn(move || -> std::io::Result<()> {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = other.accept()?;
        let read = stream.read(&mut [0; 1024])?;
        assert!(read > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\nready: \x1b[2Jnot\r\n.")
    });
    let answer = scene.asks(&["health", "--at", &at])?;
    assert_eq!((answer.status, answer.text()), (0, "ready: \\u{1b}[2Jnot\n.\n"));
    answering.join().ok().context("it panicked")??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_costs_no_event() -> Result<()> {
    let bed = Bed::shared().await?;
    let taken = TcpListener::bind("127.0.0.1:0").await?;
    let at = taken.local_addr()?;
    let scene = Scene::set(bed).await?.with("http.listen", at.to_string());
    let daemon = scene.daemon().await?;
    daemon.says("nothing can be served at", 1).await?;
    scene.publish(&[event(1)]).await?;
    scene.stored(1).await?;
    drop(taken);
    assert_eq!(daemon.serves_at().await?, at);
    answers(at, "/readyz", 200, "ready: ").await?;
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_connects_and_says_nothing_holds_nobody_up_for_long() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = listening(Scene::set(bed).await?);
    let (daemon, address) = serving(&scene).await?;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(address).await?);
    }
    scene.publish(&[event(1)]).await?;
    scene.stored(1).await?;
    answers(address, "/readyz", 200, "ready: ").await?;
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_otherwise_is_refused() -> Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let bed = Bed::shared().await?;
    let scene = listening(Scene::set(bed).await?);
    let (daemon, address) = serving(&scene).await?;
    answers(address, "/", 200, "/metrics").await?;
    answers(address, "/nothing", 404, "").await?;
    for (question, wanted) in [
        ("POST /readyz HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n".to_owned(), " 405 "),
        ("no HTTP at all\r\n\r\n".to_owned(), " 400 "),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20)), " 431 "),
    ] {
        let mut stream = TcpStream::connect(address).await?;
        // The answer may come, and the connection end, before all of the question was read.
        let _ = stream.write_all(question.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        let first = answer.lines().next().unwrap_or_default();
        assert!(first.contains(wanted), "{wanted}: {first:?}");
    }
    // Who has nothing more to say is answered, as a shell's `printf … | nc -N` is.
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    assert!(answer.ends_with("\r\n\r\nalive\n"), "{answer:?}");
    answers(address, "/readyz", 200, "ready: ").await?;
    daemon.stops_cleanly().await
}
