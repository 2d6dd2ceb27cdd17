//! What to try while everything runs.

use crate::screen::Screen;
use crate::stage::Stage;
use crate::stage::evidence::{CHECKPOINTS, Evidence, PUBLIC_KEY};

const QUERIES: [&str; 2] = [
    "select received_at, routing_key, event_type, source\n      from audit.events order by received_at desc limit 10;",
    "select event_type, count(*), max(received_at)\n      from audit.events group by 1 order by 2 desc;",
];

/// The id of an event that is old enough to be sealed.
const AN_ID: &str =
    "select event_id from audit.events where event_id is not null order by seq limit 1";

/// Prints where everything is, ready to paste.
pub fn print(screen: &Screen, stage: &Stage, evidence: &Evidence, has_traffic: bool) {
    let psql = if on_path("psql") { "psql".into() } else { stage.postgres.psql() };
    let psql = format!("{} {}", psql.display(), stage.database_url());
    screen.line("");
    screen.line(screen.dim("  Look at the history from another terminal:"));
    screen.line("");
    screen.line(format!("    {}", screen.bold(&psql)));
    screen.line("");
    for query in QUERIES {
        screen.line(format!("    {query}"));
    }
    screen.line("");
    print_proof(screen, stage, evidence, &psql);
    let place = |name: &str, what: &str| {
        screen.line(format!("  {} {what}", screen.dim(&format!("{name:<12}"))));
    };
    place("AMQP", &stage.rabbitmq.amqp_url());
    place("exchange", &format!("{} (topic)", stage.names.exchange));
    place("queue", &stage.names.queue);
    let pid = stage.daemon.pid().map(|pid| format!(" (process {pid})")).unwrap_or_default();
    place("daemon's log", &format!("{}{pid}", stage.daemon.log().display()));
    if has_traffic {
        // Their events would count as stored without having been published.
        place("your own", "publishers: give them a bus of theirs with --no-traffic");
    } else {
        place("traffic", "none of ours: publish to the exchange, under any routing key");
    }
    place("stop", "Ctrl-C; a second one stops at once, without the balance");
    screen.line("");
}

/// Prints what has the history checked, and an event of it proven: lines to paste one after the other.
fn print_proof(screen: &Screen, stage: &Stage, evidence: &Evidence, psql: &str) {
    let (program, directory) = (stage.binary().display(), evidence.directory().display());
    let event = format!("{psql} -Atc '{AN_ID}'");
    screen.line(screen.dim("  Check that it is as it was recorded, and prove an event of it:"));
    screen.line("");
    for line in [
        format!("cd {directory} && export DATABASE_URL={}", stage.database_url()),
        format!("{program} verify --checkpoint {CHECKPOINTS} --key {PUBLIC_KEY}"),
        format!("{program} prove \"$({event})\" --out proof.json"),
        format!("{program} verify --proof proof.json --key {PUBLIC_KEY}"),
    ] {
        screen.line(format!("    {}", screen.bold(&line)));
    }
    screen.line("");
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}
