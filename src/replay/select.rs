//! Reads the events of a replay, in the order of their arrival, ahead of whoever publishes them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{Failure, Places, Watcher, patience::Patience};
use crate::{
    event::{Properties, RecordedProperties},
    store::{Arrival, Arrivals, Column, Fault, ReadError, Reader, Row, Value},
};

/// Events that may be published and not yet noted as done: what a process that is killed leaves to be sent twice.
pub const WINDOW: usize = 4096;
/// Bytes of bodies that are in memory at the same time, but for a single one that is larger.
const BYTES: u32 = 32 * 1024 * 1024;
/// How long one transaction reads: for as long, PostgreSQL can clear away nothing that others have changed since.
const LONGEST_READ: Duration = Duration::from_secs(5 * 60);

/// An event as it was stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Selected {
    /// Where it stands in the order of arrival.
    pub arrival: Arrival,
    /// Its id; none where it has none.
    pub id: Option<String>,
    /// The exchange that it was published to.
    pub exchange: String,
    /// The routing key that it was published with.
    pub routing_key: String,
    /// Its properties, or why they do not read back.
    pub properties: Result<Properties, String>,
    /// Its body; empty where bodies were not asked for.
    pub body: Vec<u8>,
}

impl Selected {
    /// The event of a row.
    ///
    /// # Errors
    /// The row is none of `audit.events`.
    pub fn of(row: &Row) -> Result<Selected, Fault> {
        let text = |column| match row.value(column) {
            Ok(Some(Value::Text(text))) => Ok(Some(text.to_owned())),
            Ok(Some(Value::Uuid(uuid))) => Ok(Some(uuid.to_string())),
            Ok(_) => Ok(None),
            Err(fault) => Err(fault),
        };
        let json = match row.value(Column::Properties)? {
            Some(Value::Json(json)) => json,
            _ => "",
        };
        let recorded = RecordedProperties::from_json(json).map_err(|error| error.to_string());
        // What the columns cannot hold exactly is in the properties.
        let (mut exchange, mut routing_key) = (None, None);
        let properties = recorded.map(|recorded| {
            (exchange, routing_key) = (recorded.exchange, recorded.routing_key);
            recorded.properties
        });
        let body = match (row.value(Column::Payload)?, row.value(Column::Body)?) {
            (Some(Value::Json(payload)), _) => payload.as_bytes().to_vec(),
            (_, Some(Value::Bytes(body))) => body.to_vec(),
            _ => Vec::new(),
        };
        Ok(Selected {
            arrival: Arrival::of(row)?,
            id: text(Column::Id)?,
            exchange: exchange
                .map_or_else(|| text(Column::Exchange), |exact| Ok(Some(exact)))?
                .unwrap_or_default(),
            routing_key: routing_key
                .map_or_else(|| text(Column::RoutingKey), |exact| Ok(Some(exact)))?
                .unwrap_or_default(),
            properties,
            body,
        })
    }
}

/// Room for one event: it is held until the event is noted as done.
#[derive(Debug)]
pub struct Room {
    _event: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

/// The room that there is.
#[derive(Debug, Clone)]
pub struct Rooms {
    events: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

impl Rooms {
    /// All of it.
    pub fn new() -> Rooms {
        Rooms {
            events: Arc::new(Semaphore::new(WINDOW)),
            bytes: Arc::new(Semaphore::new(BYTES as usize)),
        }
    }

    /// Waits until there is room for an event of that many bytes; none once nobody gives any.
    async fn take(&self, bytes: usize) -> Option<Room> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(BYTES);
        let _event = Arc::clone(&self.events).acquire_owned().await.ok()?;
        let _bytes = Arc::clone(&self.bytes).acquire_many_owned(bytes).await.ok()?;
        Some(Room { _event, _bytes })
    }
}

/// Why reading a row ended early.
enum Enough {
    Read(ReadError),
    /// Nobody takes any more.
    Closed,
}

impl From<ReadError> for Enough {
    fn from(error: ReadError) -> Enough {
        Enough::Read(error)
    }
}

/// Hands all that is selected to `to`, each with its room; over outages of PostgreSQL, as long as patience lasts.
///
/// # Errors
/// It cannot be read.
pub async fn feed(
    places: &Places,
    mut arrivals: Arrivals,
    rooms: &Rooms,
    to: mpsc::Sender<(Selected, Room)>,
    watcher: &impl Watcher,
) -> Result<(), Failure> {
    let mut patience = Patience::new(places.patience);
    loop {
        match read(places, &mut arrivals, rooms, &to, &mut patience).await {
            Ok(true) | Err(Enough::Closed) => return Ok(()),
            Ok(false) => {}
            Err(Enough::Read(error)) => match patience.next() {
                Some(delay) if error.may_pass() => {
                    if patience.is_first() {
                        watcher.say(&format!("reading waits for PostgreSQL: {error}"));
                    }
                    tokio::time::sleep(delay).await;
                }
                _ => return Err(Failure::Read(error)),
            },
        }
    }
}

/// Reads on in one transaction; tells whether that was all.
async fn read(
    places: &Places,
    arrivals: &mut Arrivals,
    rooms: &Rooms,
    to: &mpsc::Sender<(Selected, Room)>,
    patience: &mut Patience,
) -> Result<bool, Enough> {
    let mut reader = Reader::open_on_primary(&places.store, places.read_timeout).await?;
    let until = Instant::now() + LONGEST_READ;
    let (mut after, mut left) = (arrivals.after, arrivals.limit);
    let all = reader
        .arrivals(arrivals, true, async |row: &Row| -> Result<bool, Enough> {
            patience.renew();
            let selected = Selected::of(row).map_err(ReadError::from)?;
            let arrival = selected.arrival;
            // Without room, or while its pace holds up those before it, this one is read again, in another transaction.
            let handed_on = async {
                let room = rooms.take(selected.body.len()).await.ok_or(Enough::Closed)?;
                to.send((selected, room)).await.map_err(|_| Enough::Closed)
            };
            tokio::select! {
                sent = handed_on => sent?,
                () = tokio::time::sleep_until(until.into()) => return Ok(false),
            }
            after = arrival;
            left = left.map(|left| left - 1);
            Ok(Instant::now() < until)
        })
        .await;
    (arrivals.after, arrivals.limit) = (after, left);
    Ok(all? || left == Some(0))
}
