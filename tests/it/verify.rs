//! `bloodbank-audit verify`: what was recorded is told from what somebody made of it.

mod evaded;
mod events;
mod headers;
mod lawful;
mod resumed;
mod rewritten;
mod statements;

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use bloodbank_audit::event::FieldValue;
use serde_json::Value;
use testbed::eventually;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::support::{Answer, Bed, Message, PATIENCE, Scene, event, fixtures};

/// A history in which everything has happened that lawfully can, and what was kept of it elsewhere.
struct History {
    scene: Scene,
    /// Two checkpoints, an early one and the last one.
    checkpoints: [String; 2],
    key: String,
    key_file: String,
    _folder: tempfile::TempDir,
}

/// What somebody does to a copy of the history, and the verdicts about it.
struct Tamper<'a> {
    what: &'a str,
    sql: &'a str,
    verdicts: &'a [&'a str],
}

/// As whoever may do anything would begin.
const WITHOUT_CONSTRAINTS: &str = "do $$
    declare c record;
    begin
        for c in select conrelid::regclass as t, conname from pg_constraint
                  where connamespace = 'audit'::regnamespace and contype in ('c', 'f') and coninhcount = 0
                    and conrelid <> 0
        loop
            execute format('alter table %s drop constraint %I', c.t, c.conname);
        end loop;
    end $$;
    drop index audit.seals_tree_size;";

impl History {
    /// The one that all tests look at.
    async fn shared() -> Result<&'static History> {
        static HISTORY: OnceCell<History> = OnceCell::const_new();
        HISTORY.get_or_try_init(History::made).await
    }

    async fn made() -> Result<History> {
        let bed = Bed::shared().await?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("ledger.key").display().to_string();
        let scene = Scene::set(bed)
            .await?
            .with("ledger.seal_every", "200ms")
            .with("ingest.batch_events", "20")
            .with("ingest.max_body", "100 KiB");
        let made = scene.asks(&["keys", "generate", "--name", "audit.test", "--out", &file])?;
        let key = made.text().trim().to_owned();
        let signing = scene.clone().with("ledger.key_file", &file);
        let first = first_messages();
        let daemon = signing.daemon().await?;
        scene.publish(&first).await?;
        scene
            .counts_at_least(i64::try_from(first.len())? - 20, "select count(*) from audit.events")
            .await?;
        scene.waits(&scene.queue(), 0).await?;
        let replayed = scene.asks(&["replay", "--to-original", "--yes", "--limit", "30"])?;
        ensure!(replayed.status == 0, "{replayed:?}");
        scene.counts(30, "select count(*) from audit.replayed").await?;
        daemon.stops_cleanly().await?;
        let early = last_checkpoint(&scene).await?;
        // Without the ledger, for a while; then two at a time, of which one is killed.
        let off = scene.clone().with("ledger.enabled", "false").daemon().await?;
        let before = scene.number("select count(*) from audit.events").await?;
        scene.publish(&(0..30).map(event).collect::<Vec<_>>()).await?;
        scene.counts(before + 30, "select count(*) from audit.events").await?;
        off.stops_cleanly().await?;
        let (one, other) = (signing.daemon().await?, signing.daemon().await?);
        scene.publish(&(0..300).map(event).collect::<Vec<_>>()).await?;
        drop(one);
        scene.counts(before + 330, "select count(*) from audit.events").await?;
        scene.waits(&scene.queue(), 0).await?;
        other.stops_cleanly().await?;
        bed.postgres.sql(&scene.name, SPLIT).await?;
        for (what, query) in [
            ("conflicts", "select sum(conflicts)::int8 from audit.batches"),
            ("duplicates", "select sum(duplicates)::int8 from audit.batches"),
            ("rejections", "select sum(rejections)::int8 from audit.batches"),
            ("replays", "select sum(replays)::int8 from audit.batches"),
            ("nodes", "select count(*) from audit.nodes"),
            ("checkpoints", "select count(*) from audit.checkpoints"),
            ("batches without leaves", "select count(*) from audit.batches where leaves is null"),
        ] {
            ensure!(scene.number(query).await? > 0, "a history without {what}");
        }
        let last = last_checkpoint(&scene).await?;
        let mut kept = Vec::new();
        for (name, note) in [("early", early), ("last", last)] {
            let path = folder.path().join(name);
            fs::write(&path, note)?;
            kept.push(path.display().to_string());
        }
        // Nobody looks at this one, so that it can be copied at any time.
        let template = template_of(&scene);
        eventually("nobody is at the history", PATIENCE, async || {
            let copy = format!("create database {template} template {}", scene.name);
            bed.postgres.sql("postgres", &copy).await.map_err(|error| format!("{error:#}"))
        })
        .await?;
        let closed = format!("alter database {template} allow_connections false");
        bed.postgres.sql("postgres", &closed).await?;
        let checkpoints = kept.try_into().ok().context("two checkpoints")?;
        Ok(History { scene, checkpoints, key, key_file: file, _folder: folder })
    }

    /// Verifies a database with both checkpoints and the key.
    fn verifies(&self, scene: &Scene, options: &[&str]) -> Result<Answer> {
        let [early, last] = &self.checkpoints;
        let usual = [
            "verify",
            "--json",
            "--checkpoint",
            early,
            "--checkpoint",
            last,
            "--key",
            &self.key,
            // However long the tests take.
            "--unsealed-after",
            "30m",
        ];
        scene.asks(&[&usual, options].concat())
    }

    /// A copy of its database.
    async fn copy(&self) -> Result<Scene> {
        let name = format!("t{}", Uuid::new_v4().simple());
        let bed = Bed::shared().await?;
        let copy = format!("create database {name} template {}", template_of(&self.scene));
        bed.postgres.sql("postgres", &copy).await?;
        let mut scene = self.scene.clone().through(None, Some(bed.postgres.url(&name)));
        scene.name = name;
        Ok(scene)
    }

    /// Does it to a copy, and tells what is said of that.
    async fn after(&self, sql: &str) -> Result<Value> {
        self.after_with(sql, &[]).await
    }

    /// The same with these options.
    async fn after_with(&self, sql: &str, options: &[&str]) -> Result<Value> {
        let bed = Bed::shared().await?;
        let copy = self.copy().await?;
        let done = bed
            .postgres
            .sql(&copy.name, &format!("begin; {WITHOUT_CONSTRAINTS} {sql}; commit"))
            .await;
        done.with_context(|| sql.to_owned())?;
        let answer = self.verifies(&copy, options)?;
        ensure!(answer.status == 1 && answer.stderr.is_empty(), "{sql}: {answer:?}");
        bed.postgres.sql("postgres", &format!("drop database {}", copy.name)).await?;
        Ok(serde_json::from_str(answer.text())?)
    }

    /// Expects exactly these verdicts of each.
    async fn tells(&self, tampers: &[Tamper<'_>]) -> Result<()> {
        for Tamper { what, sql, verdicts } in tampers {
            let said = self.after(sql).await?;
            ensure!(verdicts_of(&said)? == *verdicts, "{what}: {sql}: {said:#}");
        }
        Ok(())
    }
}

