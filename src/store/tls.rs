//! TLS towards the database, which sqlx speaks: what its errors mean.

use std::{fs::File, io, path::PathBuf};

use tokio_rustls::rustls;

use crate::certificates::{Certificate, LOCKED, Side, is_locked};

const POSTGRES: Side = Side {
    peer: "PostgreSQL",
    authority: "sslrootcert in postgres.url",
    name: "connect by one of its names in postgres.url",
    own: "sslcert and sslkey in postgres.url",
    its_authority: "its ssl_ca_file",
};

/// What is wrong with TLS, where that is what is wrong. The files are those that postgres.url names, by its parameters.
pub(super) fn trouble(
    error: &sqlx::Error,
    own: Option<&Certificate>,
    files: &[(String, PathBuf)],
) -> Option<String> {
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
        // Sqlx finds no key in a file, which somebody may be replacing just now.
        sqlx::Error::Configuration(cause) if !files.is_empty() => {
            let locked = files.iter().find(|(_, path)| is_locked(path));
            return Some(match locked {
                Some((name, path)) => {
                    format!("{name} in postgres.url, {}: {LOCKED}", path.display())
                }
                None => format!("TLS: {cause}; see sslcert and sslkey in postgres.url"),
            });
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
        None => of_files(cause, files),
    }
}

/// Sqlx reads the files at each connection, and does not tell which one it could not; a firewall may deny a connection in the same
/// words.
fn of_files(cause: &io::Error, files: &[(String, PathBuf)]) -> Option<String> {
    files.iter().find_map(|(name, path)| {
        let error = File::open(path).err().filter(|error| error.kind() == cause.kind())?;
        let path = path.display();
        Some(format!("{name} in postgres.url, {path}, cannot be read: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_firewall_denies_is_no_file() {
        let denied = sqlx::Error::Io(io::Error::from_raw_os_error(1));
        let files = [("sslrootcert".to_owned(), PathBuf::from("/dev/null"))];
        assert_eq!(trouble(&denied, None, &files), None);
        let missing = sqlx::Error::Io(io::Error::from_raw_os_error(2));
        let files = [("sslkey".to_owned(), PathBuf::from("/no/such/key"))];
        let said = trouble(&missing, None, &files).unwrap_or_default();
        assert!(
            said.starts_with("sslkey in postgres.url, /no/such/key, cannot be read: "),
            "{said}"
        );
    }
}
