//! A server and a database, looked at without changing anything: for whoever wants to know whether they will do.
//!
//! Unlike [`Settings::connect`](super::Settings) nothing is refused here: a server that will not do is to be looked at
//! to the end.

mod address;
mod rights;
mod server;

use std::time::Duration;

use sqlx::{Connection, PgConnection, postgres::PgDatabaseError};
use time::OffsetDateTime;

pub use address::DatabaseAddress;
pub use rights::{ForeignRight, LooseIndex, Right};
pub use server::{Role, Server, Setting};

use super::{
    Fault, MigrationError, Partition, Settings, Step,
    inventory::partitions_seen,
    link::{Link, SLACK, answered},
    migrations::steps_missing,
    tls,
};
use crate::event::now;

/// How far a connection got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nobody, or no PostgreSQL, answered.
    Connection,
    /// The two sides do not agree on TLS.
    Tls,
    /// The user or the password is refused.
    Login,
    /// The database is not there, or not for this user.
    Database,
    /// There are too many connections already.
    Room,
}

/// No connection came about.
#[derive(Debug, Clone)]
pub struct Unopened {
    /// What failed.
    pub stage: Stage,
    /// In words.
    pub fault: Fault,
}

/// What became of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaState {
    /// Nothing of it is there.
    Missing,
    /// These steps are missing.
    Behind(Vec<Step>),
    /// It is as this program knows it.
    Current,
    /// Another program has migrated it, in these words.
    Foreign(String),
}

/// A connection that can only read.
pub struct Survey {
    link: Link,
    /// Settings that matter, as they are for a new session of this role; one that this server does not have is not among
    /// them.
    pub settings: Vec<Setting>,
}

impl Survey {
    /// Connects to the first of the servers, within the settings' bound.
    ///
    /// # Errors
    /// Which step failed, and why.
    pub async fn open(settings: &Settings) -> Result<Survey, Unopened> {
        let Some(server) = settings.options.servers.get().into_iter().next() else {
            let fault = Fault::misconfigured("postgres.url names no server");
            return Err(Unopened { stage: Stage::Connection, fault });
        };
        let opening = async {
            let mut connection = PgConnection::connect_with(&server).await?;
            // Before anything is set here.
            let found = server::settings(&mut connection).await?;
            let prepare = sqlx::query(
                "select set_config('default_transaction_read_only', 'on', false),
                        set_config('statement_timeout', $1, false),
                        set_config('lock_timeout', $1, false),
                        set_config('search_path', 'pg_catalog', false)",
            )
            .bind(format!("{}ms", settings.statement_timeout.as_millis()));
            prepare.execute(&mut connection).await?;
            Ok((connection, found))
        };
        let (connection, found) =
            match tokio::time::timeout(settings.connect_timeout, opening).await {
                Ok(Ok(opened)) => opened,
                Ok(Err(error)) => {
                    let stage = stage(settings, &error);
                    return Err(Unopened { stage, fault: settings.unopened(&server, error) });
                }
                Err(_) => {
                    let within = humantime::format_duration(settings.connect_timeout);
                    let fault = Fault::unavailable(format!("no answer within {within}"));
                    return Err(Unopened { stage: Stage::Connection, fault });
                }
            };
        let patience = settings.statement_timeout + SLACK;
        Ok(Survey { link: Link { connection, patience, copies: false }, settings: found })
    }

    /// The schema, compared with what this program knows.
    ///
    /// # Errors
    /// The database cannot be asked, or its schema not be read.
    pub async fn schema(&mut self) -> Result<SchemaState, Fault> {
        let there = sqlx::query_as("select to_regclass('audit.schema_migrations') is not null");
        let (there,): (bool,) =
            answered(self.link.patience, there.fetch_one(&mut self.link.connection)).await?;
        if !there {
            return Ok(SchemaState::Missing);
        }
        match steps_missing(&mut self.link.connection).await {
            Ok(steps) if steps.is_empty() => Ok(SchemaState::Current),
            Ok(steps) => Ok(SchemaState::Behind(steps)),
            Err(MigrationError::Fault(fault) | MigrationError::Failed(fault)) => Err(fault),
            Err(foreign @ (MigrationError::Newer { .. } | MigrationError::Changed { .. })) => {
                Ok(SchemaState::Foreign(foreign.to_string()))
            }
        }
    }

    /// The partitions, oldest first, their rows estimated.
    ///
    /// # Errors
    /// The database cannot be asked, or has another schema.
    pub async fn partitions(&mut self) -> Result<Vec<Partition>, Fault> {
        partitions_seen(&mut self.link, false).await
    }

    /// By how much the database's clock is ahead of this machine's, in seconds; and by how much that may be wrong, which
    /// is half of what the question took.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn clock_ahead(&mut self) -> Result<(f64, Duration), Fault> {
        let asked = now();
        let clock = sqlx::query_as("select clock_timestamp()");
        let (theirs,): (OffsetDateTime,) =
            answered(self.link.patience, clock.fetch_one(&mut self.link.connection)).await?;
        let took: time::Duration = now() - asked;
        let ahead: time::Duration = theirs - (asked + took / 2);
        let doubt = Duration::try_from(took / 2).unwrap_or_default();
        Ok((ahead.as_seconds_f64(), doubt))
    }

    /// Ends the connection.
    pub async fn close(self) {
        self.link.close().await;
    }
}

fn stage(settings: &Settings, error: &sqlx::Error) -> Stage {
    let answer = match error {
        sqlx::Error::Tls(_) => return Stage::Tls,
        error if tls::trouble(error, None, settings.options.files()).is_some() => {
            return Stage::Tls;
        }
        sqlx::Error::Database(answer) => answer.try_downcast_ref::<PgDatabaseError>(),
        _ => None,
    };
    let Some(answer) = answer else { return Stage::Connection };
    match answer.code() {
        // pg_hba.conf has no line for a connection without TLS, or none at all.
        "28000"
            if ["no encryption", "client certificate"]
                .iter()
                .any(|word| answer.message().contains(word)) =>
        {
            Stage::Tls
        }
        "28000" | "28P01" => Stage::Login,
        "3D000" | "42501" | "55000" => Stage::Database,
        "53300" => Stage::Room,
        _ => Stage::Connection,
    }
}
