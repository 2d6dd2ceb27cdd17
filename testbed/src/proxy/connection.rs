//! One client's connection and its counterpart to the server.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::{Cut, Direction, Mode, Shared};

const CHUNK: usize = 64 * 1024;
/// How much of what has passed is remembered, to find bytes that two chunks share.
const REMEMBERED: usize = 256;

/// An entry in the list of live connections, removed when dropped.
#[derive(Debug)]
pub(super) struct Live {
    shared: Arc<Shared>,
    number: u64,
}

impl Live {
    pub(super) fn enter(shared: Arc<Shared>, number: u64) -> Self {
        shared.live.send_modify(|live| {
            live.insert(number);
        });
        Self { shared, number }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.live.send_modify(|live| {
            live.remove(&self.number);
        });
    }
}

/// How a connection ends.
enum Ending {
    /// Both sides said so.
    Closed,
    /// Reset both sides; one of them did, or is gone.
    Broken,
    /// Reset both sides, because the proxy was told to.
    Cut,
    /// A tripwire: reset the sender, and close towards the receiver, so that it gets all that was sent.
    Tripped(Direction),
    /// The server's side is to vanish, the client is not to notice.
    HalfOpen,
}

/// Why one direction of a connection stopped before its end.
enum Stop {
    Broken,
    Tripped(Direction),
}

impl From<std::io::Error> for Stop {
    fn from(_: std::io::Error) -> Self {
        Self::Broken
    }
}

pub(super) async fn serve(mut client: TcpStream, live: Live) {
    let shared = &live.shared;
    let mut server = None;
    let ending = tokio::select! {
        ending = relay(shared, &mut client, &mut server) => ending,
        () = cut(&live) => Ending::Cut,
    };
    let ending = if matches!(ending, Ending::HalfOpen) {
        reset(server.as_ref());
        server = None;
        tokio::select! {
            () = until(shared, |mode| mode != Mode::HalfOpen) => {}
            () = cut(&live) => {}
        }
        Ending::Cut
    } else {
        ending
    };
    if matches!(ending, Ending::Cut | Ending::Tripped(_)) {
        shared.cuts.fetch_add(1, Ordering::SeqCst);
    }
    if matches!(ending, Ending::Broken | Ending::Cut | Ending::Tripped(Direction::ToServer)) {
        reset(Some(&client));
    }
    if matches!(ending, Ending::Broken | Ending::Cut | Ending::Tripped(Direction::ToClient)) {
        reset(server.as_ref());
    }
    // The sockets go before the entry: what is no longer live is closed.
    drop((client, server));
    drop(live);
}

/// Makes closing the socket send a reset.
fn reset(socket: Option<&TcpStream>) {
    if let Some(socket) = socket {
        let _ = socket.set_zero_linger();
    }
}

async fn cut(live: &Live) {
    let mut cut_below = live.shared.cut_below.subscribe();
    if cut_below.wait_for(|&below| live.number < below).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits for a mode; for ever, when no more can be set.
async fn until(shared: &Shared, wanted: impl Fn(Mode) -> bool) {
    if shared.mode.subscribe().wait_for(|&(_, mode)| wanted(mode)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn relay(shared: &Shared, client: &mut TcpStream, server: &mut Option<TcpStream>) -> Ending {
    // A stalled network would not let the first packet through either.
    until(shared, |mode| mode != Mode::Stall).await;
    if shared.mode.borrow().1 == Mode::HalfOpen {
        return Ending::HalfOpen;
    }
    let Ok(connected) = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.upstream)).await else {
        return Ending::Broken;
    };
    let _ = (client.set_nodelay(true), connected.set_nodelay(true));
    let (client_read, client_write) = client.split();
    let (server_read, server_write) = server.insert(connected).split();
    let both = async {
        tokio::try_join!(
            pump(shared, Direction::ToServer, client_read, server_write),
            pump(shared, Direction::ToClient, server_read, client_write),
        )
    };
    tokio::select! {
        ended = both => match ended {
            Ok(_) => Ending::Closed,
            Err(Stop::Broken) => Ending::Broken,
            Err(Stop::Tripped(direction)) => Ending::Tripped(direction),
        },
        () = until(shared, |mode| mode == Mode::HalfOpen) => Ending::HalfOpen,
    }
}

/// Hands on one direction's bytes until its end of stream.
async fn pump(
    shared: &Shared,
    direction: Direction,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
) -> Result<(), Stop> {
    let passed = match direction {
        Direction::ToServer => &shared.to_server,
        Direction::ToClient => &shared.to_client,
    };
    let mut buffer = vec![0; CHUNK];
    let mut before = Vec::new();
    loop {
        until(shared, |mode| !mode.stalls(direction)).await;
        let read = from.read(&mut buffer).await;
        // A stall may have begun meanwhile: then an end or a reset is held back like bytes.
        until(shared, |mode| !mode.stalls(direction)).await;
        let chunk = &buffer[..read?];
        let delay = shared.mode.borrow().1.delay();
        if let Some(delay) = delay {
            let changed = until(shared, |mode| mode.delay() != Some(delay));
            let _ = tokio::time::timeout(delay, changed).await;
            until(shared, |mode| !mode.stalls(direction)).await;
        }
        if chunk.is_empty() {
            to.shutdown().await?;
            return Ok(());
        }
        let trip = take_trip(shared, direction, &before, chunk);
        let chunk = &chunk[..trip.unwrap_or(chunk.len())];
        to.write_all(chunk).await?;
        passed.fetch_add(chunk.len() as u64, Ordering::SeqCst);
        if trip.is_some() {
            return Err(Stop::Tripped(direction));
        }
        before.extend_from_slice(&chunk[chunk.len().saturating_sub(REMEMBERED)..]);
        before.drain(..before.len().saturating_sub(REMEMBERED));
    }
}

/// Takes the tripwire away when this chunk trips it, unless it is to trip again, and says how much of the chunk goes on.
fn take_trip(shared: &Shared, direction: Direction, before: &[u8], chunk: &[u8]) -> Option<usize> {
    let mut tripwire = shared.tripwire.lock().unwrap_or_else(PoisonError::into_inner);
    let armed = tripwire.as_mut()?;
    let pass = armed.trips(direction, before, chunk)?;
    if armed.cut == Cut::All {
        shared.cut_below.send_replace(shared.accepted.load(Ordering::SeqCst));
    }
    if !armed.again {
        *tripwire = None;
    }
    Some(pass)
}
