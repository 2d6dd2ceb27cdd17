//! The server's settings, and the role that asks.

use sqlx::{FromRow, PgConnection};

use super::super::{Fault, link::answered};
use super::Survey;

/// What the server is.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Server {
    /// Such as 150013 for 15.13.
    pub version: i32,
    /// The database's encoding.
    pub encoding: String,
    /// The database's name.
    pub database: String,
    /// Whether it follows another server, or is being recovered.
    pub in_recovery: bool,
    /// Whether this connection is under TLS.
    pub encrypted: bool,
    /// Where its files are; none where this role may not know.
    pub data_directory: Option<String>,
    /// Bytes of the database; none where this role may not know.
    pub database_bytes: Option<i64>,
    /// Connections that the server takes from others than superusers.
    pub room: i32,
    /// Connections to the server.
    pub taken: i32,
    /// How many the database takes at most; -1 for no bound.
    pub database_limit: i32,
    /// Connections to the database.
    pub database_taken: i32,
}

/// A setting, as it is for a new session of this role.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value, with its unit.
    pub value: String,
    /// Where it came from, as `pg_settings` calls it.
    pub source: String,
}

/// The role that asks.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// May do anything.
    pub superuser: bool,
    /// May make roles.
    pub creates_roles: bool,
    /// May make databases.
    pub creates_databases: bool,
    /// May copy the whole server.
    pub replicates: bool,
    /// Sees what row security hides.
    pub bypasses_row_security: bool,
    /// How many connections it has at most; -1 for no bound.
    pub limit: i32,
    /// How many it has, this one among them.
    pub taken: i32,
    /// Whether it may make a schema in this database.
    pub may_create: bool,
    /// Who owns the schema; none where there is no schema.
    pub schema_owner: Option<String>,
    /// Whether it is the schema's owner, or may act as it.
    pub owns_schema: bool,
}

/// What can quietly break an audit, or a daemon.
const SETTINGS: &[&str] = &[
    "default_transaction_read_only",
    "fsync",
    "full_page_writes",
    "idle_session_timeout",
    "synchronous_commit",
];

/// Those settings, in the order of their names.
pub(super) async fn settings(connection: &mut PgConnection) -> Result<Vec<Setting>, sqlx::Error> {
    sqlx::query_as(
        "select s.name, current_setting(s.name) as value, s.source
           from pg_catalog.pg_settings s where s.name = any($1) order by s.name",
    )
    .bind(SETTINGS)
    .fetch_all(connection)
    .await
}

impl Survey {
    /// What the server is. Of others' connections an ordinary role sees neither the type nor the state, but whose they are and
    /// to which database: those with both are clients.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn server(&mut self) -> Result<Server, Fault> {
        let query = sqlx::query_as(
            "select current_setting('server_version_num')::int4 as version,
                    current_setting('server_encoding') as encoding,
                    current_database()::text as database,
                    pg_is_in_recovery() as in_recovery,
                    coalesce((select s.ssl from pg_stat_ssl s where s.pid = pg_backend_pid()), false) as encrypted,
                    (select s.setting from pg_settings s where s.name = 'data_directory') as data_directory,
                    case when has_database_privilege(d.oid, 'connect') then pg_database_size(d.oid) end as database_bytes,
                    current_setting('max_connections')::int4
                        - current_setting('superuser_reserved_connections')::int4
                        - coalesce(current_setting('reserved_connections', true), '0')::int4 as room,
                    (select count(*) from pg_stat_activity a where a.datid is not null and a.usesysid is not null)::int4 as taken,
                    d.datconnlimit as database_limit,
                    (select count(*) from pg_stat_activity a
                      where a.datid = d.oid and a.usesysid is not null)::int4 as database_taken
               from pg_database d where d.datname = current_database()",
        );
        let link = &mut self.link;
        Ok(answered(link.patience, query.fetch_one(&mut link.connection)).await?)
    }

    /// The role that asks.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn role(&mut self) -> Result<Role, Fault> {
        let query = sqlx::query_as(
            "select r.rolname::text as name, r.rolsuper as superuser, r.rolcreaterole as creates_roles,
                    r.rolcreatedb as creates_databases, r.rolreplication as replicates,
                    r.rolbypassrls as bypasses_row_security, r.rolconnlimit as limit,
                    (select count(*) from pg_stat_activity a
                      where a.datid is not null and a.usesysid = r.oid)::int4 as taken,
                    has_database_privilege(current_database(), 'create') as may_create,
                    (select n.nspowner::regrole::text from pg_namespace n where n.nspname = 'audit') as schema_owner,
                    coalesce((select pg_has_role(n.nspowner, 'member') from pg_namespace n where n.nspname = 'audit'), false)
                        as owns_schema
               from pg_roles r where r.rolname = current_user",
        );
        let link = &mut self.link;
        Ok(answered(link.patience, query.fetch_one(&mut link.connection)).await?)
    }
}
