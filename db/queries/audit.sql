-- RecordEvent tells of what was refused. No statement changed anything that could tell of it. It
-- finds the user by the name, so that it takes as long for a name that nobody has.
-- name: RecordEvent :exec
SELECT record_event(@event::jsonb, coalesce(
    sqlc.narg('user_id')::uuid,
    (SELECT u.id FROM users u WHERE u.username_key = @username_key)
));

-- RecordEvents is RecordEvent for many events. Each has all that it needs in itself.
-- name: RecordEvents :exec
SELECT record_event(e, coalesce((e->>'user_id')::uuid, (SELECT u.id FROM users u WHERE u.username_key = e->>'username_key')))
FROM jsonb_array_elements(@events::jsonb) AS e;

-- FindEvents goes back in time. Which index helps depends on the filter, so each call is planned
-- anew.
-- name: FindEvents :many
SELECT e.id, e.at, e.action, e.outcome, e.actor, e.actor_id, e.operator_name, e.user_id, e.target, e.request_id, e.client_address, e.user_agent, e.count,
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
  AND (sqlc.narg('actor')::text IS NULL OR e.actor = sqlc.narg('actor')::text)
  AND (sqlc.narg('operator_name')::text IS NULL OR e.operator_name = sqlc.narg('operator_name')::text)
  AND (sqlc.narg('action')::text IS NULL OR e.action = sqlc.narg('action')::text)
  AND (sqlc.narg('outcome')::text IS NULL OR e.outcome = sqlc.narg('outcome')::text)
  AND (sqlc.narg('request_id')::text IS NULL OR e.request_id = sqlc.narg('request_id')::text)
ORDER BY e.at DESC, e.id DESC
LIMIT @max_rows;

-- name: AddAuditPartitions :exec
SELECT add_audit_partitions();

-- ListForgottenUsers finds users in the log whose accounts were deleted so long ago. They have no
-- account, and the log has no younger deletion of them.
-- name: ListForgottenUsers :many
SELECT gone.id::uuid AS id
FROM (
    SELECT e.user_id AS id FROM audit_events e WHERE e.user_id IS NOT NULL
    UNION
    SELECT e.actor_id FROM audit_events e WHERE e.actor = 'user'
) gone
WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = gone.id)
  AND NOT EXISTS (
      SELECT FROM audit_events d
      WHERE d.user_id = gone.id
        AND d.action = 'user.delete'
        AND d.outcome = 'success'
        AND d.at > now() - make_interval(secs => @older_than_seconds)
  );

-- BlankEventsBy blanks what is personal in the events of these actors: address, program, request,
-- and the sessions in the target. It leaves that somebody did it, to whom and when.
-- name: BlankEventsBy :execrows
UPDATE audit_events
SET client_address = '', user_agent = '', request_id = '',
    target = trim(regexp_replace(target, '[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}', '', 'g'))
WHERE actor_id = ANY (@users::uuid[])
  AND actor = 'user'
  AND (client_address <> '' OR user_agent <> '' OR request_id <> '' OR target ~ '[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}');

-- BlankEventsOf does as BlankEventsBy with what was done to these users. The address of an actor
-- who is known is the actor's own, and stays. An anonymous actor may have been one of the users.
-- name: BlankEventsOf :execrows
UPDATE audit_events
SET client_address = CASE WHEN actor = 'anonymous' THEN '' ELSE client_address END,
    user_agent     = CASE WHEN actor = 'anonymous' THEN '' ELSE user_agent END,
    request_id     = CASE WHEN actor = 'anonymous' THEN '' ELSE request_id END,
    target         = trim(regexp_replace(target, '[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}', '', 'g'))
WHERE user_id = ANY (@users::uuid[])
  AND (actor = 'anonymous' AND (client_address <> '' OR user_agent <> '' OR request_id <> '')
      OR target ~ '[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}');

-- DeleteRefusals deletes some of the refusals that are so old.
-- name: DeleteRefusals :execrows
DELETE FROM audit_events e
USING (
    SELECT o.at, o.id
    FROM audit_events o
    WHERE o.outcome <> 'success'
      AND o.at <= now() - make_interval(secs => @older_than_seconds)
    LIMIT @max_rows
) old
WHERE e.at = old.at
  AND e.id = old.id;

-- ListEndedAuditPartitions finds the months that ended so long ago, by the names of the partitions.
-- A partition that is no month stays, such as a DEFAULT partition that an operator has added.
-- name: ListEndedAuditPartitions :many
SELECT c.relname::text AS name
FROM pg_catalog.pg_inherits i
JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'audit_events'::regclass
  AND CASE WHEN c.relname ~ '^audit_events_[0-9]{4}_(0[1-9]|1[0-2])$'
      THEN (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC' <= now() - make_interval(secs => @older_than_seconds)
      ELSE false END
ORDER BY c.relname;
