//! What can go wrong with the database, sorted by what it calls for.

use std::{fmt, path::PathBuf};

use sqlx::postgres::PgDatabaseError;

use super::tls;
use crate::certificates::Certificate;

/// A violated check; where it has no name, that of the partitions: none holds the row.
const NO_PARTITION: &str = "23514";

/// What a fault calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The database is away, busy, full or read-only: the same again later can succeed.
    Unavailable,
    /// The database refuses the content of a row: the same again never succeeds.
    Refused,
    /// The schema, a permission or a setting is wrong: somebody has to mend it.
    Misconfigured,
}

/// A failed call to the database.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What it calls for.
    pub kind: Kind,
    /// The database's error code, where it answered at all.
    pub sqlstate: Option<String>,
    /// What failed, in words; and what to do about it, where that is known.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sqlstate {
            Some(code) => write!(f, "{} (SQLSTATE {code})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Fault {}

impl Fault {
    pub(super) fn unavailable(message: impl Into<String>) -> Fault {
        Fault { kind: Kind::Unavailable, sqlstate: None, message: message.into() }
    }

    pub(super) fn misconfigured(message: impl Into<String>) -> Fault {
        Fault { kind: Kind::Misconfigured, sqlstate: None, message: message.into() }
    }

    /// Whether the database answered that the transaction failed, so that nothing of it can have committed.
    ///
    /// A server that shuts down while it waits for its standby says "57P01" after committing; so of what may be
    /// tried again only the aborts of class 40, and of a statement that took too much, are certain.
    pub(super) fn is_definite(&self) -> bool {
        match self.kind {
            Kind::Refused | Kind::Misconfigured => self.sqlstate.is_some(),
            Kind::Unavailable => {
                let aborted = |code: &str| code.starts_with("40") && code != "40003";
                self.may_be_size() || self.sqlstate.as_deref().is_some_and(aborted)
            }
        }
    }
}

/// A fault of anything but inserting rows: whatever is refused then, no event is to blame for it.
impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Fault {
        let fault = Fault::of_rows(error);
        match fault.kind {
            Kind::Refused => Fault { kind: Kind::Misconfigured, ..fault },
            Kind::Unavailable | Kind::Misconfigured => fault,
        }
    }
}

impl Fault {
    /// One server after the other has failed: at least one fault. What may pass for one of them may pass.
    pub(super) fn of_each(mut faults: Vec<Fault>) -> Fault {
        if faults.len() == 1 {
            return faults.remove(0);
        }
        let passes = faults.iter().any(|fault| fault.kind == Kind::Unavailable);
        let words: Vec<_> = faults.iter().map(Fault::to_string).collect();
        let message = words.join("; and ");
        if passes { Fault::unavailable(message) } else { Fault::misconfigured(message) }
    }

    /// The same with the server's name, where what it says is not clear without it.
    pub(super) fn at(self, server: &str) -> Fault {
        if self.message.starts_with(server) {
            return self;
        }
        Fault { message: format!("{server}: {}", self.message), ..self }
    }

    /// A fault of connecting to that server, with that certificate of our own, by these files.
    pub(super) fn of_opening(
        server: &str,
        own: Option<&Certificate>,
        files: &[(String, PathBuf)],
        error: sqlx::Error,
    ) -> Fault {
        if let Some(trouble) = tls::trouble(&error, own, files) {
            return Fault::unavailable(format!("{server}: {trouble}"));
        }
        match error {
            sqlx::Error::Io(cause) => {
                Fault::unavailable(format!("{server} cannot be reached: {cause}"))
            }
            _ => error.into(),
        }
    }

    /// A fault of inserting rows or of committing them, the only one that can be [`Kind::Refused`].
    pub(super) fn of_rows(error: sqlx::Error) -> Fault {
        match &error {
            sqlx::Error::Database(answer) => match answer.try_downcast_ref::<PgDatabaseError>() {
                Some(answer) => from_answer(answer),
                None => Fault::unavailable(error.to_string()),
            },
            sqlx::Error::Tls(cause) => Fault::unavailable(format!(
                "PostgreSQL's TLS is refused: {cause}; check sslmode and sslrootcert in postgres.url"
            )),
            sqlx::Error::Io(cause) => {
                Fault::unavailable(format!("PostgreSQL cannot be reached: {cause}"))
            }
            sqlx::Error::Configuration(cause) => {
                Fault::misconfigured(format!("postgres.url: {cause}"))
            }
            _ => Fault::unavailable(format!("PostgreSQL: {error}")),
        }
    }

