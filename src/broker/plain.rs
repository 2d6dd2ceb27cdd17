//! A few frames of AMQP 0-9-1 of our own, for the two things that the client cannot do: to hear of alarms, and to hold a
//! message whose headers it cannot parse, which ends its connection.

pub mod method;
pub mod request;
pub mod socket;
