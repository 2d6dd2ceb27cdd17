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

impl<W: Append> Append for Watched<W> {
    fn beside(&self) -> Watched<W> {
        Watched { writer: self.writer.beside(), board: self.board.clone() }
    }

    fn failed(&mut self, fault: &Fault) {
        match fault.kind {
            Kind::Unavailable => self.board.postgres_away(fault),
            // The event is at fault, or this run ends.
            Kind::Refused | Kind::Misconfigured => {}
        }
        self.writer.failed(fault);
    }

    async fn number(&mut self, batch: &mut Batch) -> Result<(), Fault> {
        self.writer.number(batch).await
    }

    async fn span(&mut self, at: OffsetDateTime) -> Result<Span, Fault> {
        self.writer.span(at).await
    }

    async fn append(&mut self, batch: &mut Batch) -> Result<Commit, Fault> {
        let committed = self.writer.append(batch).await;
        if committed.is_ok() {
            self.board.stored();
        }
        committed
    }
}
