//! What an event is: a delivery understood. Pure: bytes in, values out, no I/O, no failure on shape.

mod delivery;
mod properties;

pub use delivery::{Delivery, DeliveryTag};
pub use properties::{FieldValue, Properties};
