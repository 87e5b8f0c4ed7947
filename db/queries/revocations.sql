-- ListRevocations reads the newest ones. The database tells their age, so that no replica's clock
-- matters.
-- name: ListRevocations :many
SELECT coalesce(user_id, session_id)::uuid AS subject,
       version,
       extract(epoch FROM now() - at)::float8 AS age_seconds,
       id,
       at
FROM revocations
WHERE at > now() - make_interval(secs => @younger_than_seconds);

-- LookBack tells whether a revocation that was seen is still there, and what time it is.
-- name: LookBack :one
SELECT now()::timestamptz AS now,
       EXISTS (SELECT FROM revocations WHERE id = @id AND at = @at) AS found;

-- PruneRevocations deletes some of the oldest at a time, so that nobody waits long for it. Replicas
-- that prune at once share the work.
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

-- RevokeAll bars every access token that was issued until now. It goes by the time: a database that
-- was restored does not know whose tokens there are. A client's tokens are checked without a
-- session, so clients get another version too.
-- name: RevokeAll :one
WITH barred AS (
    INSERT INTO revocations (user_id, version)
    VALUES ('00000000-0000-0000-0000-000000000000', ceil(extract(epoch FROM clock_timestamp()))::bigint)
    RETURNING version
), outdated AS (
    UPDATE clients
    SET token_version = token_version + 1
)
SELECT barred.version::bigint AS issued_before, record_event(@event::jsonb, NULL) AS event
FROM barred;

-- EndAllSessions leaves no row of each in revocations: RevokeAll has barred their tokens.
-- name: EndAllSessions :execrows
UPDATE sessions
SET ended_at = now(), end_reason = 'restored'
WHERE ended_at IS NULL;