fn template_of(scene: &Scene) -> String {
    format!("{}t", scene.name)
}

/// The verdicts, each once, sorted.
fn verdicts_of(said: &Value) -> Result<Vec<&str>> {
    let verdicts = said["verdicts"].as_object().context("verdicts")?;
    let mut verdicts: Vec<_> = verdicts.keys().map(String::as_str).collect();
    verdicts.sort_unstable();
    Ok(verdicts)
}

/// Events of the history, but for odd ones: `VERIFY_EVENTS`, as `cargo xtask tamper` sets it, or 400.
fn of_the_history() -> usize {
    let said = std::env::var("VERIFY_EVENTS").ok();
    said.and_then(|events| events.parse().ok()).unwrap_or(400)
}

/// All shapes, odd ones, duplicates, conflicts, and what cannot be stored.
fn first_messages() -> Vec<Message> {
    let mut messages: Vec<_> = fixtures().into_iter().map(|(_, message)| message).collect();
    messages.push(Message::new("no id", *b"[1]"));
    messages.push(Message::new("binary", *b"\xff\x00"));
    let mut with_key = Message::new("a.key", *b"{}");
    with_key.properties.message_id = Some("not a uuid".to_owned());
    with_key.properties.headers = Some(BTreeMap::from([
        ("n".to_owned(), FieldValue::I16(1)),
        ("\u{1f}".to_owned(), FieldValue::Bool(true)),
    ]));
    messages.push(with_key);
    let events: Vec<_> = (0..of_the_history()).map(event).collect();
    let duplicates = events[..15].to_vec();
    let conflicts = events[20..35].iter().cloned().map(|mut message| {
        message.body.push(b' ');
        message
    });
    messages.extend(events.iter().cloned());
    messages.extend(duplicates);
    messages.extend(conflicts);
    messages.push(Message::new("large", vec![b'x'; 150 << 10]));
    messages
}

async fn last_checkpoint(scene: &Scene) -> Result<String> {
    let last = "select note from audit.checkpoints order by tree_size desc limit 1";
    Ok(sqlx::query_scalar(last).fetch_one(&mut scene.sql().await?).await?)
}

/// Divides the partition in which all of it is in the middle of a batch, as midnight would have.
const SPLIT: &str = "do $$
    declare
        full_one text := (select tableoid::regclass::text from audit.events group by tableoid order by count(*) desc limit 1);
        middle   timestamptz := (select b.received_to from audit.batches b where b.received_from < b.received_to and b.leaves is not null
                                  order by abs(b.position - (select percentile_disc(0.5) within group (order by position) from audit.batches))
                                  limit 1);
        lo timestamptz; hi timestamptz;
    begin
        select p.from_at, p.to_at into lo, hi from audit.partitions p where 'audit.' || p.name = full_one;
        execute format('alter table audit.events detach partition %s', full_one);
        create table audit.events_early (like audit.events including constraints);
        create table audit.events_late (like audit.events including constraints);
        execute format('insert into audit.events_early select * from %s where received_at < %L order by ctid', full_one, middle);
        execute format('insert into audit.events_late select * from %s where received_at >= %L order by ctid', full_one, middle);
        execute format('drop table %s', full_one);
        execute format('alter table audit.events attach partition audit.events_early for values from (%L) to (%L)', lo, middle);
        execute format('alter table audit.events attach partition audit.events_late for values from (%L) to (%L)', middle, hi);
    end $$;
    analyze";

