//! The schema, what the role may do in it, and its partitions.

use super::{
    super::{
        Setup,
        finding::Finding,
        shell::{identifier, word},
    },
    AREA,
};
use crate::{
    event::{now, rfc3339},
    store::{Fault, ForeignRight, Partition, Presence, Right, Role, SchemaState, Server, Survey},
};

/// Names of one kind that are written out.
const NAMED: usize = 4;

/// What needs a schema that this program knows.
const AFTER_SCHEMA: &[&str] = &["rights", "history", "rights of others", "partitions", "indexes"];

/// Looks at the schema, and at what is in it where this program knows it.
pub async fn check(
    setup: &Setup,
    survey: &mut Survey,
    server: &Server,
    role: &Role,
) -> Result<Vec<Finding>, Fault> {
    let state = match survey.schema().await {
        Ok(state) => state,
        // It is there, and this role may not even read it.
        Err(fault) if fault.sqlstate.as_deref() == Some("42501") => {
            let found = format!("'{}' may not read the schema audit", role.name);
            let finding = grant(Finding::fault(AREA, "schema", found), role);
            return Ok(with_skipped(finding));
        }
        Err(fault) => return Err(fault),
    };
    let finding = schema(setup, &state, server, role);
    if state != SchemaState::Current {
        return Ok(with_skipped(finding));
    }
    let mut findings = vec![finding];
    findings.push(rights(&survey.rights_lacked().await?, role));
    findings.push(history(&survey.rights_over_history().await?, role));
    findings.push(others(&survey.rights_of_others().await?));
    findings.push(list(setup, &survey.partitions().await?));
    findings.push(indexes(survey).await?);
    Ok(findings)
}

fn with_skipped(finding: Finding) -> Vec<Finding> {
    let skipped = AFTER_SCHEMA.iter().map(|check| Finding::skipped(AREA, check, "schema"));
    std::iter::once(finding).chain(skipped).collect()
}

fn schema(setup: &Setup, state: &SchemaState, server: &Server, role: &Role) -> Finding {
    let (found, may) = match state {
        SchemaState::Current => return Finding::ok(AREA, "schema", "as this program knows it"),
        SchemaState::Foreign(words) => {
            return Finding::fault(AREA, "schema", words.clone())
                .advise("run the program that migrated it, or set postgres.url to another database")
                .command("SELECT max(version) FROM audit.schema_migrations;");
        }
        SchemaState::Missing => ("there is no schema audit yet".to_owned(), role.may_create),
        SchemaState::Behind(steps) => {
            let first = steps.first().map_or(0, |step| step.version);
            let found = format!("{} step(s) behind, from {first:04} on", steps.len());
            (found, role.owns_schema)
        }
    };
    match (setup.migrates, may) {
        (true, true) => {
            Finding::ok(AREA, "schema", format!("{found}; the daemon sees to it at its start"))
        }
        (true, false) => {
            let finding = Finding::fault(
                AREA,
                "schema",
                format!("{found}, and '{}' may not mend that", role.name),
            )
            .advise("migrate as the owner, and set postgres.migrate = false; or give the role what it needs:");
            let finding = finding.command(migrate(server));
            match state {
                SchemaState::Missing => finding.command(format!(
                    "GRANT CREATE ON DATABASE {} TO {};",
                    identifier(&server.database),
                    identifier(&role.name)
                )),
                _ => finding,
            }
        }
        (false, _) => Finding::fault(
            AREA,
            "schema",
            format!("{found}, and postgres.migrate = false leaves it so"),
        )
        .advise("migrate as the owner, and grant anew:")
        .command(migrate(server))
        .command(format!("SELECT audit.grant_writer('{}');", quoted(&role.name))),
    }
}

/// What brings the schema up to date.
pub fn migrate(server: &Server) -> String {
    let url = format!("postgres://OWNER@HOST/{}", server.database);
    format!("bloodbank-audit migrate --database-url {}", word(&url))
}

/// A role as the text of a `regrole`, in a literal.
fn quoted(name: &str) -> String {
    identifier(name).replace('\'', "''")
}

fn grant(finding: Finding, role: &Role) -> Finding {
    let owner = role.schema_owner.as_deref().unwrap_or("its owner");
    finding
        .advise(format!("in the database, as {owner}:"))
        .command(format!("SELECT audit.grant_writer('{}');", quoted(&role.name)))
}

fn rights(lacked: &[Right], role: &Role) -> Finding {
    if lacked.is_empty() {
        return Finding::ok(AREA, "rights", "what recording takes");
    }
    let each = lacked.iter().map(|right| format!("{} on {}", right.privilege, right.object));
    let found = format!("'{}' lacks {}", role.name, some(each));
    grant(Finding::fault(AREA, "rights", found), role)
}

