//! The role that the daemon would be.

use super::{
    super::{finding::Finding, shell::identifier},
    AREA,
    schema::migrate,
};
use crate::store::{Role, Server};

/// What of a role is more than the daemon needs.
pub fn check(server: &Server, role: &Role) -> Finding {
    let attributes = [
        (role.superuser, "SUPERUSER"),
        (role.creates_roles, "CREATEROLE"),
        (role.creates_databases, "CREATEDB"),
        (role.replicates, "REPLICATION"),
        (role.bypasses_row_security, "BYPASSRLS"),
    ];
    let too_much: Vec<_> =
        attributes.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
    let Role { name, .. } = role;
    if too_much.is_empty() {
        return Finding::ok(
            AREA,
            "role",
            format!("'{name}' has no attribute that it does not need"),
        );
    }
    let found = format!(
        "'{name}' has {}: whoever gets hold of the daemon could change its history, and more",
        too_much.join(", ")
    );
    let finding = Finding::warning(AREA, "role", found);
    if role.superuser {
        let finding = finding
            .advise("run the daemon as a role that can only add, set it in postgres.url, and set postgres.migrate = false:")
            .command("CREATE ROLE bloodbank_audit LOGIN;");
        // What grants is part of the schema.
        let finding = match role.schema_owner {
            Some(_) => finding,
            None => finding.command(migrate(server)),
        };
        finding.command("SELECT audit.grant_writer('bloodbank_audit');")
    } else {
        let without: Vec<_> = too_much.iter().map(|name| format!("NO{name}")).collect();
        finding.advise("as a superuser:").command(format!(
            "ALTER ROLE {} {};",
            identifier(name),
            without.join(" ")
        ))
    }
}
