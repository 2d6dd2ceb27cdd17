//! The configuration, as each part of the daemon wants it. Here alone both sides are known.

use std::{sync::Arc, time::Duration};

use bytesize::ByteSize;
use tokio::sync::watch;

use super::{keys, reading::Misuse};
use crate::{
    backoff::Backoff,
    broker::{self, Address, Auth, Identity, Login, ManagementAddress, Topology, Trust},
    config::{self, AmqpUrl, Config, Environment, ManagementUrl, WebhookUrl},
    event::{Envelope, Overrides},
    export::Place,
    pipeline::{Ack, Bounds, Limits, Rules},
    shared::Shared,
    store, supervisor,
};

/// What of the daemon's settings can change while it runs.
#[derive(Debug)]
pub struct Live {
    /// For how long history is kept.
    pub keep: watch::Sender<Option<Duration>>,
    /// As whom to log in to the broker from now on, where that has changed.
    login: Shared<Option<Login>>,
    /// How to connect to the database.
    database: store::Options,
}

impl Live {
    /// As the configuration has it.
    ///
    /// # Errors
    /// The database's URL holds something the client does not know.
    pub fn new(config: &Config) -> Result<Live, store::Fault> {
        let keep = watch::Sender::new(config.retention.keep);
        let database = store::options(config.postgres.url.expose())?;
        Ok(Live { keep, login: Shared::default(), database })
    }

    /// Tells the daemon what the configuration has now. What is as it was disturbs nobody.
    ///
    /// # Errors
    /// As [`Live::new`]; what the database is reached by stays as it was.
    pub fn set(&self, config: &Config) -> Result<(), store::Fault> {
        let AmqpUrl { user, password, .. } = &config.rabbitmq.url;
        let password = password.expose().to_owned();
        self.login.set(Some(Login { user: user.clone(), password }));
        self.keep.send_if_modified(|keep| {
            std::mem::replace(keep, config.retention.keep) != config.retention.keep
        });
        self.database.renew(&store::options(config.postgres.url.expose())?);
        Ok(())
    }
}

/// Everything the daemon is told to do. What can change while it runs comes in as [`Live`] gives it.
///
/// # Errors
/// The database's URL holds something the client does not know.
pub fn daemon(config: &Config, live: &Live) -> Result<supervisor::Settings, store::Fault> {
    let mut broker = broker(config);
    broker.address.renewed = live.login.clone();
    let store = store::Settings { options: live.database.clone(), ..store(config)? };
    Ok(supervisor::Settings {
        broker,
        store,
        instance: config.storage.instance.clone().unwrap_or_else(host_name),
        keep: live.keep.subscribe(),
        migrate: config.postgres.migrate,
        rules: rules(config),
        notary: config.ledger.enabled.then(|| notary(&config.ledger)),
        canary: config.canary.every.map(|every| supervisor::Flights {
            every,
            routing_key: config.canary.routing_key.clone(),
        }),
        grace: config.shutdown.grace,
    })
}

/// When to seal, and where checkpoints go.
fn notary(ledger: &config::Ledger) -> supervisor::Notary {
    let url = |url: &WebhookUrl| Place::Webhook(url.expose().clone());
    let places = [
        ledger.checkpoint_file.clone().map(Place::File),
        ledger.checkpoint_log.then_some(Place::Log),
        ledger.checkpoint_exchange.clone().map(Place::Exchange),
        ledger.checkpoint_webhook.as_ref().map(url),
    ];
    supervisor::Notary {
        seal_every: ledger.seal_every,
        checkpoint_every: ledger.checkpoint_every,
        export_within: ledger.export_within,
        places: places.into_iter().flatten().collect(),
    }
}

/// How to open a session with the broker.
fn broker(config: &Config) -> broker::Settings {
    let rabbitmq = &config.rabbitmq;
    broker::Settings {
        address: address(config),
        topology: Topology {
            exchange: rabbitmq.exchange.clone(),
            queue: rabbitmq.queue.clone(),
            queue_type: match rabbitmq.queue_type {
                config::QueueType::Quorum => broker::QueueType::Quorum,
                config::QueueType::Classic => broker::QueueType::Classic,
            },
            bindings: rabbitmq.bindings.clone(),
            dead_letter_exchange: rabbitmq.dead_letter_exchange.clone(),
            dead_letter_queue: rabbitmq.dead_letter_queue.clone(),
            delivery_limit: rabbitmq.delivery_limit,
            declare: match rabbitmq.declare {
                config::Declare::Create => broker::Declare::Create,
                config::Declare::Verify => broker::Declare::Verify,
            },
        },
        connection_name: format!("bloodbank-audit {}", env!("CARGO_PKG_VERSION")),
        connect_timeout: rabbitmq.connect_timeout,
        heartbeat: rabbitmq.heartbeat,
    }
}

/// How to open a session with another broker, or with the same.
pub fn broker_at(config: &Config, address: Address) -> broker::Settings {
    broker::Settings { address, ..broker(config) }
}

