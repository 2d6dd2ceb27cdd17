//! `postgres://` URLs: read by sqlx, checked here first, because sqlx logs what it does not know.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::{Url, form_urlencoded};

use super::amqp_url::parameter_name;
use super::secret::{MASK, Secret};
use crate::hosts::{Hosts, SESSION, without};

/// A server, the credentials for it and the database. `Debug` and `Display` mask what is secret in it.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct PostgresUrl {
    text: Secret,
    masked: String,
}

/// Why a PostgreSQL URL cannot be used. It never quotes what could be part of a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostgresUrlError {
    /// Not a URL at all.
    #[error(
        "not a URL ({0}); in a password the characters @ / ? # % are written percent-encoded, %40 %2F %3F %23 %25"
    )]
    Syntax(#[from] url::ParseError),
    /// Another database.
    #[error("the scheme is neither postgres nor postgresql")]
    Scheme,
    /// `postgres:name` instead of `postgres://…`.
    #[error("there is no // after the scheme")]
    NoAuthority,
    /// Nothing between two commas, or at either end. Without others it would be this machine's socket.
    #[error("one of its hosts is empty: there is a comma too many")]
    EmptyHost,
    /// User and password before each host.
    #[error(
        "user and password stand once, before the first host; in a password the characters @ and , are written percent-encoded, \
         %40 %2C"
    )]
    Logins,
    /// The same host and port again.
    #[error("it names one of its hosts twice: each is tried once")]
    SameHost,
    /// A delimiter where none can be: mostly a password that was not percent-encoded.
    #[error(
        "there is a bare @ or # after the host; in a password @ / ? # % are written percent-encoded, %40 %2F %3F %23 %25"
    )]
    Delimiter,
    /// A query parameter that would be ignored.
    #[error("the query parameter {0} is not supported; those are {known}", known = PARAMETERS.join(", "))]
    Parameter(String),
    /// A query parameter with an impossible value.
    #[error("the query parameter `{name}` must be {allowed}")]
    Value {
        /// Its name.
        name: String,
        /// What it can be.
        allowed: &'static str,
    },
    /// Whatever else sqlx has against it.
    #[error("a part of it is not UTF-8 after percent-decoding")]
    Refused,
}

/// What sqlx understands; anything else it would log with its value, and ignore.
const PARAMETERS: &[&str] = &[
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    SESSION,
    "user",
];

/// What would take the place of each of several hosts.
const OF_ONE_HOST: &[&str] = &["host", "hostaddr", "port"];

/// The other spellings that sqlx understands.
const ALIASES: &[&str] = &["ssl-mode", "ssl-root-cert", "ssl-ca", "ssl-cert", "ssl-key"];

impl PostgresUrl {
    /// Whether only user and password differ, if anything does.
    pub(super) fn leads_where(&self, other: &PostgresUrl) -> bool {
        let [one, other] = [self, other].map(|url| without_login(url.text.expose()));
        // Without a database's name it is the user's.
        one == other && one.1
    }

    /// Checks a URL.
    pub fn parse(text: &str) -> Result<Self, PostgresUrlError> {
        let text = text.trim();
        let hosts = Hosts::of(text);
        if hosts.repeats_login() {
            return Err(PostgresUrlError::Logins);
        }
        let several = hosts.count() > 1;
        let mut masked = None;
        let mut places = Vec::new();
        for text in hosts.each() {
            let mut one = Self::of_one_host(&text).map_err(|error| match error {
                PostgresUrlError::Syntax(url::ParseError::EmptyHost) if several => {
                    PostgresUrlError::EmptyHost
                }
                error => error,
            })?;
            if several {
                let place = place(&one)?;
                if places.contains(&place) {
                    return Err(PostgresUrlError::SameHost);
                }
                places.push(place);
            }
            masked.get_or_insert_with(|| mask(&mut one));
        }
        let masked = masked.unwrap_or_default();
        let masked = Hosts::of(&masked).with_hosts_of(&hosts);
        Ok(Self { text: Secret::new(text), masked })
    }

