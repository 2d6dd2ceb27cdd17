//! A reader of the history, from cursor to cursor.

use std::{collections::HashMap, time::Duration};

use anyhow::{Result, ensure};
use sqlx::PgConnection;
use testbed::Deadline;

/// What a reader has seen: the number in each body, in order, and the cursor behind the last.
#[derive(Default)]
pub struct Reader {
    pub cursor: Option<String>,
    pub numbers: Vec<usize>,
    /// Cursors on the way, and how many events were read by then.
    pub places: Vec<(String, usize)>,
}

impl Reader {
    /// Reads one page; how many events it held.
    pub async fn reads(&mut self, sql: &mut PgConnection, limit: i32) -> Result<usize> {
        let rows: Vec<(String, Vec<u8>)> =
            sqlx::query_as("select s.next, audit.raw(s.event) from audit.events_since($1, $2) s")
                .bind(&self.cursor)
                .bind(limit)
                .fetch_all(sql)
                .await?;
        ensure!(rows.len() <= usize::try_from(limit)?, "{} rows of {limit}", rows.len());
        for (next, body) in &rows {
            self.numbers.push(String::from_utf8(body.clone())?.parse()?);
            self.places.push((next.clone(), self.numbers.len()));
        }
        if let Some((next, _)) = rows.last() {
            self.cursor = Some(next.clone());
        }
        Ok(rows.len())
    }

    /// The next page that is not empty. What is committed may have to wait: whoever had a transaction when the page was asked
    /// for, and ends it just then, counts as one who may yet commit something before it, and other tests have theirs on the
    /// same server.
    pub async fn reads_some(&mut self, sql: &mut PgConnection, limit: i32) -> Result<()> {
        let deadline = Deadline::after(Duration::from_secs(30));
        while self.reads(sql, limit).await? == 0 {
            ensure!(!deadline.passed(), "nothing comes after {} events", self.numbers.len());
        }
        Ok(())
    }

    /// Until it has so many, and none comes after.
    pub async fn reads_up_to(
        &mut self,
        sql: &mut PgConnection,
        limit: i32,
        events: usize,
    ) -> Result<()> {
        while self.numbers.len() < events {
            self.reads_some(sql, limit).await?;
        }
        ensure!(self.reads(sql, limit).await? == 0, "more than {events} were read");
        Ok(())
    }

    /// Another one that has read the same up to there.
    pub fn goes_on_from(&self, cursor: &str, read: usize) -> Reader {
        let (cursor, numbers) = (Some(cursor.to_owned()), self.numbers[..read].to_vec());
        Reader { cursor, numbers, places: Vec::new() }
    }

    pub fn has_each_once(&self, events: usize) -> Result<()> {
        let mut times = HashMap::new();
        for number in &self.numbers {
            *times.entry(*number).or_insert(0) += 1;
        }
        let missing = (0..events).filter(|number| !times.contains_key(number)).count();
        let repeated = times.values().filter(|times| **times > 1).count();
        ensure!(
            missing == 0 && repeated == 0 && self.numbers.len() == events,
            "{missing} skipped and {repeated} repeated of {events}"
        );
        Ok(())
    }
}
