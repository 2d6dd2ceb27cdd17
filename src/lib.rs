//! bloodbank-audit keeps the complete, provable history of a RabbitMQ event bus in PostgreSQL.
//!
//! Data walks one way: delivery → event → batch → commit → ack. `ARCHITECTURE.md` at the repository's root
//! follows one event and one outage through the modules below.

pub mod allocator;
pub mod backoff;
pub mod broker;
pub mod certificates;
pub mod check;
pub mod cli;
pub mod commands;
pub mod config;
pub mod dead_letters;
pub mod event;
pub mod exit;
pub mod export;
pub mod hosts;
pub mod http;
pub mod ledger;
pub mod measures;
pub mod pipeline;
pub mod replay;
pub mod service_manager;
pub mod shared;
pub mod signals;
pub mod store;
pub mod supervisor;
pub mod telemetry;
pub mod verify;
