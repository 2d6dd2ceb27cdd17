//! The status as metrics. What grows is set to what was counted, so that nothing on an event's way knows of metrics.

use metrics::{counter, gauge};
use time::OffsetDateTime;

use super::{
    canary::Missing,
    ledger::LedgerStatus,
    status::{Certificates, Status},
};
use crate::{event::now, measures::*, store::State};

impl Status {
    /// Sets every metric that follows from it.
    pub fn measure(&self) {
        let instance = self.instance.clone();
        gauge!(BUILD, "version" => self.version, "instance" => instance).set(1);
        gauge!(READY).set(f64::from(self.ready));
        for state in State::ALL {
            gauge!(STATE, "state" => state.as_str()).set(f64::from(state == self.state));
        }
        gauge!(STATE_SINCE).set(unix(self.since));
        gauge!(STUCK).set(self.stuck.as_ref().map_or(0.0, |stuck| of(stuck.seconds)));
        for (side, usable) in [("broker", &self.broker), ("postgres", &self.postgres)] {
            gauge!(CONNECTED, "side" => side).set(f64::from(usable.usable));
            gauge!(CONNECTED_SINCE, "side" => side).set(unix(usable.since));
            // There from the start, so that a rate over it is there from the start, too.
            counter!(CONNECTIONS, "side" => side).absolute(usable.connections);
        }
        let counts = &self.counts;
        for (name, count) in [
            (DELIVERIES, counts.deliveries),
            (DELIVERED_BYTES, counts.delivered_bytes),
            (REDELIVERED, counts.redelivered),
            (EVENTS, counts.events),
            (COMMITTED_BYTES, counts.committed_bytes),
            (DUPLICATES, counts.duplicates),
            (CONFLICTS, counts.conflicts),
            (REPLAYS, counts.replays),
            (MALFORMED, counts.malformed),
            (REJECTIONS, counts.rejections),
            (UNPARSABLE, counts.unparsable),
            (BATCHES_COMMITTED, counts.batches),
        ] {
            counter!(name).absolute(count);
        }
        // It is counted where it happens, and there from the start.
        counter!(UNBOUND).increment(0);
        gauge!(COMMITTED_AT).set(self.committed_at.map_or(0.0, unix));
        if let Some(canary) = &self.canary {
            for outcome in Missing::OUTCOMES.into_iter().chain(["stored"]) {
                counter!(CANARIES, "outcome" => outcome).increment(0);
            }
            gauge!(CANARY_EVERY).set(canary.every_seconds);
            gauge!(CANARY_STORED_AT).set(unix(canary.stored_at));
        }
        if let Some(ledger) = &self.ledger {
            ledger.measure();
        }
        gauge!(UNACKED).set(of(self.in_hand.deliveries));
        gauge!(HELD).set(of(self.in_hand.held));
        gauge!(IN_HAND_BYTES).set(of(self.in_hand.bytes));
        gauge!(BUDGET_BYTES).set(of(self.in_hand_limit_bytes));
        gauge!(PREFETCH).set(self.in_hand.prefetch);
        if let Some(queue) = &self.queue {
            gauge!(QUEUE_READY).set(queue.ready);
            gauge!(QUEUE_CONSUMERS).set(queue.consumers);
            gauge!(DEAD_LETTERS).set(queue.dead_letters);
            gauge!(QUEUE_LOOKED_AT).set(unix(queue.at));
        }
        let history = &self.history;
        for (presence, count) in [
            ("attached", history.attached),
            ("detached", history.detached),
            ("missing", history.missing),
        ] {
            gauge!(PARTITIONS, "presence" => presence).set(of(count));
        }
        gauge!(PARTITIONS_BYTES, "part" => "tables").set(of(history.table_bytes));
        gauge!(PARTITIONS_BYTES, "part" => "indexes").set(of(history.index_bytes));
        if let Some(span) = history.span {
            gauge!(PARTITIONS_FROM).set(unix(span.from));
            gauge!(PARTITIONS_TO).set(unix(span.to));
        }
        let Certificates { broker, broker_client, postgres_client } = self.certificates;
        for (role, until) in [
            ("broker", broker),
            ("broker_client", broker_client),
            ("postgres_client", postgres_client),
        ] {
            if let Some(until) = until {
                gauge!(CERTIFICATE, "role" => role).set(unix(until));
            }
        }
        gauge!(UPKEEP_AT).set(history.looked_after_at.map_or(0.0, unix));
        gauge!(RETENTION).set(of(self.retention_seconds.unwrap_or(0)));
    }
}

impl LedgerStatus {
    fn measure(&self) {
        let age = |since: Option<OffsetDateTime>| {
            since.map_or(0.0, |since| (now() - since).as_seconds_f64().max(0.0))
        };
        gauge!(LEDGER_LEAVES).set(of(self.leaves));
        gauge!(LEDGER_HALTED).set(f64::from(self.halted.is_some()));
        gauge!(LEDGER_SEAL_EVERY).set(self.seal_every_seconds);
        gauge!(LEDGER_UNSEALED).set(age(self.unsealed_since));
        if self.sinks.is_empty() {
            return;
        }
        gauge!(LEDGER_EXPORT_WITHIN).set(self.export_within_seconds);
        gauge!(LEDGER_UNEXPORTED).set(age(self.unexported_since));
        for sink in &self.sinks {
            for outcome in LedgerStatus::OUTCOMES {
                counter!(LEDGER_EXPORTS, "sink" => sink.sink, "outcome" => outcome).increment(0);
            }
        }
    }
}

fn unix(at: OffsetDateTime) -> f64 {
    (at - OffsetDateTime::UNIX_EPOCH).as_seconds_f64()
}

/// Exact up to 2^53, as every number of Prometheus.
fn of(count: impl TryInto<i64>) -> f64 {
    let count = count.try_into().unwrap_or(i64::MAX);
    #[expect(clippy::cast_precision_loss, reason = "metrics are floating point numbers")]
    let count = count as f64;
    count
}