fn history(over: &[Right], role: &Role) -> Finding {
    if over.is_empty() {
        return Finding::ok(AREA, "history", "this role can add to it, and change nothing");
    }
    let each = over.iter().map(|right| format!("{} {}", right.privilege, right.object));
    let found = format!("'{}' can {}", role.name, some(each));
    let finding = Finding::warning(AREA, "history", found);
    if role.superuser || role.owns_schema {
        finding
            .advise(
                "a role that owns the schema can change all of it: run the daemon as another, set it in postgres.url, and set \
                 postgres.migrate = false",
            )
            .command("CREATE ROLE bloodbank_audit LOGIN;")
            .command("SELECT audit.grant_writer('bloodbank_audit');")
    } else {
        let owner = role.schema_owner.as_deref().unwrap_or("the owner");
        finding
            .advise(format!("take it away, as {owner}, or from the role through which it has it:"))
            .command(format!(
                "REVOKE UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA audit FROM {};",
                identifier(&role.name)
            ))
            .command(format!("SELECT audit.grant_writer('{}');", quoted(&role.name)))
    }
}

fn others(rights: &[ForeignRight]) -> Finding {
    let Some(first) = rights.first() else {
        return Finding::ok(
            AREA,
            "rights of others",
            "nobody but the owner can change the history",
        );
    };
    let each = rights
        .iter()
        .map(|right| format!("{}: {} on {}", right.role, right.privileges, right.object));
    Finding::warning(AREA, "rights of others", some(each)).advise("take it away:").command(format!(
        "REVOKE UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA audit FROM {};",
        first.role
    ))
}

/// Partitions that are there are to be attached. The daemon makes what is missing, at its start and ahead.
fn list(setup: &Setup, partitions: &[Partition]) -> Finding {
    let mut astray = partitions.iter().filter(|partition| partition.presence != Presence::Attached);
    if let Some(first) = astray.next() {
        let Partition { name, from, to, presence, .. } = first;
        let more = match astray.count() {
            0 => String::new(),
            more => format!(", and {more} more are not as they were made"),
        };
        return if *presence == Presence::Detached {
            Finding::warning(
                AREA,
                "partitions",
                format!("audit.{name} is detached: its events are not in audit.events{more}"),
            )
            .advise("attach it again, as the owner; the daemon does so where it still needs it:")
            .command(format!(
                "ALTER TABLE audit.events ATTACH PARTITION audit.{} FOR VALUES FROM ('{}') TO ('{}');",
                identifier(name),
                rfc3339(*from),
                rfc3339(*to)
            ))
        } else {
            Finding::warning(
                AREA,
                "partitions",
                format!("audit.{name} is gone, and the events that were in it are{more}"),
            )
            .advise("restore it from a backup; the daemon makes anew what it needs, and notes the others as gone")
            .command(format!("pg_restore --schema=audit --table={} BACKUP", word(name)))
        };
    }
    let at = now();
    let ahead = partitions.iter().filter(|partition| partition.from > at).count();
    let present = partitions.iter().any(|one| one.from <= at && at < one.to);
    let wanted = usize::try_from(setup.store.partitions_ahead).unwrap_or(usize::MAX);
    Finding::ok(
        AREA,
        "partitions",
        match (present, ahead) {
            (true, ahead) if ahead >= wanted => {
                format!("{}, the present one and {ahead} ahead among them", partitions.len())
            }
            (true, ahead) => {
                format!(
                    "the present one and {ahead} of {wanted} ahead; the daemon makes the others"
                )
            }
            (false, _) => "the present one is made when the daemon starts".to_owned(),
        },
    )
}

async fn indexes(survey: &mut Survey) -> Result<Finding, Fault> {
    let lacked = survey.indexes_lacked().await?;
    let Some(first) = lacked.first() else {
        return Ok(Finding::ok(AREA, "indexes", "each partition tells duplicates apart"));
    };
    let each = lacked.iter().map(|one| format!("{} on audit.{}", one.index, one.partition));
    let column = if first.index.ends_with("_event_id") { "event_id" } else { "event_key" };
    let found =
        format!("missing or not valid: {}; an event could be stored twice there", some(each));
    Ok(Finding::fault(AREA, "indexes", found)
        .advise("make it anew, as the owner:")
        .command(format!("DROP INDEX IF EXISTS audit.{};", identifier(&first.index)))
        .command(format!(
            "CREATE UNIQUE INDEX {} ON audit.{} ({column}) WHERE {column} IS NOT NULL AND NOT conflict;",
            identifier(&first.index),
            identifier(&first.partition)
        )))
}

/// The first of them, and how many more there are.
fn some(each: impl Iterator<Item = String>) -> String {
    let all: Vec<_> = each.collect();
    let more = all.len().saturating_sub(NAMED);
    let named = all[..all.len() - more].join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}
