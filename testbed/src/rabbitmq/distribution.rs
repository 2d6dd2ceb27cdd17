//! What Erlang nodes share that talk to one another: a port mapper and a cookie.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use tokio::net::TcpStream;

use crate::process::Helper;
use crate::{Deadline, Port};

/// The port mapper of one node, or of all nodes of a cluster, and the cookie that lets them in.
#[derive(Debug)]
pub(super) struct Distribution {
    port: Port,
    cookie: String,
    epmd: Mutex<Option<Helper>>,
}

impl Distribution {
    pub(super) fn new() -> Result<Self> {
        let cookie = format!("{:032X}", rand::random::<u128>());
        Ok(Self { port: Port::free()?, cookie, epmd: Mutex::new(None) })
    }

    pub(super) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// The port of the port mapper.
    pub(super) fn port(&self) -> u16 {
        self.port.number()
    }

    /// Sees to it that the port mapper runs, in the foreground as our child: started by a server it would be a daemon
    /// of nobody's. Whoever comes first starts it, by its own `epmd`, and has it in its directory.
    pub(super) async fn start(
        &self,
        epmd: impl FnOnce() -> Result<Command>,
        deadline: Deadline,
    ) -> Result<()> {
        self.start_once(epmd)?;
        deadline
            .until("epmd listens", || async {
                TcpStream::connect((Ipv4Addr::LOCALHOST, self.port())).await.map(drop)
            })
            .await
    }

    fn start_once(&self, epmd: impl FnOnce() -> Result<Command>) -> Result<()> {
        let mut running = self.epmd();
        if !running.as_mut().is_some_and(Helper::running) {
            let mut command = epmd()?;
            command.args(["-address", "127.0.0.1", "-port", &self.port().to_string()]);
            let started =
                Helper::spawn(command).context("Erlang's epmd, which comes with RabbitMQ")?;
            *running = Some(started);
        }
        Ok(())
    }

    fn epmd(&self) -> MutexGuard<'_, Option<Helper>> {
        self.epmd.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
