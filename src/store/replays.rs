//! Replays on record: each has a row before its first event is published, which says how far it has come.

use std::time::Duration;

use sqlx::{Connection as _, FromRow};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Fault, Settings,
    link::{Link, answered},
    read::Arrival,
};
use crate::event::column_text;

/// The statements are small: one that takes longer than this is not going to be answered.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// A replay that begins.
#[derive(Debug, Clone)]
pub struct NewReplay {
    /// Its id, which its messages carry.
    pub id: Uuid,
    /// Which user of this machine begins it.
    pub os_user: String,
    /// The name of this machine.
    pub host: String,
    /// Which events, a JSON object.
    pub filter: String,
    /// The events that were chosen one by one, of which those that fit the filter are meant; where there are none, the
    /// filter alone chooses.
    pub chosen: Option<Vec<Arrival>>,
    /// Where to, a JSON object.
    pub target: String,
    /// How fast, a JSON object.
    pub pace: String,
    /// At most so many events.
    pub most: Option<i64>,
    /// How many events it is about.
    pub matched: i64,
}

/// How a replay stands, as far as that is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayState {
    /// A process works on it.
    Running,
    /// A signal has ended it.
    Stopped,
    /// Something has ended it that wants mending.
    Failed,
    /// Each of its events is settled.
    Finished,
}

impl ReplayState {
    fn as_str(self) -> &'static str {
        match self {
            ReplayState::Running => "running",
            ReplayState::Stopped => "stopped",
            ReplayState::Failed => "failed",
            ReplayState::Finished => "finished",
        }
    }
}

/// What became of the events of a replay, up to one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The last event that it is done with, and with all before it.
    pub reached: Arrival,
    /// Those that the broker has put into a queue.
    pub confirmed: i64,
    /// Those that it gave back, since no queue was bound for them.
    pub unroutable: i64,
    /// Those that it did not take.
    pub nacked: i64,
    /// Those that could not be published as they are.
    pub refused: i64,
    /// Bytes of the bodies of those that were confirmed.
    pub body_bytes: i64,
}

impl Progress {
    /// Before the first event.
    pub const NOTHING: Progress = Progress {
        reached: Arrival::BEFORE_ALL,
        confirmed: 0,
        unroutable: 0,
        nacked: 0,
        refused: 0,
        body_bytes: 0,
    };

    /// How many events it is done with.
    #[must_use]
    pub fn settled(&self) -> i64 {
        self.confirmed + self.undelivered()
    }

    /// How many of them are in no queue.
    #[must_use]
    pub fn undelivered(&self) -> i64 {
        self.unroutable + self.nacked + self.refused
    }
}

/// A replay on record.
#[derive(Debug, Clone, FromRow)]
pub struct RecordedReplay {
    /// Its id.
    pub id: Uuid,
    /// When it began, by the database's clock.
    pub created_at: OffsetDateTime,
    /// Which role of the database began it.
    pub role: String,
    /// Which user of which machine.
    pub os_user: String,
    /// That machine.
    pub host: String,
    /// Which events, a JSON object.
    pub filter: String,
    chosen_at: Option<Vec<OffsetDateTime>>,
    chosen_seq: Option<Vec<i64>>,
    /// Where to, a JSON object.
    pub target: String,
    /// How fast, a JSON object.
    pub pace: String,
    /// At most so many events.
    pub most: Option<i64>,
    /// How many events it was about when it began.
    pub matched: i64,
    /// `running`, `stopped`, `failed`, `finished`, or `dead` where nobody works on it and nobody ended it.
    pub state: String,
    /// Why it failed.
    pub cause: Option<String>,
    /// When it was noted last, by the database's clock.
    pub noted_at: OffsetDateTime,
    #[sqlx(flatten)]
    noted: Noted,
}

/// How far a replay has come, as its row says.
#[derive(Debug, Clone, FromRow)]
struct Noted {
    reached_at: Option<OffsetDateTime>,
    reached_seq: i64,
    confirmed: i64,
    unroutable: i64,
    nacked: i64,
    refused: i64,
    body_bytes: i64,
}

/// Its columns. Times before all others are none for the client.
macro_rules! noted {
    () => {
        "nullif(r.reached_at, '-infinity') as reached_at, r.reached_seq, r.confirmed, r.unroutable, r.nacked, r.refused,
         r.body_bytes"
    };
}

