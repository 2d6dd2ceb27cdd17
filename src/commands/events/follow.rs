//! `--follow`: new events as they commit.

use std::{
    io::{self, Write as _},
    os::fd::AsFd,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    super::terminal::{Output, Paging},
    Column, Filter, Format,
    write::Shape,
};
use crate::{
    backoff::Backoff,
    config::redact,
    store::{Follower, ReadError, Row, Selection},
};

/// How long nobody asks again where there was nothing new.
const PAUSE: Duration = Duration::from_millis(200);

/// What is followed, and how it is written.
pub struct Following<'a> {
    pub follower: Follower,
    pub filter: &'a Filter,
    pub selection: Selection,
    pub format: Format,
    pub columns: Vec<Column>,
    /// Waits between attempts to reach a database that went away.
    pub backoff: Backoff,
}

impl Following<'_> {
    /// Writes what matches as it commits, until as many as the selection's limit were written; without one, for ever. A
    /// database that goes away is waited for, and what committed meanwhile comes when it is back.
    ///
    /// # Errors
    /// What time alone does not mend. A reader that goes away is [`io::ErrorKind::BrokenPipe`], noticed also while there
    /// is nothing to write.
    pub async fn write(self) -> anyhow::Result<()> {
        // The reader first: of one that has gone nothing else matters.
        tokio::select! {
            biased;
            () = has_gone(io::stdout()) => Err(io::Error::from(io::ErrorKind::BrokenPipe).into()),
            written = self.write_for_ever() => written,
        }
    }

    async fn write_for_ever(mut self) -> anyhow::Result<()> {
        let mut out = Output::open(Paging::Never);
        let mut shape = Shape::new(self.format, self.columns, &out).following();
        let Selection { bodies, body_bytes, limit: mut left, .. } = self.selection;
        while left != Some(0) {
            let each = |row: &Row| -> anyhow::Result<()> {
                if left != Some(0) {
                    shape.row(&mut out, row)?;
                    left = left.map(|left| left - 1);
                }
                Ok(())
            };
            let any = self.follower.next(self.filter, bodies, body_bytes, each).await;
            // Also what came before it broke off.
            shape.show(&mut out)?;
            match any {
                Ok(any) => {
                    if let Some((_, away)) = self.backoff.reset() {
                        let away = humantime::format_duration(away);
                        say(&format!("PostgreSQL is back after {away}; nothing was skipped"));
                    }
                    if !any {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                // All is written that was asked for.
                Err(_) if left == Some(0) => {}
                Err(error) => {
                    let may_pass = error.downcast_ref().is_some_and(ReadError::may_pass);
                    if !may_pass {
                        return Err(error);
                    }
                    if self.backoff.attempts() == 0 {
                        say(&format!("{error}; waiting until PostgreSQL is back"));
                    }
                    tokio::time::sleep(self.backoff.next_delay()).await;
                }
            }
        }
        shape.end(&mut out)?;
        Ok(out.close()?)
    }
}

fn say(what: &str) {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(io::stderr(), "bloodbank-audit: {}", redact(what));
}

/// Returns when nobody reads there any more; never of a file, or of what cannot be asked.
async fn has_gone(reader: impl AsFd) {
    let mut looks = tokio::time::interval(PAUSE);
    loop {
        looks.tick().await;
        // Both are told without being asked for: the one of a pipe, the other of a socket and a terminal.
        let gone = PollFlags::ERR | PollFlags::HUP;
        let mut looked_at = [PollFd::new(&reader, PollFlags::empty())];
        if let Ok(1..) = poll(&mut looked_at, Some(&Timespec::default()))
            && looked_at[0].revents().intersects(gone)
        {
            return;
        }
    }
}
