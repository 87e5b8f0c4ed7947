-- ListRevocations reads the newest ones. Their age is the database's to tell: no replica's clock need agree with it.
-- name: ListRevocations :many
SELECT coalesce(user_id, session_id)::uuid AS subject,
       version,
       extract(epoch FROM now() - at)::float8 AS age_seconds
FROM revocations
WHERE at > now() - make_interval(secs => @younger_than_seconds);

-- PruneRevocations deletes some of the oldest at a time, so that none waits long for it; replicas that prune at once
-- share the work.
-- name: PruneRevocations :execrows
DELETE FROM revocations
WHERE id = ANY (ARRAY(
    SELECT r.id
    FROM revocations r
    WHERE r.at < now() - make_interval(secs => @older_than_seconds)
    ORDER BY r.at
    LIMIT @max_rows
    FOR UPDATE SKIP LOCKED
));

-- NotifyRevocations lets a listener find out whether it hears anything.
-- name: NotifyRevocations :exec
SELECT pg_notify('gatehouse_revocations', @payload);