impl Noted {
    fn progress(&self) -> Progress {
        Progress {
            reached: match self.reached_at {
                Some(received_at) => Arrival { received_at, seq: self.reached_seq },
                None => Arrival::BEFORE_ALL,
            },
            confirmed: self.confirmed,
            unroutable: self.unroutable,
            nacked: self.nacked,
            refused: self.refused,
            body_bytes: self.body_bytes,
        }
    }
}

impl RecordedReplay {
    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.noted.progress()
    }

    /// The events that were chosen one by one.
    #[must_use]
    pub fn chosen(&self) -> Option<Vec<Arrival>> {
        let (at, seq) = (self.chosen_at.as_ref()?, self.chosen_seq.as_ref()?);
        let both = at.iter().zip(seq);
        Some(both.map(|(&received_at, &seq)| Arrival { received_at, seq }).collect())
    }
}

/// Why a replay is not taken up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotResumed {
    /// There is none with this id.
    Unknown,
    /// Another process works on it.
    Busy,
    /// Each of its events is settled.
    Finished,
}

/// The record of one replay, for the process that works on it. Its connection holds the replay's lock, so that nobody else
/// does.
#[derive(Debug)]
pub struct ReplayLog {
    link: Link,
    replay: Uuid,
    runner: Uuid,
}

impl ReplayLog {
    /// Puts a replay on record; when this returns, the row is committed.
    ///
    /// # Errors
    /// The database is away, is a standby, or the role may not: then nothing is to be published.
    pub async fn begin(settings: &Settings, new: &NewReplay) -> Result<ReplayLog, Fault> {
        let mut log = ReplayLog::connect(settings, new.id).await?;
        let (at, seq): (Option<Vec<_>>, Option<Vec<_>>) = match &new.chosen {
            Some(chosen) => {
                let (at, seq) = chosen.iter().map(|one| (one.received_at, one.seq)).unzip();
                (Some(at), Some(seq))
            }
            None => (None, None),
        };
        let begin = sqlx::query(
            "select audit.begin_replay($1, $2, $3, $4, $5::text::jsonb, $6, $7, $8::text::jsonb, $9::text::jsonb, $10, $11)",
        )
        .bind(new.id)
        .bind(log.runner)
        .bind(column_text(&new.os_user))
        .bind(column_text(&new.host))
        .bind(&new.filter)
        .bind(at)
        .bind(seq)
        .bind(&new.target)
        .bind(&new.pace)
        .bind(new.most)
        .bind(new.matched);
        let Link { connection, patience, .. } = &mut log.link;
        answered(*patience, begin.execute(connection)).await?;
        Ok(log)
    }

    /// Takes a replay up again, with another pace where one is given; and tells how far it has come.
    ///
    /// # Errors
    /// As [`ReplayLog::begin`].
    pub async fn resume(
        settings: &Settings,
        replay: Uuid,
        pace: Option<&str>,
    ) -> Result<Result<(ReplayLog, Progress), NotResumed>, Fault> {
        let mut log = ReplayLog::connect(settings, replay).await?;
        let resume = sqlx::query_scalar("select audit.resume_replay($1, $2, $3::text::jsonb)")
            .bind(replay)
            .bind(log.runner)
            .bind(pace);
        let reached =
            sqlx::query_as(concat!("select ", noted!(), " from audit.replays r where r.id = $1"))
                .bind(replay);
        let Link { connection, patience, .. } = &mut log.link;
        let patience = *patience;
        // It is taken up only if that can be told. The lock is the session's, whatever becomes of the transaction.
        let mut transaction = answered(patience, connection.begin()).await?;
        let answer: String = answered(patience, resume.fetch_one(&mut *transaction)).await?;
        let not = match &*answer {
            "resumed" => None,
            "busy" => Some(NotResumed::Busy),
            "finished" => Some(NotResumed::Finished),
            _ => Some(NotResumed::Unknown),
        };
        if let Some(not) = not {
            return Ok(Err(not));
        }
        let noted: Noted = answered(patience, reached.fetch_one(&mut *transaction)).await?;
        answered(patience, transaction.commit()).await?;
        Ok(Ok((log, noted.progress())))
    }