/// Where the broker is.
pub fn address(config: &Config) -> Address {
    address_of(&config.rabbitmq.url, config)
}

/// Where the broker of that URL is.
pub fn address_of(url: &AmqpUrl, config: &Config) -> Address {
    Address {
        host: url.host.clone(),
        port: url.port,
        others: url.others.clone(),
        vhost: url.vhost.clone(),
        user: url.user.clone(),
        password: url.password.expose().to_owned(),
        renewed: Shared::default(),
        tls: url.tls,
        trust: trust(config),
        server_name: config.rabbitmq.tls_server_name.clone(),
        auth: match config.rabbitmq.auth {
            config::Auth::Plain => Auth::Plain,
            config::Auth::External => Auth::External,
        },
    }
}

fn trust(config: &Config) -> Trust {
    let config::RabbitMq { tls_ca_file, tls_client_cert, tls_client_key, .. } = &config.rabbitmq;
    let identity = tls_client_cert.clone().zip(tls_client_key.clone());
    Trust {
        ca_file: tls_ca_file.clone(),
        identity: identity.map(|(certificate, key)| Identity { certificate, key }),
    }
}

/// Where the management interface of that URL is.
pub fn management(url: &ManagementUrl, config: &Config) -> ManagementAddress {
    ManagementAddress {
        base: url.base.clone(),
        user: url.user.clone(),
        password: url.password.expose().to_owned(),
        trust: trust(config),
    }
}

/// How to reach the database.
///
/// # Errors
/// The URL holds something the client does not know.
pub fn store(config: &Config) -> Result<store::Settings, store::Fault> {
    let config::Storage { partitions_ahead, dedupe_overlap, .. } = config.storage;
    Ok(store::Settings {
        options: store::options(config.postgres.url.expose())?,
        connect_timeout: config.postgres.connect_timeout,
        statement_timeout: config.postgres.statement_timeout,
        hourly: config.retention.partition == config::Partition::Hour,
        partitions_ahead,
        dedupe_overlap,
        redelivered_within: config.rabbitmq.consumer_timeout,
        rejected_body: bytes(config.ingest.rejected_body),
        ledger: config
            .ledger
            .enabled
            .then(|| store::Ledger { key: None, origin: config.ledger.origin.clone() }),
    })
}

/// The same with the key that signs, for whoever adds to the ledger.
///
/// # Errors
/// The key cannot be read, or others can read it.
pub fn with_key(
    settings: store::Settings,
    config: &Config,
    environment: &Environment,
) -> anyhow::Result<store::Settings> {
    let Some(ledger) = settings.ledger else { return Ok(settings) };
    let key = config.ledger.key_file.as_deref().map(|path| keys::read(path, environment));
    let key = key.transpose().map_err(|error| Misuse(format!("ledger.key_file: {error:#}")))?;
    let ledger = store::Ledger { key: key.map(Arc::new), ..ledger };
    Ok(store::Settings { ledger: Some(ledger), ..settings })
}

/// Why nothing is done that would have to be signed.
pub fn keyless() -> Misuse {
    Misuse(
        "the ledger is signed, and ledger.key_file is not set here: what is done without the key is nobody's word, and \
         `verify` would name it ever after. Run it where the key is"
            .to_owned(),
    )
}

/// The name of this machine, as its kernel has it.
pub(super) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "unknown".to_owned() } else { name.trim().to_owned() }
}

/// Redeliveries from which on a delivery is taken alone, at most; with a low limit it is half of that.
const WARY: u64 = 5;

fn rules(config: &Config) -> Rules {
    Rules {
        queue: config.rabbitmq.queue.clone(),
        envelope: Arc::new(envelope(config)),
        dead_letter_malformed: config.ingest.malformed == config::Malformed::DeadLetter,
        max_body: bytes(config.ingest.max_body),
        limits: Limits {
            events: config.ingest.batch_events,
            bytes: bytes(config.ingest.batch_bytes),
        },
        backoff: Backoff::new(config.reconnect.initial, config.reconnect.max),
        bounds: Bounds {
            deliveries: config.ingest.prefetch,
            // The rest is for what the AMQP client has read and not handed over yet, and for what is being encoded.
            bytes: bytes(config.ingest.memory) / 8 * 3,
            wary: (u64::from(config.rabbitmq.delivery_limit) / 2).min(WARY),
        },
        hold: config.rabbitmq.consumer_timeout / 2,
        ack: match config.ingest.ack {
            config::Ack::Committed => Ack::Committed,
            config::Ack::Sealed => Ack::Sealed(Arc::default()),
        },
    }
}

/// What an event's envelope is.
pub fn envelope(config: &Config) -> Envelope {
    let envelope = config.envelope.clone();
    let overrides = Overrides {
        event_id: envelope.event_id,
        event_type: envelope.event_type,
        event_time: envelope.event_time,
        source: envelope.source,
        correlation_ids: envelope.correlation_ids,
        expects: envelope.expects,
    };
    Envelope::with_overrides(envelope.preset, overrides)
}

fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}