#[tokio::test(flavor = "multi_thread")]
async fn an_untouched_history_is_clean() -> Result<()> {
    let history = History::shared().await?;
    let answer = history.verifies(&history.scene, &[])?;
    let said = answer.json()?;
    assert_eq!(said["clean"], true, "{said:#}");
    let number = |key: &str| said[key].as_i64().unwrap_or(-1);
    assert_eq!(number("events_not_covered"), 30, "{said:#}");
    let events = history.scene.number("select count(*) from audit.events").await?;
    assert_eq!(number("events"), events - 30);
    assert!(number("partitions") >= 2 && number("nodes") >= 2, "{said:#}");
    assert_eq!(said["trees"][0]["checkpoints_agreed"], 2);
    let signed = history
        .scene
        .number("select count(*) from audit.batches where signature is not null")
        .await?;
    assert_eq!(number("headers_signed"), signed);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_compared_is_said() -> Result<()> {
    let history = History::shared().await?;
    let alone = history.scene.asks(&["verify"])?;
    assert_eq!((alone.status, &*alone.stderr), (0, ""));
    assert!(alone.text().contains("Without --checkpoint only"), "{}", alone.text());
    assert!(alone.text().contains("30 event(s) not covered"), "{}", alone.text());
    assert!(alone.text().ends_with("All of it is as it was recorded.\n"), "{}", alone.text());
    let [_, last] = &history.checkpoints;
    let unsigned = history.scene.asks(&["verify", "--checkpoint", last])?;
    assert!(unsigned.text().contains("Without --key no signature"), "{}", unsigned.text());
    let of_none = history.scene.asks(&[
        "verify",
        "--since",
        "2020-01-01",
        "--until",
        "2020-01-02",
        "--json",
    ])?;
    assert_eq!(of_none.json()?["events"], 0);
    let of_all =
        history.scene.asks(&["verify", "--since", "2020-01-01", "--jobs", "1", "--json"])?;
    assert_eq!(of_all.json()?["clean"], true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_and_keys_that_cannot_be_relied_on_are_refused() -> Result<()> {
    let history = History::shared().await?;
    let [early, last] = &history.checkpoints;
    let folder = tempfile::tempdir()?;
    let written = |name: &str, text: &str| -> Result<String> {
        let path: PathBuf = folder.path().join(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let note = fs::read_to_string(last)?;
    let forged = written("forged", &note.replacen("\n", "\n1", 1))?;
    let scene = &history.scene;
    scene
        .asks(&["verify", "--checkpoint", &forged, "--key", &history.key])?
        .refuses(2, "does not fit the text");
    scene.asks(&["verify", "--checkpoint", &written("none", "")?])?.refuses(2, "it is empty");
    scene.asks(&["verify", "--checkpoint", "/nowhere"])?.refuses(2, "cannot be read");
    scene
        .asks(&["verify", "--checkpoint", &written("text", "hello\n")?])?
        .refuses(2, "is no checkpoint");
    scene.asks(&["verify", "--key", "audit.test"])?.refuses(2, "no public key");
    let other = folder.path().join("other.key").display().to_string();
    let other = scene.asks(&["keys", "generate", "--name", "other", "--out", &other])?;
    let other = other.text().trim().to_owned();
    scene
        .asks(&["verify", "--checkpoint", last, "--key", &other])?
        .refuses(2, "none of the given keys has signed it");
    // Several in one file, and the key in another.
    let both = written("both", &format!("{}\n{note}", fs::read_to_string(early)?))?;
    let key = written("key", &format!("# public\n{}\n", history.key))?;
    let answer = scene.asks(&["verify", "--checkpoint", &both, "--key", &key, "--json"])?;
    assert_eq!(answer.json()?["trees"][0]["checkpoints_agreed"], 2);
    // As a daemon leaves it that is killed while it writes.
    let half = &note[..note.len() - 30];
    let torn = written("torn", &format!("{}\n{half}", fs::read_to_string(early)?))?;
    let answer = scene.asks(&["verify", "--checkpoint", &torn, "--key", &key, "--json"])?;
    assert!(answer.stderr.contains("was cut off, as by a crash, and is passed over"), "{answer:?}");
    let said: Value = serde_json::from_str(answer.text())?;
    assert_eq!((answer.status, &said["trees"][0]["checkpoints_agreed"]), (0, &1.into()));
    scene
        .asks(&["verify", "--checkpoint", &written("half", half)?])?
        .refuses(2, "the note was cut off");
    Ok(())
}