    async fn connect(settings: &Settings, replay: Uuid) -> Result<ReplayLog, Fault> {
        let timeout = settings.statement_timeout.min(STATEMENT_TIMEOUT);
        Ok(ReplayLog { link: Link::open(settings, timeout).await?, replay, runner: Uuid::new_v4() })
    }

    /// Connects anew after a fault; false where another process has taken the replay up meanwhile.
    ///
    /// # Errors
    /// The [`Fault`] of this one attempt.
    pub async fn reconnect(&mut self, settings: &Settings) -> Result<bool, Fault> {
        let fresh = ReplayLog::connect(settings, self.replay).await?;
        self.link = fresh.link;
        let keep = sqlx::query_scalar("select audit.keep_replay($1, $2)")
            .bind(self.replay)
            .bind(self.runner);
        let Link { connection, patience, .. } = &mut self.link;
        let kept: bool = answered(*patience, keep.fetch_one(&mut *connection)).await?;
        if kept {
            return Ok(true);
        }
        // The server may not have noticed yet that the connection before is gone, and keeps its lock for it.
        let mine = sqlx::query_scalar(
            "select exists (select from audit.replays r where r.id = $1 and r.runner = $2)",
        )
        .bind(self.replay)
        .bind(self.runner);
        let mine: bool = answered(*patience, mine.fetch_one(connection)).await?;
        if mine {
            return Err(Fault::unavailable(
                "the lock of this replay is still held, by the connection before or by another process",
            ));
        }
        Ok(false)
    }

    /// Notes how far it has come; false where another process has taken it up. When this returns true, that is committed.
    ///
    /// # Errors
    /// A [`Fault`]; the same may be noted again, after [`ReplayLog::reconnect`].
    pub async fn note(
        &mut self,
        progress: &Progress,
        state: ReplayState,
        cause: Option<&str>,
    ) -> Result<bool, Fault> {
        let note = sqlx::query_scalar(
            "select audit.note_replay($1, $2, $3, $4, coalesce($5, '-infinity'), $6, $7, $8, $9, $10, $11)",
        )
        .bind(self.replay)
        .bind(self.runner)
        .bind(state.as_str())
        .bind(cause.map(column_text))
        .bind(progress.reached.known_time())
        .bind(progress.reached.seq)
        .bind(progress.confirmed)
        .bind(progress.unroutable)
        .bind(progress.nacked)
        .bind(progress.refused)
        .bind(progress.body_bytes);
        let Link { connection, patience, .. } = &mut self.link;
        Ok(answered(*patience, note.fetch_one(connection)).await?)
    }

    /// Ends the connection in good order.
    pub async fn close(self) {
        self.link.close().await;
    }
}

/// Replays on record, the last one first: that one alone, or at most so many, without the events that were chosen one by
/// one, which can be many.
///
/// # Errors
/// The database is away, or refuses.
pub async fn recorded_replays(
    settings: &Settings,
    replay: Option<Uuid>,
    limit: i64,
) -> Result<Vec<RecordedReplay>, Fault> {
    let timeout = settings.statement_timeout.min(STATEMENT_TIMEOUT);
    let mut connection = settings.connect(timeout).await?;
    let query = sqlx::query_as(concat!(
        "select r.id, r.created_at, r.role, r.os_user, r.host, r.filter::text,
                case when $1 is not null then r.chosen_at end as chosen_at,
                case when $1 is not null then r.chosen_seq end as chosen_seq, r.target::text,
                r.pace::text, r.most, r.matched,
                case when r.state = 'running' and not exists (
                          select from pg_locks l
                           where l.locktype = 'advisory' and l.granted and l.objsubid = 1
                             and l.database = (select d.oid from pg_database d where d.datname = current_database())
                             and (l.classid::bigint << 32) | l.objid::bigint = audit.replay_lock(r.id))
                     then 'dead' else r.state end as state,
                r.cause, r.noted_at, ",
        noted!(),
        "  from audit.replays r
          where $1::uuid is null or r.id = $1
          order by r.created_at desc, r.id
          limit $2",
    ))
    .bind(replay)
    .bind(limit);
    let found = answered(timeout, query.fetch_all(&mut connection)).await?;
    connection.close().await?;
    Ok(found)
}
