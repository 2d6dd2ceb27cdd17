//! A TCP proxy on loopback that can be told to misbehave.

mod connection;
mod listener;
mod mode;
mod tripwire;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use mode::{Direction, Mode};
pub use tripwire::Cut;

use crate::Port;
use tripwire::Tripwire;

/// A proxy between clients and one server on loopback; it forwards until told otherwise.
///
/// Its port stays the same throughout, and also while it refuses nobody else gets it. All methods take
/// `&self`. Dropped, it closes its port and all connections.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    port: Port,
    // Its one task owns the listener and, in a set of its own, the connections.
    _tasks: JoinSet<()>,
}

/// What the handle tells the connections, and what they tell it.
#[derive(Debug)]
struct Shared {
    upstream: u16,
    /// The mode, with the number of times it has been set.
    mode: watch::Sender<(u64, Mode)>,
    /// The number of the mode that the listener last took notice of.
    applied: watch::Sender<u64>,
    /// Connections with a lower number are to be reset.
    cut_below: watch::Sender<u64>,
    live: watch::Sender<BTreeSet<u64>>,
    tripwire: Mutex<Option<Tripwire>>,
    accepted: AtomicU64,
    cuts: AtomicU64,
    to_server: AtomicU64,
    to_client: AtomicU64,
}

/// What a proxy has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections open now, on the client's side.
    pub live: usize,
    /// Connections that the proxy itself has reset.
    pub cuts: u64,
    /// Bytes handed on to the server.
    pub to_server: u64,
    /// Bytes handed on to clients.
    pub to_client: u64,
}

impl Proxy {
    /// Listens on a free loopback port and forwards to `upstream_port`, where nothing need listen yet.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(upstream_port: u16) -> Result<Self> {
        let port = Port::free()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.number()))
            .await
            .context("start a proxy")?;
        let shared = Arc::new(Shared {
            upstream: upstream_port,
            mode: watch::Sender::new((0, Mode::Forward)),
            applied: watch::Sender::new(0),
            cut_below: watch::Sender::new(0),
            live: watch::Sender::new(BTreeSet::new()),
            tripwire: Mutex::new(None),
            accepted: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            to_server: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(listener::listen(Arc::clone(&shared), listener, port.number()));
        Ok(Self { shared, port, _tasks: tasks })
    }

    /// The port for clients to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Switches the mode, for live connections and new ones; in force once this returns.
    pub async fn set(&self, mode: Mode) {
        let mut number = 0;
        self.shared.mode.send_modify(|current| {
            number = current.0 + 1;
            *current = (number, mode);
        });
        // Fails only if the listening task is gone, and then there is nothing to wait for.
        let _ = self.shared.applied.subscribe().wait_for(|&applied| applied >= number).await;
    }

    /// Resets every live connection, to both sides (RST); new ones are accepted as the mode says.
    pub async fn cut(&self) {
        let below = self.shared.accepted.load(Ordering::SeqCst);
        self.shared.cut_below.send_replace(below);
        let gone = |live: &BTreeSet<u64>| live.range(..below).next().is_none();
        let _ = self.shared.live.subscribe().wait_for(gone).await;
    }

    /// Cuts one connection once that many more bytes have been handed on in a direction: that which
    /// carried the last of them. They reach their receiver; the sender sees a reset. With 0 the cut comes
    /// instead of the next byte: towards clients, the next answer is lost.
    ///
    /// It happens once, and replaces an earlier condition that has not come true.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.arm(Tripwire::after(direction, bytes));
    }

    /// Cuts the connection on which these bytes next pass in a direction, after handing them on.
    ///
    /// With `COMMIT` towards a Postgres, the server commits and its answer is lost. It happens once, and
    /// replaces an earlier condition that has not come true.
    pub fn cut_when_seen(&self, direction: Direction, bytes: impl Into<Vec<u8>>) {
        self.arm(Tripwire::seen(direction, bytes.into()));
    }

    /// The same each time that they pass, and with [`Cut::All`] every live connection: to its clients the
    /// server is gone. It replaces an earlier condition.
    pub fn cut_whenever_seen(&self, direction: Direction, bytes: impl Into<Vec<u8>>, cut: Cut) {
        self.arm(Tripwire::seen(direction, bytes.into()).again(cut));
    }

    /// Whether a condition to cut on waits to come true.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.shared.tripwire.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn arm(&self, tripwire: Tripwire) {
        *self.shared.tripwire.lock().unwrap_or_else(PoisonError::into_inner) = Some(tripwire);
    }

    /// What it has done so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics {
            accepted: self.shared.accepted.load(Ordering::SeqCst),
            live: self.shared.live.borrow().len(),
            cuts: self.shared.cuts.load(Ordering::SeqCst),
            to_server: self.shared.to_server.load(Ordering::SeqCst),
            to_client: self.shared.to_client.load(Ordering::SeqCst),
        }
    }
}
