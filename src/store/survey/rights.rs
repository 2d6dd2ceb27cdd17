//! What the role that asks may do to the history, and others; and whether the partitions keep duplicates apart.

use sqlx::FromRow;

use super::super::{Fault, link::answered};
use super::Survey;

/// What the daemon needs: rows to add, one table whose signs of life it keeps, functions to call. In step with
/// `audit.grant_writer`.
const NEEDED: &[(&str, &str, &str)] = &[
    ("table", "audit.events", "insert"),
    ("table", "audit.events", "select"),
    ("table", "audit.batches", "insert"),
    ("table", "audit.batches", "select"),
    ("table", "audit.rejections", "insert"),
    ("table", "audit.runs", "insert"),
    ("column", "audit.runs.seen_at", "update"),
    ("column", "audit.runs.beat_at", "update"),
    ("table", "audit.coverage_changes", "insert"),
    ("table", "audit.deaths", "insert"),
    ("table", "audit.partitions", "select"),
    ("sequence", "audit.event_seq", "usage"),
    ("function", "audit.ensure_partition(timestamptz,text)", "execute"),
    ("function", "audit.ensure_order()", "execute"),
    ("function", "audit.mend_partitions(timestamptz)", "execute"),
    ("function", "audit.expire(interval,timestamptz)", "execute"),
];

/// A right to something.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Right {
    /// To what: a table, a column of one, a sequence, a function.
    pub object: String,
    /// Which one.
    pub privilege: String,
}

/// A right of somebody else's to change history.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ForeignRight {
    /// Who has it; `public` is everybody.
    pub role: String,
    /// To which table.
    pub object: String,
    /// Which ones.
    pub privileges: String,
}

/// A partition in which an event can be stored twice.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct LooseIndex {
    /// The partition.
    pub partition: String,
    /// The unique index that is missing or not valid.
    pub index: String,
}

impl Survey {
    /// What the daemon needs and this role lacks.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn rights_lacked(&mut self) -> Result<Vec<Right>, Fault> {
        let column = |n: usize| -> Vec<&str> {
            NEEDED.iter().map(|&(kind, object, right)| [kind, object, right][n]).collect()
        };
        let query = sqlx::query_as(
            "select n.object, n.privilege
               from unnest($1::text[], $2::text[], $3::text[]) with ordinality n (kind, object, privilege, place)
              where to_regnamespace('audit') is not null
                and not case
                    when not has_schema_privilege('audit', 'usage') then false
                    when n.kind = 'table' then coalesce(has_table_privilege(to_regclass(n.object), n.privilege), false)
                    when n.kind = 'sequence' then coalesce(has_sequence_privilege(to_regclass(n.object), n.privilege), false)
                    when n.kind = 'column' then coalesce(has_column_privilege(
                        to_regclass(substring(n.object from '^(.*)\\.')), substring(n.object from '[^.]*$'), n.privilege), false)
                    else coalesce(has_function_privilege(to_regprocedure(n.object), n.privilege), false) end
              order by n.place",
        )
        .bind(column(0))
        .bind(column(1))
        .bind(column(2));
        let link = &mut self.link;
        Ok(answered(link.patience, query.fetch_all(&mut link.connection)).await?)
    }

    /// By which rights this role could change or remove history, as an ordinary role.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn rights_over_history(&mut self) -> Result<Vec<Right>, Fault> {
        let query = sqlx::query_as(
            "select format('audit.%I', c.relname) as object, p.privilege
               from pg_class c
               join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'audit'
              cross join unnest(array['update', 'delete', 'truncate']) p (privilege)
              where c.relkind in ('r', 'p')
                and (c.relname in ('events', 'batches', 'rejections', 'expired_partitions', 'access_log')
                     or exists (select from pg_inherits i where i.inhrelid = c.oid and i.inhparent = to_regclass('audit.events')))
                and case when p.privilege = 'update' then has_any_column_privilege(c.oid, 'update')
                         else has_table_privilege(c.oid, p.privilege) end
              order by c.relkind = 'r' and c.relispartition, 1, 2",
        );
        let link = &mut self.link;
        Ok(answered(link.patience, query.fetch_all(&mut link.connection)).await?)
    }

    /// Who else was granted a right to add to the history, to change it or to remove from it, owners and this role aside.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn rights_of_others(&mut self) -> Result<Vec<ForeignRight>, Fault> {
        let query = sqlx::query_as(
            "select case when a.grantee = 0 then 'public' else a.grantee::regrole::text end as role,
                    format('audit.%I', c.relname) as object,
                    string_agg(lower(a.privilege_type), ', ' order by a.privilege_type) as privileges
               from pg_class c
               join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'audit'
              cross join aclexplode(c.relacl) a
              where c.relkind in ('r', 'p') and c.relname in ('events', 'batches', 'rejections')
                and a.privilege_type in ('UPDATE', 'DELETE', 'TRUNCATE')
                and a.grantee <> c.relowner and a.grantee <> current_user::regrole
              group by 1, 2 order by 1, 2",
        );
        let link = &mut self.link;
        Ok(answered(link.patience, query.fetch_all(&mut link.connection)).await?)
    }

    /// Partitions that are listed and attached, and lack a unique index by which duplicates are told.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn indexes_lacked(&mut self) -> Result<Vec<LooseIndex>, Fault> {
        let query = sqlx::query_as(
            "select p.name::text as partition, p.name || s.suffix as index
               from audit.partitions p
               join pg_class c on c.relnamespace = 'audit'::regnamespace and c.relname = p.name and c.relispartition
              cross join unnest(array['_event_id', '_event_key']) s (suffix)
              where not exists (select from pg_index i join pg_class x on x.oid = i.indexrelid
                                 where i.indrelid = c.oid and x.relname = p.name || s.suffix
                                   and i.indisunique and i.indisvalid and i.indisready)
              order by 1, 2",
        );
        let link = &mut self.link;
        Ok(answered(link.patience, query.fetch_all(&mut link.connection)).await?)
    }
}
