//! A RabbitMQ and a PostgreSQL.

use std::sync::OnceLock;

use anyhow::{Context as _, Result};
use testbed::{Postgres, PostgresOptions, RabbitMq, RabbitMqOptions};

/// The two servers a scene plays on.
pub struct Bed {
    pub rabbitmq: RabbitMq,
    pub postgres: Postgres,
}

impl Bed {
    /// Servers of one's own, for tests that break them.
    pub async fn own() -> Result<Bed> {
        Bed::with(RabbitMqOptions::default()).await
    }

    /// The same with a broker of that kind.
    pub async fn with(rabbitmq: RabbitMqOptions) -> Result<Bed> {
        let (rabbitmq, postgres) = tokio::try_join!(
            RabbitMq::start(rabbitmq),
            Postgres::start(PostgresOptions::default())
        )?;
        Ok(Bed { rabbitmq, postgres })
    }

    /// Servers that all tests of this process share, started by the first that asks. Scenes on them keep apart by
    /// name. The testbed's watchdog ends them when the process ends.
    pub async fn shared() -> Result<&'static Bed> {
        static SHARED: OnceLock<Result<Bed, String>> = OnceLock::new();
        Bed::of_all(&SHARED, RabbitMqOptions::default()).await
    }

    /// The same with a broker that has its management interface.
    pub async fn managed() -> Result<&'static Bed> {
        static MANAGED: OnceLock<Result<Bed, String>> = OnceLock::new();
        Bed::of_all(&MANAGED, RabbitMqOptions::default().management()).await
    }

    async fn of_all(
        shared: &'static OnceLock<Result<Bed, String>>,
        rabbitmq: RabbitMqOptions,
    ) -> Result<&'static Bed> {
        // Not on the caller's runtime, which ends with its test.
        let start = move || {
            shared.get_or_init(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let bed = runtime
                    .context("a runtime")
                    .and_then(|runtime| runtime.block_on(Bed::with(rabbitmq)));
                bed.map_err(|error| format!("{error:#}"))
            })
        };
        let bed = tokio::task::spawn_blocking(start).await?;
        bed.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }
}
