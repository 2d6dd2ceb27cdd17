//! A scene: an exchange, queues and a database of one test's own.

use std::time::Duration;

use amqprs::{
    channel::{Channel, QueueDeclareArguments},
    connection::{Connection, OpenConnectionArguments},
};
use anyhow::{Context as _, Result, bail};
use bloodbank_audit::{
    broker::{Address, Auth, Publisher, Trust},
    config::AmqpUrl,
};
use sqlx::PgConnection;
use testbed::{Postgres, RabbitMq, eventually};
use uuid::Uuid;

use super::{Bed, Daemon, Message, PATIENCE, event};

/// Names of one test's own on a bed, and a database.
#[derive(Clone)]
pub struct Scene {
    pub name: String,
    amqp_url: String,
    database_url: String,
    settings: Vec<(String, String)>,
}

impl Scene {
    /// A scene with an empty database.
    pub async fn set(bed: &Bed) -> Result<Scene> {
        Scene::between(&bed.rabbitmq, &bed.postgres).await
    }

    /// The same on servers of another bed.
    pub async fn between(rabbitmq: &RabbitMq, postgres: &Postgres) -> Result<Scene> {
        let name = format!("t{}", Uuid::new_v4().simple());
        let database_url = postgres.create_database(&name).await?;
        Ok(Scene { name, amqp_url: rabbitmq.amqp_url(), database_url, settings: Vec::new() })
    }

    /// A scene whose database has the schema, and no daemon.
    pub async fn migrated(bed: &Bed) -> Result<Scene> {
        let scene = Scene::set(bed).await?;
        let daemon = Daemon::spawn(&["migrate"], &scene.environment())?;
        let status = daemon.ends().await?;
        anyhow::ensure!(status == 0, "migrate ended with {status}: {:#?}", daemon.log());
        Ok(scene)
    }

    /// Configures the daemons of this scene: `section.key`, and the value as in the environment.
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Scene {
        self.settings.push((key.to_owned(), value.into()));
        self
    }

    /// Reaches the broker, or the database, by another URL, such as through a proxy.
    pub fn through(mut self, amqp_url: Option<String>, database_url: Option<String>) -> Scene {
        self.amqp_url = amqp_url.unwrap_or(self.amqp_url);
        self.database_url = database_url.unwrap_or(self.database_url);
        self
    }

    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    pub fn exchange(&self) -> String {
        format!("{}.events", self.name)
    }

    pub fn queue(&self) -> String {
        format!("{}.audit", self.name)
    }

    pub fn dead_letter_queue(&self) -> String {
        format!("{}.dlq", self.name)
    }

    pub fn dead_letter_exchange(&self) -> String {
        format!("{}.dlx", self.name)
    }

    /// The environment that configures a daemon for this scene.
    pub fn environment(&self) -> Vec<(String, String)> {
        let own = [
            ("rabbitmq.url", self.amqp_url.clone()),
            ("rabbitmq.exchange", self.exchange()),
            ("rabbitmq.queue", self.queue()),
            ("rabbitmq.dead_letter_exchange", self.dead_letter_exchange()),
            ("rabbitmq.dead_letter_queue", self.dead_letter_queue()),
            ("postgres.url", self.database_url.clone()),
            ("reconnect.initial", "100ms".to_owned()),
            ("reconnect.max", "1s".to_owned()),
            ("http.listen", "off".to_owned()),
            ("log.format", "json".to_owned()),
        ];
        let own = own.into_iter().map(|(key, value)| (key.to_owned(), value));
        own.chain(self.settings.clone())
            .map(|(key, value)| {
                (format!("BLOODBANK_AUDIT__{}", key.to_uppercase().replace('.', "__")), value)
            })
            .collect()
    }

    /// Starts a daemon.
    pub fn starts(&self) -> Result<Daemon> {
        Daemon::spawn(&["run"], &self.environment())
    }

    /// Starts a daemon and awaits that it consumes.
    pub async fn daemon(&self) -> Result<Daemon> {
        let daemon = self.starts()?;
        daemon.consumes(1).await?;
        Ok(daemon)
    }

    /// Publishes a few events, until a new daemon takes as many deliveries at a time as configured.
    pub async fn opens_the_window(&self, daemon: &Daemon) -> Result<Vec<Message>> {
        let messages: Vec<_> = (0..10).map(event).collect();
        self.publish(&messages).await?;
        daemon.says("taking as many deliveries at a time as configured", 1).await?;
        self.stored(messages.len()).await?;
        self.waits(&self.queue(), 0).await?;
        Ok(messages)
    }

    pub fn address(&self) -> Result<Address> {
        let url = AmqpUrl::parse(&self.amqp_url)?;
        Ok(Address {
            host: url.host,
            port: url.port,
            others: url.others,
            vhost: url.vhost,
            user: url.user,
            password: url.password.expose().to_owned(),
            renewed: bloodbank_audit::shared::Shared::default(),
            tls: url.tls,
            trust: Trust::default(),
            server_name: None,
            auth: Auth::Plain,
        })
    }

    pub async fn publisher(&self) -> Result<Publisher> {
        Ok(Publisher::open(&self.address()?, &self.name, Duration::from_secs(10)).await?)
    }

    /// Publishes to the exchange, and awaits that the broker has taken every message.
    pub async fn publish(&self, messages: &[Message]) -> Result<()> {
        let publisher = self.publisher().await?;
        self.publish_with(&publisher, messages).await?;
        publisher.close().await;
        Ok(())
    }

