//! The measures: every metric's name, its unit and what it tells. What `docs/metrics.md` lists, and a test compares.
//!
//! No label takes a value that the bus chooses, so their number is bounded.

use metrics::Unit;

/// What a metric counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows, from the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations by size: these are the buckets' upper bounds.
    Histogram(&'static [f64]),
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// Its name, with its unit.
    pub name: &'static str,
    /// What it counts.
    pub kind: Kind,
    /// In which unit.
    pub unit: Unit,
    /// What it tells.
    pub help: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
}

/// From the fastest commit of a local disk to a minute.
const COMMITS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
/// From an idle bus to a backlog of a week.
const AGES: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0, 300.0, 600.0, 3600.0,
    86400.0, 604_800.0,
];
/// Up to the largest batch that can be configured.
const BATCHES: &[f64] =
    &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0];

macro_rules! measures {
    ($($constant:ident = $name:literal, $kind:expr, $unit:ident, [$($label:literal),*], $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = $name;)*

        /// All of them, in the order of the documentation.
        pub const ALL: &[Measure] = &[$(Measure {
            name: $constant,
            kind: $kind,
            unit: Unit::$unit,
            help: $help,
            labels: &[$($label),*],
        }),*];
    };
}

use Kind::{Counter, Gauge, Histogram};

