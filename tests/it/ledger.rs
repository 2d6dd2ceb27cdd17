//! The ledger: what is committed is sealed, each batch once, whoever seals.

mod killed;

use std::{fs, process::Command, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use bloodbank_audit::{
    ledger::{
        Checkpoint, KeyFile, KeyName, Note, SignerKey, VerifierKey,
        proof_file::{Part, ProofFile},
    },
    store::{Ledger, SealLog, Sealing, Settings},
};
use nix::sys::signal::Signal;
use sqlx::Connection as _;

use testbed::{Package, ensure_installed, eventually};

use crate::{
    cursor::settings,
    support::{Bed, PATIENCE, Scene, event},
};

/// Batches and their events are leaves, and nothing else is.
const SEALED: &str =
    "select coalesce(sum(s.tree_size - s.tree_from), 0)::bigint from audit.seals s";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_sealed_before_a_clean_stop_ends() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let events: Vec<_> = (0..700).map(event).collect();
    scene.publish(&events).await?;
    scene.stored(700).await?;
    daemon.stops_cleanly().await?;
    let leaves = scene.number("select sum(1 + events)::bigint from audit.batches").await?;
    scene.counts(leaves, SEALED).await?;
    let broken = "select count(*) from (select s.tree_from <> lag(s.tree_size, 1, 0::bigint) over w
                                             or s.position_from < lag(s.position_to, 1, s.position_from) over w as broken
                                          from audit.seals s window w as (order by s.number)) s where broken";
    assert_eq!(scene.number(broken).await?, 0);
    Ok(())
}

/// Whoever else writes, and has not ended, holds seals up: the horizon stays where it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_awaits_who_holds_the_last_seal_up() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    let mut sql = scene.sql().await?;
    let mut other = sql.begin().await?;
    sqlx::raw_sql("lock table audit.batches in row exclusive mode; select pg_current_xact_id()")
        .execute(&mut *other)
        .await?;
    let events: Vec<_> = (0..10).map(event).collect();
    scene.publish(&events).await?;
    scene.stored(10).await?;
    daemon.signal(Signal::SIGTERM)?;
    let asks = "select count(*) from pg_stat_activity where datname = current_database()
                   and query like 'select max(b.position) from audit.batches%'";
    scene.counts(1, asks).await?;
    assert_eq!(scene.number(SEALED).await?, 0);
    other.rollback().await?;
    assert_eq!(daemon.ends().await?, 0, "{:#?}", daemon.log());
    scene.is_as_recorded()
}

/// Each daemon hands out what its own key has signed: with only the other one's word of the last seal it would have none to give.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_sealed_under_another_key_is_signed_by_each() -> Result<()> {
    let bed = Bed::shared().await?;
    let scene = Scene::migrated(bed).await?;
    let [old, new] = [KeyName::new("audit.old")?, KeyName::new("audit.new")?];
    let (old, new) = (SignerKey::from_seed(old, &[7; 32]), SignerKey::from_seed(new, &[8; 32]));
    let of_key = async |file| -> Result<SealLog> {
        let ledger = Ledger { key: Some(Arc::new(file)), origin: Some("audit.test".to_owned()) };
        let settings = Settings { ledger: Some(ledger), ..settings(bed, &scene, "sealer")? };
        Ok(SealLog::open(&settings).await?)
    };
    let mut new = of_key(KeyFile::endorsed(new, &old)).await?;
    let mut old = of_key(KeyFile::new(old)).await?;
    new.introduce_key().await?;
    // Others of this server may hold the horizon for a moment.
    let sealer = tokio::sync::Mutex::new(new);
    let sealed =
        eventually("it is sealed", PATIENCE, async || match sealer.lock().await.seal().await {
            Ok(Sealing::Sealed(seal)) => Ok(seal),
            other => Err(format!("{other:?}")),
        })
        .await?;
    let mut new = sealer.into_inner();
    assert_eq!(new.sign(&sealed).await?, None);
    assert_eq!(new.unsigned().await?, None);
    let unsigned = old.unsigned().await?.context("it would wait for a seal of its own")?;
    assert_eq!((unsigned.size, unsigned.root), (sealed.size, sealed.root));
    assert_eq!(old.sign(&unsigned).await?, None);
    assert_eq!(old.unsigned().await?, None);
    let keys = "select count(distinct key_id) from audit.checkpoints";
    assert_eq!(scene.number(keys).await?, 2);
    Ok(())
}

