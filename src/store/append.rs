//! Appending a batch: one statement where nothing is in its way, a transaction that looks first where something is.

use std::collections::HashMap;

use sqlx::{Connection, PgConnection, Postgres, Transaction, postgres::PgDatabaseError};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Commit, Entry, Fault, Kind, Ledger,
    batch::HeaderKey,
    columns::{Columns, insert_events, insert_into_events, insert_one_event},
    dedupe::{self, Ids, Verdict},
    header::{Header, insert_header},
    link::{Link, answered},
    rejections::Rejections,
    replayed::{self, Replays, Said},
    rows::Rows,
};
use crate::{
    event::{Defect, Delivery, Envelope, Event, Preset, Properties, Reason, Rejection},
    ledger::{BEGIN, Hash},
};

/// Where a batch goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// What is added to its header; nothing where the ledger is off.
    pub ledger: Option<&'a Ledger>,
    /// Its header's name.
    pub key: HeaderKey,
    /// The number of its first event.
    pub first_seq: i64,
}

/// How an attempt ended that PostgreSQL answered.
pub(super) enum Outcome {
    /// The transaction committed. With the hash of its header, which the next one of the lane names.
    Committed(Commit, Option<Hash>),
    /// An earlier attempt of the same batch had committed.
    Before(Commit),
    /// An id of the batch is stored already, or its rows have to go in another way: nothing was committed, and the batch
    /// has to be compared with what is stored.
    Known,
    /// Its header stood, so no earlier attempt had committed, and its rows did not.
    Failed(Fault),
}

/// A batch of events alone that is not in doubt, and of which nothing is known to be stored.
///
/// A small one is one statement with its header, which is its own transaction: one round trip.
pub(super) async fn at_once(
    link: &mut Link,
    target: Target<'_>,
    entries: &[Entry],
) -> Result<Outcome, Fault> {
    let mut rows = Rows::default();
    for entry in entries {
        rows.push(entry.event(), None);
    }
    if rows.are_copied(link) {
        let parts = Parts { rows, ..Parts::default() };
        return in_a_transaction(link, target, &parts).await;
    }
    let commit = Commit { events: rows.len(), ..Commit::EMPTY };
    let header = Header::new(target, commit, &rows);
    let each: Vec<_> = rows.iter().collect();
    let columns = Columns::of(each.iter());
    macro_rules! with_header {
        ($insert:expr) => {
            concat!(
                "with header as (",
                insert_header!(),
                "$19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34)) ",
                $insert
            )
        };
    }
    let statement = sqlx::query(match rows.len() {
        1 => with_header!(insert_one_event!()),
        _ => with_header!(insert_events!()),
    });
    let insert = header.bind(columns.bind(statement, target.first_seq));
    match answered(link.patience, insert.execute(&mut link.connection)).await {
        Ok(_) => Ok(Outcome::Committed(commit, header.hash())),
        Err(error) if is_known(&error) => Ok(Outcome::Known),
        Err(error) => Err(Fault::of_rows(error)),
    }
}

/// A batch that may hold rejections, after it was compared with what is stored since `since`.
pub(super) async fn compared(
    link: &mut Link,
    target: Target<'_>,
    entries: &[Entry],
    ids: &Ids<'_>,
    since: OffsetDateTime,
    rejected_body: usize,
) -> Result<Outcome, Fault> {
    let said = replayed::recognise(link, entries).await?;
    // A replay is no event of its own: neither is it compared, nor is anything compared with it.
    let is_replay = |place| matches!(said.get(&place), Some(Said::Replay(_)));
    let verdicts = dedupe::compare(link, entries, ids, since, is_replay).await?;
    let flagged: HashMap<usize, Event> = said
        .iter()
        .filter(|(_, said)| **said == Said::Nothing)
        .filter_map(|(&place, _)| match entries.get(place) {
            Some(Entry::Event(event)) => Some((place, not_a_replay(event))),
            _ => None,
        })
        .collect();
    let rejections = Rejections::keeping(rejected_body);
    let mut parts = Parts { rejections, ..Parts::default() };
    for ((place, entry), verdict) in entries.iter().enumerate().zip(verdicts) {
        let event = match entry {
            Entry::Rejection(rejection) => {
                parts.rejections.push(rejection);
                continue;
            }
            Entry::Event(event) => event,
        };
        if let Some(Said::Replay(original)) = said.get(&place) {
            parts.replays.push(&event.delivery, *original);
            continue;
        }
        let event = flagged.get(&place).unwrap_or(event);
        match verdict {
            Verdict::New => parts.rows.push(event, None),
            Verdict::Conflict(digest) => parts.rows.push(event, Some(digest)),
            Verdict::Duplicate => parts.duplicates += 1,
        }
    }
    in_a_transaction(link, target, &parts).await
}

