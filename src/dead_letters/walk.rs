//! Through the dead-letter queue once, a page after the other.

use super::{Letter, Places};
use crate::{
    broker::{DeadLetter, DeadLetters, Fault},
    event::DeliveryTag,
    store::{self, RejectionKey, RejectionRecords},
};

/// Most messages of a page, and bytes of bodies after which it ends.
const PAGE: usize = 100;
const PAGE_BYTES: usize = 4 << 20;

/// What stands at a place of the queue.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A dead letter.
    Letter(Box<Letter>),
    /// One that is passed by.
    Unreadable(Unreadable),
}

/// A message that no client of this program can decode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its place in the queue, from 1 on.
    pub position: u64,
    /// Bytes of its body.
    pub body_bytes: u64,
    /// What cannot be decoded, in words.
    pub why: String,
}

/// One reading of the queue, of what waited when it began. Until its end nobody else sees what was read and not
/// acknowledged.
pub struct Walk {
    letters: DeadLetters,
    position: u64,
    records: Result<Option<RejectionRecords>, store::Fault>,
    places: Places,
}

impl Walk {
    /// Connects. `name` tells the connection apart, as the broker shows it.
    ///
    /// # Errors
    /// A [`Fault`] of the broker. A database that cannot be asked is none: [`Walk::unknown`] says so.
    pub async fn begin(places: &Places, name: &str) -> Result<Walk, Fault> {
        let broker = &places.broker;
        let name = format!("{} {name}", broker.connection_name);
        let (address, limit) = (&broker.address, broker.connect_timeout);
        let queue = places.dead_letter_queue();
        let letters = DeadLetters::open(address, &name, limit, queue).await?;
        Ok(Walk { letters, position: 0, records: Ok(None), places: places.clone() })
    }

    /// Messages that waited when it began.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.letters.waiting()
    }

    /// Longest frame in bytes that the broker takes; 0 for no bound.
    #[must_use]
    pub fn frame_max(&self) -> usize {
        usize::try_from(self.letters.frame_max()).unwrap_or(usize::MAX)
    }

    /// Lets it go so much further.
    pub fn permit(&mut self, more: u32) {
        self.letters.permit(more);
    }

    /// Why rejections cannot be looked up, where they cannot.
    #[must_use]
    pub fn unknown(&self) -> Option<&store::Fault> {
        self.records.as_ref().err()
    }

    /// The next few, in order; none where there are no more.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn page(&mut self) -> Result<Vec<Item>, Fault> {
        let mut page = Vec::new();
        let mut bytes = 0;
        while page.len() < PAGE && bytes < PAGE_BYTES {
            let Some(letter) = self.letters.next().await? else { break };
            self.position += 1;
            let position = self.position;
            page.push(match letter {
                DeadLetter::Message(delivery) => {
                    bytes += delivery.size();
                    let (queue, envelope) = (self.places.queue(), &self.places.envelope);
                    Item::Letter(Box::new(Letter::new(*delivery, position, queue, envelope)))
                }
                DeadLetter::Unreadable { body_bytes, why, .. } => {
                    Item::Unreadable(Unreadable { position, body_bytes, why })
                }
            });
        }
        self.look_up(&mut page).await;
        Ok(page)
    }

    /// Finds why they were rejected, as long as the database answers.
    async fn look_up(&mut self, page: &mut [Item]) {
        let mut letters: Vec<(&mut Letter, RejectionKey)> = Vec::new();
        for item in page {
            if let Item::Letter(letter) = item
                && let Some(key) = letter.rejection()
            {
                letters.push((letter, key));
            }
        }
        if letters.is_empty() {
            return;
        }
        let Ok(records) = &mut self.records else { return };
        let keys: Vec<_> = letters.iter().map(|(_, key)| key.clone()).collect();
        let found = async {
            let records = match records {
                Some(records) => records,
                None => records.insert(RejectionRecords::open(&self.places.store).await?),
            };
            records.of(&keys).await
        };
        match found.await {
            Ok(found) => {
                for ((letter, _), record) in letters.into_iter().zip(found) {
                    letter.record = record;
                }
            }
            Err(fault) => self.records = Err(fault),
        }
    }

    /// Makes sure that the connection is there.
    ///
    /// # Errors
    /// It is not.
    pub async fn check(&mut self) -> Result<(), Fault> {
        self.letters.check().await
    }

    /// Takes these out of the queue for good.
    ///
    /// # Errors
    /// The connection is lost, and whether the broker has heard it is not known.
    pub async fn acknowledge(
        &mut self,
        tags: impl IntoIterator<Item = DeliveryTag>,
    ) -> Result<(), Fault> {
        self.letters.acknowledge(tags).await
    }

    /// Gives all back that was not acknowledged. True where the broker has taken each acknowledgement.
    pub async fn end(self) -> bool {
        self.letters.close().await
    }
}