    /// Whether a partition that is listed is not there, or one that is not listed is in the way.
    pub(super) fn is_of_partitions(&self) -> bool {
        self.kind == Kind::Misconfigured
            && matches!(self.sqlstate.as_deref(), Some(NO_PARTITION | "42P17" | "42P07"))
    }

    /// Whether the statement took too long.
    pub(super) fn is_timeout(&self) -> bool {
        self.sqlstate.as_deref() == Some("57014")
    }

    /// Whether less at a time might do: the statement took too long, or too much memory.
    pub fn may_be_size(&self) -> bool {
        matches!(self.sqlstate.as_deref(), Some("57014" | "53200"))
    }
}

fn from_answer(answer: &PgDatabaseError) -> Fault {
    let code = answer.code();
    let advice = match code {
        "28000" if answer.message().contains("client certificate") => {
            "; set sslcert and sslkey in postgres.url, to a certificate of an authority in its ssl_ca_file"
        }
        "28000" if answer.message().contains("certificate authentication failed") => {
            "; the common name of the certificate in sslcert has to be the user of postgres.url, or be mapped to it in \
             pg_ident.conf"
        }
        "28P01" | "28000" => "; check the user and the password in postgres.url, and pg_hba.conf",
        "3D000" => "; create the database, or correct its name in postgres.url",
        "42501" => {
            "; grant the daemon's role what it needs on schema audit, or run `bloodbank-audit migrate` as its owner"
        }
        "42P01" | "3F000" | "42883" | "42703" => {
            "; the schema is missing or of another version: run `bloodbank-audit migrate`"
        }
        "25006" => "; this server is a read-only standby, or default_transaction_read_only is on",
        "53100" => "; its disk is full: free or add space",
        "53300" => "; end connections that nobody needs, or raise the limit",
        "57014" => {
            "; a longer postgres.statement_timeout or a smaller ingest.batch_events may help"
        }
        _ => "",
    };
    // A row that no partition holds is no fault of the row, though it comes as a violated check without a name.
    let no_partition = code == NO_PARTITION && answer.constraint().is_none();
    Fault {
        kind: if no_partition { Kind::Misconfigured } else { kind_of(code) },
        sqlstate: Some(code.to_owned()),
        message: format!("PostgreSQL says: {}{advice}", answer.message()),
    }
}

/// Sorts an SQLSTATE by its class (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
///
/// What is not listed stops the daemon: a class nobody thought of must neither be retried for ever nor empty the
/// queue into the dead letters.
fn kind_of(code: &str) -> Kind {
    match code {
        // A standby, or a database in recovery; every write fails until a primary is back.
        "25006" => Kind::Unavailable,
        // This session idled in a transaction, as it does when the process or its machine was paused.
        "25P03" | "25P04" => Kind::Unavailable,
        _ => match code.get(..2).unwrap_or_default() {
            // Connection, rollback, out of resources, lock not available, operator, system.
            "08" | "40" | "53" | "55" | "57" | "58" => Kind::Unavailable,
            // Case not found, cardinality, data, integrity, check option, program limit; and somebody's own trigger that
            // raises, or finds no row or too many.
            "20" | "21" | "22" | "23" | "44" | "54" | "P0" => Kind::Refused,
            _ => Kind::Misconfigured,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_its_kind() {
        for code in [
            "08006", "40001", "40P01", "53100", "53300", "55P03", "57P01", "57P03", "57014",
            "58030", "25006", "25P03",
        ] {
            assert_eq!(kind_of(code), Kind::Unavailable, "{code}");
        }
        for code in [
            "22P02", "22021", "23505", "23514", "54000", "P0001", "P0002", "P0004", "44000",
            "20000",
        ] {
            assert_eq!(kind_of(code), Kind::Refused, "{code}");
        }
        for code in
            ["42P01", "42501", "3F000", "3D000", "28P01", "0A000", "XX000", "XX001", "", "?"]
        {
            assert_eq!(kind_of(code), Kind::Misconfigured, "{code}");
        }
    }

    #[test]
    fn only_an_answered_abort_is_definite() {
        let fault = |kind, code: Option<&str>| Fault {
            kind,
            sqlstate: code.map(str::to_owned),
            message: String::new(),
        };
        assert!(fault(Kind::Refused, Some("22P02")).is_definite());
        assert!(fault(Kind::Unavailable, Some("40P01")).is_definite());
        assert!(fault(Kind::Unavailable, Some("57014")).is_definite());
        assert!(
            !fault(Kind::Unavailable, Some("40003")).is_definite(),
            "statement completion unknown"
        );
        assert!(!fault(Kind::Unavailable, Some("57P01")).is_definite());
        assert!(!fault(Kind::Unavailable, None).is_definite());
    }
}
