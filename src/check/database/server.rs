//! The server: its version, whether it can be written to, and whether what it says is committed stays.

use super::{
    super::{finding::Finding, shell::identifier},
    AREA,
};
use crate::store::{Role, Server, Setting};

/// Oldest version that the schema is written for.
const OLDEST: i32 = 150_000;

const RELOAD: &str = "SELECT pg_reload_conf();";

/// Looks at the server.
pub fn check(server: &Server, settings: &[Setting], role: &Role) -> Vec<Finding> {
    let mut findings = vec![version(server), encoding(server)];
    findings.push(writable(server, role, settings));
    for setting in settings {
        findings.extend(match &*setting.name {
            "fsync" | "full_page_writes" => Some(on_the_disk(setting)),
            "synchronous_commit" => Some(synchronous_commit(setting, server, role)),
            "idle_session_timeout" => idle_sessions(setting, server, role),
            _ => None,
        });
    }
    findings
}

fn version(server: &Server) -> Finding {
    let (major, minor) = (server.version / 10_000, server.version % 10_000);
    let found = format!("PostgreSQL {major}.{minor}");
    if server.version < OLDEST {
        Finding::fault(AREA, "version", format!("{found}; 15 or later is needed"))
            .advise("move the database to a newer server")
            .command("pg_upgrade --help")
    } else {
        Finding::ok(AREA, "version", found)
    }
}

fn encoding(server: &Server) -> Finding {
    if server.encoding == "UTF8" {
        return Finding::ok(AREA, "encoding", "UTF8");
    }
    let found = format!(
        "the database '{}' is in {}, and bodies are kept byte for byte only in UTF8",
        server.database, server.encoding
    );
    Finding::fault(AREA, "encoding", found)
        .advise("an encoding cannot be changed: make another database, and name it in postgres.url")
        .command(format!(
            "CREATE DATABASE {} ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0;",
            identifier(&format!("{}_utf8", server.database))
        ))
}

fn writable(server: &Server, role: &Role, settings: &[Setting]) -> Finding {
    if server.in_recovery {
        return Finding::fault(
            AREA,
            "writable",
            "this server is a standby, or recovers, and takes nothing",
        )
        .advise(
            "set postgres.url to the primary, or make this server one where that is what you want:",
        )
        .command("SELECT pg_promote();");
    }
    let read_only = settings
        .iter()
        .find(|setting| setting.name == "default_transaction_read_only" && setting.value == "on");
    match read_only {
        Some(setting) => {
            let found = format!("default_transaction_read_only is on ({})", setting.source);
            let finding = Finding::fault(AREA, "writable", found)
                .advise("nothing can be recorded while it is; as a superuser:");
            reset(finding, setting, "off", server, role)
        }
        None => Finding::ok(AREA, "writable", "it is no standby, and takes what is written"),
    }
}

fn on_the_disk(setting: &Setting) -> Finding {
    let name = if setting.name == "fsync" { "fsync" } else { "full_page_writes" };
    if setting.value == "on" {
        return Finding::ok(AREA, name, "on");
    }
    let found = format!(
        "{name} is {}: after a crash of the machine, events that were acknowledged are lost, or the whole database is",
        setting.value
    );
    Finding::fault(AREA, name, found)
        .advise("as a superuser:")
        .command(format!("ALTER SYSTEM SET {name} = on;"))
        .command(RELOAD)
}

/// The daemon sets it on for its own sessions where it is off.
fn synchronous_commit(setting: &Setting, server: &Server, role: &Role) -> Finding {
    if setting.value != "off" {
        return Finding::ok(AREA, "synchronous_commit", setting.value.clone());
    }
    let found = format!(
        "it is off ({}); the daemon sets it on for its own sessions, which a pooler of transactions may undo: then a crash \
         loses events that were acknowledged",
        setting.source
    );
    let finding = Finding::warning(AREA, "synchronous_commit", found);
    reset(finding, setting, "on", server, role)
}

fn idle_sessions(setting: &Setting, server: &Server, role: &Role) -> Option<Finding> {
    if setting.value == "0" {
        return None;
    }
    let found = format!(
        "idle_session_timeout is {}: on a quiet bus the daemon's connections are ended, and each time that is an outage",
        setting.value
    );
    let finding = Finding::warning(AREA, "idle sessions", found);
    Some(reset(finding, setting, "0", server, role))
}

/// How to undo a setting, where it was made.
fn reset(
    finding: Finding,
    setting: &Setting,
    wanted: &str,
    server: &Server,
    role: &Role,
) -> Finding {
    let Setting { name, source, .. } = setting;
    let (user, database) = (identifier(&role.name), identifier(&server.database));
    match &**source {
        "user" => finding.command(format!("ALTER ROLE {user} RESET {name};")),
        "database" => finding.command(format!("ALTER DATABASE {database} RESET {name};")),
        "database user" => {
            finding.command(format!("ALTER ROLE {user} IN DATABASE {database} RESET {name};"))
        }
        "client" => finding.advise(format!("take {name} out of postgres.url")),
        _ => finding.command(format!("ALTER SYSTEM SET {name} = {wanted};")).command(RELOAD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    fn server() -> Server {
        Server {
            version: 150_013,
            encoding: "UTF8".to_owned(),
            database: "audit".to_owned(),
            in_recovery: false,
            encrypted: false,
            data_directory: None,
            database_bytes: None,
            room: 97,
            taken: 1,
            database_limit: -1,
            database_taken: 1,
        }
    }

    fn role() -> Role {
        Role {
            name: "Writer".to_owned(),
            superuser: false,
            creates_roles: false,
            creates_databases: false,
            replicates: false,
            bypasses_row_security: false,
            limit: -1,
            taken: 1,
            may_create: false,
            schema_owner: None,
            owns_schema: false,
        }
    }

    #[test]
    fn a_standby_and_an_old_server_are_faults() {
        let standby = Server { in_recovery: true, ..server() };
        let found = writable(&standby, &role(), &[]);
        assert_eq!((found.verdict, &*found.commands[0]), (Verdict::Fault, "SELECT pg_promote();"));
        assert_eq!(writable(&server(), &role(), &[]).verdict, Verdict::Ok);
        let old = Server { version: 140_011, ..server() };
        assert_eq!(version(&old).verdict, Verdict::Fault);
        assert!(version(&old).found.starts_with("PostgreSQL 14.11;"));
        assert_eq!(version(&server()).verdict, Verdict::Ok);
    }

    #[test]
    fn a_setting_is_undone_where_it_was_made() {
        for (source, command) in [
            ("user", "ALTER ROLE \"Writer\" RESET synchronous_commit;"),
            ("database", "ALTER DATABASE audit RESET synchronous_commit;"),
            ("database user", "ALTER ROLE \"Writer\" IN DATABASE audit RESET synchronous_commit;"),
            ("configuration file", "ALTER SYSTEM SET synchronous_commit = on;"),
        ] {
            let setting = Setting {
                name: "synchronous_commit".to_owned(),
                value: "off".to_owned(),
                source: source.to_owned(),
            };
            let found = synchronous_commit(&setting, &server(), &role());
            assert_eq!((found.verdict, &*found.commands[0]), (Verdict::Warning, command));
        }
    }
}
