//! The way to the database: name, port, TLS, login.

use std::net::SocketAddr;

use super::{
    super::{
        certificates::ends,
        finding::Finding,
        network::{Server, plain_text, stays_here},
        shell::{identifier, word},
    },
    AREA,
};
use crate::store::{DatabaseAddress, Fault, Settings, Stage, Survey, Unopened};

/// Connects to settings with one server, and whether the server is on this machine; none where something is in the way.
pub async fn reach(store: &Settings, findings: &mut Vec<Finding>) -> Option<(Survey, bool)> {
    let place = store.address();
    let (reached, here) = match &place.socket {
        Some(socket) => {
            let shown = socket.display();
            findings.push(match socket.try_exists() {
                Ok(true) => Finding::ok(AREA, "tcp", format!("through the socket {shown}")),
                _ => Finding::fault(AREA, "tcp", format!("there is no socket {shown}"))
                    .advise("start PostgreSQL on this machine, or correct host and port in postgres.url. What sockets there are:")
                    .command("ss -lx | grep PGSQL"),
            });
            (socket.exists(), true)
        }
        None => over_network(store, &place, findings).await,
    };
    if !reached {
        for check in ["login", "database"] {
            findings.push(Finding::skipped(AREA, check, "tcp"));
        }
        return None;
    }
    match Survey::open(store).await {
        Ok(survey) => {
            findings.extend(store.own_certificate().map(|own| {
                ends(
                    AREA,
                    "the client certificate",
                    own.not_after,
                    "put a new one in place of the file in sslcert, and its key beside it: they are read at the next connection",
                )
            }));
            findings.push(Finding::ok(AREA, "login", format!("as '{}'", place.user)));
            findings.push(Finding::ok(AREA, "database", format!("'{}' is open", place.database)));
            Some((survey, here))
        }
        Err(unopened) => {
            let finding = refused(&place, &unopened);
            let check = finding.check;
            findings.push(finding);
            if unopened.stage != Stage::Database {
                findings.push(Finding::skipped(AREA, "database", check));
            }
            None
        }
    }
}

async fn over_network(
    store: &Settings,
    place: &DatabaseAddress,
    findings: &mut Vec<Finding>,
) -> (bool, bool) {
    let server = Server {
        area: AREA,
        host: &place.host,
        port: place.port,
        limit: store.connect_timeout,
        key: "postgres.url",
        what: "PostgreSQL",
    };
    let (finding, addresses) = server.resolve().await;
    findings.push(finding);
    let Some(addresses) = addresses else {
        findings.push(Finding::skipped(AREA, "tcp", "dns"));
        return (false, false);
    };
    let here = stays_here(&addresses);
    let (finding, reached) = server.connect(&addresses).await;
    findings.push(finding);
    findings.push(encryption(place, &addresses));
    (reached, here)
}

/// What is to be said of TLS, or of its absence.
pub fn encryption(place: &DatabaseAddress, addresses: &[SocketAddr]) -> Finding {
    if place.verifies {
        return Finding::ok(AREA, "encryption", "TLS, and the server has to prove who it is");
    }
    if stays_here(addresses) {
        return Finding::ok(
            AREA,
            "encryption",
            "none is asked for, and nothing leaves this machine",
        );
    }
    plain_text(
        AREA,
        format!(
            "whoever is between here and {} can pose as the server, and read password and events",
            place.host
        ),
        "postgres.url",
        "…?sslmode=verify-full&sslrootcert=/path/to/ca.pem",
    )
}

fn refused(place: &DatabaseAddress, unopened: &Unopened) -> Finding {
    let Unopened { stage, fault } = unopened;
    let DatabaseAddress { user, database, .. } = place;
    match stage {
        // It starts, it stops, or it recovers.
        Stage::Connection if fault.sqlstate.as_deref() == Some("57P03") => {
            Finding::fault(AREA, "login", fault.to_string())
                .advise("await that it takes connections; its log says what it does")
        }
        Stage::Connection => Finding::fault(AREA, "login", fault.to_string()).advise(
            "see whether it is PostgreSQL that listens there, and what its log says",
        ),
        Stage::Tls => Finding::fault(AREA, "tls", fault.to_string())
            .advise(
                "set sslmode, sslrootcert, sslcert and sslkey in postgres.url to what the server offers and demands (its ssl, \
                 ssl_cert_file, ssl_ca_file, pg_hba.conf); what certificate it shows:",
            )
            .command(format!(
                "openssl s_client -starttls postgres -connect {0}:{1} -servername {0} -showcerts </dev/null | openssl x509 \
                 -noout -subject -issuer -dates -ext subjectAltName",
                word(&place.host),
                place.port
            )),
        Stage::Login => Finding::fault(AREA, "login", fault.to_string())
            .advise("correct the user or the password in postgres.url, or on the server, as a superuser:")
            .command(format!("CREATE ROLE {} LOGIN;  -- where there is none", identifier(user)))
            .command(format!("\\password {}", identifier(user)))
            .command("SELECT * FROM pg_hba_file_rules;"),
        Stage::Database => {
            let finding = Finding::fault(AREA, "database", fault.to_string())
                .advise("correct the database in postgres.url, or on the server, as a superuser:");
            match fault.sqlstate.as_deref() {
                Some("42501") => finding.command(format!(
                    "GRANT CONNECT ON DATABASE {} TO {};",
                    identifier(database),
                    identifier(user)
                )),
                Some("55000") => finding.command(format!(
                    "ALTER DATABASE {} WITH ALLOW_CONNECTIONS true;",
                    identifier(database)
                )),
                _ => finding.command(format!(
                    "CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0 OWNER {};",
                    identifier(database),
                    identifier(user)
                )),
            }
        }
        Stage::Room => full(place, fault),
    }
}

/// Somebody's limit is reached: the server's, the database's, or the role's.
fn full(place: &DatabaseAddress, fault: &Fault) -> Finding {
    let command = if fault.message.contains("for role") {
        format!("ALTER ROLE {} CONNECTION LIMIT -1;", identifier(&place.user))
    } else if fault.message.contains("for database") {
        format!("ALTER DATABASE {} CONNECTION LIMIT -1;", identifier(&place.database))
    } else {
        "ALTER SYSTEM SET max_connections = 200;  -- and restart".to_owned()
    };
    Finding::fault(AREA, "login", fault.to_string())
        .advise("end connections that nobody needs, which this shows, or raise the limit:")
        .command("SELECT usename, datname, count(*) FROM pg_stat_activity GROUP BY 1, 2 ORDER BY 3 DESC;")
        .command(command)
}