/// The event with a flag: its header could otherwise be used to hide it.
fn not_a_replay(event: &Event) -> Event {
    let mut event = event.clone();
    event.defects.push(Defect::NotAReplay);
    event.defects.sort_unstable();
    event
}

/// What a batch comes to.
#[derive(Default)]
struct Parts<'a> {
    rows: Rows<'a>,
    rejections: Rejections<'a>,
    replays: Replays<'a>,
    duplicates: usize,
}

/// The header first. It settles a batch in doubt: it is a duplicate if the earlier attempt committed, and where that
/// attempt is still under way it waits for it.
async fn in_a_transaction(
    link: &mut Link,
    target: Target<'_>,
    parts: &Parts<'_>,
) -> Result<Outcome, Fault> {
    let Parts { rows, rejections, replays, duplicates } = parts;
    let commit = Commit {
        events: rows.len(),
        conflicts: rows.conflicts(),
        duplicates: *duplicates,
        rejections: rejections.len(),
        replays: replays.len(),
        name: None,
    };
    let patience = link.patience;
    let copied = rows.are_copied(link);
    let header = Header::new(target, commit, rows);
    let mut transaction = answered(patience, link.connection.begin()).await?;
    if !answered(patience, insert_header(&mut transaction, &header)).await? {
        answered(patience, transaction.rollback()).await?;
        let before = committed_before(&mut link.connection, target.key);
        return Ok(Outcome::Before(answered(patience, before).await?));
    }
    if rows.len() > 0 {
        match answered(patience, rows.insert(&mut transaction, target.first_seq, copied)).await {
            Ok(()) => {}
            Err(error) if copied && is_unsupported(&error) => {
                answered(patience, transaction.rollback()).await?;
                link.copies = false;
                return Ok(Outcome::Known);
            }
            // Another writer stored one of these.
            Err(error) if is_known(&error) => {
                answered(patience, transaction.rollback()).await?;
                return Ok(Outcome::Known);
            }
            Err(error) => return Ok(Outcome::Failed(Fault::of_rows(error))),
        }
    }
    if rejections.len() > 0 {
        answered(patience, rejections.insert(target.key).execute(&mut *transaction)).await?;
    }
    if replays.len() > 0 {
        answered(patience, replays.insert(target.key).execute(&mut *transaction)).await?;
    }
    // A trigger or a constraint of the user's own may be deferred to this.
    answered(patience, transaction.commit()).await.map_err(Fault::of_rows)?;
    Ok(Outcome::Committed(commit, header.hash()))
}

