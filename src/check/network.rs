//! The way to a server: its name, and whether anything listens there.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{
    finding::{Area, Finding},
    shell::word,
};

/// A server that is looked for.
pub struct Server<'a> {
    /// Which side it is of.
    pub area: Area,
    /// Its name or address.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// Bound on each step.
    pub limit: Duration,
    /// The key of the configuration that names it.
    pub key: &'static str,
    /// What stands there.
    pub what: &'static str,
}

impl Server<'_> {
    /// The addresses behind the name.
    pub async fn resolve(&self) -> (Finding, Option<Vec<SocketAddr>>) {
        let Server { area, host, port, limit, key, .. } = *self;
        let why = match timeout(limit, lookup_host((host, port))).await {
            Ok(Ok(found)) => {
                let addresses: Vec<_> = found.collect();
                if !addresses.is_empty() {
                    let ips: Vec<_> = addresses.iter().map(|one| one.ip().to_string()).collect();
                    let found = match host.parse::<IpAddr>() {
                        Ok(_) => format!("{host} is an address"),
                        Err(_) => format!("{host} is {}", ips.join(", ")),
                    };
                    return (Finding::ok(area, "dns", found), Some(addresses));
                }
                "no address".to_owned()
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {}", humantime::format_duration(limit)),
        };
        let finding = Finding::fault(area, "dns", format!("{host} is unknown: {why}"))
            .advise(format!("correct the host in {key}, or make the name known (DNS, /etc/hosts)"))
            .command(format!("getent ahosts {}", word(host)));
        (finding, None)
    }

    /// Whether anything listens at one of them.
    pub async fn connect(&self, addresses: &[SocketAddr]) -> (Finding, bool) {
        let Server { area, port, limit, key, what, .. } = *self;
        let mut failed = String::new();
        for address in addresses {
            let why = match timeout(limit, TcpStream::connect(address)).await {
                Ok(Ok(_)) => {
                    return (Finding::ok(area, "tcp", format!("{address} answers")), true);
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {}", humantime::format_duration(limit)),
            };
            let gap = if failed.is_empty() { "" } else { "; " };
            // Writing to a String cannot fail.
            let _ = write!(failed, "{gap}{address}: {why}");
        }
        let finding = Finding::fault(area, "tcp", failed)
            .advise(format!(
                "see whether {what} runs there and listens on that address and port, and that no firewall is between; \
                 or correct host and port in {key}. On that machine:"
            ))
            .command(format!("ss -ltn 'sport = :{port}'"));
        (finding, false)
    }
}

/// The addresses behind a name; none where it is unknown, or where nobody tells in time.
pub async fn addresses((host, port): (&str, u16), limit: Duration) -> Option<Vec<SocketAddr>> {
    let found: Vec<_> = timeout(limit, lookup_host((host, port))).await.ok()?.ok()?.collect();
    (!found.is_empty()).then_some(found)
}

/// Whether all of these are this machine's own: what goes there is on no network.
pub fn stays_here(addresses: &[SocketAddr]) -> bool {
    !addresses.is_empty() && addresses.iter().all(|address| address.ip().is_loopback())
}

/// A finding about words, passwords among them, that go over a network as they are.
pub fn plain_text(area: Area, found: String, key: &str, how: &str) -> Finding {
    Finding::warning(area, "encryption", found).advise(format!("set {key} to {how}"))
}
