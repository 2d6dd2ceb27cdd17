//! Checkpoints leave the house: to a file, the log, an exchange, a webhook, each at its own pace.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use amqprs::channel::{QueueBindArguments, QueueDeclareArguments};
use anyhow::{Context as _, Result, ensure};
use axum::{
    Router,
    http::{StatusCode, Uri},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bloodbank_audit::ledger::{Checkpoint, KeyName, Note, SignerKey, VerifierKey};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use testbed::eventually;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    ledger::key,
    support::{Bed, Daemon, PATIENCE, Scene, event},
    watched_over::status,
};

/// A scene whose daemons sign, and what they write to.
pub struct House {
    pub scene: Scene,
    pub key: VerifierKey,
    folder: tempfile::TempDir,
}

impl House {
    async fn built() -> Result<House> {
        House::of(Scene::set(Bed::shared().await?).await?)
    }

    pub fn of(scene: Scene) -> Result<House> {
        let folder = tempfile::tempdir()?;
        let (path, key) = key(&folder)?;
        let scene = scene
            .with("ledger.key_file", path)
            .with("ledger.seal_every", "100ms")
            .with("ledger.checkpoint_every", "100ms")
            .with("http.listen", "127.0.0.1:0");
        Ok(House { scene, key, folder })
    }

    pub fn with(self, key: &str, value: impl Into<String>) -> House {
        House { scene: self.scene.with(key, value), ..self }
    }

    /// The same at another place.
    pub fn at(self, scene: Scene) -> House {
        House { scene, ..self }
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("checkpoints")
    }

    /// What such a note says, which the key has signed.
    fn opened(&self, note: &Note) -> Result<Checkpoint> {
        let keys = std::slice::from_ref(&self.key);
        Ok(Checkpoint::open(note.to_string().as_bytes(), keys)?.0)
    }

    pub fn in_file(&self) -> Result<Vec<Checkpoint>> {
        let notes = Note::series(&fs::read_to_string(self.file())?);
        notes.iter().flatten().map(|note| self.opened(note)).collect()
    }

    pub async fn leaves(&self) -> Result<u64> {
        let leaves = self
            .scene
            .number("select tree_size from audit.seals order by epoch desc, number desc limit 1")
            .await?;
        Ok(u64::try_from(leaves)?)
    }

    /// Awaits that all is sealed and no seal is waited for by all sinks, and that this holds.
    pub async fn rests(&self, daemon: &Daemon, covered: impl Fn(&Value) -> bool) -> Result<Value> {
        let address = daemon.serves_at().await?;
        eventually("all that is sealed is outside", PATIENCE, async || {
            let status = status(address).await?;
            let ledger = &status["ledger"];
            let all = self.scene.number(UNSEALED).await? == 0
                && ledger["unexported_since"].is_null()
                && ledger["leaves"] == self.leaves().await?;
            ensure!(all && covered(ledger), "{ledger}");
            Ok(ledger.clone())
        })
        .await
    }
}

pub const UNSEALED: &str = "select count(*) from audit.batches b
    where not exists (select from audit.seals s where b.position >= s.position_from and b.position < s.position_to)";

/// A server that takes what is posted to it, after it has refused that often.
struct Witness {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl Witness {
    async fn refusing(times: usize) -> Result<Witness> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/hunter2?token=hunter2", listener.local_addr()?);
        let (notes, left) = (Arc::clone(&seen), Arc::new(Mutex::new(times)));
        let take = move |uri: Uri, note: String| {
            let (notes, left) = (Arc::clone(&notes), Arc::clone(&left));
            async move {
                if uri != "/hunter2?token=hunter2" {
                    return (StatusCode::NOT_FOUND, String::new());
                }
                let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
                if *left > 0 {
                    *left -= 1;
                    return (StatusCode::SERVICE_UNAVAILABLE, String::new());
                }
                let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
                notes.push(note);
                (StatusCode::CREATED, format!("number {}", notes.len()))
            }
        };
        let router = Router::new().fallback(take);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            // It ends with the test.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Witness { url, seen, _serving: serving })
    }

