//! A login step by step, to tell which step it is that fails.

use super::{
    Address, Expiry, Fault,
    plain::{request, socket::Socket},
};

/// A connection that gets no further than the login. Nothing in it is bounded in time.
pub struct Probe {
    socket: Socket,
}

impl Probe {
    /// Connects, over TLS where the address says so.
    ///
    /// # Errors
    /// Nobody listens there, or the two sides do not agree on TLS.
    pub async fn connect(address: &Address) -> Result<Probe, Fault> {
        Ok(Probe { socket: Socket::connect(address, "checks the login").await? })
    }

    /// Until when the certificates are valid that both sides showed.
    #[must_use]
    pub fn expiry(&self) -> Expiry {
        self.socket.expiry()
    }

    /// Logs in. Unlike the client's, this login is refused in words.
    ///
    /// # Errors
    /// It is refused, or what answers is no broker.
    pub async fn log_in(&mut self, address: &Address, name: &str) -> Result<(), Fault> {
        self.socket.log_in(address, name, 0).await
    }

    /// Opens the virtual host of the address.
    ///
    /// # Errors
    /// There is none of that name, or the user may not.
    pub async fn open_vhost(&mut self, address: &Address) -> Result<(), Fault> {
        self.socket.open_channel(&address.vhost).await
    }

    /// Ends the connection without waiting for the broker's agreement.
    pub async fn close(mut self) {
        // It goes either way.
        let _ = self.socket.say(&request::close()).await;
    }
}
