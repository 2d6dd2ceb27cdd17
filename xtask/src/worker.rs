//! A task of a run, and how it ends.

use anyhow::{Error, Result, anyhow};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A task, and the token that ends it.
pub struct Worker {
    task: JoinSet<Result<()>>,
    stop: CancellationToken,
}

impl Worker {
    /// Starts it, with the token it has to obey.
    pub fn start<F>(work: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(work(stop.clone()));
        Self { task, stop }
    }

    /// How it ended; for ever waiting once that has been told.
    pub async fn outcome(&mut self) -> Result<()> {
        match self.task.join_next().await {
            Some(joined) => joined.map_err(Error::from).flatten(),
            None => std::future::pending().await,
        }
    }

    /// As [`outcome`](Self::outcome), of one that should not end by itself and may not be there.
    pub async fn ended(worker: Option<&mut Self>) -> Error {
        match worker {
            Some(worker) => failure(worker.outcome().await),
            None => std::future::pending().await,
        }
    }

    /// Tells it to end and waits for that; one that has ended before has told how already.
    pub async fn end(&mut self) -> Result<()> {
        self.stop.cancel();
        if self.task.is_empty() { Ok(()) } else { self.outcome().await }
    }
}

/// Why it ended, of one that should not have.
pub fn failure(outcome: Result<()>) -> Error {
    outcome.err().unwrap_or_else(|| anyhow!("it ended by itself"))
}
