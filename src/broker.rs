//! The broker: the only place that knows the AMQP client.
//!
//! Its contract in three sentences. A [`Session`] is one connection with one consumer; delivery tags mean nothing
//! beyond it, and nothing in it reconnects. Deliveries end when the session does, for whatever reason, and
//! [`Source::ending`] says which. An acknowledgement that does not reach the broker is no loss: the broker delivers
//! again.

mod address;
mod alarms;
mod convert;
mod courier;
mod dead_letters;
mod deliveries;
mod ending;
mod fault;
mod lookout;
mod management;
mod plain;
mod probe;
mod publisher;
mod session;
mod tls;
mod topology;
mod watch;
mod web;

use std::future::Future;

pub use address::{Address, Auth, Login};
pub use alarms::{Alarm, Alarms};
pub use courier::{Courier, Undelivered};
pub use dead_letters::{DeadLetter, DeadLetters};
pub use deliveries::Deliveries;
use ending::Ending;
pub use fault::{Fault, Kind};
pub use lookout::Lookout;
pub use management::{
    Binding, ConsumerView, Destination, Exchange, ExchangeView, Management, ManagementAddress,
    NodeView, PermissionsView, PolicyView, QueueView, SourceView, UserView,
};
pub use probe::Probe;
pub use publisher::{Confirmation, Publisher, Returned};
pub use session::{AckHandle, Session, SessionHandle, Settings};
pub use tls::{Expiry, Identity, Trust};
pub use topology::{Declare, Depths, QueueType, Topology};
pub use watch::{Change, Watch};
pub use web::{web_client, web_error};

use tokio_util::sync::CancellationToken;

use crate::event::{Delivery, DeliveryTag};

/// Where deliveries come from.
pub trait Source: Send {
    /// The next delivery; `None` when the session has ended, or has been cancelled and emptied.
    fn next(&mut self) -> impl Future<Output = Option<Delivery>> + Send;

    /// Asks that the broker hand out at most so many deliveries without an acknowledgement. Those already under way
    /// still come, first and beside them; [`Source::next`] sees to it, and ends where the session ends over it.
    fn resize(&mut self, prefetch: u16);

    /// Waits until the broker has done what it was asked with [`Source::resize`]. What comes meanwhile waits unread, so
    /// this is only for where little can.
    fn resized(&mut self) -> impl Future<Output = ()> + Send;

    /// Asks the broker for no more deliveries. Those already under way still come.
    fn cancel(&mut self);

    /// Cancelled when the session ends: no delivery of it can be acknowledged any more.
    fn ended(&self) -> CancellationToken;

    /// Why the session ended, once it has.
    fn ending(&self) -> String;
}

/// Where verdicts on deliveries go. Only the pipeline's last stage holds one, and it holds receipts of commits.
pub trait Acker: Send {
    /// Acknowledges every delivery up to and including `tag` that was not rejected.
    ///
    /// # Errors
    /// The session has ended; the broker will deliver again.
    fn ack_up_to(&mut self, tag: DeliveryTag) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Sends one delivery to the queue's dead-letter exchange.
    ///
    /// # Errors
    /// As [`Acker::ack_up_to`].
    fn dead_letter(&mut self, tag: DeliveryTag) -> impl Future<Output = Result<(), Fault>> + Send;
}
