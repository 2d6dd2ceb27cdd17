//! Private RabbitMQ and PostgreSQL servers, and the faults between.
//!
//! Tests, the demo and the benchmarks share this crate. [`RabbitMq`] and [`Postgres`] start servers from
//! the distribution's packages on free loopback ports, each with its data in a directory of its own;
//! several run at once, brokers also as [one cluster](RabbitMq::start_cluster), and none touches a server that
//! the machine already runs. A [`Proxy`] between a client and a server delays, stalls, cuts and refuses.
//! [`eventually()`] awaits a state with a deadline.
//!
//! # Nothing is left behind
//!
//! Dropping a handle kills every process of its server and removes its directory, also while a panic
//! unwinds. Where no destructor runs (SIGKILL, abort), a watchdog does the same: a small shell beside each
//! directory that waits on a pipe which the kernel closes with this process. A parent-death signal would
//! not do: it follows the *thread* that spawned, is cleared when the user id changes, and tells neither
//! Erlang's helpers nor Postgres's backends.
//!
//! Where a server is not installed, [`ensure_installed`] installs it through apt.
//!
//! # Environment
//!
//! - `TESTBED_RABBITMQ_ROOT`: another RabbitMQ, as a generic-unix tarball or a Debian layout; its `erl`
//!   and `epmd` are found through `PATH`.
//! - `TESTBED_POSTGRES_BIN`: the `bin` directory of another PostgreSQL.
//! - `TESTBED_KEEP=1`: directories stay for inspection (the servers still die).

mod directory;
mod eventually;
pub mod install;
mod ports;
pub mod postgres;
mod process;
mod program;
pub mod prometheus;
pub mod proxy;
pub mod rabbitmq;
mod seat;

pub use eventually::{Deadline, eventually};
pub use install::{Package, ensure_installed};
pub use ports::Port;
pub use postgres::{Postgres, PostgresOptions};
pub use process::is_stopped;
pub use program::Program;
pub use prometheus::Prometheus;
pub use proxy::{Cut, Direction, Mode, Proxy};
pub use rabbitmq::{RabbitMq, RabbitMqOptions};
