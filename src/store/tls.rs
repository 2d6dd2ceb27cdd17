//! TLS towards the database, which sqlx speaks: what its errors mean.

use std::io;

use tokio_rustls::rustls;

use crate::certificates::{Certificate, Side};

const POSTGRES: Side = Side {
    peer: "PostgreSQL",
    authority: "sslrootcert in postgres.url",
    name: "connect by one of its names in postgres.url",
    own: "sslcert and sslkey in postgres.url",
    its_authority: "its ssl_ca_file",
};

/// What is wrong with TLS, where that is what is wrong.
pub(super) fn trouble(error: &sqlx::Error, own: Option<&Certificate>) -> Option<String> {
    let cause = match error {
        sqlx::Error::Io(cause) => cause,
        sqlx::Error::Tls(cause) if cause.to_string().contains("does not support TLS") => {
            return Some(
                "it has TLS switched off: set ssl = on there, or another sslmode in postgres.url"
                    .to_owned(),
            );
        }
        sqlx::Error::Tls(cause) => {
            return Some(format!(
                "TLS: {cause}; see sslmode, sslrootcert, sslcert and sslkey in postgres.url"
            ));
        }
        _ => return None,
    };
    match cause.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        // Which certificate it was, sqlx does not tell; rustls tells what it needs of it.
        Some(rustls::Error::InvalidCertificate(error)) => Some(POSTGRES.refusal(error, None)),
        // The server asks for one wherever it has authorities, and demands it by pg_hba.conf, in words.
        Some(rustls::Error::AlertReceived(alert)) => POSTGRES.alert(*alert, own.is_some(), own),
        Some(rustls::Error::InvalidMessage(_)) => Some(POSTGRES.no_tls()),
        Some(error) => Some(format!("TLS: {error}")),
        None => of_files(cause),
    }
}

/// Sqlx reads the files at each connection.
fn of_files(cause: &io::Error) -> Option<String> {
    matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied).then(|| {
        format!(
            "a file of postgres.url cannot be read: {cause}; see sslrootcert, sslcert and sslkey there"
        )
    })
}
