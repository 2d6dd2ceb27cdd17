//! Acts: what is done to the history on purpose, on record for the ledger to seal.

use serde::Serialize;
use sqlx::{PgConnection, Postgres, postgres::PgArguments, query::Query};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Fault, Ledger};
use crate::{event::now, ledger};

/// An act as a row of `audit.acts`.
pub(super) struct Act {
    id: Uuid,
    at: OffsetDateTime,
    details: String,
    signature: Option<Vec<u8>>,
    key_id: Option<i64>,
}

impl Act {
    /// An act of now, signed where there is a key.
    pub fn new(
        ledger: &Ledger,
        kind: &'static str,
        details: &impl Serialize,
    ) -> Result<Act, Fault> {
        let details = serde_json::to_string(details)
            .map_err(|error| Fault::misconfigured(format!("an act cannot be written: {error}")))?;
        let (id, at) = (Uuid::now_v7(), now());
        let data = ledger::Act { id, at, kind, details: &details }.data();
        let (signature, key_id) = ledger.sign(&data);
        Ok(Act { id, at, details, signature, key_id })
    }

    /// Binds id, time, details, signature and key id, in this order.
    pub fn bind<'q>(
        &'q self,
        query: Query<'q, Postgres, PgArguments>,
    ) -> Query<'q, Postgres, PgArguments> {
        query
            .bind(self.id)
            .bind(self.at)
            .bind(&self.details)
            .bind(self.signature.as_deref())
            .bind(self.key_id)
    }
}

/// Whether acts have to be signed and cannot be: a key is on record, and there is none here.
pub(super) async fn wants_key(
    connection: &mut PgConnection,
    ledger: &Ledger,
) -> Result<bool, sqlx::Error> {
    if ledger.key.is_some() {
        return Ok(false);
    }
    sqlx::query_scalar("select exists (select from audit.acts a where a.kind = 'key')")
        .fetch_one(connection)
        .await
}
