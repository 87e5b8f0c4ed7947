-- RecordEvent tells of what was refused: there is nothing that it could be told with. Whom it was about is found by the
-- name, so that it takes as long where there is nobody.
-- name: RecordEvent :exec
SELECT record_event(@event::jsonb, coalesce(
    sqlc.narg('user_id')::uuid,
    (SELECT u.id FROM users u WHERE u.username_key = @username_key)
));

-- FindEvents goes back in time. Which index is of use depends on what is asked for, so it is planned each time anew.
-- name: FindEvents :many
SELECT e.id, e.at, e.action, e.outcome, e.actor, e.actor_id, e.user_id, e.target, e.request_id, e.client_address, e.user_agent,
       a.username AS actor_name, c.client_id AS actor_client_id, u.username AS user_name
FROM audit_events e
LEFT JOIN users a ON a.id = e.actor_id
LEFT JOIN clients c ON c.subject = e.actor_id
LEFT JOIN users u ON u.id = e.user_id
WHERE e.at >= @since
  AND e.at <= @before
  AND (e.at, e.id) < (@before::timestamptz, @before_id::bigint)
  AND (sqlc.narg('user_id')::uuid IS NULL OR e.user_id = sqlc.narg('user_id')::uuid)
  AND (sqlc.narg('actor_id')::uuid IS NULL OR e.actor_id = sqlc.narg('actor_id')::uuid)
  AND (sqlc.narg('action')::text IS NULL OR e.action = sqlc.narg('action')::text)
  AND (sqlc.narg('outcome')::text IS NULL OR e.outcome = sqlc.narg('outcome')::text)
  AND (sqlc.narg('request_id')::text IS NULL OR e.request_id = sqlc.narg('request_id')::text)
ORDER BY e.at DESC, e.id DESC
LIMIT @max_rows;

-- name: MayChangeAudit :one
SELECT has_table_privilege('audit_events', 'UPDATE, DELETE, TRUNCATE');

-- name: AddAuditPartitions :exec
SELECT add_audit_partitions();

-- ListEndedAuditPartitions finds the months that ended so long ago. What a partition is for, its name says.
-- name: ListEndedAuditPartitions :many
SELECT c.relname::text AS name
FROM pg_catalog.pg_inherits i
JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'audit_events'::regclass
  AND (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC' <= now() - make_interval(secs => @older_than_seconds)
ORDER BY c.relname;