    fn notes(&self) -> Result<Vec<Note>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().map(|note| Ok(Note::parse(note.as_bytes())?)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_them_one_after_the_other_and_the_last_at_a_stop() -> Result<()> {
    let house = House::built().await?;
    let file = house.file().display().to_string();
    let house = house.with("ledger.checkpoint_file", file);
    let daemon = house.scene.daemon().await?;
    for round in 0..3 {
        house.scene.publish(&[event(round)]).await?;
        house.scene.stored(round + 1).await?;
        house.rests(&daemon, |_| true).await?;
    }
    // What a write that was cut off has left.
    let half = fs::read_to_string(house.file())?;
    fs::write(house.file(), &half[..half.len() - 30])?;
    house.scene.publish(&[event(3)]).await?;
    house.scene.stored(4).await?;
    daemon.stops_cleanly().await?;

    let notes: Vec<_> =
        Note::series(&fs::read_to_string(house.file())?).into_iter().flatten().collect();
    let sizes: Vec<_> =
        notes.iter().filter_map(|note| house.opened(note).ok()).map(|one| one.size()).collect();
    ensure!(sizes.len() >= 3 && sizes.is_sorted(), "{sizes:?}");
    ensure!(sizes.last() == Some(&house.leaves().await?), "{sizes:?}");
    ensure!(fs::metadata(house.file())?.permissions().mode() & 0o777 == 0o644);
    let receipts =
        "select count(*) from audit.exports x join audit.checkpoints c using (epoch, tree_size)
                     where x.sink = 'file' and x.receipt like '%, from byte %'";
    ensure!(house.scene.number(receipts).await? >= 3);
    // The next run has nothing to add, until there is something.
    let daemon = house.scene.daemon().await?;
    house.rests(&daemon, |_| true).await?;
    daemon.stops_cleanly().await?;
    let found = Note::series(&fs::read_to_string(house.file())?);
    ensure!(found.iter().flatten().count() == notes.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_one_goes_out_at_a_stop_however_seldom_they_go() -> Result<()> {
    let house = House::built().await?;
    let file = house.file().display().to_string();
    let house = house
        .with("ledger.checkpoint_file", file)
        .with("ledger.checkpoint_every", "1h")
        .with("ledger.export_within", "2h");
    let daemon = house.scene.daemon().await?;
    house.scene.publish(&[event(0)]).await?;
    house.scene.stored(1).await?;
    daemon.stops_cleanly().await?;
    let last = house.in_file().with_context(|| format!("{:#?}", daemon.log()))?;
    let last = last.last().context("none")?;
    ensure!(last.size() == house.leaves().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_asked_until_it_takes_them_and_holds_up_no_file() -> Result<()> {
    let witness = Witness::refusing(3).await?;
    let house = House::built().await?;
    let file = house.file().display().to_string();
    let house =
        house.with("ledger.checkpoint_file", file).with("ledger.checkpoint_webhook", &witness.url);
    let daemon = house.scene.daemon().await?;
    house.scene.publish(&[event(0)]).await?;
    house.scene.stored(1).await?;
    let webhook = |ledger: &Value| ledger["sinks"][1].clone();
    house.rests(&daemon, |ledger| webhook(ledger)["leaves"] == ledger["leaves"]).await?;
    daemon.stops_cleanly().await?;
    let last = witness.notes()?.pop().context("none")?;
    ensure!(house.opened(&last)?.size() == house.leaves().await?);
    ensure!(daemon.said("answers 503 Service Unavailable") == 1, "{:#?}", daemon.log());
    ensure!(daemon.said("checkpoints are taken again") == 1, "{:#?}", daemon.log());
    ensure!(daemon.said("hunter2") == 0, "{:#?}", daemon.log());
    let receipts = "select count(*) from audit.exports where sink = 'webhook' and receipt like '201 Created number %'";
    ensure!(house.scene.number(receipts).await? >= 1);
    ensure!(!house.in_file()?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_none_takes_is_overdue_and_said_once() -> Result<()> {
    let house = House::built().await?;
    // Its own name is no folder.
    let file = house.file().join("below").display().to_string();
    fs::write(house.file(), "")?;
    let house = house.with("ledger.checkpoint_file", file).with("ledger.export_within", "1s");
    let daemon = house.scene.daemon().await?;
    house.scene.publish(&[event(0)]).await?;
    daemon.says("what is sealed is in no checkpoint outside", 1).await?;
    daemon.says("a checkpoint is not taken: it is offered again until one is", 1).await?;
    let seen = status(daemon.serves_at().await?).await?;
    let cause = seen["ledger"]["sinks"][0]["cause"].as_str().context("no cause")?;
    ensure!(cause.contains("Not a directory"), "{seen}");
    ensure!(!seen["ledger"]["unexported_since"].is_null(), "{seen}");
    fs::remove_file(house.file())?;
    fs::create_dir(house.file())?;
    daemon.says("all that is sealed is in a checkpoint outside again", 1).await?;
    ensure!(daemon.said("what is sealed is in no checkpoint outside") == 1);
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_the_log_is_enough_to_make_the_note_again() -> Result<()> {
    let house = House::built().await?.with("ledger.checkpoint_log", "true");
    let daemon = house.scene.daemon().await?;
    house.scene.publish(&[event(0)]).await?;
    house.scene.stored(1).await?;
    daemon.stops_cleanly().await?;
    let log = daemon.log();
    let line = log.iter().rfind(|line| line.contains("\"checkpoint\"")).context("no line")?;
    let line: Value = serde_json::from_str(line)?;
    let word = |name: &str| line[name].as_str().map(str::to_owned).context("a word is missing");
    let text = format!("{}\n{}\n{}\n", word("origin")?, line["size"], word("root")?);
    let note = Note::parse(format!("{text}\n{}\n", word("signatures")?).as_bytes())?;
    let checkpoint = house.opened(&note)?;
    ensure!(checkpoint.size() == house.leaves().await?);
    ensure!(STANDARD.encode(checkpoint.root()) == word("root")?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_bus_comes_to_rest_where_they_are_events_themselves() -> Result<()> {
    const EXPORTS: &str = "select count(*) from audit.exports where sink = 'exchange'";
    const OWN: &str = "select count(*) from audit.events where routing_key = 'audit.checkpoint'";
    for malformed in ["store", "dead-letter"] {
        let house = House::built().await?;
        let exchange = house.scene.exchange();
        let house =
            house.with("ledger.checkpoint_exchange", exchange).with("ingest.malformed", malformed);
        let daemon = house.scene.daemon().await?;
        let mut before = 0;
        for round in 0..3 {
            house.scene.publish(&[event(round)]).await?;
            // Sealed is more than what the last one speaks of: what it became itself.
            let passed = |ledger: &Value| {
                let last = ledger["sinks"][0]["leaves"].as_i64();
                last.is_some() && last < ledger["leaves"].as_i64()
            };
            house.scene.counts_at_least(i64::try_from(round)? + 1, STORED).await?;
            house.rests(&daemon, passed).await?;
            let exports = house.scene.number(EXPORTS).await?;
            ensure!(round == 0 || exports == before + 1, "{before} and then {exports}");
            before = exports;
        }
        if malformed == "store" {
            house.scene.counts(before, OWN).await?;
        }
        daemon.stops_cleanly().await?;
    }
    Ok(())
}

const STORED: &str = "select count(*) from audit.events where routing_key <> 'audit.checkpoint'";

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_hands_them_to_who_is_bound_and_what_is_missing_is_said() -> Result<()> {
    let house = House::built().await?;
    let exchange = format!("{}.checkpoints", house.scene.name);
    let house = house.with("ledger.checkpoint_exchange", &exchange);
    let daemon = house.scene.daemon().await?;
    house.scene.publish(&[event(0)]).await?;
    daemon.says("no exchange", 1).await?;
    let (connection, channel) = house.scene.client().await?;
    let declare = amqprs::channel::ExchangeDeclareArguments::new(&exchange, "topic");
    channel.exchange_declare(declare).await?;
    daemon.says("a binding is missing", 1).await?;
    let queue = format!("{}.witness", house.scene.name);
    channel.queue_declare(QueueDeclareArguments::durable_client_named(&queue)).await?;
    channel.queue_bind(QueueBindArguments::new(&queue, &exchange, "audit.checkpoint")).await?;
    house.rests(&daemon, |ledger| ledger["sinks"][0]["leaves"] == ledger["leaves"]).await?;
    daemon.stops_cleanly().await?;
    let get = amqprs::channel::BasicGetArguments::new(&queue).no_ack(true).finish();
    let mut last = None;
    while let Some((_, properties, body)) = channel.basic_get(get.clone()).await? {
        ensure!(properties.content_type().map(String::as_str) == Some("text/plain; charset=utf-8"));
        ensure!(properties.delivery_mode() == Some(2));
        last = Some(house.opened(&Note::parse(&body)?)?);
    }
    ensure!(last.context("none")?.size() == house.leaves().await?);
    channel.close().await?;
    connection.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_there_is_nothing_to_hand_out() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?.with("ledger.checkpoint_log", "true");
    let daemon = scene.starts()?;
    ensure!(daemon.ends().await? == 78, "{:#?}", daemon.log());
    ensure!(
        daemon.said("ledger.checkpoint_log: no checkpoint is signed") == 1,
        "{:#?}",
        daemon.log()
    );
    Ok(())
}

/// Whoever may write to the database cannot keep the daemon from handing out what it signs, nor have it hand out anything else.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_forged_in_the_database_goes_nowhere_and_holds_up_nothing() -> Result<()> {
    let house = House::built().await?;
    let file = house.file().display().to_string();
    let house = house.with("ledger.checkpoint_file", file);
    let daemon = house.scene.daemon().await?;
    house.scene.publish(&[event(0)]).await?;
    house.scene.stored(1).await?;
    house.rests(&daemon, |_| true).await?;
    let origin = house.in_file()?.pop().context("none")?.origin().to_owned();
    let size = 1_u64 << 62;
    let other = SignerKey::from_seed(KeyName::new("audit.test")?, &[9; 32]);
    let forged = Checkpoint::new(origin, size, [9; 32])?.signed(&other)?;
    for key_id in [other.verifier().id(), house.key.id()] {
        let forge = format!(
            "insert into audit.seals (epoch, number, tree_from, tree_size, position_from, position_to, acts, batches, root, edge)
                 values (1, -1, 0, {size}, 0, 0, 0, 0, '', '') on conflict do nothing;
             insert into audit.checkpoints (epoch, tree_size, key_id, note) values (1, {size}, {key_id}, '{forged}')"
        );
        sqlx::raw_sql(AssertSqlSafe(forge)).execute(&mut house.scene.sql().await?).await?;
    }
    let taken = format!(
        "insert into audit.exports (epoch, tree_size, sink, instance, receipt)
         select 1, {size} + 1, 'file', x.instance, '' from audit.exports x limit 1"
    );
    sqlx::raw_sql(AssertSqlSafe(taken)).execute(&mut house.scene.sql().await?).await?;
    let kill = "select count(pg_terminate_backend(a.pid)) from pg_stat_activity a
                 where a.datname = current_database() and a.pid <> pg_backend_pid()";
    ensure!(house.scene.number(kill).await? > 0);
    house.scene.publish(&[event(1)]).await?;
    house.scene.stored(2).await?;
    house.scene.counts(0, UNSEALED).await?;
    daemon.stops_cleanly().await?;
    // All of it is signed by the key.
    let last = house.in_file()?.pop().context("none")?;
    ensure!(last.size() == house.leaves().await?, "{last:?} {:#?}", daemon.log());
    // A daemon that begins now believes as little of it.
    let daemon = house.scene.daemon().await?;
    house.scene.publish(&[event(2)]).await?;
    house.scene.stored(3).await?;
    daemon.stops_cleanly().await?;
    let last = house.in_file()?.pop().context("none")?;
    ensure!(last.size() == house.leaves().await?, "{last:?} {:#?}", daemon.log());
    Ok(())
}
