//! The database: the way there, the server, the role, the schema and what is in it.

mod clock;
mod reach;
mod role;
mod room;
mod schema;
mod server;

use super::{
    Setup,
    finding::{Area, Finding},
    network::addresses,
};
use crate::store::{Fault, Settings, Survey};

const AREA: Area = Area::PostgreSql;

/// What is looked at once there is a connection, in this order.
const AFTER_LOGIN: &[&str] = &[
    "version",
    "encoding",
    "writable",
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "role",
    "connections",
    "schema",
    "clock",
    "disk",
];

/// What is said of the way there, as far as plain text goes.
pub async fn plain_text(settings: &Settings) -> Option<Finding> {
    let place = settings.address();
    if place.socket.is_some() {
        return None;
    }
    let there = addresses((&place.host, place.port), settings.connect_timeout).await?;
    Some(reach::encryption(&place, &there))
}

/// Looks at all of it.
pub async fn check(setup: &Setup) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some((mut survey, stays_here)) = reach::reach(setup, &mut findings).await else {
        let because = findings
            .iter()
            .rev()
            .find(|finding| finding.verdict == super::Verdict::Fault)
            .map_or("login", |finding| finding.check);
        let skipped = AFTER_LOGIN.iter().map(|check| Finding::skipped(AREA, check, because));
        findings.extend(skipped.collect::<Vec<_>>());
        return findings;
    };
    let asked = look(setup, &mut survey, stays_here, &mut findings).await;
    if let Err(fault) = asked {
        findings.push(
            Finding::fault(AREA, "questions", fault.to_string())
                .advise("the rest was not looked at: mend this and check again"),
        );
    }
    survey.close().await;
    findings
}

async fn look(
    setup: &Setup,
    survey: &mut Survey,
    stays_here: bool,
    findings: &mut Vec<Finding>,
) -> Result<(), Fault> {
    let server = survey.server().await?;
    let role = survey.role().await?;
    findings.extend(server::check(&server, &survey.settings, &role));
    findings.push(role::check(&role));
    findings.push(room::connections(&server, &role));
    findings.extend(schema::check(setup, survey, &server, &role).await?);
    findings.push(clock::check(survey, setup.store.address().host).await?);
    findings.push(room::disk(&server, stays_here));
    Ok(())
}
