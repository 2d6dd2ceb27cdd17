//! Accepts clients while the mode lets it, and owns their connections.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Mode, Shared, connection};

/// Runs until its task is aborted, which ends the connections too.
pub(super) async fn listen(shared: Arc<Shared>, listener: TcpListener, port: u16) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    let mut modes = shared.mode.subscribe();
    loop {
        let (number, mode) = *modes.borrow_and_update();
        if mode == Mode::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.ok();
            if listener.is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
        }
        shared.applied.send_replace(number);
        tokio::select! {
            client = accept(listener.as_ref()) => {
                let number = shared.accepted.load(Ordering::SeqCst);
                // Live before it counts as accepted: who cuts all that were accepted waits for this one.
                let live = connection::Live::enter(Arc::clone(&shared), number);
                shared.accepted.store(number + 1, Ordering::SeqCst);
                connections.spawn(connection::serve(client, live));
            }
            changed = modes.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The next client; never, without a listener.
async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        match listener.accept().await {
            Ok((client, _)) => return client,
            // Out of descriptors, or the client is gone already.
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}
