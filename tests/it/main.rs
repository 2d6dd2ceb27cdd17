//! Integration tests: the real binary between a real RabbitMQ and a real PostgreSQL. Files are named after what the
//! README promises.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests fail by panicking, their helpers too"
)]

mod support;

mod acked_when_sealed;
mod alarms;
mod alerts;
mod asking;
mod bounded;
mod broker_changes;
mod bus_checks;
mod byte_for_byte;
mod canary;
mod check;
mod checked_by_others;
mod checkpoints;
mod clean_stop;
mod config;
mod connecting;
mod container;
mod copied;
mod coverage;
mod cursor;
mod dead_letters;
mod events;
mod evidence_is_safe;
mod failover;
mod faults_sorted;
mod half_open;
mod keys;
mod kills;
mod leader_moves;
mod ledger;
mod logs;
mod logs_without_room;
mod long_outages;
mod manual;
mod nothing_spins;
mod one_place;
mod outages;
mod own_rules;
mod reload;
mod replaced;
mod replay;
mod retention;
mod roles;
mod rotation;
mod schema;
mod service;
mod show;
mod stats;
mod stop_anytime;
mod stored_once;
mod ten_thousand;
mod tidy;
mod tls;
mod tls_postgres;
mod topic_matches;
mod topology;
mod trace;
mod trace_command;
mod two_at_once;
mod units;
mod verify;
mod views;
mod watched_over;
mod went_back;
mod who_looked;