measures! {
    BUILD = "bloodbank_audit_build_info", Gauge, Count, ["version", "instance"], "Always 1; its labels tell which program of which daemon this is";
    READY = "bloodbank_audit_ready", Gauge, Count, [], "1 while it consumes, can store and the exchange is there, as /readyz says; otherwise 0";
    STATE = "bloodbank_audit_state", Gauge, Count, ["state"], "1 for the state that the daemon is in, 0 for the others";
    STATE_SINCE = "bloodbank_audit_state_start_time_seconds", Gauge, Seconds, [], "Since when it has been in that state, in Unix time";
    STUCK = "bloodbank_audit_stuck_seconds", Gauge, Seconds, [], "For how long the latest stage of the pipeline has been at one thing; 0 where none is late";
    CONNECTED = "bloodbank_audit_connected", Gauge, Count, ["side"], "1 where that side (broker, postgres) could be used when it was tried last; 0 where not, or where it was not tried yet: the broker is not while PostgreSQL is away";
    CONNECTED_SINCE = "bloodbank_audit_connected_start_time_seconds", Gauge, Seconds, ["side"], "Since when that is so, in Unix time";
    CONNECTIONS = "bloodbank_audit_connections_total", Counter, Count, ["side"], "How often that side came to be usable: one is the start, each further one follows an outage";
    FAILURES = "bloodbank_audit_failures_total", Counter, Count, ["side", "cause"], "Failed attempts to use that side: of the broker unreachable, refused or lost (a session ended); of PostgreSQL the SQLSTATE, or unreachable";
    UNBOUND = "bloodbank_audit_unbound_total", Counter, Count, [], "How often the exchange was found missing on the broker: what was published meanwhile was not routed to the queue";
    DELIVERIES = "bloodbank_audit_deliveries_total", Counter, Count, [], "Deliveries taken from the broker, those that came again included";
    DELIVERED_BYTES = "bloodbank_audit_delivered_bytes_total", Counter, Bytes, [], "Bytes of their bodies";
    REDELIVERED = "bloodbank_audit_redelivered_total", Counter, Count, [], "Deliveries that came before, by the broker's word";
    EVENTS = "bloodbank_audit_events_stored_total", Counter, Count, [], "Events stored, conflicts included";
    COMMITTED_BYTES = "bloodbank_audit_committed_bytes_total", Counter, Bytes, [], "Bytes of the bodies of all that was committed";
    DUPLICATES = "bloodbank_audit_duplicates_total", Counter, Count, [], "Deliveries of events that were stored already";
    CONFLICTS = "bloodbank_audit_conflicts_total", Counter, Count, [], "Events stored under an id that was stored before with other content";
    REPLAYS = "bloodbank_audit_replays_total", Counter, Count, [], "Deliveries recorded as replays of stored events";
    MALFORMED = "bloodbank_audit_malformed_total", Counter, Count, [], "Deliveries committed whose body is not what the envelope expects";
    REJECTIONS = "bloodbank_audit_rejections_total", Counter, Count, [], "Deliveries that could not be stored: recorded with the reason, and dead-lettered";
    UNPARSABLE = "bloodbank_audit_unparsable_total", Counter, Count, [], "Messages that the client cannot parse and the broker dead-lettered for it";
    BATCHES_COMMITTED = "bloodbank_audit_batches_total", Counter, Count, [], "Transactions committed";
    BATCH_DELIVERIES = "bloodbank_audit_batch_deliveries", Histogram(BATCHES), Count, [], "Deliveries of one transaction";
    COMMIT = "bloodbank_audit_commit_duration_seconds", Histogram(COMMITS), Seconds, [], "How long the attempt took that committed a batch";
    EVENT_AGE = "bloodbank_audit_event_age_seconds", Histogram(AGES), Seconds, [], "From the producer's time of an event to its receipt; 0 where the producer's clock is ahead";
    COMMIT_LATENCY = "bloodbank_audit_commit_latency_seconds", Histogram(AGES), Seconds, [], "From the receipt of a delivery to its commit";
    COMMITTED_AT = "bloodbank_audit_last_commit_timestamp_seconds", Gauge, Seconds, [], "When something was committed last, in Unix time; 0 before the first";
    UNACKED = "bloodbank_audit_in_hand_deliveries", Gauge, Count, [], "Deliveries taken and not committed; with ingest.ack = \"sealed\", not to be acknowledged yet";
    IN_HAND_BYTES = "bloodbank_audit_in_hand_bytes", Gauge, Bytes, [], "Bytes that they take";
    BUDGET_BYTES = "bloodbank_audit_in_hand_limit_bytes", Gauge, Bytes, [], "ingest.memory: what they may take";
    HELD = "bloodbank_audit_held_deliveries", Gauge, Count, [], "How many deliveries in hand are committed, and wait for a checkpoint outside";
    PREFETCH = "bloodbank_audit_prefetch", Gauge, Count, [], "As many deliveries at a time are asked of the broker";
    QUEUE_READY = "bloodbank_audit_queue_ready_messages", Gauge, Count, [], "Messages that wait in the queue, as the broker says once per heartbeat interval";
    QUEUE_CONSUMERS = "bloodbank_audit_queue_consumers", Gauge, Count, [], "Consumers of the queue, other daemons' included";
    DEAD_LETTERS = "bloodbank_audit_dead_letters", Gauge, Count, [], "Messages that wait in the dead-letter queue";
    QUEUE_LOOKED_AT = "bloodbank_audit_queue_looked_at_timestamp_seconds", Gauge, Seconds, [], "When the broker said so, in Unix time";
    CERTIFICATE = "bloodbank_audit_certificate_expiry_timestamp_seconds", Gauge, Seconds, ["role"], "Until when a certificate is valid, in Unix time: broker, as it was shown when the session was opened; broker_client and postgres_client, our own, as the files have them now";
    PARTITIONS = "bloodbank_audit_partitions", Gauge, Count, ["presence"], "Partitions of the history: attached, detached or missing; looked at every ten minutes";
    PARTITIONS_BYTES = "bloodbank_audit_partitions_bytes", Gauge, Bytes, ["part"], "What they take: tables and indexes";
    PARTITIONS_FROM = "bloodbank_audit_partitions_start_timestamp_seconds", Gauge, Seconds, [], "Where the oldest begins, in Unix time";
    PARTITIONS_TO = "bloodbank_audit_partitions_end_timestamp_seconds", Gauge, Seconds, [], "Where the newest ends, in Unix time: events after it find no partition until one is made";
    UPKEEP_AT = "bloodbank_audit_upkeep_timestamp_seconds", Gauge, Seconds, [], "When partitions were looked after last with nothing in the way, in Unix time; 0 before the first time";
    CANARIES = "bloodbank_audit_canaries_total", Counter, Count, ["outcome"], "Canaries by what became of them: stored; unmarked (PostgreSQL), unpublished (the broker), unrouted (no binding) or lost (not stored in time)";
    CANARY_LATENCY = "bloodbank_audit_canary_duration_seconds", Histogram(AGES), Seconds, [], "From before a canary was published to when its row was seen";
    CANARY_EVERY = "bloodbank_audit_canary_interval_seconds", Gauge, Seconds, [], "canary.every; absent where it is off";
    CANARY_STORED_AT = "bloodbank_audit_canary_last_stored_timestamp_seconds", Gauge, Seconds, [], "When a canary was seen as a row last, in Unix time; before the first one, when the daemon started";
    LEDGER_LEAVES = "bloodbank_audit_ledger_leaves", Gauge, Count, [], "Leaves of the ledger's tree: events, batches and acts that are sealed";
    LEDGER_HALTED = "bloodbank_audit_ledger_halted", Gauge, Count, [], "1 while nothing is sealed because the database went back in time, by the last checkpoint in ledger.checkpoint_file; otherwise 0";
    LEDGER_SEAL_EVERY = "bloodbank_audit_ledger_seal_interval_seconds", Gauge, Seconds, [], "ledger.seal_every; absent where the ledger is off";
    LEDGER_UNSEALED = "bloodbank_audit_ledger_unsealed_seconds", Gauge, Seconds, [], "For how long the oldest batch has been committed that is not sealed; 0 where all are";
    LEDGER_EXPORT_WITHIN = "bloodbank_audit_ledger_export_limit_seconds", Gauge, Seconds, [], "ledger.export_within; absent where checkpoints go nowhere";
    LEDGER_UNEXPORTED = "bloodbank_audit_ledger_unexported_seconds", Gauge, Seconds, [], "For how long there has been a seal of which no checkpoint is outside; 0 where there is none, absent where checkpoints go nowhere";
    LEDGER_EXPORTS = "bloodbank_audit_ledger_exports_total", Counter, Count, ["sink", "outcome"], "Checkpoints handed to the file, log, exchange or webhook, by whether they were taken or refused; those refused are handed over again";
    RETENTION = "bloodbank_audit_retention_seconds", Gauge, Seconds, [], "retention.keep; 0 where everything is kept";
}

/// Tells the recorder what each measure is.
pub fn describe() {
    for measure in ALL {
        let Measure { name, unit, help, .. } = *measure;
        match measure.kind {
            Counter => metrics::describe_counter!(name, unit, help),
            Gauge => metrics::describe_gauge!(name, unit, help),
            Histogram(_) => metrics::describe_histogram!(name, unit, help),
        }
    }
}
