//! A database that went back in time: it is noticed, nothing is sealed, and everything is recorded until somebody decides.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use bloodbank_audit::ledger::Note;
use serde_json::Value;
use testbed::{Postgres, PostgresOptions};

use crate::{
    checkpoints::{House, UNSEALED},
    support::{Bed, Daemon, Scene, event},
    watched_over::status,
};

const HALTED: &str = "the database went back in time, and sealing has halted";

/// A house whose daemons keep a file of checkpoints.
fn with_file(scene: Scene) -> Result<House> {
    let house = House::of(scene)?;
    let file = house.file().display().to_string();
    Ok(house.with("ledger.checkpoint_file", file))
}

/// Expects that the daemon records and does not seal; that an epoch which is begun then is what it takes; and that both checkpoints
/// are on record. So many events were stored before.
async fn halts_and_goes_on(house: &House, daemon: &Daemon, stored: usize) -> Result<()> {
    daemon.says(HALTED, 1).await?;
    let before = house.in_file()?.pop().context("no checkpoint")?;
    house.scene.publish(&[event(9_000)]).await?;
    house.scene.stored(stored + 1).await?;
    let seen = status(daemon.serves_at().await?).await?;
    let halted = seen["ledger"]["halted"].as_str().context("it has not halted")?;
    ensure!(halted.contains(&house.file().display().to_string()), "{seen}");
    ensure!(house.scene.number(UNSEALED).await? > 0, "it was sealed");

    let unasked = house.scene.asks(&["ledger", "new-epoch", "--reason", "a backup"])?;
    unasked.refuses(2, "--yes says that this is meant");
    let begun = house.scene.asks(&["ledger", "new-epoch", "--reason", "a backup", "--yes"])?;
    ensure!(begun.status == 0 && begun.text().contains("epoch 2 is begun"), "{begun:?}");
    ensure!(begun.text().contains("holds a checkpoint of"), "{begun:?}");
    daemon.says("batches are sealed again", 1).await?;
    house.rests(daemon, |ledger| ledger["halted"].is_null() && ledger["epoch"] == 2).await?;
    ensure!(daemon.said(HALTED) == 1, "{:#?}", daemon.log());

    let after = house.in_file()?.pop().context("no checkpoint")?;
    ensure!((before.epoch()?, after.epoch()?) == (1, 2), "{before:?} {after:?}");
    ensure!(after.size() == house.leaves().await?);
    let query =
        "select details::text from audit.acts where kind = 'epoch' and signature is not null";
    let details: String =
        sqlx::query_scalar(query).fetch_one(&mut house.scene.sql().await?).await?;
    let details: Value = serde_json::from_str(&details)?;
    ensure!(details["reason"] == "a backup" && details["epoch"] == 2, "{details}");
    let note = details["outside"].as_str().context("no note from outside")?;
    ensure!(note.starts_with(&before.text()), "{details}");
    ensure!(details["inside"].as_str().is_some_and(|inside| inside != note), "{details}");
    is_clean(house)
}

/// Expects that `verify` finds nothing, with the key and the last checkpoint in the file.
fn is_clean(house: &House) -> Result<()> {
    let last = house.file().with_extension("last");
    let file = fs::read_to_string(house.file())?;
    let notes = Note::series(&file).into_iter().flatten();
    fs::write(&last, notes.last().context("no checkpoint")?.to_string())?;
    let (last, key) = (last.display().to_string(), house.key.to_string());
    let answer = house.scene.asks(&["verify", "--checkpoint", &last, "--key", &key, "--json"])?;
    ensure!(answer.status == 0 && answer.stderr.is_empty(), "{answer:?}");
    Ok(())
}