/// Makes a key in a folder of the test's own: its file, and its public side.
pub fn key(folder: &tempfile::TempDir) -> Result<(String, VerifierKey)> {
    let path = folder.path().join("ledger.key");
    let made = Command::new(env!("CARGO_BIN_EXE_bloodbank-audit"))
        .args(["keys", "generate", "--name", "audit.test", "--out"])
        .arg(&path)
        .env_clear()
        .output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok((path.display().to_string(), String::from_utf8(made.stdout)?.trim().parse()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_seal_has_a_checkpoint_that_the_key_has_signed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (path, key) = key(&folder)?;
    let scene = Scene::set(Bed::shared().await?)
        .await?
        .with("ledger.key_file", path)
        .with("ledger.origin", "audit.test/bus")
        .with("ledger.seal_every", "100ms");
    let daemon = scene.daemon().await?;
    for round in 0..3 {
        scene.publish(&[event(round)]).await?;
        scene.stored(round + 1).await?;
    }
    daemon.stops_cleanly().await?;
    let mut sql = scene.sql().await?;
    let seals: Vec<(i64, Vec<u8>, Option<String>)> = sqlx::query_as(
        "select s.tree_size, s.root, c.note from audit.seals s left join audit.checkpoints c using (epoch, tree_size)
          order by s.number",
    )
    .fetch_all(&mut sql)
    .await?;
    assert!(!seals.is_empty());
    for (size, root, note) in seals {
        let note = Note::parse(note.unwrap_or_default().as_bytes())?;
        assert_eq!(note.verified(std::slice::from_ref(&key))?.len(), 1);
        let checkpoint = Checkpoint::parse(note.text())?;
        assert_eq!(checkpoint.origin(), "audit.test/bus");
        assert_eq!((checkpoint.size(), checkpoint.root().to_vec()), (u64::try_from(size)?, root));
    }
    let unsigned = "select count(*) from audit.batches where signature is null or key_id is null";
    assert_eq!(scene.number(unsigned).await?, 0);
    let keys = "select count(*) from audit.acts where kind = 'key' and signature is not null";
    assert_eq!(scene.number(keys).await?, 1);
    Ok(())
}

/// What docs/ledger.md has for who has OpenSSL alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_checked_by_openssl() -> Result<()> {
    ensure_installed(&[Package::OpenSsl]).await?;
    let documents = include_str!("../../docs/ledger.md");
    let (_, section) = documents.split_once("### With other tools").context("no such section")?;
    let (_, commands) = section.split_once("```sh\n").context("no commands")?;
    let (commands, _) = commands.split_once("```").context("no end of commands")?;

    let folder = tempfile::tempdir()?;
    let (path, public) = key(&folder)?;
    let signer = fs::read_to_string(path)?;
    let signer = KeyFile::parse(&signer)?;
    let note = Checkpoint::new("audit.test", 7, [3; 32])?.signed(signer.signer())?;
    let note = note.to_string();
    fs::write(folder.path().join("ledger.pub"), format!("{public}\n"))?;
    for (checkpoint, right) in [(note.clone(), true), (note.replacen("\n7\n", "\n8\n", 1), false)] {
        fs::write(folder.path().join("checkpoint"), checkpoint)?;
        let said = Command::new("sh")
            .args(["-euc", commands])
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .output()?;
        ensure!(said.status.success() == right, "{said:?}");
    }
    Ok(())
}

/// A key that others may read is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_others_may_read_keeps_the_daemon_from_starting() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir()?;
    let (path, _) = key(&folder)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    let scene = Scene::set(Bed::shared().await?).await?.with("ledger.key_file", path);
    let daemon = scene.starts()?;
    assert_eq!(daemon.ends().await?, 78);
    assert_eq!(daemon.said("chmod 600"), 1, "{:#?}", daemon.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_erased_is_out_of_the_table_and_on_record() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?;
    let daemon = scene.daemon().await?;
    scene.publish(&(0..20).map(event).collect::<Vec<_>>()).await?;
    scene.stored(20).await?;
    let ids = "select event_id::text from audit.events order by seq limit 3";
    let ids: Vec<String> = sqlx::query_scalar(ids).fetch_all(&mut scene.sql().await?).await?;
    let erased = scene.asks(&["redact", &ids[0], "--reason", "a request", "--yes"])?;
    assert_eq!((erased.status, erased.text().lines().count()), (0, 1), "{}", erased.stderr);
    let erased =
        scene.asks(&["redact", &ids[1], "--reason", "a request", "--metadata", "--yes"])?;
    assert_eq!(erased.status, 0, "{}", erased.stderr);
    let again = scene.asks(&["redact", &ids[0], "--reason", "again", "--yes"])?;
    assert!(again.text().starts_with("erased before: "), "{}", again.text());
    // What was changed is not hidden by erasing it.
    let change =
        sqlx::query("update audit.events set source = 'somebody' where event_id = $1::uuid");
    change.bind(&ids[2]).execute(&mut scene.sql().await?).await?;
    let altered = scene.asks(&["redact", &ids[2], "--reason", "a request", "--yes"])?;
    assert_eq!(altered.status, 1, "{}", altered.stderr);
    assert!(altered.text().contains("is not as it was recorded"), "{}", altered.text());

    assert_eq!(
        scene
            .number("select count(*) from audit.events where length(audit.raw(events)) = 0")
            .await?,
        2
    );
    let acts = "select count(*) from audit.acts where kind = 'erased' and details ->> 'reason' = 'a request'
                   and length(details ->> 'commit_content') = 64";
    assert_eq!(scene.number(acts).await?, 2);
    daemon.stops_cleanly().await
}

/// The proof with each of its parts changed.
fn forgeries(proof: &ProofFile) -> Vec<ProofFile> {
    let changed = |change: &dyn Fn(&mut ProofFile)| {
        let mut forged = proof.clone();
        change(&mut forged);
        forged
    };
    let mut forged = vec![
        changed(&|proof| proof.event.seq += 1),
        changed(&|proof| proof.event.received_at = "2020-01-01T00:00:00Z".to_owned()),
        changed(&|proof| proof.event.conflict = !proof.event.conflict),
        changed(&|proof| proof.leaf ^= 1),
        changed(&|proof| proof.path[0].0[7] ^= 1),
        changed(&|proof| {
            proof.checkpoint = proof.checkpoint.replacen("audit.test", "audit.best", 1)
        }),
    ];
    forged.push(changed(&|proof| match &mut proof.event.metadata {
        Part::Disclosed(metadata) => metadata.routing_key.push('x'),
        Part::Withheld { commitment } => commitment.0[0] ^= 1,
    }));
    forged.push(changed(&|proof| match &mut proof.event.content {
        Part::Disclosed(content) => content.payload = Some("{}".to_owned()),
        Part::Withheld { commitment } => commitment.0[0] ^= 1,
    }));
    forged
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_can_be_proven_against_each_checkpoint_after_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (path, key) = key(&folder)?;
    let scene = Scene::set(Bed::shared().await?)
        .await?
        .with("ledger.key_file", path)
        .with("ledger.seal_every", "100ms");
    let daemon = scene.daemon().await?;
    scene.publish(&(0..900).map(event).collect::<Vec<_>>()).await?;
    scene.stored(900).await?;
    scene.publish(&(900..905).map(event).collect::<Vec<_>>()).await?;
    scene.stored(905).await?;
    daemon.stops_cleanly().await?;
    let mut sql = scene.sql().await?;
    let checkpoints: Vec<String> =
        sqlx::query_scalar("select note from audit.checkpoints order by tree_size")
            .fetch_all(&mut sql)
            .await?;
    let ids: Vec<String> = sqlx::query_scalar(
        "select event_id::text from audit.events where seq % 97 in (0, 1) order by seq",
    )
    .fetch_all(&mut sql)
    .await?;
    let erased = scene.asks(&["redact", &ids[3], "--reason", "a request", "--yes"])?;
    assert_eq!(erased.status, 0, "{}", erased.stderr);
    let newest = folder.path().join("newest");
    fs::write(&newest, checkpoints.last().context("no checkpoint")?)?;
    for (place, id) in ids.iter().enumerate() {
        let how = ["all", "metadata", "nothing"][place % 3];
        let mut arguments = vec!["prove", id, "--disclose", how];
        if place % 2 == 0 {
            arguments.extend(["--checkpoint", newest.to_str().context("a path")?]);
        }
        let answer = scene.asks(&arguments)?;
        assert_eq!(answer.status, 0, "{}", answer.stderr);
        let proof: ProofFile = serde_json::from_str(answer.text())?;
        let file = folder.path().join(format!("{place}.json"));
        fs::write(&file, answer.text())?;
        let file = file.to_str().context("a path")?;
        let public = key.to_string();
        let checked = scene.asks(&["verify", "--proof", file, "--key", &public])?;
        assert_eq!(checked.status, 0, "{}{}", checked.text(), checked.stderr);
        // Whatever of it is another than it was proves nothing.
        for forged in forgeries(&proof) {
            fs::write(file, serde_json::to_string(&forged)?)?;
            let checked = scene.asks(&["verify", "--proof", file, "--key", &public])?;
            assert_eq!(checked.status, 1, "{}{}", checked.text(), checked.stderr);
        }
        let withheld = |text: &str| text.matches("\"commitment\"").count();
        let expected =
            if how == "nothing" { 2 } else { usize::from(how == "metadata" || place == 3) };
        assert_eq!(withheld(answer.text()), expected, "{}", answer.text());
    }

    // One that came before an event does not speak of it.
    let first = folder.path().join("first");
    fs::write(&first, &checkpoints[0])?;
    let id: String =
        sqlx::query_scalar("select event_id::text from audit.events order by seq desc limit 1")
            .fetch_one(&mut sql)
            .await?;
    let late = scene.asks(&["prove", &id, "--checkpoint", first.to_str().context("a path")?])?;
    assert_eq!(late.status, 1, "{}", late.text());
    assert!(late.stderr.contains("it came later"), "{}", late.stderr);

    // Who had a proof is noted, and who had none as somebody who had none.
    let ended = "select count(*) from audit.access_log where command = 'prove' and filter ? 'id' and count = 1 and ended_at >= at";
    assert_eq!(scene.number(ended).await?, i64::try_from(ids.len())?);
    let broken_off =
        "select count(*) from audit.access_log where command = 'prove' and ended_at is null";
    assert_eq!(scene.number(broken_off).await?, 1);
    Ok(())
}
