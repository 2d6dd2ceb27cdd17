//! Free loopback ports that two test processes cannot both choose.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use anyhow::{Context, Result, bail};

/// A loopback port that belongs to the holder of this value, machine-wide among users of this crate.
///
/// The claim is a Unix socket in the abstract namespace, named after the port: taking it is atomic, it
/// lives in the same network namespace as the port itself, and the kernel releases it with the process.
/// Ports lie below the ephemeral range, so that no outgoing connection takes one while its server is down.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _claim: UnixListener,
}

impl Port {
    /// Claims a port on which nothing listens.
    ///
    /// # Errors
    /// When 1,000 random candidates in a row are taken.
    pub fn free() -> Result<Self> {
        let range = below_ephemeral();
        for _ in 0..1000 {
            let number = rand::random_range(range.clone());
            if well_known(number) {
                continue;
            }
            let name = SocketAddr::from_abstract_name(format!("testbed-port-{number}"))
                .context("name the claim on a port")?;
            let Ok(claim) = UnixListener::bind_addr(&name) else {
                continue;
            };
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _claim: claim });
            }
        }
        bail!("no free loopback port found between {} and {}", range.start, range.end)
    }

    /// The port's number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// What lies below the range from which the kernel numbers outgoing connections.
fn below_ephemeral() -> Range<u16> {
    const FLOOR: u16 = 10_240;
    let first_ephemeral = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse::<u16>().ok())
        .unwrap_or(32_768);
    // A machine may be set to use nearly all ports as ephemeral ones; then any port is as good as another.
    if first_ephemeral > FLOOR + 1000 { FLOOR..first_ephemeral } else { 20_000..60_000 }
}

/// Ports that RabbitMQ and its tools use by default, free now or not.
fn well_known(port: u16) -> bool {
    matches!(port, 15_670..=15_699 | 25_672 | 35_672..=35_682)
}
