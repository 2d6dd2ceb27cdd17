//! What is done is kept as it is done.

use std::{fmt, io};

use super::{CheckError, Report, Taken};
use crate::{
    store::{PartitionTable, Snapshot},
    verify::{
        acts::Lawful,
        carried::Carried,
        progress::{Identity, Progress, ReadSpan, Root},
        window::Open,
    },
};

/// Writes what is done somewhere.
type Write = Box<dyn Fn(&Progress) -> io::Result<()> + Send + Sync>;

/// Where what is done is kept, and what was done before.
pub struct Keeping {
    pub(in crate::verify) progress: Progress,
    write: Option<Write>,
}

impl fmt::Debug for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeping").field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl Keeping {
    /// Nowhere.
    #[must_use]
    pub fn nowhere(progress: Progress) -> Keeping {
        Keeping { progress, write: None }
    }

    /// Goes on from there, and calls this for each further part that is done, with all of it. It may block for as long as a file takes.
    #[must_use]
    pub fn by(
        progress: Progress,
        write: impl Fn(&Progress) -> io::Result<()> + Send + Sync + 'static,
    ) -> Keeping {
        Keeping { progress, write: Some(Box::new(write)) }
    }

    /// Whether somebody may go on with what is done here.
    pub(super) fn is_kept(&self) -> bool {
        self.write.is_some()
    }

    /// Keeps what is done so far.
    pub(super) fn keep(&self) -> Result<(), CheckError> {
        let kept = self.write.as_ref().map_or(Ok(()), |write| write(&self.progress));
        kept.map_err(CheckError::Keep)
    }

    /// Keeps a span that is done.
    pub(super) fn done(&mut self, span: ReadSpan) -> Result<(), CheckError> {
        self.progress.keep(span);
        self.keep()
    }

    /// Takes note of the history, and of what is wrong with its trees.
    pub(super) async fn knows(
        &mut self,
        snapshot: &Snapshot,
        report: &Report,
    ) -> Result<(), CheckError> {
        if !self.is_kept() {
            return Ok(());
        }
        let first_lane = snapshot.view().await?.first_lane().await?;
        let of =
            |tree: &super::TreeState| (tree.epoch, tree.position_from, tree.size, Root(tree.root));
        let now = Identity { first_lane, trees: report.trees.iter().map(of).collect() };
        self.progress.is_of_history(&now).map_err(CheckError::Differs)?;
        self.progress.history = Some(now);
        self.progress.earlier.add_new(report.findings.lasting(), None);
        self.keep()
    }

    /// What was done before and is still good, with what was seen there of batches that have events elsewhere, too.
    pub(super) async fn take(
        &mut self,
        snapshot: &Snapshot,
        tables: &[PartitionTable],
        lawful: &Lawful,
        carried: &mut Carried,
    ) -> Result<Option<Taken>, CheckError> {
        let Some(horizon) = self.progress.spans.iter().map(|span| span.horizon).min() else {
            return Ok(None);
        };
        let mut view = snapshot.view().await?;
        self.progress.keep_good(tables, lawful, view.batches_since(horizon)).await?;
        let mut lost = Vec::new();
        for span in std::mem::take(&mut self.progress.spans) {
            let mut seen = Vec::new();
            for half in &span.halves {
                let batch = view.event_batch(half.lane, half.number).await?;
                let open = batch.map(|batch| Open::new(batch, &(span.from..span.to)));
                let known = open.and_then(|open| half.seen(open.seen.len()).zip(Some(open)));
                seen.extend(known);
            }
            if seen.len() < span.halves.len() {
                lost.push(span);
                continue;
            }
            for (seen, mut open) in seen {
                open.seen = seen;
                open.count_left();
                carried.carry(open);
            }
            self.progress.keep(span);
        }
        self.progress.give_up(lost);
        Ok(self.progress.taken())
    }
}
