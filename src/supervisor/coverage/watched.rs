//! A writer whose successes and failures are noted.

use time::OffsetDateTime;

use crate::{
    store::{Append, Batch, Commit, Fault, Kind, Span},
    supervisor::Board,
};

/// Appends as the writer in it does, and notes whether events can be stored.
#[derive(Debug)]
pub(in crate::supervisor) struct Watched<W> {
    /// The writer.
    pub writer: W,
    /// Where it is noted.
    pub board: Board,
}

impl<W> Watched<W> {
    fn noted<T>(&self, result: Result<T, Fault>) -> Result<T, Fault> {
        if let Err(fault) = &result {
            match fault.kind {
                Kind::Unavailable => self.board.postgres_away(fault),
                // The event is at fault, or this run ends.
                Kind::Refused | Kind::Misconfigured => {}
            }
        }
        result
    }
}

impl<W: Append> Append for Watched<W> {
    async fn span(&mut self, at: OffsetDateTime) -> Result<Span, Fault> {
        let span = self.writer.span(at).await;
        self.noted(span)
    }

    async fn append(&mut self, batch: &mut Batch) -> Result<Commit, Fault> {
        let committed = self.writer.append(batch).await;
        if committed.is_ok() {
            self.board.stored();
        }
        self.noted(committed)
    }
}
