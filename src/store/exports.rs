//! Checkpoints on their way out: which is the newest, and which were taken.

use std::time::Duration;

use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{
    Fault, Ledger, Settings,
    link::{Link, answered},
};
use crate::ledger::{Checkpoint, VerifierKey};

/// How many checkpoints are looked at for one that the key has signed.
const TRIED: i64 = 100;

/// How far a tree has grown. Later ones are larger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reach {
    /// Which tree.
    pub epoch: i32,
    /// Its leaves.
    pub size: i64,
}

/// A signed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// Of which tree.
    pub reach: Reach,
    /// The signed note.
    pub note: String,
    /// It speaks of all that was committed at a lower position, as far as the ledger covers it.
    pub position_to: i64,
}

/// How the ledger stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerState {
    /// The tree; of no leaves before the first seal.
    pub sealed: Reach,
    /// For how long the oldest batch has been committed that is not sealed.
    pub unsealed_for: Option<Duration>,
    /// The newest checkpoint that this key has signed; none before the first, and without a key.
    pub newest: Option<SignedCheckpoint>,
    /// For how long there has been a seal of which no checkpoint is outside.
    pub unexported_for: Option<Duration>,
    /// As far as some daemon's checkpoints are outside.
    pub exported: Reach,
}

/// How far the batches of one lane have come. They are numbered from 1 on; 0 stands for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneState {
    /// The lane.
    pub lane: Uuid,
    /// The last one that the asked-for tree holds.
    pub covered: i64,
    /// The last one that is on record.
    pub committed: i64,
}

/// A connection to see what is to go out, and to put down what went.
#[derive(Debug)]
pub struct ExportLog {
    pub(super) link: Link,
    ledger: Ledger,
}

/// What goes out by an exchange may come in again, as an event.
#[derive(Debug, Clone, Copy)]
pub struct Published<'a> {
    /// The exchange.
    pub exchange: &'a str,
    /// The routing key.
    pub routing_key: &'a str,
}

#[derive(FromRow)]
struct Newest {
    epoch: i32,
    tree_size: i64,
    note: String,
    position_to: i64,
}

impl ExportLog {
    /// Connects.
    ///
    /// # Errors
    /// The [`Fault`] of this one attempt.
    pub async fn open(settings: &Settings) -> Result<ExportLog, Fault> {
        let link = Link::open(settings, settings.statement_timeout).await?;
        Ok(ExportLog { link, ledger: settings.ledger.clone().unwrap_or_default() })
    }

    /// How the ledger stands, where all up to `passed` counts as outside.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn state(&mut self, passed: Reach) -> Result<LedgerState, Fault> {
        let ExportLog { link: Link { connection, patience, .. }, ledger } = self;
        let key = ledger.key.as_ref().map(|key| key.signer().verifier());
        Ok(answered(*patience, state(connection, passed, key)).await?)
    }

    /// Whether the tree has grown from `from` to `to` by anything beside messages that were published like that, each stored as
    /// an event or rejected as none.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn grew_besides(
        &mut self,
        published: Published<'_>,
        from: Reach,
        to: Reach,
    ) -> Result<bool, Fault> {
        if from.epoch != to.epoch {
            return Ok(true);
        }
        let query = sqlx::query_as(
            "with grown as materialized (
                 select coalesce(sum(s.acts), 0) as acts, min(s.position_from) as low, max(s.position_to) as high
                   from audit.seals s where s.epoch = $1 and s.tree_size > $2 and s.tree_size <= $3
             )
             select g.acts > 0
                 or exists (select from audit.batches b
                             where b.position >= g.low and b.position < g.high
                               and (b.duplicates > 0 or b.replays > 0
                                    or exists (select from audit.events e
                                                where b.events > 0 and e.received_at between b.received_from and b.received_to
                                                  and e.seq >= b.first_seq and e.seq < b.first_seq + b.events
                                                  and (e.exchange, e.routing_key) is distinct from ($4, $5))
                                    or exists (select from audit.rejections r
                                                where b.rejections > 0 and (r.lane, r.number) = (b.lane, b.number)
                                                  and (r.exchange, r.routing_key) is distinct from ($4, $5))))
               from grown g",
        )
        .bind(to.epoch)
        .bind(from.size)
        .bind(to.size)
        .bind(published.exchange)
        .bind(published.routing_key);
        let Link { connection, patience, .. } = &mut self.link;
        let (grew,): (bool,) = answered(*patience, query.fetch_one(connection)).await?;
        Ok(grew)
    }

    /// How far these lanes have come, and how far by the time when the tree reached that far: what it holds is in any checkpoint
    /// of it, or of a later tree, which quotes the one before it.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn lanes(&mut self, lanes: &[Uuid], reach: Reach) -> Result<Vec<LaneState>, Fault> {
        // From the end of each lane, by its primary key, back to what is sealed; nowhere where nothing is.
        let query = sqlx::query_as(
            "select l.lane,
                    coalesce(case when s.position_to is not null then
                                 (select b.number from audit.batches b where b.lane = l.lane and b.position < s.position_to
                                   order by b.number desc limit 1) end, 0),
                    coalesce((select max(b.number) from audit.batches b where b.lane = l.lane), 0)
               from unnest($1::uuid[]) l (lane)
               left join audit.seals s on (s.epoch, s.tree_size) = ($2, $3)",
        )
        .bind(lanes)
        .bind(reach.epoch)
        .bind(reach.size);
        let Link { connection, patience, .. } = &mut self.link;
        let states: Vec<(Uuid, i64, i64)> =
            answered(*patience, query.fetch_all(connection)).await?;
        let state = |(lane, covered, committed)| LaneState { lane, covered, committed };
        Ok(states.into_iter().map(state).collect())
    }

    /// Puts down that a checkpoint was taken.
    ///
    /// # Errors
    /// A [`Fault`]; it may be done again.
    pub async fn note(
        &mut self,
        reach: Reach,
        sink: &str,
        instance: &str,
        receipt: &str,
    ) -> Result<(), Fault> {
        let note = sqlx::query("select audit.note_export($1, $2, $3, $4, $5)")
            .bind(reach.epoch)
            .bind(reach.size)
            .bind(sink)
            .bind(instance)
            .bind(receipt);
        let Link { connection, patience, .. } = &mut self.link;
        answered(*patience, note.execute(connection)).await?;
        Ok(())
    }

    /// How far checkpoints of that daemon's were taken by that sink.
    ///
    /// # Errors
    /// A [`Fault`]; it may be asked again.
    pub async fn taken(&mut self, sink: &str, instance: &str) -> Result<Reach, Fault> {
        let query = sqlx::query_as(
            "select x.epoch, x.tree_size from audit.exports x join audit.checkpoints c using (epoch, tree_size)
              where x.sink = $1 and x.instance = $2
              order by x.epoch desc, x.tree_size desc limit 1",
        )
        .bind(sink)
        .bind(instance);
        let Link { connection, patience, .. } = &mut self.link;
        let taken: Option<(i32, i64)> =
            answered(*patience, query.fetch_optional(connection)).await?;
        Ok(taken.map(reach).unwrap_or_default())
    }

    /// Ends the connection in good order.
    pub async fn close(self) {
        self.link.close().await;
    }
}