/// Appends a batch of one event and one rejection, and `unstored` beside them, and takes it back, to find out whether it
/// could be done; and whether a replay could be recognised and recorded.
///
/// A row that is refused is no fault here: that is about events, and will be settled with them.
pub(super) async fn rehearse(
    link: &mut Link,
    ledger: Option<&Ledger>,
    lane: Uuid,
    at: OffsetDateTime,
    unstored: &[Entry],
) -> Result<(), Fault> {
    let delivery = Delivery {
        tag: 0,
        redelivered: false,
        exchange: String::new(),
        routing_key: String::new(),
        properties: Properties::default(),
        body: b"{}".to_vec(),
        received_at: at,
    };
    let event = Event::from_delivery(delivery, &Envelope::preset(Preset::Plain));
    let rejection = Rejection { event: event.clone(), reason: Reason::Malformed };
    let mut rows = Rows::default();
    rows.push(&event, None);
    let mut rejections = Rejections::default();
    rejections.push(&rejection);
    for entry in unstored {
        match entry {
            Entry::Event(event) => rows.push(event, None),
            Entry::Rejection(rejection) => rejections.push(rejection),
        }
    }
    rows.all_received_at(at);
    let commit = Commit { events: 1, rejections: 1, ..Commit::EMPTY };
    let key = HeaderKey { lane, number: 0, previous: BEGIN };

    let patience = link.patience;
    let copied = rows.are_copied(link);
    let header = Header::new(Target { ledger, key, first_seq: 0 }, commit, &rows);
    let mut transaction = answered(patience, link.connection.begin()).await?;
    answered(patience, insert_header(&mut transaction, &header)).await?;
    let rejected = rejections.insert(key).execute(&mut *transaction);
    answered(patience, rejected).await?;
    answered(patience, replayed::rehearse(&mut transaction, key)).await?;
    let inserted = answered(patience, rows.insert(&mut transaction, 0, copied)).await;
    if copied && inserted.as_ref().is_err_and(is_unsupported) {
        answered(patience, transaction.rollback()).await?;
        link.copies = false;
        return Box::pin(rehearse(link, ledger, lane, at, unstored)).await;
    }
    let fault = inserted.err().map(Fault::of_rows).filter(|fault| fault.kind != Kind::Refused);
    match fault {
        Some(fault) => Err(fault),
        None => Ok(answered(patience, transaction.rollback()).await?),
    }
}

/// False where this header is there already: the same batch was committed by an earlier attempt.
async fn insert_header(
    transaction: &mut Transaction<'_, Postgres>,
    header: &Header,
) -> Result<bool, sqlx::Error> {
    let statement = sqlx::query(concat!(
        insert_header!(),
        "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         on conflict (lane, number) do nothing",
    ));
    let inserted = header.bind(statement).execute(&mut **transaction).await?;
    Ok(inserted.rows_affected() == 1)
}

/// What the earlier attempt of the same batch committed, from its header.
async fn committed_before(
    connection: &mut PgConnection,
    key: HeaderKey,
) -> Result<Commit, sqlx::Error> {
    type Header = (i32, i32, i32, i32, i32);
    let (events, conflicts, duplicates, rejections, replays): Header = sqlx::query_as(
        "select events, conflicts, duplicates, rejections, replays from audit.batches where lane = $1 and number = $2",
    )
    .bind(key.lane)
    .bind(key.number)
    .fetch_one(connection)
    .await?;
    let number = |stored: i32| usize::try_from(stored).unwrap_or_default();
    Ok(Commit {
        events: number(events),
        conflicts: number(conflicts),
        duplicates: number(duplicates),
        rejections: number(rejections),
        replays: number(replays),
        name: None,
    })
}

/// Whether a dedupe index of ours refused the statement, or its header was there already: either way the batch has
/// to be compared with what is stored. A unique index of the user's own is not meant.
fn is_known(error: &sqlx::Error) -> bool {
    const INDEXES: [&str; 2] = ["_event_id", "_event_key"];
    let sqlx::Error::Database(answer) = error else { return false };
    let Some(answer) = answer.try_downcast_ref::<PgDatabaseError>() else { return false };
    let ours = |index: &str| {
        let of_a_partition = || INDEXES.iter().any(|name| index.ends_with(name));
        index == "batches_pkey" || index.starts_with("events_") && of_a_partition()
    };
    answer.code() == "23505"
        && answer.schema() == Some("audit")
        && answer.constraint().is_some_and(ours)
}

/// Whether the server cannot do what it was asked to, such as to copy into a table with row-level security.
fn is_unsupported(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(answer) = error else { return false };
    answer.code().as_deref() == Some("0A000")
}
