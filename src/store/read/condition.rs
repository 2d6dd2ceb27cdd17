//! A condition in SQL that a reader wrote: the one place where somebody's text becomes a part of a statement.
//!
//! It is guarded three times over. The transaction is read only; it is in the role of a reader, or in one that cannot
//! write either; and the text must be an expression by itself, between brackets of whatever kind. Who asks it has the
//! password of the database already: this is against mistakes, and keeps whoever wraps the command from more than reading.

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, Either, Executor as _, Postgres, SqlSafeStr as _, Statement as _,
    postgres::{PgArguments, PgErrorPosition},
    query::Query,
};

use super::{
    Filter, ReadError, Reader,
    fault::{self, answer},
};
use crate::store::link::answered;

/// Where a statement takes one more condition.
const HERE: &str = "/* and */";

/// A statement that filters events `e`, with the reader's own condition where there is one.
pub(super) struct Conditioned {
    statement: &'static str,
    condition: Option<Condition>,
    timeout: Duration,
}

impl Reader {
    /// The statement with the condition of this filter, which is made sure of before.
    ///
    /// # Errors
    /// The condition is wrong, or may not be asked.
    pub(super) async fn conditioned(
        &mut self,
        filter: &Filter,
        statement: &'static str,
    ) -> Result<Conditioned, ReadError> {
        let condition = match &filter.condition {
            Some(text) => Some(guarded(self, text).await?),
            None => None,
        };
        Ok(Conditioned { statement, condition, timeout: self.timeout })
    }
}

impl Conditioned {
    /// Whether a reader wrote a part of it.
    pub fn has_condition(&self) -> bool {
        self.condition.is_some()
    }

    /// The statement, with no parameter bound.
    pub fn query(&self) -> Query<'static, Postgres, PgArguments> {
        match &self.condition {
            Some(condition) => condition.query(self.statement),
            None => sqlx::query(self.statement),
        }
    }

    /// Why it failed, where the server bounds how long it takes.
    pub fn fault(&self, error: sqlx::Error) -> ReadError {
        match &self.condition {
            Some(condition) => condition.fault(error, self.timeout, self.statement),
            None => fault::of_reading(error, self.timeout),
        }
    }

    /// Why it failed, where the client alone bounds how long a row may take: that counts as if the server had ended it for
    /// its time.
    pub fn fault_of_awaiting(&self, error: sqlx::Error) -> ReadError {
        if fault::is_awaited(&error) { fault::of_waiting(self.timeout) } else { self.fault(error) }
    }
}

/// A condition that may be asked.
struct Condition {
    text: String,
}

/// Takes the role of a reader, and makes sure that the text is an expression by itself.
async fn guarded(reader: &mut Reader, text: &str) -> Result<Condition, ReadError> {
    take_role(reader).await?;
    let condition = Condition { text: text.to_owned() };
    // As an element of an array. What ends the brackets early here does not do so where it stands between others, and the
    // other way round; it is only parsed. Lines of its own keep a comment at its end from hiding what follows.
    let before = "select array[\n";
    let alone = AssertSqlSafe(format!("{before}{text}\n] from audit.events e"));
    let timeout = reader.timeout;
    let prepared = answered(reader.patience(), reader.connection.prepare(alone.into_sql_str()))
        .await
        .map_err(|error| condition.refused(error, timeout, before))?;
    match prepared.parameters() {
        Some(Either::Left([])) | Some(Either::Right(0)) | None => Ok(condition),
        Some(_) => {
            Err(ReadError::Condition("--where has no parameters: $1 stands for nothing".to_owned()))
        }
    }
}