    pub async fn publish_with(&self, publisher: &Publisher, messages: &[Message]) -> Result<()> {
        let mut confirmations = Vec::new();
        for message in messages {
            let Message { routing_key, properties, body } = message;
            confirmations.push(
                publisher.publish(&self.exchange(), routing_key, properties, body.clone()).await?,
            );
        }
        for confirmation in confirmations {
            if !confirmation.taken().await? {
                bail!("the broker did not take a message");
            }
        }
        Ok(())
    }

    /// A connection to this scene's database.
    pub async fn sql(&self) -> Result<PgConnection> {
        <PgConnection as sqlx::Connection>::connect(&self.database_url)
            .await
            .context("connect to the scene's database")
    }

    /// The stored bodies, sorted.
    pub async fn bodies(&self) -> Result<Vec<Vec<u8>>> {
        let mut sql = self.sql().await?;
        let rows: Vec<(Vec<u8>,)> =
            sqlx::query_as("select audit.raw(e) from audit.events e order by 1")
                .fetch_all(&mut sql)
                .await?;
        Ok(rows.into_iter().map(|(body,)| body).collect())
    }

    /// Awaits that this many events are stored.
    pub async fn stored(&self, events: usize) -> Result<()> {
        self.counts(i64::try_from(events)?, "select count(*) from audit.events").await
    }

    /// Awaits that a query counts this many.
    pub async fn counts(&self, wanted: i64, query: &'static str) -> Result<()> {
        self.awaits(&format!("{query} is {wanted}"), query, |found| found == wanted).await
    }

    /// Awaits that a query counts this many or more.
    pub async fn counts_at_least(&self, wanted: i64, query: &'static str) -> Result<()> {
        self.awaits(&format!("{query} is at least {wanted}"), query, |found| found >= wanted).await
    }

    async fn awaits(
        &self,
        what: &str,
        query: &'static str,
        reached: impl Fn(i64) -> bool,
    ) -> Result<()> {
        eventually(what, PATIENCE, async || match self.number(query).await {
            Ok(found) if reached(found) => Ok(()),
            Ok(found) => Err(found.to_string()),
            Err(error) => Err(format!("{error:#}")),
        })
        .await
    }

    /// What a query counts now.
    pub async fn number(&self, query: &'static str) -> Result<i64> {
        let mut sql = self.sql().await?;
        let (found,): (i64,) = sqlx::query_as(query).fetch_one(&mut sql).await?;
        sqlx::Connection::close(sql).await?;
        Ok(found)
    }

    /// A channel of a plain client beside the daemon, and the connection it lives on.
    pub async fn client(&self) -> Result<(Connection, Channel)> {
        let Address { host, port, vhost, user, password, .. } = self.address()?;
        let arguments = OpenConnectionArguments::new(&host, port, &user, &password)
            .virtual_host(&vhost)
            .finish();
        let connection = Connection::open(&arguments).await?;
        let channel = connection.open_channel(None).await?;
        Ok((connection, channel))
    }

    /// Messages that wait in a queue, not handed out.
    pub async fn ready(&self, queue: &str) -> Result<usize> {
        let (connection, channel) = self.client().await?;
        let passive = QueueDeclareArguments::new(queue).passive(true).finish();
        let declared = channel.queue_declare(passive).await?;
        connection.close().await?;
        let (_, messages, _) = declared.context("no answer to a passive declaration")?;
        Ok(usize::try_from(messages)?)
    }

    /// Awaits that this many messages wait in a queue.
    pub async fn waits(&self, queue: &str, messages: usize) -> Result<()> {
        eventually(&format!("{messages} message(s) in {queue}"), PATIENCE, async || {
            match self.ready(queue).await {
                Ok(found) if found == messages => Ok(()),
                Ok(found) => Err(found.to_string()),
                Err(error) => Err(format!("{error:#}")),
            }
        })
        .await
    }

    /// Awaits that the queue is empty, stops the daemon, and expects that then exactly these messages are stored: what
    /// was still on its way would show.
    pub async fn ends_with(&self, daemon: &Daemon, messages: &[Message]) -> Result<()> {
        self.stored(messages.len()).await?;
        self.waits(&self.queue(), 0).await?;
        daemon.stops_cleanly().await?;
        self.waits(&self.queue(), 0).await?;
        self.stored_exactly(messages).await?;
        self.is_as_recorded()
    }

    /// Expects that the ledger's checker finds nothing wrong: whatever has happened, nobody has touched the history.
    pub fn is_as_recorded(&self) -> Result<()> {
        let answer = self.asks(&["verify", "--unsealed-after", "0s"])?;
        if answer.status != 0 {
            bail!("not as it was recorded: {}{}", answer.text(), answer.stderr);
        }
        Ok(())
    }

    /// Expects that exactly the bodies of these messages are stored, each as often as it is here.
    pub async fn stored_exactly(&self, messages: &[Message]) -> Result<()> {
        self.stored(messages.len()).await?;
        let mut published: Vec<_> = messages.iter().map(|message| message.body.clone()).collect();
        published.sort();
        let stored = self.bodies().await?;
        if stored != published {
            let missing = published.iter().filter(|body| !stored.contains(body)).count();
            bail!(
                "{} stored, {} published, {missing} of those missing",
                stored.len(),
                published.len()
            );
        }
        Ok(())
    }
}
