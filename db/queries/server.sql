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
