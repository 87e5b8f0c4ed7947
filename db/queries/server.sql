-- AskServer asks the server about itself, and what the role of the connection could do to the audit
-- log: by itself, or by functions that it leaves in the schema for the owner to call.
-- name: AskServer :one
SELECT current_setting('server_version_num')::int AS version,
       current_setting('transaction_isolation')::text AS isolation,
       (current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true), '0')::int)::int AS connections,
       clock_timestamp()::timestamptz AS clock,
       (current_setting('is_superuser') = 'on')::boolean AS superuser,
       has_table_privilege('audit_events', 'UPDATE, DELETE, TRUNCATE')::boolean AS may_change,
       (has_schema_privilege(current_schema()::text, 'CREATE') OR has_database_privilege(current_database(), 'CREATE'))::boolean AS may_create;

-- AskGrowth finds how large the database is, the last month for which the audit log has a
-- partition, and how many rows are left that upkeep should have deleted: at most so many of each
-- kind.
-- name: AskGrowth :one
SELECT pg_database_size(current_database())::bigint AS bytes,
       (SELECT coalesce(max(right(c.relname, 7)), '')
        FROM pg_catalog.pg_class c
        WHERE c.relnamespace = current_schema()::regnamespace
          AND c.relispartition
          AND c.relname ~ '^audit_events_[0-9]{4}_(0[1-9]|1[0-2])$')::text AS last_month,
       ((SELECT count(*) FROM (
           SELECT FROM sessions s
           WHERE s.expires_at < now() - make_interval(secs => @sessions_kept_seconds)
           ORDER BY s.expires_at
           LIMIT @most
       ) over_sessions)
       + (SELECT count(*) FROM (
           SELECT FROM revocations r
           WHERE r.at < now() - make_interval(secs => @revocations_kept_seconds)
           ORDER BY r.at
           LIMIT @most
       ) over_revocations))::bigint AS overdue;
