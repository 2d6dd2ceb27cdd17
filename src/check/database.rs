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
use crate::store::{DatabaseAddress, Fault, Settings, Survey};

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
    for place in settings.options.addresses().iter().filter(|place| place.socket.is_none()) {
        let there = addresses((&place.host, place.port), settings.connect_timeout).await;
        let said = there.map(|there| reach::encryption(place, &there));
        if said.as_ref().is_some_and(|one| one.verdict == super::Verdict::Warning) {
            return said;
        }
    }
    None
}

/// Looks at all of it.
pub async fn check(setup: &Setup) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some((mut survey, place)) = first(setup, &mut findings).await else {
        let because = findings
            .iter()
            .rev()
            .find(|finding| finding.verdict == super::Verdict::Fault)
            .map_or("login", |finding| finding.check);
        let skipped = AFTER_LOGIN.iter().map(|check| Finding::skipped(AREA, check, because));
        findings.extend(skipped.collect::<Vec<_>>());
        return findings;
    };
    let asked = look(setup, &mut survey, &place, &mut findings).await;
    if let Err(fault) = asked {
        findings.push(
            Finding::fault(AREA, "questions", fault.to_string())
                .advise("the rest was not looked at: mend this and check again"),
        );
    }
    survey.close().await;
    findings
}

/// Where the server is that is looked at.
struct Place {
    host: String,
    stays_here: bool,
}

/// The first server that takes writes, or else the first one.
async fn first(setup: &Setup, findings: &mut Vec<Finding>) -> Option<(Survey, Place)> {
    let each = setup.store.each();
    let several = each.len() > 1;
    let mut found: Option<(Survey, Place)> = None;
    let mut writes = false;
    for store in &each {
        let Some((mut survey, stays_here)) = reach::reach(store, findings).await else { continue };
        let DatabaseAddress { host, port, .. } = store.address();
        match survey.server().await {
            Ok(server) if several && server.in_recovery => findings.push(Finding::ok(
                AREA,
                "standby",
                format!("{host}:{port} is a standby, which the daemon passes by"),
            )),
            Ok(_) if !writes => {
                writes = true;
                let place = Place { host, stays_here };
                if let Some((other, _)) = found.replace((survey, place)) {
                    other.close().await;
                }
                continue;
            }
            Ok(_) => findings.push(
                Finding::warning(
                    AREA,
                    "primary",
                    format!("{host}:{port} takes writes, too"),
                )
                .advise("see that these are servers of one cluster, of which one is the primary: the daemon writes to the first"),
            ),
            // It is asked again, and said then.
            Err(_) => {}
        }
        match &found {
            None => found = Some((survey, Place { host, stays_here })),
            Some(_) => survey.close().await,
        }
    }
    if found.is_some() {
        *findings = std::mem::take(findings).into_iter().map(Finding::with_another_host).collect();
    }
    found
}

async fn look(
    setup: &Setup,
    survey: &mut Survey,
    place: &Place,
    findings: &mut Vec<Finding>,
) -> Result<(), Fault> {
    let server = survey.server().await?;
    let role = survey.role().await?;
    findings.extend(server::check(&server, &survey.settings, &role));
    findings.push(role::check(&server, &role));
    findings.push(room::connections(&server, &role, setup.canaries));
    findings.extend(schema::check(setup, survey, &server, &role).await?);
    findings.push(clock::check(survey, place).await?);
    findings.push(room::disk(&server, place.stays_here));
    Ok(())
}
