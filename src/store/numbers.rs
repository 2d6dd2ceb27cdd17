//! Numbers of events: `seq`.

use std::{ops::Range, sync::Arc};

use tokio::sync::Mutex;

use super::{
    Fault,
    link::{Link, answered},
};

/// Numbers in a block of `audit.event_seq`: its increment. Also the most events a batch may hold.
const BLOCK: i64 = 10_000;

/// The numbers left of the last block, for all writers of one session: who asks first has the lower ones.
#[derive(Debug, Clone)]
pub(super) struct Numbers(Arc<Mutex<Range<i64>>>);

impl Numbers {
    pub fn new() -> Numbers {
        Numbers(Arc::new(Mutex::new(0..0)))
    }

    /// On a connection that is new: what is left of the last block is given up, and the sequence brought beyond it. The server may be
    /// another one than before, whose sequence is behind.
    pub async fn begin_connection(&self, link: &mut Link) -> Result<(), Fault> {
        let mut left = self.0.lock().await;
        while left.end > 0 {
            let block = next_block(link).await?;
            if block >= left.end {
                *left = block..block + BLOCK;
                break;
            }
        }
        Ok(())
    }

    /// The first of that many consecutive numbers.
    pub async fn take(&self, link: &mut Link, wanted: usize) -> Result<i64, Fault> {
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        let mut left = self.0.lock().await;
        if left.end - left.start < wanted {
            let block = next_block(link).await?;
            *left = block..block + BLOCK;
        }
        let first = left.start;
        left.start += wanted;
        Ok(first)
    }
}

async fn next_block(link: &mut Link) -> Result<i64, Fault> {
    let query = sqlx::query_as("select nextval('audit.event_seq')");
    let Link { connection, patience, .. } = link;
    let (block,): (i64,) = answered(*patience, query.fetch_one(connection)).await?;
    Ok(block)
}