    /// Checks a URL with one host.
    fn of_one_host(text: &str) -> Result<Url, PostgresUrlError> {
        let url = Url::parse(text)?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(PostgresUrlError::Scheme);
        }
        if !url.has_authority() {
            return Err(PostgresUrlError::NoAuthority);
        }
        if url.fragment().is_some() || url.path().contains('@') {
            return Err(PostgresUrlError::Delimiter);
        }
        for (name, value) in url.query_pairs() {
            check_parameter(&name, &value).map_err(|error| match error {
                // Without credentials before it, an @ in the query is likely to end them: a bare `?` in the
                // password, and what follows it is no parameter's name.
                PostgresUrlError::Parameter(_)
                    if url.as_str().contains('@') && url.username().is_empty() =>
                {
                    PostgresUrlError::Delimiter
                }
                error => error,
            })?;
        }
        let (text, _) = without(text, SESSION);
        PgConnectOptions::from_str(&text).map_err(|_| PostgresUrlError::Refused)?;
        Ok(url)
    }

    /// How many hosts it names, which are tried in their order; at least one.
    pub fn hosts(&self) -> usize {
        Hosts::of(self.text.expose()).count()
    }

    /// PEM file of the client certificate's private key; none where there is none, or where the URL holds it itself.
    pub fn private_key(&self) -> Option<PathBuf> {
        let (_, query) = self.text.expose().split_once('?')?;
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let (_, value) = pairs.find(|(name, _)| ["sslkey", "ssl-key"].contains(&&**name))?;
        (!value.contains("-----BEGIN ")).then(|| PathBuf::from(&*value))
    }

    /// The URL with its password: for the wire, never for a log.
    pub fn expose(&self) -> &str {
        self.text.expose()
    }
}

fn check_parameter(name: &str, value: &str) -> Result<(), PostgresUrlError> {
    let wrong = |allowed| Err(PostgresUrlError::Value { name: name.to_owned(), allowed });
    match name {
        "sslmode" | "ssl-mode" if value.parse::<PgSslMode>().is_err() => {
            wrong("disable, allow, prefer, require, verify-ca or verify-full")
        }
        "host" | "hostaddr" if value.contains(',') => {
            wrong("one host; several are written postgres://one:5432,two:5432/database")
        }
        SESSION if !["any", "primary", "read-write"].contains(&value) => wrong(
            "any, primary or read-write: what is recorded is written to a primary in any case",
        ),
        "port" if value.parse::<u16>().is_err() => wrong("a port"),
        "hostaddr" if value.parse::<IpAddr>().is_err() => wrong("an IP address"),
        "statement-cache-capacity" if value.parse::<usize>().is_err() => wrong("a whole number"),
        name if PARAMETERS.contains(&name) || ALIASES.contains(&name) => Ok(()),
        name if name.starts_with("options[") && name.ends_with(']') => Ok(()),
        name => Err(PostgresUrlError::Parameter(parameter_name(name))),
    }
}

/// Where one of several hosts is.
fn place(url: &Url) -> Result<(String, u16), PostgresUrlError> {
    if let Some((name, _)) = url.query_pairs().find(|(name, _)| OF_ONE_HOST.contains(&&**name)) {
        let allowed = "left out where the URL names several hosts, each with its port";
        return Err(PostgresUrlError::Value { name: name.into_owned(), allowed });
    }
    match url.host_str() {
        Some(host) if !host.is_empty() => Ok((host.to_owned(), url.port().unwrap_or(5432))),
        _ => Err(PostgresUrlError::EmptyHost),
    }
}

fn mask(url: &mut Url) -> String {
    if url.password().is_some() {
        // Cannot fail: what has a password can have another.
        let _ = url.set_password(Some(MASK));
    }
    let secret = |name: &str, value: &str| name == "password" || value.contains("PRIVATE KEY");
    if url.query_pairs().any(|(name, value)| secret(&name, &value)) {
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        let mut query = url.query_pairs_mut();
        query.clear();
        for (name, value) in &pairs {
            query.append_pair(name, if secret(name, value) { MASK } else { value });
        }
    }
    url.to_string()
}

impl TryFrom<String> for PostgresUrl {
    type Error = PostgresUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked)
    }
}

/// The URL without user and password, and whether it names a database.
fn without_login(url: &str) -> (String, bool) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, place) = rest.split_at(end);
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    let (path, query) = place.split_once('?').unwrap_or((place, ""));
    let pairs = form_urlencoded::parse(query.as_bytes());
    let kept: Vec<_> = pairs.filter(|(name, _)| !["user", "password"].contains(&&**name)).collect();
    let named = path.len() > 1 || kept.iter().any(|(name, _)| name == "dbname");
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish();
    (format!("{scheme}://{hosts}{path}?{query}"), named)
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked)
    }
}