async fn take_role(reader: &mut Reader) -> Result<(), ReadError> {
    let patience = reader.patience();
    let may = sqlx::query_scalar(
        "select coalesce((select pg_has_role(r.oid, 'member') from pg_roles r where r.rolname = 'audit_reader'), false)",
    );
    let may: bool = answered(patience, may.fetch_one(&mut reader.connection))
        .await
        .map_err(|error| reader.fault(error))?;
    if may {
        let take = sqlx::query("set local role audit_reader");
        answered(patience, take.execute(&mut reader.connection))
            .await
            .map_err(|error| reader.fault(error))?;
    }
    let writes = sqlx::query_as(
        "select current_user::text,
                (select r.rolsuper from pg_roles r where r.rolname = current_user)
                or exists (select from pg_class c
                            where c.relnamespace = 'audit'::regnamespace and c.relkind in ('r', 'p')
                              and has_table_privilege(c.oid, 'insert, update, delete, truncate'))",
    );
    let (role, writes): (String, bool) =
        answered(patience, writes.fetch_one(&mut reader.connection))
            .await
            .map_err(|error| reader.fault(error))?;
    if writes {
        return Err(ReadError::Condition(format!(
            "--where is only asked by a role that cannot write, and '{role}' can. Let an owner do this once:\n  \
             create role audit_reader;\n  select audit.grant_reader('audit_reader');\n  grant audit_reader to {role};\n\
             or name a reader in postgres.url"
        )));
    }
    Ok(())
}

impl Condition {
    /// The statement with the condition, and what begins in it where.
    fn within(&self, statement: &str) -> (String, String) {
        let (before, after) = statement.split_once(HERE).unwrap_or((statement, ""));
        let before = format!("{before} and (\n");
        let whole = format!("{before}{}\n){after}", self.text);
        (before, whole)
    }

    /// The statement, which filters events `e`, with this condition too.
    fn query(&self, statement: &str) -> Query<'static, Postgres, PgArguments> {
        sqlx::query(AssertSqlSafe(self.within(statement).1).into_sql_str())
    }

    /// What was wrong with that statement.
    fn fault(&self, error: sqlx::Error, timeout: Duration, statement: &str) -> ReadError {
        let before = self.within(statement).0;
        self.refused(error, timeout, &before)
    }

    /// The fault of the text, with the place in it, or of something else.
    fn refused(&self, error: sqlx::Error, timeout: Duration, before: &str) -> ReadError {
        let Some(answer) = answer(&error) else { return fault::of_reading(error, timeout) };
        let code = answer.code();
        // Data that does not fit, what is not there or may not be touched, a write, a function that raises.
        let of_the_text =
            matches!(code.get(..2), Some("21" | "22" | "25" | "42" | "0A" | "P0" | "54"));
        if !of_the_text {
            return fault::of_reading(error, timeout);
        }
        let mut said = format!("--where: PostgreSQL says: {} (SQLSTATE {code})", answer.message());
        let position = match answer.position() {
            Some(PgErrorPosition::Original(at)) => at.checked_sub(before.chars().count() + 1),
            _ => None,
        };
        if let Some(at) = position.filter(|&at| at <= self.text.chars().count()) {
            let (line, column) = self.place(at);
            said.push_str(&format!("\n  {line}\n  {:column$}^", ""));
        }
        if let Some(hint) = answer.hint() {
            said.push_str(&format!("\n  {hint}"));
        }
        ReadError::Condition(said)
    }

    /// The line that holds that character, and where in it.
    fn place(&self, at: usize) -> (&str, usize) {
        let mut before = 0;
        for line in self.text.split('\n') {
            let length = line.chars().count();
            if at <= before + length {
                return (line, at - before);
            }
            before += length + 1;
        }
        ("", 0)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_took_too_long_for_the_client_would_take_as_long_again() {
        for text in [None, Some("true")] {
            let asked = Conditioned {
                statement: "select from audit.events e where true /* and */",
                condition: text.map(|text| Condition { text: text.to_owned() }),
                timeout: Duration::from_secs(30),
            };
            let silent = sqlx::Error::Io(io::Error::from(io::ErrorKind::TimedOut));
            let error = asked.fault_of_awaiting(silent);
            assert!(!error.may_pass() && error.to_string().contains("--timeout"), "{error}");
            let gone = sqlx::Error::Io(io::Error::from(io::ErrorKind::ConnectionReset));
            assert!(asked.fault_of_awaiting(gone).may_pass());
        }
    }
}
