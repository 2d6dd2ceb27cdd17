//! Room: for connections, and on the disk.

use std::path::Path;

use bytesize::ByteSize;

use super::{
    super::{
        disk,
        finding::{Finding, Verdict},
        shell::identifier,
    },
    AREA,
};
use crate::store::{Role, Server};

/// What the daemon takes: the writer, a second one while it drains a backlog, who keeps coverage, who looks after partitions, and
/// one for a command beside it.
const NEEDED: i32 = 5;

/// How many connections are left, this one counted as left.
pub fn connections(server: &Server, role: &Role, canaries: bool) -> Finding {
    // A canary has one of its own.
    let needed = NEEDED + i32::from(canaries);
    let limited = [
        (
            server.room,
            server.taken,
            "the server",
            "ALTER SYSTEM SET max_connections = 200;  -- and restart".to_owned(),
        ),
        (
            server.database_limit,
            server.database_taken,
            "the database",
            format!("ALTER DATABASE {} CONNECTION LIMIT -1;", identifier(&server.database)),
        ),
        (
            role.limit,
            role.taken,
            "the role",
            format!("ALTER ROLE {} CONNECTION LIMIT -1;", identifier(&role.name)),
        ),
    ];
    let left = limited.iter().filter(|(limit, ..)| *limit >= 0);
    let tightest = left.min_by_key(|(limit, taken, ..)| limit - taken);
    let Some((limit, taken, whose, command)) = tightest else {
        return Finding::ok(AREA, "connections", "nothing bounds them");
    };
    // This one goes again.
    let left = limit - taken + 1;
    let found = format!("{whose} takes {limit}, and {} are left", left.max(0));
    if left >= needed {
        return Finding::ok(AREA, "connections", found);
    }
    Finding::warning(
        AREA,
        "connections",
        format!("{found}; the daemon and its commands take {needed}"),
    )
    .advise("end connections that nobody needs, or as a superuser:")
    .command(command.clone())
}

/// The disk under the database, where it is this machine's.
pub fn disk(server: &Server, stays_here: bool) -> Finding {
    let size = server
        .database_bytes
        .and_then(|bytes| u64::try_from(bytes).ok())
        .map_or(String::new(), |bytes| format!("; the database takes {}", ByteSize::b(bytes)));
    if let Some(directory) = server.data_directory.as_deref().filter(|_| stays_here) {
        let mut finding = disk::check(AREA, "disk", Path::new(directory));
        if finding.verdict != Verdict::Unknown {
            finding.found.push_str(&size);
            return finding;
        }
    }
    Finding::unknown(
        AREA,
        "disk",
        format!("PostgreSQL does not tell how much room its disk has{size}"),
    )
    .advise("on its machine, as a superuser:")
    .command("df -h \"$(psql -XAtc 'SHOW data_directory' postgres)\"")
}