/// A tool of PostgreSQL's beside psql.
fn tool(postgres: &Postgres, name: &str, arguments: &[&str]) -> Result<()> {
    let psql = postgres.psql();
    let program = psql.parent().unwrap_or(Path::new("")).join(name);
    let status = Command::new(&program).args(arguments).stdin(Stdio::null()).status()?;
    ensure!(status.success(), "{}: {status}", program.display());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_restored_dump() -> Result<()> {
    let bed = Bed::shared().await?;
    let house = with_file(Scene::set(bed).await?)?;
    let daemon = house.scene.daemon().await?;
    house.scene.publish(&[event(0)]).await?;
    house.scene.stored(1).await?;
    house.rests(&daemon, |_| true).await?;
    daemon.stops_cleanly().await?;
    let dump = tempfile::tempdir()?;
    let path = dump.path().join("dump").display().to_string();
    let url = house.scene.database_url().to_owned();
    tool(&bed.postgres, "pg_dump", &["--format=custom", "--file", &path, &url])?;
    let daemon = house.scene.daemon().await?;
    house.scene.publish(&[event(1)]).await?;
    house.scene.stored(2).await?;
    house.rests(&daemon, |_| true).await?;
    daemon.stops_cleanly().await?;

    // Into a server whose transactions have lower numbers.
    let other = Postgres::start(PostgresOptions::default()).await?;
    let restored = other.create_database(&house.scene.name).await?;
    tool(&other, "pg_restore", &["--exit-on-error", "--dbname", &restored, &path])?;
    let scene = house.scene.clone().through(None, Some(restored));
    let house = house.at(scene);
    let daemon = house.scene.daemon().await?;
    halts_and_goes_on(&house, &daemon, 1).await?;
    daemon.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_standby_that_lagged() -> Result<()> {
    let rabbitmq = &Bed::shared().await?.rabbitmq;
    let primary = Postgres::start(PostgresOptions::default()).await?;
    let house = with_file(Scene::between(rabbitmq, &primary).await?)?;
    let on_primary = house.scene.clone();
    let daemon = on_primary.daemon().await?;
    on_primary.publish(&[event(0)]).await?;
    on_primary.stored(1).await?;
    house.rests(&daemon, |_| true).await?;
    daemon.stops_cleanly().await?;
    let standby = primary.standby("second").await?;
    standby.stop().await?;

    let [first, second] = [primary.port(), standby.port()];
    let name = on_primary.name.clone();
    let url = format!("postgres://postgres@127.0.0.1:{first},127.0.0.1:{second}/{name}");
    let daemon = on_primary.clone().through(None, Some(url)).daemon().await?;
    on_primary.publish(&[event(1)]).await?;
    on_primary.stored(2).await?;
    house.rests(&daemon, |_| true).await?;
    primary.kill();
    standby.start_again().await?;
    standby.promote().await?;
    let on_standby = on_primary.through(None, Some(standby.url(&name)));
    halts_and_goes_on(&house.at(on_standby), &daemon, 1).await?;
    daemon.stops_cleanly().await
}

/// Another daemon, which knows nothing of the past, has sealed more than was lost.
#[tokio::test(flavor = "multi_thread")]
async fn by_another_tree_of_more_leaves() -> Result<()> {
    let bed = Bed::shared().await?;
    let house = with_file(Scene::set(bed).await?)?;
    let daemon = house.scene.daemon().await?;
    house.scene.publish(&[event(0)]).await?;
    house.scene.stored(1).await?;
    house.rests(&daemon, |_| true).await?;
    daemon.stops_cleanly().await?;
    let name = &house.scene.name;
    let copy = format!("create database {name}_copy template {name}");
    bed.postgres.sql("postgres", &copy).await?;
    let daemon = house.scene.daemon().await?;
    house.scene.publish(&[event(1)]).await?;
    house.scene.stored(2).await?;
    house.rests(&daemon, |_| true).await?;
    daemon.stops_cleanly().await?;

    let url = house.scene.database_url().replace(name, &format!("{name}_copy"));
    let copy = house.scene.clone().through(None, Some(url));
    let unaware = copy.clone().with("ledger.checkpoint_file", "");
    let daemon = unaware.daemon().await?;
    unaware.publish(&(10..30).map(event).collect::<Vec<_>>()).await?;
    unaware.stored(21).await?;
    unaware.counts(0, UNSEALED).await?;
    daemon.stops_cleanly().await?;
    let house = house.at(copy);
    let daemon = house.scene.daemon().await?;
    halts_and_goes_on(&house, &daemon, 21).await?;
    ensure!(daemon.said("which were others than those that the database has") == 1);
    daemon.stops_cleanly().await
}

/// As after a dump that was restored into a younger server: a seal may end behind all batches, and no batch may come before that.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_then_is_behind_what_is_sealed() -> Result<()> {
    let scene = Scene::set(Bed::shared().await?).await?.with("ledger.seal_every", "100ms");
    let daemon = scene.daemon().await?;
    scene.publish(&[event(0)]).await?;
    scene.stored(1).await?;
    daemon.stops_cleanly().await?;
    let later = "update audit.seals s set position_to = position_to + 1000000000
                  where s.number = (select max(l.number) from audit.seals l)";
    sqlx::query(later).execute(&mut scene.sql().await?).await?;
    let daemon = scene.daemon().await?;
    scene.publish(&[event(1)]).await?;
    scene.stored(2).await?;
    scene.counts(0, UNSEALED).await?;
    scene.counts(
        0,
        "select count(*) from audit.batches b join audit.seals s on b.position >= s.position_from and b.position < s.position_to
          group by b.position having count(*) > 1 union all select 0 limit 1",
    )
    .await?;
    daemon.stops_cleanly().await
}

const PARTED: &str =
    "the database has another ledger than what was signed before, and sealing has halted";

/// A seal of a tree that nobody has made, as whoever may write to the database could put it there.
const FORGED: &str = "insert into audit.seals (epoch, number, tree_from, tree_size, position_from, position_to, acts, batches, root, edge)
    select s.epoch, s.number + 1, s.tree_size, 1 << 20, s.position_to, s.position_to, 0, 0, sha256('forged'), sha256('forged')
      from audit.seals s order by s.epoch desc, s.number desc limit 1";

/// Takes back the last seal and all that it holds.
const TAKEN_BACK: &str = "create temp table last as select * from audit.seals order by epoch desc, number desc limit 1;
    delete from audit.events e using audit.batches b, last l
     where b.position >= l.position_from and e.seq >= b.first_seq and e.seq < b.first_seq + b.events;
    delete from audit.batches b using last l where b.position >= l.position_from;
    delete from audit.acts a using last l where a.position >= l.position_from;
    delete from audit.checkpoints c using last l where c.tree_size > l.tree_from;
    delete from audit.seals s using last l where s.number = l.number";

/// The daemon's signature is not to be had for another past, nor for a tree that it has not made; a file is not needed for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_was_changed_is_not_signed() -> Result<()> {
    let bed = Bed::shared().await?;
    for change in [FORGED, TAKEN_BACK] {
        for restarts in [false, true] {
            // Without what was signed last a daemon that begins knows nothing of it.
            if restarts && change == TAKEN_BACK {
                continue;
            }
            let house = House::of(Scene::set(bed).await?)?;
            let daemon = house.scene.daemon().await?;
            for round in 0..2 {
                house.scene.publish(&[event(round)]).await?;
                house.scene.stored(round + 1).await?;
                house.scene.counts(0, UNSEALED).await?;
            }
            let signed = "select count(*) from audit.checkpoints";
            let at_rest = house.scene.number(signed).await?;
            let daemon = if restarts {
                daemon.stops_cleanly().await?;
                bed.postgres.sql(&house.scene.name, change).await?;
                house.scene.daemon().await?
            } else {
                bed.postgres.sql(&house.scene.name, change).await?;
                daemon
            };
            house.scene.publish(&[event(9_000)]).await?;
            daemon.says(PARTED, 1).await?;
            let now = house.scene.number(signed).await?;
            ensure!(now <= at_rest, "{change}: {at_rest} checkpoints, and then {now}");
            let begun =
                house.scene.asks(&["ledger", "new-epoch", "--reason", "forged", "--yes"])?;
            ensure!(begun.status == 0 && begun.text().contains("epoch 2 is begun"), "{begun:?}");
            daemon.says("batches are sealed again", 1).await?;
            house
                .scene
                .counts(
                    1,
                    "select count(*) from audit.events e join audit.batches b
                on e.seq >= b.first_seq and e.seq < b.first_seq + b.events join audit.seals s
                on s.epoch = 2 and b.position >= s.position_from and b.position < s.position_to",
                )
                .await?;
            daemon.stops_cleanly().await?;
        }
    }
    Ok(())
}

/// Who may write to the database may write that another tree was begun. Only who has the key can say so.
#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_nobody_has_begun_is_not_gone_on_with() -> Result<()> {
    let house = House::of(Scene::set(Bed::shared().await?).await?)?;
    let daemon = house.scene.daemon().await?;
    house.scene.publish(&[event(0)]).await?;
    house.scene.stored(1).await?;
    house.scene.counts(0, UNSEALED).await?;
    let forged = "insert into audit.epochs (epoch, position_from) select 2, max(position_to) from audit.seals";
    sqlx::query(forged).execute(&mut house.scene.sql().await?).await?;
    daemon.says(PARTED, 1).await?;
    ensure!(daemon.said("this key has signed no act that begins it") == 1, "{:#?}", daemon.log());
    let begun = house.scene.asks(&["ledger", "new-epoch", "--reason", "forged", "--yes"])?;
    ensure!(begun.text().contains("epoch 3 is begun"), "{begun:?}");
    daemon.says("batches are sealed again", 1).await?;
    daemon.stops_cleanly().await
}
