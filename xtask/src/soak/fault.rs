//! What can be broken.

use std::fmt;
use std::time::Duration;

use testbed::Direction;

/// One of the two servers, and the connections to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// RabbitMQ.
    Broker,
    /// PostgreSQL.
    Database,
}

/// One fault. What it does to the daemon's connections, it does to no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL, and started again at once.
    DaemonKilled,
    /// SIGTERM, and started again once it has stopped.
    DaemonStopped,
    /// SIGKILL to a server; it comes back after `away`.
    Killed { side: Side, away: Duration },
    /// A server is stopped and started as an operator would.
    Restarted(Side),
    /// SIGKILL to both servers at once.
    BothKilled,
    /// Both servers are stopped and started at the same time.
    BothRestarted,
    /// Connections stay open and nothing moves.
    Stalled { side: Side, lasts: Duration },
    /// Nothing moves in one direction.
    StalledTowards { side: Side, direction: Direction, lasts: Duration },
    /// The server's end of the connections is gone, and the daemon is not told.
    HalfOpen { side: Side, lasts: Duration },
    /// All connections are reset.
    Cut(Side),
    /// The connection that carries that many more bytes is reset in the middle of whatever it is.
    CutInside { side: Side, direction: Direction, bytes: u64 },
    /// The database's next answer, to a commit under load, is lost with its connection.
    AnswerLost,
    /// The broker takes itself to be out of memory, and blocks publishers.
    MemoryAlarm { lasts: Duration },
    /// What the history is stored on is full.
    DiskFull { lasts: Duration },
}

impl Fault {
    /// Its kind, in words.
    pub fn kind(&self) -> &'static str {
        use Side::{Broker, Database};
        match self {
            Self::DaemonKilled => "daemon killed",
            Self::DaemonStopped => "daemon restarted",
            Self::Killed { side: Broker, .. } => "RabbitMQ killed",
            Self::Killed { side: Database, .. } => "PostgreSQL killed",
            Self::Restarted(Broker) => "RabbitMQ restarted",
            Self::Restarted(Database) => "PostgreSQL restarted",
            Self::BothKilled => "both servers killed",
            Self::BothRestarted => "both servers restarted",
            Self::Stalled { side: Broker, .. } => "RabbitMQ stalled",
            Self::Stalled { side: Database, .. } => "PostgreSQL stalled",
            Self::StalledTowards { side: Broker, .. } => "RabbitMQ stalled one way",
            Self::StalledTowards { side: Database, .. } => "PostgreSQL stalled one way",
            Self::HalfOpen { side: Broker, .. } => "RabbitMQ half-open",
            Self::HalfOpen { side: Database, .. } => "PostgreSQL half-open",
            Self::Cut(Broker) => "RabbitMQ cut off",
            Self::Cut(Database) => "PostgreSQL cut off",
            Self::CutInside { side: Broker, .. } => "RabbitMQ cut in a frame",
            Self::CutInside { side: Database, .. } => "PostgreSQL cut in a statement",
            Self::AnswerLost => "commit's answer lost",
            Self::MemoryAlarm { .. } => "RabbitMQ memory alarm",
            Self::DiskFull { .. } => "PostgreSQL disk full",
        }
    }

    /// How long it is kept up, of one that is.
    pub fn held(&self) -> Option<Duration> {
        match self {
            Self::Stalled { lasts, .. }
            | Self::StalledTowards { lasts, .. }
            | Self::HalfOpen { lasts, .. }
            | Self::MemoryAlarm { lasts }
            | Self::DiskFull { lasts } => Some(*lasts),
            _ => None,
        }
    }

    /// How long it takes, as far as that can be told beforehand.
    pub fn nominal(&self) -> Duration {
        const CTL: Duration = Duration::from_secs(2);
        const DATABASE: Duration = Duration::from_secs(1);
        const BROKER: Duration = Duration::from_secs(8);
        match self {
            Self::Killed { side: Side::Broker, away } => BROKER + *away,
            Self::Killed { side: Side::Database, away } => DATABASE + *away,
            Self::Restarted(Side::Database) => DATABASE,
            Self::Restarted(Side::Broker) | Self::BothKilled | Self::BothRestarted => BROKER,
            Self::MemoryAlarm { lasts } => *lasts + CTL,
            Self::DaemonStopped => Duration::from_secs(1),
            _ => self.held().unwrap_or(Duration::from_millis(100)),
        }
    }

    /// Whether the broker's process ends.
    pub fn ends_broker(&self) -> bool {
        matches!(
            self,
            Self::Killed { side: Side::Broker, .. }
                | Self::Restarted(Side::Broker)
                | Self::BothKilled
                | Self::BothRestarted
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Self::Killed { away, .. } => write!(f, ", away for {:.1} s", away.as_secs_f64())?,
            Self::StalledTowards { direction, .. } => write!(f, ", {}", towards(*direction))?,
            Self::CutInside { direction, bytes, .. } => {
                write!(f, ", after {bytes} bytes {}", towards(*direction))?;
            }
            _ => {}
        }
        match self.held() {
            Some(lasts) => write!(f, ", {:.1} s", lasts.as_secs_f64()),
            None => Ok(()),
        }
    }
}

fn towards(direction: Direction) -> &'static str {
    match direction {
        Direction::ToServer => "towards the server",
        Direction::ToClient => "towards the daemon",
    }
}