async fn state(
    connection: &mut PgConnection,
    passed: Reach,
    key: Option<&VerifierKey>,
) -> Result<LedgerState, sqlx::Error> {
    let (epoch, size, position): (i32, i64, i64) = sqlx::query_as(
        "select e.epoch, coalesce(s.tree_size, 0), coalesce(s.position_to, e.position_from)
           from (select * from audit.epochs e order by e.epoch desc limit 1) e
           left join lateral (select * from audit.seals s where s.epoch = e.epoch order by s.number desc limit 1) s on true",
    )
    .fetch_one(&mut *connection)
    .await?;
    let unsealed: Option<(f64,)> = sqlx::query_as(
        "select extract(epoch from clock_timestamp() - b.committed_at)::float8
           from audit.batches b where b.position >= $1 order by b.position limit 1",
    )
    .bind(position)
    .fetch_optional(&mut *connection)
    .await?;
    let newest = newest(connection, key).await?;
    let exported: Option<(i32, i64)> = sqlx::query_as(
        "select x.epoch, x.tree_size from audit.exports x join audit.seals s using (epoch, tree_size)
          order by x.epoch desc, x.tree_size desc limit 1",
    )
    .fetch_optional(&mut *connection)
    .await?;
    let exported = exported.map(reach).unwrap_or_default().max(passed);
    let unexported: Option<(f64,)> = sqlx::query_as(
        "select extract(epoch from clock_timestamp() - s.sealed_at)::float8
           from audit.seals s where (s.epoch, s.tree_size) > ($1, $2)
          order by s.epoch, s.tree_size limit 1",
    )
    .bind(exported.epoch)
    .bind(exported.size)
    .fetch_optional(&mut *connection)
    .await?;
    Ok(LedgerState {
        sealed: Reach { epoch, size },
        unsealed_for: unsealed.map(lasted),
        newest: newest.map(|Newest { epoch, tree_size, note, position_to }| SignedCheckpoint {
            reach: Reach { epoch, size: tree_size },
            note,
            position_to,
        }),
        unexported_for: unexported.map(lasted),
        exported,
    })
}

/// The newest checkpoint that this key has signed: anyone who may write to the database can put others there.
async fn newest(
    connection: &mut PgConnection,
    key: Option<&VerifierKey>,
) -> Result<Option<Newest>, sqlx::Error> {
    let Some(key) = key else { return Ok(None) };
    let newest: Vec<Newest> = sqlx::query_as(
        "select c.epoch, c.tree_size, c.note, s.position_to
           from audit.checkpoints c join audit.seals s using (epoch, tree_size)
          where c.key_id = $1 order by c.epoch desc, c.tree_size desc limit $2",
    )
    .bind(i64::from(key.id()))
    .bind(TRIED)
    .fetch_all(connection)
    .await?;
    Ok(newest.into_iter().find(|newest| newest.is_of(key)))
}

impl Newest {
    /// Whether the key has signed that, and nothing else.
    fn is_of(&self, key: &VerifierKey) -> bool {
        Checkpoint::open(self.note.as_bytes(), std::slice::from_ref(key)).is_ok_and(|(it, _)| {
            i64::try_from(it.size()) == Ok(self.tree_size)
                && it.epoch().map(i32::try_from) == Ok(Ok(self.epoch))
        })
    }
}

fn reach((epoch, size): (i32, i64)) -> Reach {
    Reach { epoch, size }
}

/// A clock that was set back has it last no time.
fn lasted((seconds,): (f64,)) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
