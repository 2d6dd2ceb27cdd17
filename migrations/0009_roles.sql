-- What a reader and what the daemon may. Roles belong to the whole server, and whoever owns this schema need not be able
-- to make any; these give what one that is there needs.

create function audit.grant_reader(reader regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('grant usage on schema audit to %s', reader);
    execute format('grant select on all tables in schema audit to %s', reader);
    -- What later versions of the schema add.
    execute format('alter default privileges for role %s in schema audit grant select on tables to %s',
                   (select n.nspowner::regrole from pg_namespace n where n.nspname = 'audit'), reader);
end
$$;
revoke all on function audit.grant_reader(regrole) from public;
comment on function audit.grant_reader(regrole) is 'Lets a role read all of the schema audit, and nothing else. For the schema''s owner; may be repeated.';

create function audit.grant_writer(writer regrole) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform audit.grant_reader(writer);
    execute format('grant insert on audit.events, audit.batches, audit.rejections, audit.runs, audit.coverage_changes, audit.deaths to %s', writer);
    execute format('grant update (seen_at, beat_at) on audit.runs to %s', writer);
    execute format('grant usage on sequence audit.event_seq to %s', writer);
    execute format('grant execute on function audit.ensure_partition(timestamptz, text), audit.ensure_order() to %s', writer);
end
$$;
revoke all on function audit.grant_writer(regrole) from public;
comment on function audit.grant_writer(regrole) is 'Lets a role record: what the daemon needs beside reading. It can add to the history, and change or remove nothing of it. For the schema''s owner; may be repeated, and is to be after a migration.';
