//! `bloodbank-audit health`: asks the daemon how it fares.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::time::timeout;

use super::{
    reading::{Found, NothingFound, timeout as duration},
    terminal::{json_safe, visible},
};
use crate::{config::Config, http};

const HELP: &str = "\
Examples:
  bloodbank-audit health
  bloodbank-audit health --live
  bloodbank-audit health --status | jq .counts
  bloodbank-audit health --at 127.0.0.1:9466 --timeout 2s

It asks what listens at http.listen. Without a flag it asks whether events are recorded: whether the daemon consumes and
can store. An outage of either side makes it not ready, and is no reason to restart it; that is what --live is for.

Exit status:
   0  ready, or alive
   1  not ready, or not alive; or nobody answers
   2  the command line is wrong
  78  the configuration is wrong";

/// Options of `bloodbank-audit health`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Options {
    /// Ask only whether the process lives and its loops turn
    #[arg(long, conflicts_with = "status")]
    live: bool,
    /// Print how it fares as JSON, whether it is ready or not
    #[arg(long)]
    status: bool,
    /// Ask at this address instead of http.listen
    #[arg(long, value_name = "IP:PORT")]
    at: Option<SocketAddr>,
    /// How long to wait for the answer
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    timeout: Duration,
}

impl Options {
    /// Prints the answer, and tells by the exit status what it says.
    ///
    /// # Errors
    /// Nobody answers, or not in time.
    pub async fn run(self, config: Config) -> anyhow::Result<Found> {
        let Some(address) = self.at.or(config.http.listen) else {
            return Err(not_well(
                "http.listen is \"off\", so nobody can be asked: set it, or give the address with --at".to_owned(),
            ));
        };
        let address = reachable(address);
        let path = match (self.live, self.status) {
            (true, _) => "/healthz",
            (_, true) => "/status",
            _ => "/readyz",
        };
        let answer = match timeout(self.timeout, http::ask(address, path)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                return Err(not_well(format!(
                    "nobody tells at {address} how the daemon fares: {error}; does it run, and with this http.listen?"
                )));
            }
            Err(_) => {
                return Err(not_well(format!(
                    "what listens at {address} does not answer within {}",
                    humantime::format_duration(self.timeout)
                )));
            }
        };
        let (code, text) = answer;
        // It quotes what servers say, and something else may listen there.
        let mut out = std::io::stdout().lock();
        if self.status {
            out.write_all(json_safe(&text).as_bytes())?;
        } else {
            for line in text.lines() {
                writeln!(out, "{}", visible(line))?;
            }
        }
        Ok(Found::when(code == 200))
    }
}

fn not_well(why: String) -> anyhow::Error {
    NothingFound(why).into()
}

/// Where to reach what listens there: at every address means at this machine's own, too.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
